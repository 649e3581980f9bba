"""Days with requests: a sleeping pool wakes, a used one stays, an idle one goes back to sleep."""

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
from tests.operator.core.values import (
    MINUTE,
    SECOND,
    kept_in_status,
    once,
    override,
    pool_spec,
    t,
)
from tests.operator.core.walk import Pod, Request, Walk, walk

IDLE_AFTER = 2 * MINUTE
SERVED = 0.2 * SECOND


def asleep(*requests: str, **how: object) -> Walk:
    """A pool without windows, sleeping since 08:00."""
    return walk(pool_spec(), t("08:00"), [t(clock) for clock in requests], **how)


# --- waking ---


@pytest.mark.parametrize("sees_held", [True, False], ids=["held seen", "announced only"])
def test_a_request_wakes_the_pool(sees_held: bool) -> None:
    w = asleep("08:30", sees_held=sees_held).until(t("08:31"))
    assert w.requests[0].begun == t("08:30:08")
    assert (w.phase, w.memory.route.target, w.replicas) == (Phase.WARM, Route.NATIVE, 1)
    assert w.memory.reason is Reason.REQUEST
    assert w.told() == ["Warming", "Warm"]


def test_a_request_that_comes_while_the_operator_is_down_is_served_and_the_pool_adopted() -> None:
    w = asleep()
    w.operator_up = False
    w.ask(t("08:10"))
    w.until(t("08:11"))
    assert w.requests[0].begun == t("08:10:08")
    w.restart()
    assert (w.phase, w.memory.route.target) == (Phase.WARM, Route.NATIVE)
    w.until(t("08:30"))
    assert w.pods == []


def test_a_pool_that_was_woken_and_left_while_the_operator_was_away_gets_one_idle_after() -> None:
    w = asleep()
    w.operator_up = False
    w.ask(t("08:10"))
    w.until(t("09:20"))
    w.restart()
    w.until(t("09:30"))
    assert w.reached(0, after=t("09:20")) == t("09:20") + IDLE_AFTER


def test_a_request_that_comes_while_the_last_pod_goes_wakes_the_pool_again() -> None:
    w = asleep("08:30", gone_after=30)
    w.until(t("08:32:20"))
    assert (w.phase, w.ready, len(w.pods)) == (Phase.SLEEPING, 0, 1)
    w.ask(t("08:32:21"))
    w.until(t("08:33"))
    assert w.phase is Phase.WARM
    assert w.requests[-1].begun == t("08:32:29")


def test_somebody_who_scales_a_sleeping_target_up_gets_one_idle_after() -> None:
    w = asleep().until(t("08:30"))
    w.scale(1)
    w.look()
    w.until(t("08:40"))
    assert w.reached(0, after=t("08:31")) == t("08:30") + IDLE_AFTER


# --- idleness ---


@each("idle_after", ["30s", "2m", "15m", "1h"])
def test_idle_after_counts_from_the_end_of_the_last_request(idle_after: str) -> None:
    spec = pool_spec(idleAfter=idle_after)
    clocks = ["08:30", "08:30:20", "08:30:25"]
    w = walk(spec, t("08:00"), [t(clock) for clock in clocks]).until(t("10:00"))
    assert w.reached(0, after=t("08:30:26")) == t("08:30:25") + SERVED + spec.idle_after


def test_a_long_request_keeps_the_pool_until_it_is_done() -> None:
    w = asleep()
    w.ask(t("08:30"), seconds=1200)
    w.until(t("09:30"))
    assert w.reached(0, after=t("08:31")) == t("08:30:08") + 1200 * SECOND + IDLE_AFTER


def test_traffic_that_comes_just_before_each_sleep_is_served_without_a_cold_start() -> None:
    """Each request comes in the seconds in which the pool is leaving the warm path already."""
    w = asleep()
    for n in range(30):
        w.ask(t("08:30") + n * 118 * SECOND)
    w.until(t("09:29"))
    waits = [r.begun - r.at for r in w.requests if r.begun]
    assert waits == [8 * SECOND] + [0 * SECOND] * 29
    assert w.lowest(t("08:30:08"), w.now, "ready") == 1


