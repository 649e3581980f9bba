"""Parked pods: the app stays, loaded and Ready, and only what it requests shrinks."""

import asyncio
import logging
import time
from decimal import Decimal

import pytest
from e2e.conftest import apps_of, cluster_ip
from e2e.kit import (
    APP_IMAGE,
    acted_once,
    eventually,
    gather_ok,
)
from e2e.parked import FULL, SMALL, free_cpu, have, requested, restarts, weight

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

QUICK = {
    "idleAfter": "8s",
    "maxReplicas": 3,
    "parkedFor": "10m",
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


async def test_requests_at_every_moment_around_parking_are_answered_once(
    make_parked, parking, http
):
    app = await make_parked("around", **QUICK | {"idleAfter": "1s", "maxReplicas": 1})
    await app.send(http)
    for pause in (0.0, 0.1, 0.3, 0.6, 1.0):
        await eventually("parked", lambda: app.phase() == "Parked", every=0.02)
        await asyncio.sleep(pause)
        await gather_ok([app.send(http, ms=50) for _ in range(10)])
    await acted_once(app, cluster_ip(parking, "recorder"))


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
@pytest.mark.nightly
async def test_on_a_full_node_another_pod_is_asked_for_until_there_is_room(
    make_parked, parking, http
):
    app = await make_parked("full", **QUICK | {"idleAfter": "20s", "maxReplicas": 3})
    await app.send(http)
    before = restarts(await parked(app))
    # What is left is too little for the pod to get its requests back, and for another one.
    parking.apply(filler(free_cpu(parking) - Decimal("0.02")))
    try:
        parking("wait", "pod/filler", "--for=condition=Ready", "--timeout=60s")
        await app.send(http)
        await eventually("another pod", lambda: app.replicas() == 2, within=30)
        found = await eventually("said", lambda: app.failed("ParkingWorks"), within=20)
        assert found["reason"] == "NotRestored"
        await app.send(http)  # it serves with what it has
    finally:
        parking("delete", "pod", "filler", "--wait=true")
    await eventually(
        "restored", lambda: all(requested(p) == FULL for p in app.ready_pods()), within=90
    )
    await eventually("well", lambda: not app.failed("ParkingWorks"), within=90)
    assert before.items() <= restarts(app.ready_pods()).items()
    await parked(app, within=120)
