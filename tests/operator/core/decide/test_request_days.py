"""Days with requests: a sleeping pool wakes, a used one stays, an idle one goes back to sleep."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from rows import each

from kotatsu_operator.core.decide.decide import decide
from kotatsu_operator.core.pool.decision import Demand, Observation
from kotatsu_operator.core.pool.memory import (
    Announced,
    KnownOverride,
    Memory,
    Phase,
    Reason,
    Route,
    Routing,
)
from kotatsu_operator.core.pool.spec import PoolSpec
from tests.operator.core.values import MINUTE, SECOND, kept_in_status, once, override, pool_spec, t
from tests.operator.core.walk import Pod, Request, Walk, walk

IDLE_AFTER = 2 * MINUTE
SERVED = 0.2 * SECOND


def asleep(*requests: str, **how: object) -> Walk:
    """A pool without windows, sleeping since 08:00."""
    return walk(pool_spec(), t("08:00"), [t(clock) for clock in requests], **how)


# --- waking ---


@pytest.mark.parametrize("sees_held", [True, False], ids=["held seen", "announced only"])
def test_a_request_wakes_the_pool(sees_held):
    w = asleep("08:30", sees_held=sees_held).until(t("08:31"))
    assert w.requests[0].begun == t("08:30:08")
    assert (w.phase, w.memory.route.target, w.replicas) == (Phase.WARM, Route.NATIVE, 1)
    assert w.memory.reason is Reason.REQUEST
    assert w.told() == ["Warming", "Warm"]


def test_a_request_that_comes_while_the_operator_is_down_is_served_and_the_pool_adopted():
    w = asleep("08:10").restart(back=t("08:11"))
    assert w.requests[0].begun == t("08:10:08")
    assert (w.phase, w.memory.route.target) == (Phase.WARM, Route.NATIVE)
    w.until(t("08:30"))
    assert w.pods == []


def test_a_pool_that_was_woken_and_left_while_the_operator_was_away_gets_one_idle_after():
    w = asleep("08:10").restart(back=t("09:20")).until(t("09:30"))
    assert w.reached(0, after=t("09:20")) == t("09:20") + IDLE_AFTER


def test_a_request_that_comes_while_the_last_pod_goes_wakes_the_pool_again():
    w = asleep("08:30", gone_after=30).until(t("08:32:20"))
    assert (w.phase, w.ready, len(w.pods)) == (Phase.SLEEPING, 0, 1)
    w.ask(t("08:32:21")).until(t("08:33"))
    assert w.phase is Phase.WARM
    assert w.requests[-1].begun == t("08:32:29")


def test_somebody_who_scales_a_sleeping_target_up_gets_one_idle_after():
    w = asleep().until(t("08:30"))
    w.scale(1)
    w.look()
    w.until(t("08:40"))
    assert w.reached(0, after=t("08:31")) == t("08:30:08") + IDLE_AFTER


# --- starts that take longer than idleAfter ---


def impatient(w: Walk, *clocks: str, waits: float = 20) -> Walk:
    """Let requests come whose clients give up while the pod starts."""
    for clock in clocks:
        w.ask(t(clock)).until(t(clock) + waits * SECOND)
        w.requests = [request for request in w.requests if request.begun]
        w.look()
    return w


def test_idle_after_counts_from_ready_though_the_clients_have_given_up():
    w = impatient(asleep(ready_after=150), "08:30").until(t("09:00"))
    assert w.times(Phase.WARM) == [t("08:32:30")]
    assert w.reached(0, after=t("08:31")) == t("08:32:30") + IDLE_AFTER


def test_a_client_that_comes_again_in_a_few_minutes_is_answered_at_once():
    w = impatient(asleep(ready_after=150), "08:30", "08:34")
    assert [request.begun for request in w.requests] == [t("08:34")]


@each("how", [{"back": "08:31"}, {"back": "08:33"}])
def test_it_counts_from_ready_also_for_an_operator_that_has_started_meanwhile(how):
    w = impatient(asleep(ready_after=150), "08:30").restart(back=t(how["back"])).until(t("09:00"))
    assert w.reached(0, after=t("08:31")) == max(t("08:32:30"), t(how["back"])) + IDLE_AFTER


def test_a_start_without_an_end_is_given_up_after_half_an_hour():
    w = impatient(asleep(ready_after=10**6), "08:30").until(t("10:00"))
    assert abs(w.reached(0, after=t("08:31")) - t("09:00")) <= SECOND


def test_a_pod_that_loses_its_readiness_keeps_an_idle_pool_no_longer():
    w = asleep("08:30").until(t("08:31"))
    for second in range(10, 90, 20):
        [pod] = w.pods
        pod.ready_at = w.now + 10 * SECOND
        w.look()
        w.until(t("08:31") + second * SECOND)
    w.until(t("08:40"))
    assert w.reached(0, after=t("08:31")) == t("08:30:08.2") + IDLE_AFTER


# --- idleness ---


@each("idle_after", ["30s", "2m", "15m", "1h"])
def test_idle_after_counts_from_the_end_of_the_last_request_however_long_it_is(idle_after):
    spec = pool_spec(idleAfter=idle_after)
    w = walk(spec, t("08:00"), [t("08:30"), t("08:30:20")])
    w.ask(t("08:30:25"), seconds=1200).until(t("10:00"))
    assert w.reached(0, after=t("08:30:26")) == t("08:50:25") + spec.idle_after


def test_traffic_that_comes_just_before_each_sleep_is_served_without_a_cold_start():
    """Each request comes in the seconds in which the pool is leaving the warm path already."""
    w = asleep()
    for n in range(30):
        w.ask(t("08:30") + n * 118 * SECOND)
    w.until(t("09:29"))
    waits = [r.begun - r.at for r in w.requests if r.begun]
    assert waits == [8 * SECOND] + [0 * SECOND] * 29
    assert w.lowest(t("08:30:08"), w.now, "ready") == 1


@pytest.mark.slow
def test_pods_without_the_time_of_their_last_request_are_asked_often_enough_to_know():
    w = asleep("08:30", "08:30:30", has_last_request=False, tick=0.5).until(t("08:34"))
    assert abs(w.reached(0, after=t("08:31")) - t("08:32:30.2")) <= SECOND


@each("ahead", [5, 3600])
def test_a_pod_whose_clock_runs_ahead_keeps_the_pool_no_longer(ahead):
    w = asleep("08:30").until(t("08:31"))
    w.memory = kept_in_status(w.memory)
    w.requests[0].begun = t("08:30:08") + ahead * SECOND  # as the pod tells it
    w.until(t("08:34") + ahead * SECOND)
    assert w.reached(0, after=t("08:31")) <= t("08:30:09") + ahead * SECOND + IDLE_AFTER


# --- the way down ---


def test_the_way_down_is_route_acknowledgement_settling_and_only_then_the_scale():
    w = asleep("08:30", acknowledges_after=2).until(t("08:40"))
    down = (Phase.DRAINING, Phase.SLEEPING, Phase.ASLEEP)
    draining, sleeping, gone = (w.times(phase)[-1] for phase in down)
    assert draining == t("08:30:08") + SERVED + IDLE_AFTER - 6 * SECOND
    assert sleeping == draining + 2 * SECOND + 5 * SECOND
    assert gone == sleeping + 3 * SECOND
    after = [m for m in w.log if m.at >= draining]
    assert all(m.route is Route.ACTIVATOR for m in after)
    assert all((m.replicas == 0) == (m.at >= sleeping) for m in after)


def test_an_acknowledgement_that_is_lost_while_settling_has_to_come_again():
    w = asleep("08:30", acknowledges_after=1).until(t("08:32:05"))
    assert (w.phase, w.memory.process.acknowledged_at) == (Phase.DRAINING, t("08:32:03.2"))
    w.lose_acknowledgements()
    w.until(t("08:40"))
    assert w.reached(0, after=t("08:31")) == t("08:32:05") + SECOND + 5 * SECOND


def test_an_acknowledgement_of_an_earlier_way_down_does_not_count_for_this_one():
    w = asleep("08:30", "09:00").until(t("08:50"))
    w.acknowledges_after = 60
    w.until(t("09:10"))
    assert w.times(Phase.SLEEPING)[-1] >= w.times(Phase.DRAINING)[-1] + 65 * SECOND


def test_a_lost_memory_takes_no_old_acknowledgement_for_a_new_one():
    w = asleep("08:30", "09:00", "09:30", "10:00").until(t("10:00:30"))
    epoch = w.memory.route.epoch
    w.acknowledges_after = 60
    w.restart(lambda _: Memory()).until(t("10:10"))
    assert w.memory.route.epoch > epoch
    assert w.times(Phase.SLEEPING)[-1] >= w.times(Phase.DRAINING)[-1] + 65 * SECOND


def test_a_request_while_draining_brings_the_pool_back_to_the_native_route():
    w = asleep("08:30").until(t("08:32:04"))
    assert (w.phase, w.memory.route.target) == (Phase.DRAINING, Route.ACTIVATOR)
    w.ask(t("08:32:05")).until(t("08:32:06"))
    assert (w.phase, w.memory.route.target) == (Phase.WARM, Route.NATIVE)
    assert w.told("SleepAborted") == ["SleepAborted"]
    assert w.requests[-1].begun == t("08:32:05")
    w.until(t("08:40"))
    assert w.reached(0, after=t("08:32:05")) == t("08:32:05") + SERVED + IDLE_AFTER


def test_a_request_while_draining_is_enough_however_short_idle_after_is():
    """With 3 s the pool leaves the warm path while the request before is still being served."""
    w = walk(pool_spec(idleAfter="3s"), t("08:00"), [t("08:30")]).until(t("08:30:09"))
    assert w.phase is Phase.DRAINING
    w.ask(t("08:30:10"), seconds=30).until(t("08:30:11"))
    assert (w.phase, w.memory.route.target) == (Phase.WARM, Route.NATIVE)
    w.until(t("08:31"))
    assert w.reached(0, after=t("08:30:10")) >= t("08:30:43")


def test_an_announcement_counts_as_activity_by_itself():
    """The pod tells nothing of its last request, and nobody saw the request being held."""
    memory = Memory(phase=Phase.ASLEEP, since=t("08:00"), route=Routing(Route.ACTIVATOR, 1))
    seen = Observation(replicas=1, ready=1, pods=1, demand=Demand(ticket=t("08:30")))
    decision = decide(pool_spec(), seen, memory, t("08:31"))
    # By the operator's clock: that of the activator may be another.
    assert decision.memory.last_active == t("08:31")
    assert decision.memory.reason is Reason.REQUEST


def put_to_sleep(since: datetime, **fields: Any) -> tuple[PoolSpec, Memory]:
    """A pool that goes to sleep because its override asks for it."""
    spec = pool_spec(override=override("Asleep", t("20:00")), **fields)
    known = KnownOverride(spec.override.key, t("07:00"), done=True)
    route = Routing(Route.ACTIVATOR, 2)
    return spec, Memory(phase=Phase.SLEEPING, since=since, route=route, override=known)


def test_a_held_request_keeps_an_asleep_override_carried_out():
    spec, memory = put_to_sleep(t("08:00"))
    seen = Observation(replicas=1, ready=0, pods=1, demand=Demand(held=1))
    decision = decide(spec, seen, memory, t("08:31"))
    assert (decision.memory.phase, decision.memory.override.done) == (Phase.WARMING, True)


def test_whoever_raises_what_this_process_has_lowered_wakes_it_announced_or_not():
    """The activator announced its requests while the pool was draining: it does so once."""
    spec, memory = put_to_sleep(t("08:30"), route="Activator")
    memory = replace(memory, announced=Announced(t("08:29"), t("08:29"))).here(lowered=True)
    seen = Observation(replicas=1, ready=0, pods=1, demand=Demand(ticket=t("08:29")))
    decision = decide(spec, seen, memory, t("08:31"))
    assert (decision.memory.phase, decision.memory.override.done) == (Phase.WARMING, True)


def test_a_window_that_is_near_while_draining_brings_the_pool_back():
    spec = pool_spec(windows=[once("pitch", "08:33", "09:00", 1)], lead="55s")
    w = walk(spec, t("08:00"), [t("08:30")]).until(t("08:33"))
    assert w.times(Phase.DRAINING) == [t("08:32:02.2")]
    assert w.lowest(t("08:30:08"), t("08:33"), "ready") == 1
    assert (w.phase, w.memory.reason) == (Phase.WARM, Reason.WINDOW)


def test_a_request_after_an_interrupted_sleep_is_not_taken_for_nobody():
    w = asleep("08:30")
    w.dies_before_scaling = True
    w.until(t("08:33"))
    w.ask(t("08:33:30")).until(t("08:34"))
    w.restart()
    assert (w.phase, w.memory.route.target) == (Phase.WARM, Route.NATIVE)


# --- first sight ---


def running(pods: int, *, ready: bool) -> Walk:
    """A target that runs already as its pool is made."""
    w = Walk(pool_spec(), t("08:00"), replicas=pods)
    w.pods = [Pod(t("07:00") if ready else t("09:00")) for _ in range(pods)]
    return w.until(t("08:00"))


def test_a_target_that_serves_already_gets_one_idle_after():
    w = running(2, ready=True)
    assert (w.phase, w.memory.reason) == (Phase.WARM, Reason.DEMAND)
    assert w.memory.route.target is Route.NATIVE
    w.until(t("08:10"))
    assert w.reached(0, after=t("08:00")) == t("08:02")


def test_a_target_that_is_in_use_is_not_touched():
    w = running(2, ready=True)
    w.requests.append(Request(t("08:00"), 3600, begun=t("08:00")))
    w.until(t("08:50"))
    assert w.replicas >= 1
    assert Phase.DRAINING not in {m.phase for m in w.log}


def test_a_target_that_starts_becomes_ready_and_sleeps_one_idle_after_later():
    w = running(1, ready=False)
    w.pods = [Pod(t("08:00:40"))]
    w.until(t("08:10"))
    assert Phase.DRAINING not in {m.phase for m in w.log if m.at < t("08:00:40")}
    assert w.reached(0, after=t("08:00")) == t("08:02:40")


def test_a_target_that_does_not_become_ready_goes_to_sleep_behind_the_activator():
    w = running(1, ready=False).until(t("08:40"))
    assert (w.phase, w.replicas) == (Phase.ASLEEP, 0)


# --- demand that cannot be measured ---


def test_a_pool_whose_demand_is_unknown_is_awake_for_as_long_as_that_lasts():
    w = asleep("08:30", unmeasurable=lambda now: now >= t("08:30:30"), tick=60)
    w.until(t("20:00"))
    assert w.lowest(t("08:31"), w.now, "ready") == 1


def test_an_override_ends_it_all_the_same():
    w = asleep("08:30", unmeasurable=lambda now: now >= t("08:30:30"), tick=6).until(t("09:30"))
    w.edit(pool_spec(override=override("Asleep", t("10:30")))).until(t("09:32"))
    assert w.replicas == 0


@each("has_last_request, gone", {
    "it counts from its last request": (True, ("08:45", "08:45:20")),
    "which pods that do not tell may have had meanwhile": (False, ("08:47", "08:47:20")),
})  # fmt: skip
def test_demand_is_known_again(has_last_request, gone):
    w = asleep("08:30", unmeasurable=lambda now: t("08:31") <= now < t("08:45"),
               has_last_request=has_last_request, tick=10)  # fmt: skip
    w.until(t("09:00"))
    assert t(gone[0]) <= w.reached(0, after=t("08:31")) <= t(gone[1])


def test_a_scrape_that_fails_now_and_then_does_not_keep_an_idle_pool_warm():
    w = asleep("08:30", unmeasurable=lambda now: now.second == 20, tick=10).until(t("09:00"))
    assert w.reached(0, after=t("08:31")) <= t("08:33")


def test_requests_that_can_be_seen_count_though_others_cannot():
    """One pod does not answer for hours, another serves."""
    w = asleep(unmeasurable=lambda now: now >= t("08:31"))
    w.ask(t("08:30"), seconds=3 * 3600).until(t("11:00"))
    assert w.lowest(t("08:31"), w.now, "ready") == 1
