"""A pod's readiness probe as the activator runs it: what the kubelet would say, only sooner."""

import asyncio

import pytest
from rows import each

from kotatsu_operator.activator import pods as probe
from kotatsu_operator.activator.pods import is_ready
from kotatsu_operator.kube.views import pod_view
from tests.operator.cluster import pod

pytestmark = pytest.mark.timeout(60)


class Pod:
    """A server that answers every request with the same bytes, and keeps what it was asked."""

    def __init__(self):
        self.answer = b"HTTP/1.1 200 OK\r\n\r\n"
        self.asked = []
        self.open = []

    async def serve(self, reader, writer):
        self.open.append((reader, writer))
        try:
            self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        except asyncio.IncompleteReadError:
            return
        if self.answer is not None:
            writer.write(self.answer)
            writer.close()


@pytest.fixture
async def server():
    made = Pod()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    yield made
    listening.close()
    for _, writer in made.open:
        writer.transport.abort()
    await asyncio.sleep(0.005)


def view(server, readiness, **how):
    return pod_view(pod(port=server.port, readinessProbe=readiness, **how))


def http(path="/readyz", port="http", **more):
    return {"httpGet": {"path": path, "port": port, **more}}


@each(
    "answer, ready",
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.0 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 302 Found\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\n\n", True),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n", False),
        (b"SSH-2.0-OpenSSH\r\n", False),
        (b"", False),
        (b"a" * 200_000, False),
    ],
)
async def test_an_http_probe_is_passed_by_200_to_399(server, answer, ready):
    server.answer = answer
    assert await is_ready(view(server, http()), None) is ready


async def test_it_asks_what_the_probe_says(server):
    headers = [{"name": "X-Probe", "value": "yes"}]
    await is_ready(view(server, http("/r?x=1", httpHeaders=headers)), None)
    request, *lines = server.asked[0].strip().split("\r\n")
    assert request == "GET /r?x=1 HTTP/1.1"
    assert {"Host: 127.0.0.1", "X-Probe: yes", "Connection: close"} < set(lines)


@pytest.mark.parametrize("name", ["Host", "host", "HOST"])
async def test_a_host_of_the_probes_own_is_the_only_one(server, name):
    headers = [{"name": name, "value": "voice.example"}]
    await is_ready(view(server, http(httpHeaders=headers)), None)
    hosts = [line for line in server.asked[0].split("\r\n") if line.lower().startswith("host:")]
    assert hosts == ["Host: voice.example"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "metadata.example"])
async def test_no_other_host_than_the_pod_is_asked(server, monkeypatch, host):
    asked = []

    async def connect(ip, port):
        asked.append((ip, port))
        raise OSError

    monkeypatch.setattr(probe.asyncio, "open_connection", connect)
    assert not await is_ready(view(server, http(host=host)), None)
    assert not await is_ready(view(server, {"tcpSocket": {"port": "http", "host": host}}), None)
    assert asked == []
    assert not await is_ready(view(server, http(host="127.0.0.1")), None)
    assert asked == [("127.0.0.1", server.port)]


@each(
    "of, ready",
    [
        (lambda port: http(port=port), True),
        (lambda _: http(port="grpc"), False),
        (lambda _: {"tcpSocket": {"port": "http"}}, True),
        (lambda _: {"tcpSocket": {"port": 1}}, False),
        (lambda _: http() | {"initialDelaySeconds": 30}, True),
    ],
)
async def test_a_probe_goes_to_its_port_at_once(server, of, ready):
    assert await is_ready(view(server, of(server.port)), None) is ready


async def test_without_a_probe_the_services_port_has_to_accept(server):
    for port, ready in ((server.port, True), (1, False), (None, False)):
        assert await is_ready(view(server, None), port) is ready


async def test_a_pod_that_hangs_is_not_ready_after_the_timeout(server, monkeypatch):
    monkeypatch.setattr(probe, "TIMEOUT", 0.05)
    server.answer = None
    assert not await is_ready(view(server, http()), None)


@each(
    "readiness",
    {
        "exec": {"exec": {"command": ["true"]}},
        "grpc": {"grpc": {"port": 1}},
        "https": http(scheme="HTTPS"),
        "several answers over time": http() | {"successThreshold": 2},
    },
)
async def test_what_only_the_kubelet_can_run_is_the_kubelets_to_judge(server, readiness):
    assert not await is_ready(view(server, readiness), server.port)
    assert await is_ready(view(server, readiness, ready=True), server.port)
    assert server.asked == []


