"""What breaks in the middle of a transition, and needs no container for that.

Operators and activators are killed, the operator's clock jumps, pools are edited, metrics are bad.
"""

import asyncio
import itertools
import random
from datetime import timedelta

import pytest
from apiserver.conftest import apps_of, install_platform
from apiserver.kit import asked_all_the_time, eventually
from apiserver.kubelet import STARTS_AFTER
from apiserver.programs import Ahead, Fate
from e2e.kit import acted_once, asleep_override, wall
from e2e.parked import FULL, SMALL, have, restarts

pytestmark = pytest.mark.apiserver

PARKED = {"idleAfter": "3s", "parkedFor": "10m"}


@pytest.fixture(scope="module")
def fate():
    """What the operator of `doomed` dies of. It starts again in its pod, and leads at once."""
    return Fate()


@pytest.fixture(scope="module")
def doomed(make_namespace, fate):
    """A namespace whose operator a test kills."""
    kubectl = make_namespace("doomed", fate=fate)
    asyncio.run(install_platform(kubectl, "parked.enabled=true"))
    return kubectl


@pytest.fixture
async def make_app_there(doomed):
    """Start apps where the operator is killed."""
    async with apps_of(doomed) as make:
        yield make


def operator(kubectl):
    [pod] = kubectl.items("pods", **{"app.kubernetes.io/component": "operator"})
    return pod


async def died(fate, kubectl, before):
    """Wait until the operator has died of its last write and started again."""
    await eventually("died", lambda: not fate.last_write, every=0.02)
    await eventually("again", lambda: restarts([operator(kubectl)]) != before)


def ask(app, mode="Asleep", replicas=None):
    """Give a pool an override that it has not had before."""
    override = asleep_override() | {"mode": mode, "replicas": replicas}
    app.kubectl.patch("warmpool", app.name, {"spec": {"override": override}})


async def sleep(app):
    """Let a pool sleep once; requests wake it again."""
    ask(app)
    asked = app.pool()["metadata"]["generation"]

    def has_slept():
        # Until the operator has seen the edit, the status tells of the sleep before.
        is_about_this = app.status()["observedGeneration"] >= asked
        override = app.status().get("internal", {}).get("override") or {}
        return is_about_this and override.get("done")

    await eventually("slept", has_slept)


async def test_an_operator_that_dies_after_any_of_its_writes_loses_nothing(
    make_app_there, doomed, fate, http, recorder
):
    app = await make_app_there("steps", idleAfter="60s", maxReplicas=3)
    async with asked_all_the_time(app, http):
        await eventually("Warm", lambda: app.phase() == "Warm")
        for mode, replicas, last_write in (
            ("Asleep", None, "phase Draining"),
            ("Asleep", None, "phase Sleeping"),
            ("Asleep", None, "scale 0"),
            ("Warm", 2, "phase Warming"),
            ("Warm", 2, "phase Warm"),
            ("Warm", 3, "scale 3"),
        ):
            before = restarts([operator(doomed)])
            fate.last_write = last_write
            ask(app, mode, replicas)
            await died(fate, doomed, before)
        await eventually("three pods", lambda: len(app.ready_pods()) == 3)
        await sleep(app)
    assert len(app.sent) > 20
    await acted_once(app, recorder)


@pytest.fixture
def slowly(doomed):
    """Let the operator start again only when it is told to, so that a test can look in between."""
    name = operator(doomed)["metadata"]["name"]

    def start_after(seconds):
        doomed.patch("pod", name, {"metadata": {"annotations": {STARTS_AFTER: seconds}}})

    start_after("3600")
    yield lambda: start_after("0")
    start_after("0")


async def test_the_next_operator_parks_what_the_one_before_has_only_announced(
    make_app_there, doomed, fate, http, slowly
):
    app = await make_app_there("announced", **PARKED | {"idleAfter": "1h"})
    await app.send(http)
    await eventually("Ready", app.ready_pods)
    before, running = restarts([operator(doomed)]), restarts(app.ready_pods())
    fate.last_write = "phase Parked"
    doomed.patch("warmpool", app.name, {"spec": {"idleAfter": "1s"}})
    await eventually("died", lambda: not fate.last_write, every=0.02)
    assert have(app, FULL)
    slowly()
    await died(fate, doomed, before)
    await eventually("small requests", lambda: have(app, SMALL))
    assert restarts(app.ready_pods()) == running


