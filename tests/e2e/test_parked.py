"""Parked pods: the app stays, loaded and Ready, and only what it requests shrinks."""

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from e2e.conftest import apps_of, cluster_ip
from e2e.kit import (
    APP_IMAGE,
    acted_once,
    eventually,
    gather_ok,
    kill_containers,
    wall,
)
from e2e.operators import Operators, killed
from e2e.parked import FULL, SMALL, free_cpu, have, requested, restarts, weight
from e2e.stream import Stream, over_connections_of_its_own

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

QUICK = {
    "scaling": {"idleAfter": "3s", "maxReplicas": 3},
    "drain": {"routeSettle": "1s"},
    "parked": {"for": "10m"},
}


@pytest.fixture
async def make_parked(parking):
    """Start apps where pods may be parked."""
    async with apps_of(parking) as make:
        yield make


async def parked(app, pods=1, within=60.0):
    """Wait until so many pods are parked; returns them."""
    await eventually(f"{app.name} parked", lambda: app.phase() == "Parked", within)
    await eventually("small requests", lambda: have(app, SMALL, pods), within)
    return app.ready_pods()


async def restored(app, pods=1, within=30.0):
    """Wait until the pool is Warm and so many pods have their full requests."""
    await eventually("full requests", lambda: have(app, FULL, pods), within, every=0.01)
    await eventually("Warm", lambda: app.phase() == "Warm", within)


async def test_an_idle_app_is_parked_and_a_request_restores_it(make_parked, parking, http, on_node):
    app = await make_parked("parked", **QUICK)
    first = (await app.send(http)).json()["pod"]
    full = await eventually("Ready", app.ready_pods)
    before, shares = restarts(full), weight(full[0]) if on_node else 0
    small = await parked(app)
    assert restarts(small) == before
    if on_node:
        await eventually("a smaller share", lambda: weight(small[0]) < shares, within=10)
    await eventually("both in the route", lambda: len(app.endpoints()["activator"]) == 2, within=20)
    assert app.endpoints()["pods"]
    assert app.conditions()["Parked"]["status"] == "True"

    began = time.monotonic()
    answer = await app.send(http)
    answered = time.monotonic() - began
    assert answer.json()["pod"] == first
    await restored(app)
    log.info(
        "parked: answered after %.3f s, restored after %.3f s", answered, time.monotonic() - began
    )
    await eventually("only the pods", lambda: not app.endpoints()["activator"], within=30)
    if on_node:
        await eventually("its share again", lambda: weight(small[0]) == shares, within=10)
    assert restarts(app.ready_pods()) == before
    await parked(app)
    await acted_once(app, cluster_ip(parking, "recorder"))


async def test_a_parked_app_sleeps_when_its_time_is_over_and_wakes_in_full(make_parked, http):
    app = await make_parked("over", **QUICK | {"parked": {"for": "6s"}})
    await app.send(http)
    await parked(app)
    await app.asleep()
    await eventually("nothing is reduced", lambda: "reduced" not in app.status(), within=30)
    await app.send(http)
    [pod] = await eventually("a Ready pod", app.ready_pods)  # the activator knows it earlier
    assert requested(pod) == FULL


async def test_a_window_has_parked_pods_and_a_request_restores_all_of_them(make_parked, http):
    now = datetime.now(UTC)
    window = {
        "name": "day",
        "start": wall(now - timedelta(minutes=1)),
        "end": wall(now + timedelta(minutes=10)),
        "replicas": 2,
        "mode": "Parked",
    }
    app = await make_parked("day", **QUICK, windows=[window])
    before = restarts(await parked(app, pods=2))
    await app.send(http)
    await restored(app, pods=2)
    assert restarts(app.ready_pods()) == before
    assert restarts(await parked(app, pods=2)) == before


async def test_requests_at_every_moment_around_parking_are_answered_once(
    make_parked, parking, http
):
    app = await make_parked("around", **QUICK | {"scaling": {"idleAfter": "1s", "maxReplicas": 1}})
    await app.send(http)
    for pause in (0.0, 0.1, 0.3, 0.6, 1.0):
        await eventually("parked", lambda: app.phase() == "Parked", every=0.02)
        await asyncio.sleep(pause)
        await gather_ok([app.send(http, ms=50) for _ in range(10)])
    await acted_once(app, cluster_ip(parking, "recorder"))


async def test_a_rollout_goes_on_while_its_app_is_parked(make_parked, parking, http):
    app = await make_parked("rolled", **QUICK)
    await app.send(http)
    [old] = await parked(app)
    parking("rollout", "restart", f"deployment/{app.name}")
    parking("rollout", "status", f"deployment/{app.name}", "--timeout=120s")

    def is_replaced():
        pods = app.pods()
        return len(pods) == 1 and pods[0]["metadata"]["uid"] != old["metadata"]["uid"]

    await eventually("the old pod gone", is_replaced, within=90)
    await parked(app)
    await app.send(http)
    await restored(app)