@pytest.mark.slow
def test_pods_without_the_time_of_their_last_request_are_asked_often_enough_to_know() -> None:
    w = asleep("08:30", "08:30:30", has_last_request=False, tick=0.5).until(t("08:34"))
    assert abs(w.reached(0, after=t("08:31")) - t("08:32:30.2")) <= SECOND


@pytest.mark.parametrize("ahead", [5, 3600])
def test_a_pod_whose_clock_runs_ahead_keeps_the_pool_no_longer(ahead: int) -> None:
    w = asleep()
    w.ask(t("08:30"))
    w.until(t("08:31"))
    w.memory = kept_in_status(w.memory)
    w.requests[0].begun = t("08:30:08") + ahead * SECOND  # as the pod tells it
    w.until(t("08:34") + ahead * SECOND)
    assert w.reached(0, after=t("08:31")) <= t("08:30:09") + ahead * SECOND + IDLE_AFTER


# --- the way down ---


def test_the_way_down_is_route_acknowledgement_settling_and_only_then_the_scale() -> None:
    w = asleep("08:30", acknowledges_after=2).until(t("08:40"))
    draining, sleeping, gone = (
        w.times(phase)[-1] for phase in (Phase.DRAINING, Phase.SLEEPING, Phase.ASLEEP)
    )
    assert draining == t("08:30:08") + SERVED + IDLE_AFTER - 6 * SECOND
    assert sleeping == draining + 2 * SECOND + 5 * SECOND
    assert gone == sleeping + 3 * SECOND
    down = [m for m in w.log if m.at >= draining]
    assert all(m.route is Route.ACTIVATOR for m in down)
    assert all((m.replicas == 0) == (m.at >= sleeping) for m in down)


def test_without_an_acknowledgement_there_is_no_sleep() -> None:
    w = walk(
        pool_spec(windows=[once("pitch", "10:00", "12:00", 2)]),
        t("09:00"),
        acknowledges_after=None,
    ).until(t("18:00"))
    assert (w.phase, w.replicas, w.ready) == (Phase.DRAINING, 2, 2)
    w.ask(t("18:01"))
    w.until(t("18:02"))
    assert w.requests[0].begun == t("18:01")


def test_an_acknowledgement_that_is_lost_while_settling_has_to_come_again() -> None:
    w = asleep("08:30", acknowledges_after=1)
    w.until(t("08:32:05"))
    assert (w.phase, w.memory.process.acknowledged_at) == (Phase.DRAINING, t("08:32:03.2"))
    w.lose_acknowledgements()
    w.until(t("08:40"))
    assert w.reached(0, after=t("08:31")) == t("08:32:05") + SECOND + 5 * SECOND


def test_an_acknowledgement_of_an_earlier_way_down_does_not_count_for_this_one() -> None:
    w = asleep("08:30", "09:00")
    w.until(t("08:50"))
    w.acknowledges_after = 60
    w.until(t("09:10"))
    assert w.times(Phase.SLEEPING)[-1] >= w.times(Phase.DRAINING)[-1] + 65 * SECOND


def test_a_lost_memory_takes_no_old_acknowledgement_for_a_new_one() -> None:
    w = asleep("08:30", "09:00", "09:30", "10:00")
    w.until(t("10:00:30"))
    epoch = w.memory.route.epoch
    w.acknowledges_after = 60
    w.restart(lambda _: Memory())
    w.until(t("10:10"))
    assert w.memory.route.epoch > epoch
    assert w.times(Phase.SLEEPING)[-1] >= w.times(Phase.DRAINING)[-1] + 65 * SECOND


def test_a_request_while_draining_brings_the_pool_back_to_the_native_route() -> None:
    w = asleep("08:30").until(t("08:32:04"))
    assert (w.phase, w.memory.route.target) == (Phase.DRAINING, Route.ACTIVATOR)
    w.ask(t("08:32:05"))
    w.until(t("08:32:06"))
    assert (w.phase, w.memory.route.target) == (Phase.WARM, Route.NATIVE)
    assert w.told("SleepAborted") == ["SleepAborted"]
    assert w.requests[-1].begun == t("08:32:05")
    w.until(t("08:40"))
    assert w.reached(0, after=t("08:32:05")) == t("08:32:05") + SERVED + IDLE_AFTER


