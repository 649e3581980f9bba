"""One look at one pool: what is called, written and told."""

from functools import partial

import pytest
from rows import each

from kotatsu_operator.controller.reconciler import BEAT, RETRY
from kotatsu_operator.core.pool.decision import Demand
from kotatsu_operator.kube.errors import NotFoundError
from tests.operator.cluster import VOICE, pod
from tests.operator.core.values import MINUTE, SECOND, once, pool_spec, t
from tests.operator.day import PUNCTUAL, Day

SOON = {"idleAfter": "1m"}


# --- a first look ---


async def test_a_sleeping_target_is_put_behind_the_activator():
    day = await Day.lived("08:00")
    route = {"target": "Activator", "epoch": 1, "service": "voice"}
    assert (day.phase, day.status["route"]) == ("Asleep", route)
    said = [day.condition(c)["status"] for c in ("Accepted", "Ready", "Warm")]
    assert said == ["True", "True", "False"]
    assert day.kube.writes == ["patch_status"]


async def test_a_pool_that_is_gone_is_forgotten_with_its_series():
    day = await Day.lived("08:00")
    assert day.metric("kotatsu_pool_phase", phase="Asleep") == 1
    day.kube.remove("WarmPool", "voice")
    day.watch()
    assert await day.reconciler.reconcile(VOICE) is None
    assert day.metric("kotatsu_pool_phase", phase="Asleep") is None
    assert day.reconciler._known == {}


def cannot_start(day):
    broken = pod("voice-new", phase="Pending")
    waits = {"reason": "ErrImagePull", "message": "not found"}
    broken["status"]["containerStatuses"] = [{"name": "app", "state": {"waiting": waits}}]
    day.cache.keep_pod(broken)


def is_rejected(day):
    failure = {"type": "ReplicaFailure", "status": "True", "message": "violates PodSecurity"}
    day.kube.edit("Deployment", "voice", status={"conditions": [failure]})


@each(
    "happens, said",
    [
        (cannot_start, "pod voice-new cannot start: container app: ErrImagePull (not found)"),
        (is_rejected, "no pod can be created: violates PodSecurity"),
    ],
)
async def test_why_no_pod_starts_is_said_by_ready_and_by_one_event(happens, said):
    day = Day.begin(t("08:00"), replicas=1, windows=[once("pitch", "07:00", "09:00", 1)])
    happens(day)
    for _ in range(3):
        day.now += 2 * SECOND
        await day.look()
    ready = day.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "PodsCannotStart")
    assert ready["message"] == said
    assert day.events.count("PodsCannotStart") == 1


# --- no call without a change ---


async def test_a_sleeping_pool_costs_no_call_at_all():
    day = await Day.lived("08:00")
    day.kube.calls.clear()
    day.scraper.asked = 0
    assert day.due == day.now + 15 * MINUTE
    await day.until(t("20:00"))
    assert day.kube.calls == []
    assert day.scraper.asked == 0


async def test_a_warm_pool_is_asked_at_every_beat_and_nothing_is_called():
    day = Day.begin(t("10:00"), replicas=1, ready=True, windows=[once("w", "09:00", "12:00", 1)])
    await day.until(t("10:01"))
    day.kube.calls.clear()
    day.scraper.asked = 0
    await day.until(t("10:04"), late=PUNCTUAL)
    assert day.kube.calls == []
    assert day.scraper.asked >= 2 * (3 * MINUTE / BEAT)


async def test_a_pool_stays_up_until_the_cluster_has_caught_up_with_an_outage():
    day = Day.begin(t("10:00"), replicas=1, ready=True, windows=[once("w", "09:00", "10:10", 1)])
    day.catching_up = 30.0
    await day.until(t("10:20"))
    assert (day.phase, day.replicas) == ("Draining", 1)
    day.catching_up = 0.0
    await day.until(t("10:21"))
    assert day.replicas == 0


async def test_activity_is_written_down_once_a_minute():
    day = await Day.lived("10:00", "10:01", replicas=1, ready=True)
    day.kube.calls.clear()
    for seconds in range(0, 600, 10):
        day.now = day.scraper.last_request = t("10:01") + seconds * SECOND
        await day.look()
    assert 9 <= len(day.kube.writes) <= 11
    assert set(day.kube.writes) == {"patch_status"}


