"""Parked pods: their requests shrink and come back; the pretended kubelet applies each resize."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from apiserver.conftest import apps_of, install_platform
from apiserver.kit import asked_all_the_time, eventually
from apiserver.test_demo_mode import demo_mode
from e2e.kit import wall
from e2e.parked import FULL, SMALL, have, requested, restarts

from kotatsu_operator.core.report.usage import usage_field
from tests.operator.core.weeks import BEGIN, WEEK, usage_of
from tests.operator.core.weeks import app as made_up

pytestmark = pytest.mark.apiserver

# Longer than the time between two scrapes: a request to a parked pod itself has to be seen in one.
QUICK = {
    "idleAfter": "3s",
    "maxReplicas": 3,
    "parkedFor": "10m",
}


@pytest.fixture(scope="module")
def parking(make_namespace):
    """A namespace with an operator that may park pods, and an activator."""
    kubectl = make_namespace("parking")
    asyncio.run(install_platform(kubectl, "parked.enabled=true"))
    return kubectl


@pytest.fixture
async def make_parked(parking):
    """Start apps where pods may be parked."""
    async with apps_of(parking) as make:
        yield make


async def parked(app, pods=1):
    """Wait until so many pods are parked; returns them."""
    await eventually(f"{app.name} parked", lambda: app.phase() == "Parked")
    await eventually("small requests", lambda: have(app, SMALL, pods))
    return app.ready_pods()


async def restored(app, http, pods=1):
    """Let requests restore the pool: it is Warm, and so many pods have their full requests."""
    async with asked_all_the_time(app, http, clients=1):
        await eventually("full requests", lambda: have(app, FULL, pods))
        await eventually("Warm", lambda: app.phase() == "Warm")


async def test_a_parked_app_sleeps_when_its_time_is_over_and_wakes_in_full(make_parked, http):
    app = await make_parked("over", **QUICK)
    await app.send(http)
    await parked(app)
    app.kubectl.patch("warmpool", app.name, {"spec": {"parkedFor": "1s"}})
    await app.asleep()
    await eventually("nothing is reduced", lambda: "reduced" not in app.status())
    app.kubectl.patch("warmpool", app.name, {"spec": {"idleAfter": "10m"}})
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
    await restored(app, http, pods=2)
    assert restarts(app.ready_pods()) == before
    assert restarts(await parked(app, pods=2)) == before


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
    await restored(app, http)


async def test_deleting_a_parked_pool_restores_its_pods(make_parked, parking, http):
    app = await make_parked("deleted", **QUICK)
    await app.send(http)
    before = restarts(await parked(app))
    parking.delete("warmpool", app.name)
    await eventually("full requests", lambda: have(app, FULL))
    assert (app.replicas(), restarts(app.ready_pods())) == (1, before)
    await app.send(http)


def known_uses(kubectl):
    """The pools whose use the operator has written down."""
    found = kubectl.items("warmpoolhistories")
    return {history["metadata"]["name"] for history in found if "usage" in history}


async def test_what_suggest_proposes_from_weeks_of_use_is_a_patch_that_the_pool_accepts(
    make_parked, parking, tmp_path
):
    app = await make_parked("known", timeZone="Asia/Tokyo", idleAfter="1s")
    await app.asleep()
    # The first write of the operator, which has not read what is put in its place.
    await eventually("its own history", lambda: app.name in known_uses(parking))
    now = datetime.now(UTC)
    since = now - 8 * WEEK + timedelta(days=1)  # far from 8: the operator may add minutes of use
    by = (now - BEGIN) // WEEK * WEEK - 8 * WEEK  # Mondays stay Mondays
    uses = [(a + by, b + by) for a, b in made_up("office", 9, 4, "Asia/Tokyo").sessions]
    usage = usage_field(usage_of([u for u in uses if since < u[0] and u[1] < now], since, now))
    history = {"apiVersion": "kotatsu.dev/v1beta1", "kind": "WarmPoolHistory"}
    parking.apply(history | {"metadata": {"name": app.name}, "usage": usage})
    said = await demo_mode(parking, "suggest", app.name)
    assert f"{app.name}: the use of 7 weeks is known" in said
    assert "window use-1: Monday to Friday" in said
    patch = tmp_path / "patch.yaml"
    patch.write_text(await demo_mode(parking, "suggest", app.name, "-o", "yaml"))
    parking("patch", "warmpool", app.name, "--type=merge", f"--patch-file={patch}")
    await eventually("the window is planned", lambda: "nextTransition" in app.status())
    assert app.conditions()["Accepted"]["status"] == "True"
    assert "no proposal" in await demo_mode(parking, "suggest", app.name)
