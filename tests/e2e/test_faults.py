"""Faults that want a moment or an order of their own; test_transitions.py has those that do not.

`KOTATSU_E2E_OUTAGE` is how many seconds the API server is away for (default 12).
"""

import asyncio
import contextlib
import json
import logging
import os
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import yaml
from e2e.conftest import cluster_ip, start_app
from e2e.kit import acted_once, eventually, gather_ok, wall
from e2e.operators import Operators
from e2e.stream import Stream

from kotatsu_node import Node
from kotatsu_operator.controller.election import GROWTH, LONGEST

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

log = logging.getLogger(__name__)

OUTAGE = float(os.environ.get("KOTATSU_E2E_OUTAGE", "12"))
STILL_AWAKE = 20.0
"""Seconds after its last answer: had there been no outage, a pool that is idle after 4 s slept."""
SPEC = {"idleAfter": "60s", "maxReplicas": 2}


@pytest.fixture
def node(on_node):
    """The throwaway node; whatever was stopped of it runs again afterwards."""
    if not on_node:
        pytest.skip("stopping parts of Kubernetes needs tools/node")
    node = Node.open()
    yield node
    node.up()


@pytest.fixture
async def start_operator(bare):
    """Start operators as processes: start_operator(**environment)."""
    operators = Operators(bare.namespace)
    yield operators.start
    await operators.end()


async def new_app(bare, name, **spec):
    """An app in the namespace without an operator of its own (one must run by now)."""
    return await start_app(bare, f"{name}-{uuid.uuid4().hex[:4]}", **{**SPEC, **spec})


class Proxy:
    """A TCP proxy in front of the API server that can stop passing on what the server says."""

    def __init__(self, host, port):
        self._target = (host, port)
        self._open = set()
        self._tasks = set()
        self.silenced = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def fall_silent(self):
        """The connections there are stay open and bring nothing more; new ones work."""
        self.silenced |= self._open

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        connection = object()
        self._open.add(connection)
        to_server = None
        with contextlib.suppress(OSError, asyncio.CancelledError):
            from_server, to_server = await asyncio.open_connection(*self._target)
            await asyncio.wait(
                [
                    asyncio.ensure_future(self._pump(reader, to_server)),
                    asyncio.ensure_future(self._pump(from_server, writer, connection)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        self._open.discard(connection)
        for end in (writer, to_server):
            if end is not None:
                end.close()

    async def _pump(self, source, sink, connection=None):
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if connection not in self.silenced:
                    sink.write(data)
                    await sink.drain()


def kubeconfig():
    return yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())


@pytest.mark.nightly
async def test_a_watch_that_goes_silent_is_noticed_and_nobody_waits_for_it(
    bare, start_operator, http, tmp_path
):
    """The stream of changes stays open and says nothing, as behind a broken load balancer."""
    config = kubeconfig()
    cluster = config["clusters"][0]["cluster"]
    server = httpx.URL(cluster["server"])
    async with Proxy(server.host, server.port) as proxy:
        cluster["server"] = f"https://127.0.0.1:{proxy.port}"
        proxied = tmp_path / "kubeconfig"
        proxied.write_text(json.dumps(config))
        await start_operator(KUBECONFIG=str(proxied))
        app = await new_app(bare, "silent", idleAfter="5s")
        await app.asleep()
        proxy.fall_silent()
        assert proxy.silenced
        # The operator sees nothing of this request, nor of the pod that is started for it.
        await gather_ok([app.send(http) for _ in range(10)])
        await app.asleep(within=75)
    await acted_once(app, cluster_ip(bare, "recorder"))


@pytest.mark.alone
@pytest.mark.parametrize("until", ["awake", pytest.param("asleep", marks=pytest.mark.nightly)])
async def test_while_the_api_server_is_away_warm_is_served_and_the_rest_waits_or_is_told(
    until, node, make_app, recorder, team
):
    """Also a window opens meanwhile: as late as the outage makes it, and it says so."""
    warm = await make_app("warm", idleAfter="10m", maxReplicas=1)
    brief = await make_app("brief", idleAfter="4s", holdTimeout="5s")
    patient = await make_app("patient", idleAfter="4s", holdTimeout=f"{OUTAGE + 120:.0f}s")
    window = await make_app("window", idleAfter="4s", lead="4s")
    for app in (brief, patient, window):
        await app.asleep()
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        await warm.send(http)
    await eventually("warm", lambda: warm.phase() == "Warm")
    await eventually("pods only", lambda: not warm.endpoints()["activator"], within=30)
    opens = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=OUTAGE / 2 + 6)
    entry = {"name": "demo", "start": wall(opens), "end": wall(opens + timedelta(minutes=10))}
    team.patch("warmpool", window.name, {"spec": {"windows": [{**entry, "replicas": 1}]}})
    await eventually("window seen", lambda: window.status().get("nextTransition"))
    async with Stream(warm, clients=2, pause=0.1) as stream:
        # A crash: one that ends in order takes its address out of Service `kubernetes`, and
        # kube-proxy may be half a minute late to hear of its return.
        await asyncio.to_thread(node.kill, "kube-apiserver")
        stopped = time.monotonic()
        async with httpx.AsyncClient(timeout=180 + OUTAGE, trust_env=False) as http:
            waiting = [asyncio.create_task(patient.send(http)) for _ in range(5)]
            for response in await asyncio.gather(
                *(http.post(brief.url, params={"request_id": "in vain"}) for _ in range(5))
            ):
                assert response.status_code == 503
                assert int(response.headers["retry-after"]) > 0
            await asyncio.sleep(max(0.0, stopped + OUTAGE - time.monotonic()))
            served = stream.done
            assert not any(task.done() for task in waiting)
            await asyncio.to_thread(node.start, "kube-apiserver")
            await eventually("API", lambda: api_is_ready(node), within=60)
            back = time.monotonic()
            await eventually("window's scale", lambda: window.replicas() == 1, within=60)
            raised = time.monotonic() - back
            await gather_ok(waiting)
            answered = time.monotonic() - back
        opening = await eventually(
            "window Ready",
            lambda: (o := window.status().get("lastOpening") or {}).get("early") and o,
            within=90,
        )
        ready = time.monotonic() - back
    log.warning(
        "after the API server: scale raised %.1f s, held answered %.1f s, window Ready %.1f s: %s",
        *(raised, answered, ready, opening),
    )
    assert not stream.failures, stream.failures[:5]
    assert served > OUTAGE
    await acted_once(warm, recorder)
    await acted_once(patient, recorder)
    # Until here it is ours; then Kubernetes' own controllers have to come back (client-go waits up
    # to 30 s between its tries).
    assert raised < 10
    assert opening["cold"] is True
    assert opening["early"].startswith("-")
    # Kube-proxy may lag behind for 5 s and GROWTH x the outage, and until then no pod is taken
    # (controller/election.py), however long it has been idle.
    if until == "awake":
        await asyncio.sleep(max(0.0, back + answered + STILL_AWAKE - time.monotonic()))
        assert patient.replicas() == 1
    else:
        await patient.asleep(within=LONGEST + 60)
        assert time.monotonic() - back > 0.9 * GROWTH * OUTAGE


def api_is_ready(node):
    return not node.status().checks["api"]
