"""Waking on request: everybody who waits is answered, once, by one wake."""

import pytest
from e2e.conftest import scale_ups
from e2e.kit import acted_once, gather_ok

pytestmark = pytest.mark.e2e


async def test_fifty_requests_at_once_from_zero_are_all_answered_by_one_scale_up(
    make_app, http, recorder, team
):
    app = await make_app("burst", idleAfter="10s")
    await app.asleep()
    before = scale_ups(team, app.name)
    await gather_ok([app.send(http) for _ in range(50)])
    assert scale_ups(team, app.name) - before == 1
    await acted_once(app, recorder)


async def test_a_request_wakes_a_sleeping_pool_while_the_operator_is_down(
    make_app, http, home, recorder
):
    app = await make_app("alone", idleAfter="5s")
    await app.asleep()
    home("scale", "deployment/kotatsu-operator", "--replicas=0")
    home("wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=operator")
    try:
        await app.send(http)
        await acted_once(app, recorder)
    finally:
        home("scale", "deployment/kotatsu-operator", "--replicas=1")
        home("rollout", "status", "deployment/kotatsu-operator")
    # Back again, the operator sees what happened and lets the pool sleep in its time.
    await app.asleep()
