"""Days on which a person overrides the schedule."""

from dataclasses import replace

import pytest
from rows import each

from kotatsu_operator.core.pool.memory import Phase, Reason, Route
from tests.operator.core.values import (
    HOUR,
    MINUTE,
    SECOND,
    kept_in_status,
    once,
    override,
    pool_spec,
    t,
)
from tests.operator.core.walk import Walk, walk

PITCH = once("pitch", "10:00", "18:00", 2)
LIMIT = 24 * HOUR
FAR = t("10:00") + 7 * 24 * HOUR


def pitch(**asked: object) -> object:
    """A pool with a long window and perhaps an override."""
    return pool_spec(windows=[PITCH], **({"override": asked} if asked else {}))


def in_window(**how: object) -> Walk:
    return walk(pitch(), t("09:50"), **how).until(t("11:00"))


def asleep(until: str, **how: object) -> Walk:
    """In its window, the pool is asked at 11:00 to sleep."""
    return in_window(**how).edit(pitch(**override("Asleep", t(until))))


# --- Asleep ---


def test_asleep_drains_a_window_at_once():
    w = asleep("20:00")
    assert (w.phase, w.memory.reason) == (Phase.DRAINING, Reason.OVERRIDE)
    w.until(t("17:00"))
    assert w.reached(0, after=t("11:00")) == t("11:00:00.5") + 5 * SECOND
    assert (w.phase, w.pods) == (Phase.ASLEEP, [])


@each("clock", ["10:00:01", "10:59:50"])
def test_asleep_does_not_wait_for_idle_after(clock):
    w = walk(pitch(), t("09:50"), [t(clock)]).until(t("11:00"))
    w.edit(pitch(**override("Asleep", t("20:00")))).until(t("11:01"))
    assert w.replicas == 0


def test_asleep_waits_for_a_request_in_flight_no_longer_than_the_drain_timeout():
    w = in_window().until(t("10:59")).ask(t("10:59:30"), seconds=3600).until(t("11:00"))
    w.edit(pitch(**override("Asleep", t("20:00")))).until(t("11:10"))
    assert w.reached(0, after=t("11:00")) == t("11:01")


def test_asleep_goes_as_soon_as_the_request_in_flight_is_done():
    w = in_window().ask(t("11:00"), seconds=20).until(t("11:00"))
    w.edit(pitch(**override("Asleep", t("20:00")))).until(t("11:10"))
    assert w.reached(0, after=t("11:00")) == t("11:00:20")


def test_a_request_after_asleep_wakes_the_pool_without_its_window():
    w = asleep("17:00").ask(t("12:00")).until(t("12:01"))
    assert (w.phase, w.memory.route.target, w.replicas) == (Phase.WARM, Route.NATIVE, 1)
    w.until(t("13:00"))
    assert w.reached(0, after=t("12:00:01")) == t("12:00:08.2") + 2 * MINUTE


@pytest.mark.parametrize("sees_held", [True, False], ids=["held seen", "announced only"])
def test_asleep_on_a_pool_that_sleeps_already_lets_the_next_request_stay(sees_held):
    w = walk(pitch(**override("Asleep", t("20:00"))), t("08:00"), sees_held=sees_held)
    w.ask(t("08:30"), seconds=30).until(t("08:40"))
    assert w.told() == ["Warming", "Warm", "Draining", "Asleep"]
    assert w.reached(0, after=t("08:31")) == t("08:30:38") + 2 * MINUTE


def test_a_request_while_the_last_pods_go_after_asleep_wakes_the_pool_for_good():
    w = asleep("17:00", gone_after=30).until(t("11:00:10"))
    assert w.phase is Phase.SLEEPING
    w.ask(t("11:00:11")).until(t("11:02"))
    assert (w.phase, w.replicas) == (Phase.WARM, 1)


def test_a_request_after_asleep_wakes_one_pod_and_not_as_many_as_there_were():
    spec = pool_spec(windows=[once("pitch", "10:00", "18:00", 6)], requestsPerPod=1)
    w = walk(spec, t("09:50"), tick=2).until(t("10:30"))
    w.ask(t("10:30"), seconds=20, count=8).until(t("10:30:30"))
    assert w.replicas == 8
    w.edit(replace(w.spec, override=pitch(**override("Asleep", t("17:00"))).override))
    w.ask(t("10:30:50"), seconds=30).until(t("10:31:20"))
    assert max(m.replicas for m in w.log if m.at >= t("10:30:50")) == 1


