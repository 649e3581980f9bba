"""Sleeping and waking again and again, under twenty clients of every protocol.

Ten times in `make test`, a thousand times in `make soak` (see soak.py).
"""

import asyncio
import time
import uuid

import pytest
from e2e.conftest import cluster_ip
from e2e.kit import App, config_map, pool, workload
from e2e.pools_of_namespace import PoolsOfNamespace
from e2e.repetition import count
from e2e.soak import ARENAS, CYCLES, Outcome
from e2e.stream import (
    Stream,
    over_a_kept_connection,
    over_a_websocket,
    over_connections_of_its_own,
    over_http2,
)
from e2e.watcher import NamespaceWatcher
from lightkube import AsyncClient

from kotatsu_operator.kube.client import Kube

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(4 * 3600),  # soak.py sees to it that it ends
]

WAYS = (over_a_kept_connection, over_connections_of_its_own, over_http2, over_a_websocket)

AT_ONCE = 10
"""Cycles after which the requests are counted."""

SPEC = {
    "scaling": {"idleAfter": "10m", "maxReplicas": 2, "targetConcurrency": 20},
    "drain": {"routeSettle": "1s", "timeout": "6s"},
}


def every_protocol(name, recorder, route):
    """The app with HTTP/2 beside HTTP/1.1 and WebSocket; for route Always without a selector."""
    deployment, service = workload(name, f"http://{recorder}")
    service["spec"]["ports"].append({"name": "h2c", "port": 81, "targetPort": "h2c"})
    if route == "Always":
        del service["spec"]["selector"]
    return config_map(), deployment, service, pool(name, route=route, **SPEC)


@pytest.mark.parametrize(("route", "share"), [("Auto", 1), ("Always", 10)])
async def test_sleeps_and_wakes_under_every_protocol_lose_and_repeat_nothing(
    route, share, platform, recorder, soak
):
    cycles = CYCLES // share if soak.is_long else CYCLES
    row = f"nothing: sleeps and wakes, route {route}"
    names = [f"cycles-{route.lower()}-{uuid.uuid4().hex[:4]}" for _ in range(ARENAS)]
    apps, client = [App(name, platform) for name in names], AsyncClient(field_manager="e2e-cycles")
    async with soak.turn():
        for app in apps:
            platform.apply(*every_protocol(app.name, recorder, route))
            app.address = cluster_ip(platform, app.name)
    wrong = []
    async with NamespaceWatcher(Kube(client), platform.namespace) as watcher:
        pools = PoolsOfNamespace(platform, client, watcher)
        await watcher.sees("accepted", lambda: all(pools.status(a).get("phase") for a in apps), 60)
        for chance in soak.chances(row, -(-cycles // AT_ONCE)):
            async with soak.turn():
                turns = (
                    turn_over(pools, app, recorder, min(cycles, AT_ONCE), chance) for app in apps
                )
                outcomes = await asyncio.gather(*turns)
            for outcome in outcomes:
                soak.add(row, outcome)
                wrong += outcome.wrong
    platform("delete", "warmpool", *names, "--wait=false")
    platform("delete", "deployment,service", *names, "--wait=false")
    await client.close()
    assert not wrong, f"KOTATSU_SOAK_SEED={soak.seed}: {wrong}"


async def turn_over(pools, app, recorder, cycles, chance):
    """So many sleeps and wakes under the stream, and what came of its requests."""
    wrong, slowest, slept = [], 0.0, 0
    async with Stream(app, clients=20, pause=1.0, ways=WAYS) as stream:
        for _ in range(cycles):
            began = time.monotonic()
            try:
                generation = await pools.ask_for_sleep(app)
                await pools.watcher.sees("slept", lambda g=generation: pools.has_slept(app, g), 120)
                slept += 1
                await pools.watcher.sees(
                    "awake", lambda: pools.status(app).get("phase") == "Warm", 120
                )
            except AssertionError as error:
                wrong.append(f"{app.name}: {error}")
                break
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.sleep(chance.uniform(0, 1))
    wrong += [f"{app.name}: {failure}" for failure in stream.failures[:5]]
    twice, unheard = await count([app], recorder)
    wrong += [f"answered, but never acted on: {unheard}"] if unheard else []
    wrong += ["acted on twice"] if twice else []
    return Outcome(
        transitions=slept,
        requests=stream.done + len(stream.failures) + stream.restarted,
        lost=len(stream.failures),
        forgiven=stream.restarted,
        twice=twice,
        converged=round(slowest, 2),
        wrong=tuple(wrong),
    )