def test_a_request_while_draining_is_enough_however_short_idle_after_is() -> None:
    """With 3 s the pool leaves the warm path while the request before is still being served."""
    w = walk(pool_spec(idleAfter="3s"), t("08:00"), [t("08:30")])
    w.until(t("08:30:09"))
    assert w.phase is Phase.DRAINING
    w.ask(t("08:30:10"), seconds=30)
    w.until(t("08:30:11"))
    assert (w.phase, w.memory.route.target) == (Phase.WARM, Route.NATIVE)
    w.until(t("08:31"))
    assert w.reached(0, after=t("08:30:10")) >= t("08:30:43")


def test_an_announcement_counts_as_activity_by_itself() -> None:
    """The pod tells nothing of its last request, and nobody saw the request being held."""
    memory = Memory(phase=Phase.ASLEEP, since=t("08:00"), route=Routing(Route.ACTIVATOR, 1))
    seen = Observation(replicas=1, ready=1, pods=1, demand=Demand(ticket=t("08:30")))
    decision = decide(pool_spec(), seen, memory, t("08:31"))
    # By the operator's clock: that of the activator may be another.
    assert decision.memory.last_active == t("08:31")
    assert decision.memory.reason is Reason.REQUEST


def put_to_sleep(spec: PoolSpec, since: datetime, **known: Any) -> Memory:
    """A pool that goes to sleep because its override asks for it."""
    return Memory(
        phase=Phase.SLEEPING,
        since=since,
        route=Routing(Route.ACTIVATOR, 2),
        override=KnownOverride(spec.override.key, t("07:00"), done=True),
        **known,
    )


def test_a_held_request_keeps_an_asleep_override_carried_out() -> None:
    spec = pool_spec(override=override("Asleep", t("20:00")))
    memory = put_to_sleep(spec, t("08:00"))
    seen = Observation(replicas=1, ready=0, pods=1, demand=Demand(held=1))
    decision = decide(spec, seen, memory, t("08:31"))
    assert (decision.memory.phase, decision.memory.override.done) == (Phase.WARMING, True)


def test_whoever_raises_what_this_process_has_lowered_wakes_it_announced_or_not() -> None:
    """The activator announced its requests while the pool was draining: it does so once."""
    spec = pool_spec(override=override("Asleep", t("20:00")), route="Always")
    announced = Announced(t("08:29"), t("08:29"))
    memory = put_to_sleep(spec, t("08:30"), announced=announced).here(lowered=True)
    seen = Observation(replicas=1, ready=0, pods=1, demand=Demand(ticket=t("08:29")))
    decision = decide(spec, seen, memory, t("08:31"))
    assert (decision.memory.phase, decision.memory.override.done) == (Phase.WARMING, True)


def test_a_window_that_is_near_while_draining_brings_the_pool_back() -> None:
    spec = pool_spec(windows=[once("pitch", "08:33", "09:00", 1)], lead="55s")
    w = walk(spec, t("08:00"), [t("08:30")]).until(t("08:33"))
    assert w.times(Phase.DRAINING) == [t("08:32:02.2")]
    assert w.lowest(t("08:30:08"), t("08:33"), "ready") == 1
    assert (w.phase, w.memory.reason) == (Phase.WARM, Reason.WINDOW)


def test_a_request_after_an_interrupted_sleep_is_not_taken_for_nobody() -> None:
    w = asleep("08:30")
    w.dies_before_scaling = True
    w.until(t("08:33"))
    w.ask(t("08:33:30"))
    w.until(t("08:34"))
    w.restart()
    assert (w.phase, w.memory.route.target) == (Phase.WARM, Route.NATIVE)


# --- first sight ---


