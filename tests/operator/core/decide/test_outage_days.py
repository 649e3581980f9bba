"""Days on which the API server was away: nobody loses a pod before all others have noticed."""

from datetime import datetime, timedelta

from kotatsu_operator.core.pool.memory import Phase
from tests.operator.core.values import HOUR, MINUTE, SECOND, once, override, pool_spec, t
from tests.operator.core.walk import Walk, walk

CAUGHT_UP = t("11:02")
"""The API server has answered again at 11:00."""


def lag(now: datetime) -> timedelta:
    return CAUGHT_UP - now if t("11:00") <= now < CAUGHT_UP else timedelta()


def shown(*windows: object, **how: object) -> Walk:
    return walk(pool_spec(windows=windows), t("09:50"), catching_up=lag, **how).until(t("11:00"))


def test_a_pool_whose_window_ends_sleeps_when_all_have_caught_up():
    w = shown(once("pitch", "10:00", "11:00:30", 2)).until(t("11:10"))
    assert w.told()[-2:] == ["Draining", "Asleep"]
    assert w.lowest(t("10:00"), CAUGHT_UP - SECOND, "ready") == 2
    assert w.reached(0, after=t("11:00")) == CAUGHT_UP


def test_an_asleep_override_waits_for_it_longer_than_the_drain_timeout():
    pitch = once("pitch", "10:00", "18:00", 2)
    w = shown(pitch)
    w.edit(pool_spec(windows=[pitch], override=override("Asleep", t("17:00"))))
    w.until(t("11:10"))
    assert w.reached(0, after=t("11:00")) == CAUGHT_UP


def test_a_request_meanwhile_keeps_the_pool():
    w = shown(once("pitch", "10:00", "11:00:30", 1)).ask(t("11:01:30")).until(t("11:03"))
    assert (w.phase, w.replicas) == (Phase.WARM, 1)
    assert w.lowest(t("10:00"), t("11:03"), "ready") == 1


def test_replicas_are_lowered_when_all_have_caught_up():
    w = shown(once("many", "10:00", "11:01", 4), once("few", "10:00", "12:00", 2)).until(t("11:10"))
    assert w.lowest(t("10:00"), CAUGHT_UP - SECOND, "ready") == 4
    assert w.reached(2, after=t("11:00")) == CAUGHT_UP


def test_replicas_are_raised_without_waiting():
    w = shown(once("few", "10:00", "12:00", 1), once("many", "11:01", "12:00", 4)).until(t("11:01"))
    assert w.ready == 4


def test_a_sleeping_pool_wakes_without_waiting():
    w = walk(pool_spec(), t("09:00"), [t("11:00:10")], catching_up=lag).until(t("11:01"))
    assert w.requests[0].begun == t("11:00:10") + 8 * SECOND


def test_a_pool_that_is_idle_long_after_sleeps_as_ever():
    w = walk(pool_spec(), t("09:00"), [t("12:00")], catching_up=lag).until(t("13:00"))
    assert w.reached(0, after=t("12:00:01")) - t("12:00") < 2 * MINUTE + 10 * SECOND < HOUR
