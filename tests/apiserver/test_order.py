"""A chain of pools (spec.dependsOn): each starts once the one before is Ready, and sleeps first."""

import asyncio
import random
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from apiserver.app import serving
from apiserver.conftest import install_platform, start_app
from apiserver.kit import eventually
from apiserver.kubelet import STARTS_AFTER
from e2e.kit import acted_once, is_ending, stamp
from e2e.parked import restarts

pytestmark = pytest.mark.apiserver

STARTS = {"db": 2.0, "api": 1.5, "web": 1.0}
"""The seconds that each app takes to start, in order."""
QUICK = {"idleAfter": "2s"}


@pytest.fixture
async def chain(make_namespace):
    """Three sleeping apps in a namespace of their own; none depends on another yet."""
    kubectl = make_namespace("order")
    await install_platform(kubectl)
    made = []
    for name, seconds in STARTS.items():
        app = await start_app(kubectl, name, **QUICK)
        late = {"metadata": {"annotations": {STARTS_AFTER: str(seconds)}}}
        kubectl.patch("deployment", name, {"spec": {"template": late}})
        made.append(app)
    for app in made:
        await app.asleep()
    return made


async def order(chain):
    """Let each app depend on the one before."""
    for first, then in pairwise(chain):
        then.kubectl.patch("warmpool", then.name, {"spec": {"dependsOn": [first.name]}})
        generation = then.pool()["metadata"]["generation"]
        await eventually("seen", lambda: then.status()["observedGeneration"] == generation)  # noqa: B023


def serves(app):
    """Whether a pod that stays takes requests. The activator may know before the kubelet says."""
    return any(p["metadata"]["name"] in serving for p in app.pods() if not is_ending(p))


@asynccontextmanager
async def watched(chain):
    """Look all the time at who has pods: an app never has one while what it needs does not serve.

    Gives what was seen that must not be.
    """
    broken = []

    def look():
        # The dependent one first, and again: it may have gone meanwhile.
        for first, then in pairwise(chain):
            if then.pods() and not serves(first) and then.pods():
                broken.append(f"{then.name} has a pod, and {first.name} has none that serves")
        broken.extend(
            f"{app.name} was started again"
            for app in chain
            if any(restarts(app.ready_pods()).values())
        )

    async def look_on():
        while True:
            await asyncio.to_thread(look)
            await asyncio.sleep(0.05)

    looking = asyncio.create_task(look_on())
    yield broken
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)


@pytest.mark.nightly
async def test_the_first_answer_takes_as_long_as_the_starts_one_after_the_other(chain, http):
    path = 0.0
    for app in chain:
        path += await took(app, http)
    for app in chain:
        await app.asleep()
    await order(chain)
    *_, web = chain
    whole = await took(web, http)
    assert sum(STARTS.values()) <= whole <= 1.15 * path, f"{whole:.2f} s for {path:.2f} s"


async def took(app, http):
    began = time.monotonic()
    await app.send(http)
    return time.monotonic() - began


@pytest.mark.parametrize("cycles", [3, pytest.param(100, marks=pytest.mark.soak)])
@pytest.mark.timeout(3600)
async def test_under_load_they_start_in_order_and_sleep_in_reverse(chain, http, recorder, cycles):
    await order(chain)
    db, api, web = chain

    async def ask(pause):
        await asyncio.sleep(pause)
        await web.send(http, ms=20)
        await asyncio.gather(api.send(http, ms=20), db.send(http, ms=20))

    async with watched(chain) as broken:
        for cycle in range(cycles):
            # Also while they go to sleep, at any step.
            pauses = [0.0, *(random.uniform(0, 9) for _ in range(10))]
            await asyncio.gather(*map(ask, pauses))
            if cycle % 2 or cycle == cycles - 1:
                await db.asleep(60)
                assert (api.phase(), web.phase()) == ("Asleep", "Asleep")
    assert broken == []
    for app in chain:
        await acted_once(app, recorder)


async def test_ready_pods_of_a_suspended_pool_count_and_it_keeps_no_other_awake(make_app, platform):
    db = await make_app("db", **QUICK)
    web = await make_app("web", **QUICK, dependsOn=[db.name])
    await db.asleep()
    platform.patch("warmpool", db.name, {"spec": {"suspend": True}})
    platform("scale", "deployment", db.name, "--replicas=1")
    until = stamp(datetime.now(UTC) + timedelta(minutes=5))
    platform.patch("warmpool", web.name, {"spec": {"override": {"mode": "Warm", "until": until}}})
    await eventually("Warm", lambda: web.phase() == "Warm")
    assert db.phase() == "Asleep"
    platform.patch("warmpool", web.name, {"spec": {"suspend": True}})
    platform.patch("warmpool", db.name, {"spec": {"suspend": False}})
    await db.asleep()
    assert (web.phase(), len(web.ready_pods())) == ("Warm", 1)