def running(pods: int, *, ready: bool) -> Walk:
    """A target that runs already as its pool is made."""
    w = Walk(pool_spec(), t("08:00"), replicas=pods)
    w.pods = [Pod(t("07:00") if ready else t("09:00")) for _ in range(pods)]
    return w.until(t("08:00"))


def test_a_target_that_serves_already_gets_one_idle_after() -> None:
    w = running(2, ready=True)
    assert (w.phase, w.memory.reason) == (Phase.WARM, Reason.DEMAND)
    assert w.memory.route.target is Route.NATIVE
    w.until(t("08:10"))
    assert w.reached(0, after=t("08:00")) == t("08:02")


def test_a_target_that_is_in_use_is_not_touched() -> None:
    w = running(2, ready=True)
    w.requests.append(Request(t("08:00"), 3600, begun=t("08:00")))
    w.until(t("08:50"))
    assert w.replicas >= 1
    assert Phase.DRAINING not in {m.phase for m in w.log}


def test_a_target_that_serves_nobody_yet_goes_to_sleep_behind_the_activator() -> None:
    w = running(1, ready=False).until(t("08:01"))
    assert (w.phase, w.replicas) == (Phase.ASLEEP, 0)


# --- demand that cannot be measured ---


@pytest.mark.parametrize("idle_after", ["30s", "40m"])
def test_idle_after_begins_again_when_the_30_minutes_are_over(idle_after: str) -> None:
    blind = t("08:30:30")
    w = walk(
        pool_spec(idleAfter=idle_after),
        t("08:00"),
        [t("08:30")],
        unmeasurable=lambda now: now >= blind,
        tick=6,
    ).until(t("10:00"))
    end = blind + 30 * MINUTE + w.spec.idle_after
    assert end <= w.reached(0, after=t("08:31")) <= end + MINUTE


def test_a_window_holds_a_pool_that_cannot_be_measured_as_long_as_it_lasts() -> None:
    w = walk(
        pool_spec(windows=[once("pitch", "10:00", "14:00", 2)]),
        t("09:00"),
        unmeasurable=lambda _: True,
    ).until(t("13:59:59"))
    assert w.lowest(t("10:00"), w.now, "ready") == 2


def test_demand_that_is_known_again_counts_from_its_last_request() -> None:
    w = asleep("08:30", unmeasurable=lambda now: t("08:31") <= now < t("08:45"), tick=10).until(
        t("09:00")
    )
    assert w.lowest(t("08:30"), t("08:44:59")) == 1
    assert w.reached(0, after=t("08:31")) <= t("08:45:20")


def test_pods_that_do_not_tell_their_last_request_may_have_had_it_while_nobody_could_ask() -> None:
    w = asleep(
        "08:30",
        unmeasurable=lambda now: t("08:31") <= now < t("08:45"),
        has_last_request=False,
        tick=10,
    ).until(t("09:00"))
    assert t("08:47") <= w.reached(0, after=t("08:31")) <= t("08:47:20")


def test_a_scrape_that_fails_now_and_then_does_not_keep_an_idle_pool_warm() -> None:
    w = asleep("08:30", unmeasurable=lambda now: now.second == 20, tick=10).until(t("09:00"))
    assert w.reached(0, after=t("08:31")) <= t("08:33")


def test_requests_that_can_be_seen_count_though_others_cannot() -> None:
    """One pod does not answer for hours, another serves."""
    w = asleep(unmeasurable=lambda now: now >= t("08:31"))
    w.ask(t("08:30"), seconds=3 * 3600)
    w.until(t("11:00"))
    assert w.lowest(t("08:31"), w.now, "ready") == 1


def test_unknown_demand_after_the_limit_needs_no_answer_to_go() -> None:
    w = asleep("08:30", unmeasurable=lambda now: now >= t("08:30:30"), tick=6)
    w.until(t("08:30:30") + 33 * MINUTE)
    assert w.replicas == 0
    w.ask(t("09:30"))
    w.until(t("09:31"))
    assert w.requests[-1].begun == t("09:30:08")
    w.until(t("09:31") + 29 * MINUTE)
    assert w.replicas == 1