async def test_deleting_a_parked_pool_restores_its_pods(make_parked, parking, http):
    app = await make_parked("deleted", **QUICK)
    await app.send(http)
    before = restarts(await parked(app))
    parking("delete", "warmpool", app.name)
    await eventually("full requests", lambda: have(app, FULL), within=30)
    assert (app.replicas(), restarts(app.ready_pods())) == (1, before)
    await app.send(http)


async def test_pods_that_an_autoscaler_measures_by_their_requests_are_not_parked(
    make_parked, parking, http
):
    app = await make_parked("measured", **QUICK)
    by_share = {"type": "Utilization", "averageUtilization": 80}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": app.name}
    parking.apply(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": app.name},
            "spec": {
                "scaleTargetRef": target,
                "maxReplicas": 2,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": by_share}}],
            },
        }
    )
    await eventually("the autoscaler is known", lambda: app.status().get("hpa"), within=20)
    await app.send(http)
    found = await eventually("said", lambda: app.conditions().get("ParkingFailed"), within=20)
    assert (found["status"], found["reason"]) == ("True", "AutoscalerUtilization")
    await app.asleep()
    parking("delete", "horizontalpodautoscaler", app.name)


async def test_where_the_chart_does_not_allow_it_nothing_is_parked(make_app, http):
    app = await make_app("forbidden", **QUICK)
    await app.send(http)
    found = await eventually("said", lambda: app.conditions().get("ParkingFailed"), within=20)
    assert (found["status"], found["reason"]) == ("True", "NotEnabled")
    await app.asleep()


# --- operators that end ---


async def test_an_operator_that_is_killed_goes_on_where_it_was(make_parked, parking, http, on_node):
    if not on_node:
        pytest.skip("killing a container needs tools/node")
    app = await make_parked("killed", **QUICK)
    await app.send(http)
    before = restarts(await parked(app))
    component = {"app.kubernetes.io/component": "operator"}
    [operator] = parking.items("pods", **component)
    assert kill_containers(operator)
    # Nobody restores anything now, and the pod serves all the same. The next operator restores what
    # is in use when it comes: requests before that count only if an activator has announced them.
    async with Stream(app, clients=1, ways=(over_connections_of_its_own,)) as stream:
        await restored(app, within=90)
    assert stream.failures == []
    assert restarts(await parked(app)) == before


@pytest.fixture
async def operators(bare, tmp_path):
    """Operators of the test's own."""
    made = Operators(bare.namespace, tmp_path / "operator.log")
    yield made
    await made.end()


@pytest.fixture
async def make_bare(bare):
    """Start apps where the operators are the test's own."""
    async with apps_of(bare) as make:
        yield make


async def test_the_next_operator_parks_what_the_one_before_has_only_announced(
    make_bare, operators, http
):
    doomed = await operators.start(KOTATSU_E2E_LAST_WRITE="phase Parked")
    app = await make_bare("left", **QUICK)
    await app.send(http)
    await asyncio.wait_for(doomed.wait(), 90)
    before = restarts(app.ready_pods())
    assert have(app, FULL)
    await operators.start()
    assert restarts(await parked(app)) == before


async def test_the_next_operator_goes_on_after_one_that_has_restored(make_bare, operators, http):
    first = await operators.start()
    app = await make_bare("left", **QUICK)
    await app.send(http)
    before = restarts(await parked(app))
    await killed(first)
    doomed = await operators.start(KOTATSU_E2E_LAST_WRITE="phase Warm")
    ended = asyncio.create_task(doomed.wait())
    async with asyncio.timeout(90):
        while not ended.done():  # it leads only some seconds after its start
            await app.send(http)
            await asyncio.sleep(0.2)
    await eventually("full requests", lambda: have(app, FULL))  # the kubelet applies them
    await operators.start()
    assert restarts(await parked(app)) == before


# --- a node that has no room ---


def filler(cpu):
    """A pod that takes so many cores of the node."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "filler",
        "image": APP_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "1h"],
        "resources": {"requests": {"cpu": f"{int(cpu * 1000)}m"}},
        "securityContext": security,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "filler"},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }


@pytest.mark.alone
async def test_on_a_full_node_another_pod_is_asked_for_until_there_is_room(
    make_parked, parking, http
):
    app = await make_parked("full", **QUICK | {"scaling": {"idleAfter": "20s", "maxReplicas": 3}})
    await app.send(http)
    before = restarts(await parked(app))
    # What is left is too little for the pod to get its requests back, and for another one.
    parking.apply(filler(free_cpu(parking) - Decimal("0.02")))
    try:
        parking("wait", "pod/filler", "--for=condition=Ready", "--timeout=60s")
        await app.send(http)
        await eventually("another pod", lambda: app.replicas() == 2, within=30)
        found = await eventually("said", lambda: app.conditions().get("ParkingFailed"), within=20)
        assert (found["status"], found["reason"]) == ("True", "NotRestored")
        await app.send(http)  # it serves with what it has
    finally:
        parking("delete", "pod", "filler", "--wait=true")
    await eventually(
        "restored", lambda: all(requested(p) == FULL for p in app.ready_pods()), within=90
    )
    await eventually("well", lambda: "ParkingFailed" not in app.conditions(), within=90)
    assert before.items() <= restarts(app.ready_pods()).items()
    await parked(app, within=120)
