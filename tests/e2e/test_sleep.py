"""Going to sleep under traffic: nothing lost, nothing done twice, no pod left behind."""

import asyncio
import time
import uuid

import pytest
from e2e.conftest import cluster_ip, start_app
from e2e.kit import acted_once, asleep_override, eventually, gather_ok

from kotatsu_operator.controller.scale_down import SleepStep

pytestmark = pytest.mark.e2e

CONNECTED_WITHIN = 10.0
"""Seconds. With thousands of connections a port comes again whose last one ended with its pod: the
node's connection tracking may still send the packets to that pod, for as long as they come."""


class Injector:
    """Stops the operator once before each step for as long as it takes to send requests there."""

    def __init__(self, act):
        self.act = act
        self.steps = list(SleepStep)
        self.loop = asyncio.get_running_loop()

    async def __call__(self, pool, step):
        if self.steps and step is self.steps[0]:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.act(), self.loop))
            self.steps.pop(0)


@pytest.mark.nightly
async def test_requests_between_any_two_steps_of_the_sleep_are_answered_once(
    bare, operator_with, http
):
    long = []

    async def act():
        long.append(asyncio.create_task(app.send(http, ms=4000)))
        await gather_ok([app.send(http) for _ in range(5)])

    injector = Injector(act)
    operator_with(hook=injector)
    name = f"step-{uuid.uuid4().hex[:4]}"
    app = await start_app(bare, name, idleAfter="3s", maxReplicas=1)
    await app.send(http)
    await eventually("interrupted before each step", lambda: not injector.steps)
    await gather_ok(long)
    await app.asleep()
    await eventually("no pod left behind", lambda: not app.pods())
    await acted_once(app, cluster_ip(bare, "recorder"))


async def test_a_pool_sleeps_when_it_is_told_to_however_many_requests_come(make_app):
    """A hundred a second, each announced, each a new version of the pool."""
    app = await make_app(
        "flood",
        idleAfter="10m",
        maxReplicas=1,
    )
    over, wrong, hung = asyncio.Event(), [], []

    async def hurry():
        while not over.is_set():
            try:
                async with asyncio.timeout(CONNECTED_WITHIN):
                    reader, writer = await asyncio.open_connection(app.address, 80)
            except TimeoutError:
                hung.append(time.monotonic())
                continue
            writer.write(b"GET /hits HTTP/1.1\r\nHost: flood\r\nConnection: close\r\n\r\n")
            said = await reader.read()
            if not said.startswith(b"HTTP/1.1 200"):
                wrong.append(said)
            writer.close()

    async with asyncio.TaskGroup() as hurrying:
        for _ in range(60):
            hurrying.create_task(hurry())
        await eventually("awake", lambda: app.phase() == "Warm")
        app.kubectl.patch("warmpool", app.name, {"spec": {"override": asleep_override()}})
        known = lambda: app.status().get("internal", {}).get("override") or {}  # noqa: E731
        await eventually("slept", lambda: known().get("done"))
        await eventually("awake", lambda: app.phase() == "Warm")
        over.set()
    assert not wrong
    assert len(hung) < 10, hung


async def test_deleting_a_sleeping_pool_gives_its_target_back_and_turns_nobody_away(
    make_app, team, http, recorder
):
    app = await make_app("deleted", idleAfter="4s")
    await app.asleep()
    team("delete", "warmpool", app.name)
    await gather_ok([app.send(http) for _ in range(10)])
    assert app.replicas() == 1
    await eventually("pods only", lambda: not app.endpoints()["activator"])
    await acted_once(app, recorder)