async def test_the_next_operator_goes_on_after_one_that_has_restored(
    make_app_there, doomed, fate, http
):
    app = await make_app_there("restored", **PARKED)
    await app.send(http)
    await eventually("small requests", lambda: have(app, SMALL))
    before, running = restarts([operator(doomed)]), restarts(app.ready_pods())
    fate.last_write = "phase Warm"
    async with asked_all_the_time(app, http, clients=1):
        await died(fate, doomed, before)
        await eventually("full requests", lambda: have(app, FULL))
    await eventually("small requests again", lambda: have(app, SMALL))
    assert restarts(app.ready_pods()) == running


@pytest.fixture(scope="module")
def clock():
    return Ahead()


@pytest.fixture(scope="module")
def jumping(make_namespace, clock):
    """A namespace whose operator has a clock that jumps."""
    kubectl = make_namespace("jumping", clock)
    asyncio.run(install_platform(kubectl))
    return kubectl


async def test_a_clock_that_jumps_an_hour_ahead_opens_a_window_and_back_the_pool_sleeps_on_time(
    jumping, clock, http, recorder
):
    opens = clock() + timedelta(minutes=30)
    window = {"name": "later", "start": wall(opens), "replicas": 1}
    window["end"] = wall(opens + timedelta(hours=2))
    async with apps_of(jumping) as make:
        app = await make("jumps", idleAfter="1s", windows=[window])
        down = ("Draining", "Sleeping", "Asleep")
        await eventually("on its way down", lambda: app.phase() in down, every=0.02)
        clock.by = timedelta(hours=1)
        await eventually("in its window", lambda: app.status().get("activeWindow") == "later")
        await eventually("Warm", lambda: app.phase() == "Warm")
        async with asked_all_the_time(app, http):
            await eventually("only the pods", lambda: not app.endpoints()["activator"])
        await asyncio.sleep(1)  # nothing but the clock lets the operator look again
        assert app.phase() == "Warm"
        clock.by = timedelta()
        # Some minutes later something else would let it look, such as the activator's next write.
        await app.asleep(within=60)
        await app.send(http)
        await acted_once(app, recorder)


async def test_pools_that_are_edited_all_the_time_sleep_and_wake_and_lose_nothing(
    make_app, platform, http, recorder
):
    app = await make_app("edited", idleAfter="60s")

    async def edit():
        for number in itertools.count():
            platform.patch("warmpool", app.name, {"spec": {"maxReplicas": 3 + number % 2}})
            # Between two of them there is sometimes time for the operator's look and write.
            await asyncio.sleep(random.uniform(0, 0.5))

    editing = asyncio.create_task(edit())
    async with asked_all_the_time(app, http):
        await sleep(app)
        ask(app, "Warm", 2)
        await eventually("two pods", lambda: len(app.ready_pods()) == 2)
        await sleep(app)
    assert not editing.done()
    editing.cancel()
    await asyncio.gather(editing, return_exceptions=True)
    await acted_once(app, recorder)


async def test_the_slices_of_a_killed_activator_go_with_it(make_app, platform):
    app = await make_app("sweep", idleAfter="1s")
    await app.asleep()
    former = await eventually("in the route", lambda: app.endpoints()["activator"])
    component = "app.kubernetes.io/component=activator"
    now = ("--grace-period=0", "--force", "--wait=false")
    platform("delete", "pod", "-l", component, *now)
    await eventually(
        "only the next one is an endpoint",
        lambda: (found := app.endpoints()["activator"]) and found.isdisjoint(former),
    )


async def test_metrics_that_hang_or_never_end_or_tell_nonsense_concern_their_own_pool_only(
    make_app, http, recorder
):
    bad = [
        await make_app(
            how,
            idleAfter="1s",
            inFlightMetric={"port": "http", "path": f"/metrics/{how}"},
        )
        for how in ("hanging", "huge", "lying")
    ]
    good = await make_app("good", idleAfter="3s")
    for app in (*bad, good):
        async with asked_all_the_time(app, http, clients=1):
            await eventually("Warm", lambda: app.phase() == "Warm")  # noqa: B023
    await good.asleep()
    # By now each of the others has been idle for longer than its idleAfter, and nobody knows.
    # A page that never ends is none. In its own namespace the operator changes no Service for that.
    _, endless, _ = bad
    for app in bad:
        assert (app.phase(), app.replicas()) == ("Warm", 1)
    await eventually(
        "refused",
        lambda: endless.conditions()["Accepted"]["reason"] == "SelectorNotPermitted",
    )
    assert (endless.phase(), endless.replicas()) == ("Warm", 1)
    for app in (*bad, good):
        await acted_once(app, recorder)
