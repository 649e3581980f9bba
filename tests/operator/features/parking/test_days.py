"""Days of a pool whose pods are parked: what is written to them, when, and what goes wrong."""

from decimal import Decimal

import pytest

from kotatsu_operator.controller.reconciler import BEAT, RETRY
from kotatsu_operator.controller.restore import Records
from kotatsu_operator.features.parking.feature import RESTORE_AGAIN
from kotatsu_operator.kube.errors import ConflictError, NotFoundError
from tests.operator.cluster import (
    NAMESPACE,
    denied,
    forbidden,
    horizontal_pod_autoscaler,
    warm_pool,
)
from tests.operator.core.values import MINUTE, SECOND, once, t
from tests.operator.features.day import FeaturedDay

APP = {"name": "voice", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}
LOWERED = {"voice": {"cpu": "0.005"}}
RESTORED = {"voice": {"cpu": "1"}}
DEFERRED = {"type": "PodResizePending", "status": "True", "reason": "Deferred",
            "message": "Node didn't have enough resource: cpu"}  # fmt: skip
PARKED = t("10:10")


def begin(*, running=1, enabled=True, **spec):
    """A pool with pods that are Ready and idle from 10:00 on."""
    spec = {"parkedFor": "1h"} | spec
    day = FeaturedDay.begin(t("10:00"), replicas=running, ready=True, **spec)
    template = {"metadata": {"labels": {"app": "voice"}}, "spec": {"containers": [APP]}}
    day.kube.edit("Deployment", "voice", spec={"template": template})
    day.container, day.parking = dict(APP), enabled
    day.restart()
    return day


async def parked(**how):
    day = begin(**how)
    await day.until(PARKED)
    assert day.phase == "Parked"
    return day


async def parked_by_a_window(replicas):
    window = once("all-day", "09:00", "12:00", replicas) | {"mode": "Parked"}
    return await parked(windows=[window], running=replicas)


def resizes(day):
    return [(name, requests) for _, name, requests in day.kube.called("resize")]


def cpus(day):
    pods = day.kube.all("Pod")
    return [pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] for pod in pods]


# --- the way there and back ---


async def test_the_requests_of_an_idle_pool_are_lowered_after_the_status_says_so():
    day = await parked()
    assert resizes(day) == [("voice-1", LOWERED)]
    assert day.status["reduced"] is True
    calls = [c for c in day.kube.calls if c[0] in ("patch_status", "resize")]
    at = [c[0] for c in calls].index("resize")
    assert calls[at - 1][2]["phase"] == "Parked"


async def test_a_request_restores_them_before_the_status_is_written():
    day = await parked()
    day.kube.calls.clear()
    await day.ticket().look()
    assert day.kube.writes[0] == "resize"
    assert resizes(day) == [("voice-1", RESTORED)]
    assert day.phase == "Warm"


async def test_a_request_is_not_delayed_by_asking_the_pods():
    day = await parked()
    day.ticket()
    day.scraper.asked = 0
    await day.look()
    assert (day.phase, day.scraper.asked) == ("Warm", 0)


async def test_a_parked_pool_writes_nothing_more():
    day = await parked()
    day.kube.calls.clear()
    await day.until(PARKED + 10 * MINUTE)
    assert day.kube.writes == []


async def test_the_pods_as_written_are_seen_before_the_watch_tells_of_them():
    day = await parked()
    day.ticket()
    day.watch()
    await day.reconciler.reconcile(("demo", "voice"))
    written = len(resizes(day))
    await day.reconciler.reconcile(("demo", "voice"))
    assert len(resizes(day)) == written


async def test_a_restored_pool_forgets_that_it_was_parked():
    day = await parked()
    await day.ticket().until(PARKED + MINUTE)
    assert "reduced" not in day.status
    assert day.condition("Parked")["reason"] == "NotParked"


async def test_a_pool_that_has_been_parked_long_enough_sleeps_with_small_requests():
    day = await parked()
    day.kube.calls.clear()
    await day.until(t("11:30"))
    assert (day.phase, resizes(day)) == ("Asleep", [])
    assert "reduced" not in day.status


async def flapping(day, until):
    """A pod is not Ready for a moment every 50 minutes."""
    while day.now < until:
        await day.until(min(day.now + 50 * MINUTE, until))
        for made in day.pods:
            made.born = day.now


