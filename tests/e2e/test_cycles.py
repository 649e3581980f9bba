"""Sleeping and waking, parking and restoring again and again, under clients of every protocol.

A few times in `make e2e`, a thousand times in `make soak` (see soak.py).
"""

import asyncio
import time
import uuid
from functools import partial

import pytest
from e2e.conftest import cluster_ip
from e2e.kit import App, config_map, pool, workload
from e2e.parked import FULL, SMALL, given, requested, restarts
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
    "idleAfter": "10m",
    "maxReplicas": 2,
    "requestsPerPod": 20,
}


PARKED = SPEC | {
    "idleAfter": "2s",
    "maxReplicas": 1,
    "requestsPerPod": 20,
    "parkedFor": "24h",
}

MOMENTS = 1.5
"""Seconds from when a pool is parked until its clients send again, at most."""


def every_protocol(name, recorder, route, spec):
    """The app with HTTP/2 beside HTTP/1.1 and WebSocket; for route Activator without a selector."""
    deployment, service = workload(name, f"http://{recorder}")
    service["spec"]["ports"].append({"name": "h2c", "port": 81, "targetPort": "h2c"})
    if route == "Activator":
        del service["spec"]["selector"]
    return config_map(), deployment, service, pool(name, route=route, **spec)


ROUTES = pytest.mark.parametrize(("route", "share"), [("Auto", 1), ("Activator", 10)])
"""Which part of the cycles each gets in `make soak`."""


@ROUTES
async def test_sleeps_and_wakes_under_every_protocol_lose_and_repeat_nothing(
    route, share, team, recorder, soak
):
    row = f"nothing: sleeps and wakes, route {route}"
    make = partial(every_protocol, recorder=recorder, route=route, spec=SPEC)
    await again_and_again(row, share, team, make, partial(turn_over, recorder), soak)


@pytest.mark.nightly
@ROUTES
async def test_parked_and_restored_under_every_protocol_nothing_is_lost_and_no_pod_restarts(
    route, share, parking, soak
):
    row = f"nothing: parked and restored, route {route}"
    recorder = cluster_ip(parking, "recorder")
    make = partial(every_protocol, recorder=recorder, route=route, spec=PARKED)
    # With route Activator the last byte of a silent HTTP/2 client, and what a WebSocket client
    # answers to its server's pings, count as a request for 30 s: the pool would hardly be idle.
    ways = WAYS if route == "Auto" else (over_a_kept_connection, over_connections_of_its_own)
    await again_and_again(row, share, parking, make, partial(park_over, recorder, ways), soak)


async def again_and_again(row, share, kubectl, make, turn, soak):
    """Cycles of ARENAS apps at the same time; `turn` does some of them to one app."""
    cycles = CYCLES // share if soak.is_long else CYCLES
    apps = [App(f"cycles-{uuid.uuid4().hex[:6]}", kubectl) for _ in range(ARENAS)]
    client = AsyncClient(field_manager="e2e-cycles")
    async with soak.turn():
        for app in apps:
            kubectl.apply(*make(app.name))
            app.address = cluster_ip(kubectl, app.name)
    wrong = []
    async with NamespaceWatcher(Kube.connect("e2e-cycles"), kubectl.namespace) as watcher:
        pools = PoolsOfNamespace(kubectl, client, watcher)
        await watcher.sees("accepted", lambda: all(pools.status(a).get("phase") for a in apps), 60)
        for chance in soak.chances(row, -(-cycles // AT_ONCE)):
            async with soak.turn():
                turns = (turn(pools, app, min(cycles, AT_ONCE), chance) for app in apps)
                outcomes = await asyncio.gather(*turns)
            for outcome in outcomes:
                soak.add(row, outcome)
                wrong += outcome.wrong
    names = [app.name for app in apps]
    kubectl("delete", "warmpool", *names, "--wait=false")
    kubectl("delete", "deployment,service", *names, "--wait=false")
    await client.close()
    assert not wrong, f"KOTATSU_SOAK_SEED={soak.seed}: {wrong}"


async def turn_over(recorder, pools, app, cycles, chance):
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
    return await judged(app, recorder, stream, slept, slowest, wrong)


async def judged(app, recorder, stream, transitions, slowest, wrong):
    """What came of the requests of a stream that is over."""
    wrong += [f"{app.name}: {failure}" for failure in stream.failures[:5]]
    twice, unheard = await count([app], recorder)
    wrong += [f"answered, but never acted on: {unheard}"] if unheard else []
    wrong += ["acted on twice"] if twice else []
    return Outcome(
        transitions=transitions,
        requests=stream.done + len(stream.failures) + stream.restarted,
        lost=len(stream.failures),
        forgiven=stream.restarted,
        twice=twice,
        converged=round(slowest, 2),
        wrong=tuple(wrong),
    )


async def park_over(recorder, ways, pools, app, cycles, chance):
    """So many parks and restores under a stream that pauses; what came of its requests."""
    wrong, slowest, done = [], 0.0, 0

    def pods():
        return pools.watcher.pods(app.name)

    def is_(phase):
        return pools.status(app).get("phase") == phase

    def has(phase, cpu):
        return is_(phase) and [(requested(p), given(p)) for p in pods()] == [(cpu, cpu)]

    async with Stream(app, clients=20, pause=0.1, ways=ways) as stream:
        await pools.watcher.sees("awake", lambda: has("Warm", FULL), 60)
        before = restarts(pods())
        for _ in range(cycles):
            try:
                stream.halt()
                if chance.random() < 0.5:  # before, while or after the pod is resized
                    await pools.watcher.sees("parked", lambda: is_("Parked"), 60)
                else:
                    await pools.watcher.sees("small", lambda: has("Parked", SMALL), 60)
                done += 1
                await asyncio.sleep(chance.uniform(0, MOMENTS))
                began = time.monotonic()
                stream.flow()
                await pools.watcher.sees("restored", lambda: has("Warm", FULL), 60)
                slowest = max(slowest, time.monotonic() - began)
                await asyncio.sleep(chance.uniform(0, 1))
            except AssertionError as error:
                wrong.append(f"{app.name}: {error}")
                break
        after = restarts(pods())
    wrong += [f"{app.name}: other pods, or restarts: {before} {after}"] if after != before else []
    return await judged(app, recorder, stream, done, slowest, wrong)