async def test_a_pool_that_has_changed_since_the_watch_told_of_it_is_read_and_not_written():
    """The watch may have gone silent without closing: every write would lose its race."""
    day = Day.begin(t("08:00"))
    day.watch()
    day.edit(suspend=True)
    assert await day.reconciler.reconcile(VOICE) == day.now + RETRY
    assert ("phase" in day.status, day.events) == (False, [])
    day.now += RETRY
    await day.reconciler.reconcile(VOICE)
    assert day.status["observedGeneration"] == 2


async def test_a_pool_that_was_deleted_while_it_was_looked_at_is_no_error():
    day = Day.begin(t("08:00"))
    day.watch()
    edit = partial(day.kube.edit, "WarmPool", "voice", spec={"suspend": True})
    day.kube.on("patch_status", lambda *_: edit())
    day.kube.on("get", lambda *_: day.kube.remove("WarmPool", "voice"))
    assert await day.reconciler.reconcile(VOICE) == day.now + RETRY


# --- scaling ---


async def test_a_scale_that_changed_meanwhile_is_decided_on_again():
    day = Day.begin(t("10:00"), windows=[once("w", "10:00", "12:00", 2)])
    somebody_else = partial(day.kube.edit, "Deployment", "voice", spec={"replicas": 1})
    day.kube.on("put_scale", lambda *_: somebody_else(), times=1)
    assert await day.look() == day.now + RETRY
    assert day.replicas == 1
    assert "phase" not in day.status  # nothing was written of a decision that failed
    await day.look()
    assert day.replicas == 2


async def test_a_target_that_already_has_the_replicas_is_not_written():
    """The watch is a moment behind."""
    day = Day.begin(t("10:00"), windows=[once("w", "10:00", "12:00", 2)])
    day.watch()
    day.kube.edit("Deployment", "voice", spec={"replicas": 2})
    await day.reconciler.reconcile(VOICE)
    assert day.kube.called("put_scale") == []


async def test_a_target_that_vanishes_during_the_look_is_looked_for_later():
    for verb in ("get_scale", "put_scale"):
        day = Day.begin(t("10:00"), windows=[once("w", "10:00", "12:00", 2)])
        day.kube.on(verb, NotFoundError("gone"))
        assert await day.look() > day.now
    day = await Day.lived("10:00")
    day.kube.edit("Deployment", "voice", spec={"replicas": 1})
    day.watch()
    day.kube.remove("Deployment", "voice")
    assert await day.reconciler.reconcile(VOICE) > day.now


async def test_an_api_server_that_is_away_is_the_planners_to_wait_for():
    day = Day.begin(t("10:00"), windows=[once("w", "10:00", "12:00", 2)])
    day.kube.down = True
    day.watch()
    with pytest.raises(OSError, match="away"):
        await day.reconciler.reconcile(VOICE)
    day.kube.down = False
    await day.settle()
    assert day.replicas == 2


# --- what is seen ---


async def demand(day, **answers):
    for name, value in answers.items():
        setattr(day.scraper, name, value)
    day.watch()
    pods = day.cache.target_pods("demo", {"matchLabels": {"app": "voice"}})
    return await day.observer.demand(VOICE, pool_spec(), pods)


async def test_demand_is_what_all_pods_serve_and_all_activators_hold():
    day = Day.begin(t("10:00"), replicas=3, ready=True)
    seen = await demand(day, in_flight=2, held_now=4, last_request=t("09:59"))
    assert (seen.in_flight, seen.held, seen.concurrency) == (6, 4, 10)
    assert (seen.known, seen.last_request) == (True, t("09:59"))


@each(
    "is_ready, answers, known",
    [
        (True, {"in_flight": None}, False),
        (False, {"in_flight": None}, True),  # it starts
        (True, {"held_now": None}, False),
    ],
)
async def test_a_ready_pod_or_activator_that_does_not_answer_makes_demand_unknown(
    is_ready, answers, known
):
    day = Day.begin(t("10:00"), replicas=1, ready=is_ready)
    assert (await demand(day, **answers)).known is known


async def test_a_pod_that_has_lost_its_readiness_may_still_have_requests():
    day = await Day.lived("10:00", "10:00:30", replicas=1, ready=True)
    lost = pod("voice-1", ready=False)
    lost["status"]["startTime"] = "2026-11-25T09:20:00Z"
    day.cache.keep_pod(lost)
    found = await demand(day, in_flight=None)
    assert (found.known, found.silent[:12]) == (False, "pod voice-1 ")


