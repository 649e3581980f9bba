"""A pool that comes down while requests are in flight: docs/protocol.md, Lowering.

The pods of these apps end hard: a request that is in a pod when it ends is cut.
"""

import asyncio
import contextlib
import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from unittest.mock import ANY

import httpx
import pytest
from e2e.conftest import cluster_ip
from e2e.kit import App, config_map, eventually, gather_ok, pool, workload
from websockets.asyncio.client import connect

pytestmark = pytest.mark.e2e

THREE = {"minReplicas": 1, "maxReplicas": 3, "idleAfter": "10m"}


def warm(replicas, seconds=600):
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    return {"mode": "Warm", "until": until.isoformat(), "replicas": replicas}


def ask_for(app, replicas):
    """Ask for so many pods by an override; 1: end it."""
    override = None if replicas == 1 else warm(replicas)
    app.kubectl.patch("warmpool", app.name, {"spec": {"override": override}})


async def has(app, replicas, within):
    await eventually(
        f"{replicas} pods",
        lambda: app.replicas() == replicas == len(app.pods()) == len(app.ready_pods()),
        within,
    )


@pytest.fixture
async def make_app(team, recorder):
    """Three pods. Of route Activator they end within a second, without a preStop."""
    made = []

    async def make(route, grace):
        name = f"lower-{uuid.uuid4().hex[:4]}"
        made.append(name)
        deployment, service = workload(name)
        spec = deployment["spec"]["template"]["spec"]
        spec["terminationGracePeriodSeconds"] = grace
        if route == "Activator":
            del spec["containers"][0]["lifecycle"]
        of = pool(name, route=route, override=warm(3), **THREE)
        team.apply(config_map(), deployment, service, of)
        app = App(name, team)
        await has(app, 3, 120)
        app.address = cluster_ip(team, name)
        return app

    yield make
    for name in made:
        team("delete", "warmpool", name, "--wait=false")
        team("delete", "deployment,service", name, "--wait=false")


@contextlib.asynccontextmanager
async def clients(app, http, *, most_ms, count=6):
    """Some clients that send one request after the other; the requests that have failed."""
    failed = []

    async def client(dice):
        while True:
            try:
                await app.send(http, ms=int(dice.uniform(10, 1) ** 2 / 100 * most_ms))
            except Exception as error:
                failed.append(repr(error))

    running = [asyncio.create_task(client(random.Random(n))) for n in range(count)]
    try:
        yield failed
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@pytest.mark.parametrize(("route", "grace"), [("Activator", 1), ("Auto", 16)])
async def test_a_step_down_waits_for_long_requests_and_cuts_none(make_app, http, route, grace):
    app = await make_app(route, grace)
    long = [asyncio.create_task(app.send(http, ms=25_000)) for _ in range(6)]
    await asyncio.sleep(5)
    async with clients(app, http, most_ms=4_000) as failed:
        ask_for(app, 1)
        await asyncio.sleep(12)
        assert app.replicas() > 1, "each pod has a long request"
        await gather_ok(long)
        await has(app, 1, 120)
        await asyncio.sleep(5)
    assert failed == []
    annotations = [pod["metadata"].get("annotations") or {} for pod in app.pods()]
    assert not any("controller.kubernetes.io/pod-deletion-cost" in one for one in annotations)


@pytest.mark.nightly
@pytest.mark.timeout(2400)
@pytest.mark.parametrize(
    ("route", "grace", "most_ms"), [("Activator", 1, 150_000), ("Auto", 40, 25_000)]
)
async def test_thirty_steps_in_ten_minutes_cut_no_request_of_any_length(
    make_app, route, grace, most_ms
):
    """A gauge of requests does not count a silent WebSocket, and later ones have a grace period."""
    app, dice, more = await make_app(route, grace), random.Random(7), []
    lowered = 0

    async def silent():
        async with connect(f"ws://{app.address}/echo", proxy=None, ping_interval=None) as client:
            for pause in (180, 0):
                await client.send(json.dumps({"request_id": uuid.uuid4().hex}))
                app.check(json.loads(await client.recv()), ANY)
                await asyncio.sleep(pause)

    async def upload():
        query = {"request_id": uuid.uuid4().hex, "ms": 500}
        answer = await http.post(app.url, params=query, content=b"x" * 2**24)
        app.check(answer.json(), query["request_id"])

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with (
        httpx.AsyncClient(timeout=300, limits=limits, trust_env=False) as http,
        clients(app, http, most_ms=most_ms, count=1) as long,
        clients(app, http, most_ms=1_000, count=6) as short,
    ):
        for n in range(30):
            ask_for(app, 3 if n % 2 == 0 else dice.choice((1, 2)))
            kind = silent if n % 15 == 0 and route == "Activator" else upload
            more.append(asyncio.create_task(kind()))
            before = app.replicas()
            await asyncio.sleep(20)
            lowered += app.replicas() < before
        ask_for(app, 1)
        await has(app, 1, 700)
        await gather_ok(more)
    assert long + short == []
    assert lowered >= 3
