"""Why a pool is awake: the activators say it, since the API server keeps no owner of replicas 0."""

import pytest
from apiserver.kit import eventually

pytestmark = pytest.mark.apiserver


def is_awake(app):
    return app.phase() in ("Warming", "Warm")


async def test_requests_that_wake_a_pool_soon_after_each_sleep_are_named_and_are_flapping(
    make_app, http
):
    app = await make_app("again", idleAfter="5s")
    for _ in range(3):  # from the second on it is the operator that has set the scale to 0
        await app.asleep()
        await app.send(http)
        await eventually("awake", lambda: is_awake(app), every=0.05)
        assert app.status()["reason"] == "Request"
    assert app.conditions()["DurationsFit"]["reason"] == "Flapping"


async def test_a_scale_that_no_activator_has_raised_is_demand(make_app, platform, http):
    app = await make_app("by-hand", idleAfter="3s")
    await app.send(http)
    await eventually("awake", lambda: is_awake(app), every=0.05)
    await app.asleep()
    platform("scale", "deployment", app.name, "--replicas=1")
    await eventually("awake", lambda: is_awake(app), every=0.05)
    assert app.status()["reason"] == "Demand"