def test_asleep_that_was_announced_but_not_carried_out_is_carried_out_after_the_restart():
    """The last request was a moment ago: idleAfter alone would keep the pool."""
    w = walk(pitch(), t("09:50"), [t("11:00:30")], dies_before_scaling=True).until(t("11:00:40"))
    w.edit(pitch(**override("Asleep", t("20:00")))).until(t("11:00:50"))
    assert (w.phase, w.replicas, w.operator_up) == (Phase.SLEEPING, 2, False)
    w.restart().until(t("11:00:57"))
    assert w.replicas == 0


def test_pods_that_somebody_starts_as_asleep_arrives_are_drained_at_once():
    w = walk(pool_spec(), t("08:00"))
    w.operator_up = False
    w.until(t("08:30"))
    w.scale(1)
    w.spec = pool_spec(override=override("Asleep", t("20:00")))
    w.restart()
    assert (w.phase, w.memory.reason) == (Phase.DRAINING, Reason.OVERRIDE)
    w.until(t("08:31"))
    assert w.replicas == 0


def test_a_warm_up_that_asleep_has_interrupted_teaches_nothing():
    w = walk(pitch(), t("09:50"), ready_after=100, acknowledges_after=600).until(t("09:59"))
    w.edit(pitch(**override("Asleep", t("09:59:30")))).until(t("10:10"))
    assert (w.phase, w.ready, w.memory.warm_ups) == (Phase.WARM, 2, ())


def test_asleep_ends_at_its_time_and_the_window_goes_on():
    w = asleep("13:00").until(t("17:59:59"))
    assert w.lowest(t("11:01"), t("12:59:59")) == 0
    assert w.times(Phase.WARM)[-1] == t("13:00:08")
    assert w.lowest(t("13:00:08"), w.now, "ready") == 2


def test_asleep_that_ends_while_it_drains_keeps_the_window():
    w = asleep("11:00:20", acknowledges_after=30).until(t("17:59:59"))
    assert w.lowest(t("10:00"), w.now, "ready") == 2


def test_asleep_that_is_taken_back_brings_the_window_back():
    w = asleep("17:00").until(t("12:00")).edit(pitch()).until(t("12:01"))
    assert (w.phase, w.ready) == (Phase.WARM, 2)


# --- Warm ---


def test_warm_starts_pods_at_once_and_ends_at_its_time():
    w = walk(pool_spec(), t("08:00")).until(t("08:30"))
    w.edit(pool_spec(override=override("Warm", t("09:30"), replicas=3)))
    assert (w.phase, w.memory.reason, w.replicas) == (Phase.WARMING, Reason.OVERRIDE, 3)
    w.until(t("10:00"))
    assert w.lowest(t("08:30:08"), t("09:29:59"), "ready") == 3
    assert w.reached(0, after=t("08:31")) == t("09:30") + 5.5 * SECOND


def test_warm_may_be_made_longer():
    w = walk(pool_spec(override=override("Warm", t("09:00"))), t("08:00")).until(t("08:59"))
    w.edit(pool_spec(override=override("Warm", t("10:00")))).until(t("09:59:59"))
    assert w.lowest(t("08:10"), w.now, "ready") == 1
    w.until(t("10:01"))
    assert w.replicas == 0


# --- every override ends ---


@pytest.mark.slow
@pytest.mark.parametrize("restarts", [0, 1, 30], ids=lambda n: f"{n} restarts")
def test_warm_ends_24_hours_after_it_was_first_seen(restarts):
    w = walk(pool_spec(override=override("Warm", FAR)), t("08:00"))
    for n in range(restarts):
        w.until(t("08:00") + LIMIT * (n + 1) / (restarts + 1))
        w.restart(kept_in_status)
    w.until(t("08:00") + LIMIT - SECOND)
    assert w.replicas == 1
    w.until(t("08:00") + LIMIT + 6 * SECOND)
    assert w.replicas == 0
    w.until(t("09:00") + LIMIT)
    assert w.replicas == 0


def test_the_24_hours_count_from_the_first_sight_also_while_suspended():
    asked = override("Warm", FAR)
    w = walk(pool_spec(override=asked, suspend=True), t("08:00")).until(t("20:00"))
    w.edit(pool_spec(override=asked)).until(t("08:00") + LIMIT + MINUTE)
    assert w.replicas == 0


@pytest.mark.slow
def test_another_override_has_24_hours_of_its_own():
    w = walk(pool_spec(override=override("Warm", FAR)), t("08:00")).until(t("20:00"))
    w.edit(pool_spec(override=override("Warm", FAR + MINUTE))).until(t("19:59") + LIMIT)
    assert w.replicas == 1
    w.until(t("20:01") + LIMIT)
    assert w.replicas == 0


def test_an_override_of_the_past_does_nothing():
    w = walk(pool_spec(override=override("Warm", t("07:00"))), t("08:00")).until(t("09:00"))
    assert (w.replicas, w.told()) == (0, [])