async def test_pods_that_terminate_are_not_asked():
    day = Day.begin(t("10:00"), replicas=1, ready=True)
    day.kube.edit("Deployment", "voice", spec={"replicas": 0})
    assert (await demand(day, in_flight=7)).in_flight == 0


async def test_only_a_pool_that_may_sleep_on_the_answer_is_named_to_the_activators():
    """What an activator is asked about, it announces afterwards: see docs/protocol.md, step 5."""
    day = Day.begin(t("10:00"), replicas=1, ready=True)
    await day.until(t("10:01:58"), late=PUNCTUAL)
    assert (day.phase, day.scraper.looks) == ("Draining", 0)
    assert day.scraper.asked
    await day.until(t("10:02:10"), late=PUNCTUAL)
    assert (day.phase, day.scraper.looks) == ("Asleep", 1)


async def test_a_pool_that_is_suspended_on_its_way_down_is_not_looked_at():
    day = await Day.lived("10:00", "10:01:58", replicas=1, ready=True)
    day.edit(suspend=True)
    for _ in range(5):
        day.now += MINUTE
        day.ticket()
        await day.settle()
    assert (day.phase, day.replicas, day.scraper.looks) == ("Draining", 1, 0)


# --- a refused pool ---


async def test_a_refused_pool_is_told_each_reason_once():
    day = await Day.lived("10:00", "11:00", timeZone="Mars/Base")
    assert day.condition("Accepted")["reason"] == "InvalidSpec"
    assert [day.condition(c)["status"] for c in ("Ready", "Warm")] == ["False", "False"]
    assert day.events == ["NotAccepted"]
    assert day.kube.writes == ["patch_status"]
    day.edit(timeZone="Venus/Base")
    await day.settle()
    assert day.events == ["NotAccepted", "NotAccepted"]
    assert "Venus/Base" in day.condition("Accepted")["message"]
    assert day.status["observedGeneration"] == day.condition("Accepted")["observedGeneration"] == 2


async def test_a_pool_that_becomes_refused_keeps_the_pods_that_serve():
    day = await Day.lived("10:00", replicas=2, ready=True, requestsPerPod=1)
    day.scraper.in_flight = 2
    day.edit(timeZone="Mars/Base")
    await day.until(t("10:05"))
    assert day.replicas == 2


async def test_a_pool_that_becomes_refused_leaves_only_that_in_the_metrics():
    day = await Day.lived("10:00", replicas=2, ready=True)
    assert day.metric("kotatsu_pool_accepted") == 1
    day.edit(timeZone="Mars/Base")
    await day.settle()
    assert day.metric("kotatsu_pool_accepted") == 0
    assert day.metric("kotatsu_pool_replicas_ready") is None
    day.edit(timeZone="UTC")
    await day.settle()
    assert day.metric("kotatsu_pool_accepted") == 1
    assert day.metric("kotatsu_pool_replicas_ready") == 2


async def test_a_refusal_that_meets_an_edit_is_not_told_of():
    day = Day.begin(t("10:00"), timeZone="Mars/Base")
    day.watch()
    day.edit(timeZone="UTC")
    await day.reconciler.reconcile(VOICE)
    assert day.events == []


# --- route Activator ---


def by_activator():
    day = Day.begin(t("10:00"), replicas=1, ready=True, route="Activator", **SOON)
    day.kube.edit("Service", "voice", spec={"selector": None})
    return day


async def test_on_route_activator_the_activators_are_asked_and_no_pod_is():
    day = by_activator()
    day.scraper.in_flight = None  # the pods say nothing
    day.scraper.passing_now = Demand(passing=1)
    await day.until(t("10:10"))
    assert (day.phase, day.status["route"]["target"]) == ("Warm", "Activator")
    day.scraper.passing_now = Demand(last_passed=t("10:10:30"))
    await day.until(t("10:11:20"))
    assert day.replicas == 1
    await day.until(t("10:12"))
    assert day.replicas == 0


async def test_on_route_activator_a_silent_activator_keeps_the_pool_awake():
    day = by_activator()
    day.scraper.passing_now = Demand(silent_activator="activator-1 does not answer")
    await day.until(t("10:10"))
    assert (day.phase, day.replicas) == ("Warm", 1)
