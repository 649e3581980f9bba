"""Waking on request: everybody who waits is answered, once, by one wake."""

import asyncio

import pytest
from e2e.conftest import scale_ups
from e2e.kit import NO_IMAGE, acted_once, eventually, gather_ok

pytestmark = pytest.mark.e2e


async def test_fifty_requests_at_once_from_zero_are_all_answered_by_one_scale_up(
    make_app, http, recorder, platform
):
    app = await make_app("burst", scaling={"idleAfter": "10s"})
    await app.asleep()
    before = scale_ups(platform, app.name)
    await gather_ok([app.send(http) for _ in range(50)])
    assert scale_ups(platform, app.name) - before == 1
    await acted_once(app, recorder)


async def test_the_endpoints_are_pods_only_while_warm_and_activator_only_while_asleep(
    make_app, http
):
    app = await make_app("route", scaling={"idleAfter": "20s"})
    await app.asleep()
    asleep = await eventually("pods gone", lambda: not app.pods() and app.endpoints())
    assert asleep["activator"]
    assert not asleep["pods"]
    await app.send(http)
    warm = await eventually(
        "activator out of the way",
        lambda: (e := app.endpoints()) and not e["activator"] and e,
        within=20,
    )
    assert warm["pods"] == {p["status"]["podIP"] for p in app.ready_pods()}


async def test_probes_are_answered_and_never_wake(make_app, http):
    app = await make_app("probe", scaling={"idleAfter": "5s"})
    await app.asleep()
    for path in ("/livez", "/readyz", "/metrics", "/healthz?verbose=1"):
        response = await http.get(f"http://{app.address}{path}")
        assert response.status_code == 200
    await asyncio.sleep(2)
    assert app.replicas() == 0


async def test_a_connection_without_a_byte_does_not_wake(make_app):
    app = await make_app("silent", scaling={"idleAfter": "5s"})
    await app.asleep()
    _, writer = await asyncio.open_connection(app.address, 80)
    await asyncio.sleep(2)
    assert app.replicas() == 0
    writer.close()


async def test_a_request_wakes_a_sleeping_pool_while_the_operator_is_down(
    make_app, http, platform, recorder
):
    app = await make_app("alone", scaling={"idleAfter": "5s"})
    await app.asleep()
    platform("scale", "deployment/kotatsu-operator", "--replicas=0")
    platform("wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=operator")
    try:
        await app.send(http)
        await acted_once(app, recorder)
    finally:
        platform("scale", "deployment/kotatsu-operator", "--replicas=1")
        platform("rollout", "status", "deployment/kotatsu-operator")
    # Back again, the operator sees what happened and lets the pool sleep in its time.
    await app.asleep()


async def test_a_pool_whose_pod_never_becomes_ready_answers_503_with_retry_after(
    make_app, http, platform
):
    app = await make_app(
        "stuck", scaling={"idleAfter": "5s"}, wake={"holdTimeout": "3s", "maxHeld": 2}
    )
    await app.asleep()
    platform("set", "image", f"deployment/{app.name}", f"app={NO_IMAGE}")
    # Two activators hold two each, and a connection that has once been refused stays refused.
    responses = await asyncio.gather(
        *(http.post(app.url, params={"request_id": "x"}) for _ in range(12))
    )
    for response in responses:
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        assert response.headers["content-type"] == "application/problem+json"
    said = [response.json()["detail"] for response in responses]
    assert sum("in time" in detail for detail in said) <= 4
    assert any("in time" in detail for detail in said)
    assert any("too many" in detail for detail in said)
