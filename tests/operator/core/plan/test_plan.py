"""What the schedule says at one moment: floor, window, what comes next, and by whose word."""

import time
from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.core.calendar.schedule import Occurrence
from kotatsu_operator.core.plan import plan as plan_module
from kotatsu_operator.core.plan.plan import Plan, floor_of, plan_at
from kotatsu_operator.core.pool.memory import Memory, Reason
from kotatsu_operator.core.pool.news import Claim, Transition
from kotatsu_operator.core.pool.spec import Override, OverrideMode, PoolSpec
from tests.operator.core.values import HOUR, MINUTE, cron, examples, once, pool_spec, t, utc


def plan(spec: PoolSpec, clock: str) -> Plan:
    return plan_at(spec, Memory(), t(clock))


def pool(*windows: dict, **fields: object) -> PoolSpec:
    return pool_spec(windows=list(windows), **{"lead": "1m", **fields})


PITCH = once("pitch", "10:00", "12:00", 2)


def test_a_schedule_with_much_open_at_once_takes_no_more_time_than_its_openings(monkeypatch):
    """Four times as many openings took sixteen times as long: 200 ms of each look."""

    def taken(openings: int) -> float:
        spec = pool(cron("* * * * *", "744h"))
        at = [t("10:00") + n * MINUTE for n in range(-openings // 2, openings // 2)]
        known = [Occurrence(begin, begin + 744 * HOUR, "w", 1) for begin in at]
        monkeypatch.setattr(plan_module, "_near", lambda *_: known)
        times = []
        for _ in range(5):
            began = time.process_time()
            plan(spec, "10:00")
            times.append(time.process_time() - began)
        return min(times)

    assert taken(3200) < 10 * taken(800)


@each("clock, floor, transition", [
    ("09:00", 0, Transition(t("09:59"), "pitch", "prewarm")),
    ("09:58:59", 0, Transition(t("09:59"), "pitch", "prewarm")),
    ("09:59", 2, Transition(t("10:00"), "pitch", "open")),
    ("10:00", 2, Transition(t("12:00"), "pitch", "close")),
    ("11:59:59", 2, Transition(t("12:00"), "pitch", "close")),
    ("12:00", 0, None),
])  # fmt: skip
def test_a_window_is_warmed_for_opens_and_closes(clock, floor, transition):
    planned = plan(pool(PITCH), clock)
    assert (planned.floor, planned.next) == (floor, transition)
    assert planned.window == ("pitch" if floor else "")


def test_the_next_opening_is_named_however_far_it_is():
    planned = plan(pool(cron("0 10 1 7 *", "1h")), "10:00")
    assert planned.next == Transition(utc("2027-07-01T09:59"), "w", "prewarm")


def test_nothing_is_next_without_windows():
    assert plan(pool(), "10:00").next is None


def test_of_windows_with_as_many_replicas_the_one_that_closes_last_is_named():
    planned = plan(pool(once("a", "10:00", "12:00"), once("b", "10:00", "13:00")), "11:00")
    assert planned.window == "b"


def test_a_schedule_with_hundreds_of_open_windows_names_the_next_prewarm():
    dense = cron("* * * * *", "5h", 1, name="dense")
    planned = plan(pool(dense, once("peak", "10:30:30", "12:00", 5)), "10:29")
    assert planned.next.at <= t("10:29:30")
    assert Transition(t("10:29:30"), "peak", "prewarm") in planned.upcoming


def test_a_schedule_of_every_minute_is_laid_out_in_few_transitions():
    planned = plan(pool(cron("* * * * *", "744h", 1)), "10:29")
    assert (planned.floor, len(planned.upcoming) < 50) == (1, True)


WINDOWS = st.tuples(st.integers(0, 26 * 60), st.integers(1, 300), st.integers(1, 5))


@examples(100)
@given(st.lists(WINDOWS, min_size=1, max_size=6), st.integers(0, 120), st.integers(0, 27 * 60))
def test_the_next_transition_is_the_first_of_all(raw, lead, minute):
    """The oracle: every transition of every window, sorted."""
    day = utc("2026-11-25T00:00")
    now = day + minute * MINUTE
    windows, moments = [], set()
    for n, (start, length, replicas) in enumerate(raw):
        opens, closes = day + start * MINUTE, day + (start + length) * MINUTE
        text = [f"{at:%Y-%m-%dT%H:%M}" for at in (opens, closes)]
        windows.append({"name": f"w{n}", "start": text[0], "end": text[1], "replicas": replicas})
        if closes > now:
            moments |= {opens - lead * MINUTE, opens, closes}
    coming = sorted(at for at in moments if at > now)
    planned = plan_at(pool(*windows, lead=f"{lead}m"), Memory(), now)
    assert (planned.next.at if planned.next else None) == (coming[0] if coming else None)
    assert all(a.at <= b.at for a, b in pairwise(planned.upcoming))


@each("clock, claim", [
    ("08:00", Claim(t("09:59"), 2)), ("09:59", Claim(t("10:59"), 3)),
    ("10:59", Claim(t("13:59"), 1)), ("12:58", Claim(t("13:59"), 1)), ("13:59", None),
])  # fmt: skip
def test_a_claim_is_the_next_warm_up_not_yet_begun(clock, claim):
    spec = pool(PITCH, once("peak", "11:00", "13:00", 5), once("small", "14:00", "15:00", 1))
    assert plan(spec, clock).claim == claim


def test_a_small_window_within_a_big_one_claims_nothing():
    spec = pool(once("big", "10:00", "12:00", 3), once("small", "11:00", "11:30", 2))
    assert plan(spec, "10:30").claim is None


def test_an_early_turn_moves_the_prewarm_and_not_the_claim():
    planned = plan_at(pool(PITCH), Memory(), t("09:00"), 5 * MINUTE)
    assert planned.next == Transition(t("09:54"), "pitch", "prewarm")
    assert planned.claim == Claim(t("09:59"), 2)
    assert (planned.kept_ahead, plan(pool(PITCH), "09:00").ahead) == (timedelta(), timedelta())


UNTIL = t("20:00")


@each("override, clock, floor, reason", [
    (None, "11:00", 2, Reason.WINDOW),
    (None, "13:00", 0, Reason.WINDOW),
    (Override(OverrideMode.ASLEEP, UNTIL), "11:00", 0, Reason.OVERRIDE),
    (Override(OverrideMode.WARM, UNTIL, 5), "11:00", 5, Reason.OVERRIDE),
    (Override(OverrideMode.WARM, UNTIL, 2), "11:00", 2, Reason.OVERRIDE),
    (Override(OverrideMode.WARM, UNTIL, 1), "11:00", 2, Reason.WINDOW),
    (Override(OverrideMode.WARM, UNTIL, 1), "13:00", 1, Reason.OVERRIDE),
    (Override(OverrideMode.WARM, UNTIL), "13:00", 2, Reason.OVERRIDE),
    (Override(OverrideMode.WARM, UNTIL, 99), "13:00", 10, Reason.OVERRIDE),
])  # fmt: skip
def test_the_floor_and_who_says_so(override, clock, floor, reason):
    spec = pool(PITCH)
    assert floor_of(spec, override, plan(spec, clock).floor) == (floor, reason)


def test_a_warm_override_of_a_pool_without_windows_asks_for_one():
    warm = Override(OverrideMode.WARM, UNTIL)
    assert floor_of(pool(), warm, 0) == (1, Reason.OVERRIDE)


def test_the_plan_is_the_same_whenever_the_hour_was_first_looked_at():
    spec = pool(cron("*/20 * * * *", "7m", 3))
    clocks = [t("10:00") + n * timedelta(seconds=97) for n in range(100)]
    forwards = [plan_at(spec, Memory(), at).floor for at in clocks]
    backwards = [plan_at(spec, Memory(), at).floor for at in reversed(clocks)]
    assert forwards == backwards[::-1]
    assert set(forwards) == {0, 3}
    assert clocks[-1] - clocks[0] > 2 * HOUR