# --- several containers, and what else a pod waits for ---


def several(server, *containers, sidecars=(), statuses=(), gates=()):
    """A pod with these containers; the port http of each is the server's."""
    made = pod(port=server.port)
    ports = {"ports": made["spec"]["containers"][0]["ports"]}
    made["spec"]["containers"] = [ports | c for c in containers]
    made["spec"]["initContainers"] = [ports | {"restartPolicy": "Always"} | c for c in sidecars]
    made["spec"]["readinessGates"] = [{"conditionType": gate} for gate in gates]
    made["status"]["containerStatuses"] = list(statuses)
    return made


CLOSED = {"tcpSocket": {"port": 1}}
EXEC = {"exec": {"command": ["true"]}}
OPEN = {"tcpSocket": {"port": "http"}}


def named(name, **probes):
    return {"name": name, **probes}


async def test_of_a_hundred_containers_one_is_probed_at_a_time(server, monkeypatch):
    asked = []

    async def connect(*_):
        asked.append(asyncio.current_task())
        raise OSError

    monkeypatch.setattr(probe.asyncio, "open_connection", connect)
    many = [named(f"c{n}", readinessProbe=OPEN) for n in range(100)]
    assert not await is_ready(pod_view(several(server, *many)), server.port)
    assert len(asked) == 1


@pytest.mark.parametrize("last", [CLOSED, http(port=1), EXEC])
async def test_every_container_has_to_be_ready_not_only_the_first(server, last):
    first, app = named("proxy", readinessProbe=http()), named("app", readinessProbe=last)
    assert not await is_ready(pod_view(several(server, first, app)), server.port)
    assert not await is_ready(pod_view(several(server, app, first)), server.port)
    assert not await is_ready(pod_view(several(server, first, sidecars=[app])), server.port)
    both = several(server, first, named("app", readinessProbe=OPEN))
    assert await is_ready(pod_view(both), None)


@pytest.mark.parametrize("probe_of_app", [EXEC, {"grpc": {"port": 1}}, http(scheme="HTTPS")])
async def test_of_a_container_that_only_the_kubelet_can_ask_its_word_is_enough(
    server, probe_of_app
):
    containers = named("web", readinessProbe=http()), named("app", readinessProbe=probe_of_app)
    for ready in (False, True):
        status = {"name": "app", "ready": ready, "state": {"running": {}}}
        made = several(server, *containers, statuses=[status])
        assert await is_ready(pod_view(made), None) is ready


async def test_a_container_without_a_readiness_probe_has_to_run(server):
    containers = named("web", readinessProbe=http()), named("app")
    for state, ready in (("waiting", False), ("terminated", False), ("running", True)):
        status = {"name": "app", "ready": False, "state": {state: {}}}
        made = several(server, *containers, statuses=[status])
        assert await is_ready(pod_view(made), None) is ready


@pytest.mark.parametrize(("startup", "ready"), [(OPEN, True), (CLOSED, False), (EXEC, False)])
async def test_a_startup_probe_comes_before_the_readiness_probe(server, startup, ready):
    app = named("app", startupProbe=startup, readinessProbe=http())
    assert await is_ready(pod_view(several(server, app)), None) is ready
    assert bool(server.asked) is ready
    started = {"name": "app", "started": True, "state": {"running": {}}}
    assert await is_ready(pod_view(several(server, app, statuses=[started])), None)


async def test_a_startup_probe_of_a_container_without_any_other_has_to_pass(server):
    app = named("app", startupProbe=CLOSED)
    assert not await is_ready(pod_view(several(server, app)), server.port)
    started = {"name": "app", "started": True, "state": {"running": {}}}
    assert await is_ready(pod_view(several(server, app, statuses=[started])), server.port)


async def test_a_pod_waits_for_its_readiness_gates(server):
    made = several(server, named("app", readinessProbe=http()), gates=["example.org/ready"])
    assert not await is_ready(pod_view(made), None)
    assert server.asked == []
    made["status"]["conditions"].append({"type": "example.org/ready", "status": "True"})
    assert await is_ready(pod_view(made), None)


async def test_a_named_port_is_the_containers_own(server):
    web = {"name": "web", "ports": [{"name": "http", "containerPort": 1}], "readinessProbe": OPEN}
    app = named("app", readinessProbe=http())
    assert not await is_ready(pod_view(several(server, app, web)), None)