async def test_a_parked_pod_that_is_not_ready_now_and_then_sleeps_when_the_others_do():
    day = await parked()
    since = day.status["internal"]["parkedSince"]
    await flapping(day, t("10:55"))
    await day.until(t("11:00"))
    assert (day.phase, day.status["internal"]["parkedSince"]) == ("Parked", since)
    assert day.status["phaseSince"] > since
    day.restart()
    await flapping(day, t("11:30"))
    assert (day.phase, "parkedSince" in day.status["internal"]) == ("Asleep", False)


async def test_after_a_request_the_time_of_a_parked_pod_begins_anew():
    day = await parked()
    await day.until(t("11:00"))
    day.ticket()
    await flapping(day, t("11:55"))
    await day.until(t("11:57"))
    assert (day.phase, day.status["internal"]["parkedSince"]) == ("Parked", "2026-11-25T11:02:00Z")


# --- what cannot be parked ---


async def test_without_the_permission_an_idle_pool_sleeps():
    day = begin(enabled=False)
    await day.until(PARKED)
    assert (day.phase, resizes(day)) == ("Asleep", [])
    failed = day.condition("ParkingWorks")
    assert (failed["reason"], "parked.enabled" in failed["message"]) == ("NotEnabled", True)


async def test_an_autoscaler_of_the_target_is_looked_at():
    scaler = horizontal_pod_autoscaler()
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    scaler["spec"]["metrics"] = [{"type": "Resource", "resource": cpu}]
    day = begin()
    day.kube.put(scaler)
    await day.until(t("10:01"))
    assert day.condition("ParkingWorks")["reason"] == "AutoscalerUtilization"


async def test_a_node_without_resizes_is_named():
    day = begin()
    obj = day._stored(day.pods[0])
    obj["status"]["containerStatuses"] = [{"name": "voice", "state": {"running": {}}}]
    day.watch()
    day.cache.keep_pod(obj)
    await day.reconciler.reconcile(("demo", "voice"))
    assert day.condition("ParkingWorks")["reason"] == "NotServed"


async def test_a_pool_whose_pod_cannot_be_parked_sleeps_and_tries_it_again_an_hour_later():
    day = begin()
    day.kube.on("resize", denied())
    await day.until(PARKED)
    assert (day.phase, len(resizes(day))) == ("Asleep", 1)
    assert day.condition("ParkingWorks")["reason"] == "ParkingRejected"
    day.kube.on("resize", None)
    await day.wake().until(PARKED + 70 * MINUTE)
    await day.wake().until(day.now + 10 * MINUTE)
    assert (day.phase, cpus(day)[-1]) == ("Parked", "0.005")


# --- what goes wrong ---


async def test_an_operator_that_ended_after_the_status_write_is_continued():
    day = begin()
    day.kube.on("resize", EndedError(), 1)
    with pytest.raises(EndedError):
        await day.until(PARKED)
    assert (day.phase, day.status["reduced"], cpus(day)) == ("Parked", True, ["1"])
    await day.restart().look()
    assert cpus(day) == ["0.005"]


async def test_a_resize_without_an_answer_is_tried_again_at_the_next_reconcile():
    day = begin()
    day.kube.on("resize", OSError("the API server is away"), 1)
    await day.until(PARKED)
    assert (day.phase, cpus(day)) == ("Parked", ["0.005"])
    assert day.condition("Parked")["status"] == "True"


async def test_another_pod_helps_one_whose_restore_is_deferred():
    day = await parked()
    await day.ticket().look()
    day.pod_conditions["voice-1"] = DEFERRED
    await day.until(PARKED + SECOND)
    assert day.replicas == 2
    failed = day.condition("ParkingWorks")
    assert failed["reason"] == "NotRestored"
    assert "enough resource: cpu" in failed["message"]
    day.pod_conditions.clear()
    await day.until(PARKED + MINUTE)
    assert "reduced" not in day.status
    assert day.condition("ParkingWorks")["status"] == "True"


async def test_a_rejected_restore_is_tried_again_from_time_to_time():
    day = await parked()
    day.kube.calls.clear()
    day.kube.on("resize", forbidden())
    await day.ticket().until(PARKED + 5 * SECOND)
    assert (day.phase, day.replicas, len(resizes(day))) == ("Warm", 2, 1)
    assert day.condition("ParkingWorks")["reason"] == "NotRestored"
    day.kube.on("resize", None)
    await day.until(PARKED + RESTORE_AGAIN + 5 * SECOND)
    assert cpus(day)[0] == "1"


