"""Every protocol through the splice of a real cluster, with real clients, from zero."""

import uuid

import grpc
import httpx
import pytest
from e2e.conftest import cluster_ip
from e2e.kit import HERE, App, gather_ok, pool, workload
from websockets.asyncio.client import connect

pytestmark = pytest.mark.e2e


def many_protocols(name):
    """A Deployment with two ports, and a Service that names one by name and one by number."""
    scripts = {"app.py": "protocols_app.py", "h2server.py": "h2server.py"}
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "protocols"},
        "data": {key: (HERE / file).read_text() for key, file in scripts.items()},
    }
    deployment, service = workload(name)
    spec = deployment["spec"]["template"]["spec"]
    spec["volumes"] = [{"name": "app", "configMap": {"name": "protocols"}}]
    (container,) = spec["containers"]
    container["lifecycle"] = {"preStop": {"sleep": {"seconds": 6}}}
    del service["spec"]["selector"]
    service["spec"]["ports"] = [
        {"name": "http", "port": 80, "targetPort": "http"},
        {"name": "grpc", "port": 81, "targetPort": 8081, "appProtocol": "kubernetes.io/h2c"},
    ]
    return config, deployment, service


@pytest.fixture
async def app(team):
    name = f"protocols-{uuid.uuid4().hex[:4]}"
    app = App(name, team)
    spec = {"route": "Activator", "idleAfter": "5s", "maxReplicas": 2}
    team.apply(*many_protocols(name), pool(name, **spec))
    await app.asleep()
    app.address = cluster_ip(team, name)
    yield app
    team("delete", "warmpool", name, "--wait=false")
    team("delete", "deployment,service", name, "--wait=false")


async def by_http1(app, n):
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        return (await http.post(f"http://{app.address}/", content=b"%d" % n)).content == b"%d" % n


async def by_http2(app, n):
    async with httpx.AsyncClient(timeout=60, trust_env=False, http1=False, http2=True) as http:
        answer = await http.post(f"http://{app.address}:81/", content=b"%d" % n)
        return (answer.http_version, answer.content) == ("HTTP/2", b"%d" % n)


async def by_grpc(app, n):
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"{app.address}:81", options=options) as channel:
        call = channel.unary_unary("/echo/Unary")(b"%d" % n, wait_for_ready=True, timeout=60)
        return await call == b"%d" % n


async def by_websocket(app, n):
    async with connect(f"ws://{app.address}/", open_timeout=60, proxy=None) as client:
        for message in (str(n), b"%d" % n):
            await client.send(message)
            assert await client.recv() == message
        return True


WAYS = [by_http1, by_http2, by_grpc, by_websocket]


async def test_sixty_clients_of_all_of_them_wake_one_pool_that_has_no_metric(app):
    assert await gather_ok([WAYS[n % 4](app, n) for n in range(60)]) == [True] * 60
    assert app.endpoints()["pods"] == set()