async def test_pods_that_vanish_or_change_do_not_stop_the_others():
    day = await parked_by_a_window(3)
    gone = {"voice-1": NotFoundError("gone"), "voice-2": ConflictError("another one")}

    def refuse(name, _):
        if name in gone:
            raise gone[name]

    day.kube.on("resize", refuse)
    await day.ticket().look()
    assert day.phase == "Warm"
    assert cpus(day) == ["0.005", "0.005", "1"]
    day.kube.on("resize", None)
    await day.until(PARKED + 5 * SECOND)
    assert cpus(day) == ["1"] * 3


async def test_windows_for_parked_pods_are_foreseen_at_their_price():
    window = once("w", "10:00", "11:00", 2) | {"mode": "Parked"}
    prices = {"currency": "JPY", "cpuHour": "60"}
    day = FeaturedDay.begin(t("08:00"), windows=[window], prices=prices)
    day.parking = True
    day.restart()
    container = {"resources": {"requests": {"cpu": "500m"}}}
    day.kube.edit("Deployment", "voice", spec={"template": {"spec": {"containers": [container]}}})
    await day.settle()
    inner = day.status["internal"]["cost"]
    assert (inner["podPerHour"], inner["parkedPodPerHour"]) == ("30.000000", "0.300000")
    expected = Decimal(day.status["cost"]["forecast"])
    assert Decimal("0.6") <= expected <= 2, "and the lead at the full price"


# --- the end of a pool ---


async def test_a_suspended_pool_is_left_as_it_is():
    day = await parked()
    day.edit(suspend=True)
    day.ticket()
    day.kube.calls.clear()
    await day.until(PARKED + 2 * MINUTE)
    assert resizes(day) == []
    assert day.status["reduced"] is True


@pytest.mark.parametrize("reason", ["TwoAutoscalers", "InvalidSpec"])
async def test_the_requests_of_a_refused_pool_are_restored(reason):
    """A refusal by its autoscalers ends with books alone."""
    day = await parked()
    if reason == "InvalidSpec":
        day.edit(timeZone="Mars/Olympus")
    else:
        day.kube.put(horizontal_pod_autoscaler("a"))
        day.kube.put(horizontal_pod_autoscaler("b"))
    await day.until(PARKED + MINUTE / 2)
    assert day.condition("Accepted")["reason"] == reason
    assert cpus(day)[0] == "1"
    assert "reduced" not in day.status


async def test_a_new_pool_of_the_target_restores_what_the_old_one_has_reduced():
    day = await parked()
    old = day.kube.stored("WarmPool", "voice")
    day.kube.remove("WarmPool", "voice")
    day.reconciler.forget(("demo", "voice"))
    heir = day.kube.put(warm_pool(uid="new"))
    await Records(day.kube, NAMESPACE).gone(old, {("demo", "voice"): heir})
    await day.until(PARKED + 5 * SECOND)
    assert cpus(day) == ["1"]


# --- demand, and pods that cannot be as they are to be ---


async def test_after_an_announcement_the_demand_is_asked_for_when_the_pods_are_restored():
    day = await parked()
    day.ticket()
    assert await day.look() == day.now + RETRY
    day.now += RETRY
    asked = day.scraper.asked
    assert await day.look() == day.now + BEAT
    assert day.scraper.asked > asked


async def test_parked_pods_that_fall_silent_are_restored_for_as_long_as_they_are_silent():
    day = await parked()
    day.scraper.in_flight = None
    await day.until(PARKED + 40 * MINUTE)
    assert (day.phase, day.condition("DemandKnown")["reason"]) == ("Warm", "NotReported")
    assert cpus(day) == ["1"]


async def test_a_request_that_reached_a_pod_directly_restores_it_at_the_next_beat():
    day = await parked()
    day.scraper.in_flight = 1
    await day.until(day.now + BEAT)
    assert (day.phase, cpus(day)) == ("Warm", ["1"])


async def test_another_pod_stays_beside_one_that_its_node_can_never_restore():
    day = await parked(maxReplicas=2)
    await day.ticket().look()
    day.pod_conditions[day.pods[0].name] = DEFERRED | {"reason": "Infeasible"}
    await day.until(PARKED + MINUTE)
    assert (day.phase, day.replicas, day.status["reduced"]) == ("Warm", 2, True)


async def test_a_pod_that_takes_the_place_of_a_parked_one_starts_in_full_and_is_parked_then():
    day = await parked()
    day.pods[0].ended = day.now
    await day.look()
    assert (day.phase, cpus(day)[-1]) == ("Warming", "1")
    await day.until(PARKED + MINUTE)
    assert (day.phase, day.replicas, cpus(day)[-1]) == ("Parked", 1, "0.005")


class EndedError(BaseException):
    """The operator's process ends."""
