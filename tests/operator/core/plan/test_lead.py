"""How early pods start: learned, stretched for more replicas, never below the margin."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.core.decide.decide import decide
from kotatsu_operator.core.plan.lead import KEEP, LONGEST, MARGIN, auto_lead, percentile
from kotatsu_operator.core.pool.decision import Observation
from kotatsu_operator.core.pool.memory import Memory, Phase, Process, WarmUp
from tests.operator.core.values import MINUTE, SECOND, examples, once, pool_spec, t

SETTLE = 5 * SECOND


@each(
    "values, share, expected",
    [
        ([7.0], 0.95, 7.0),
        ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0),
        ([1.0, 2.0, 3.0, 4.0], 0.95, 4.0),
        ([float(n) for n in range(1, 21)], 0.95, 19.0),
        ([float(n) for n in range(20, 0, -1)], 1.0, 20.0),
        ([3.0, 5.0], 0.0, 3.0),
    ],
)
def test_a_percentile_is_one_of_the_values(
    values: list[float], share: float, expected: float
) -> None:
    assert percentile(values, share) == expected


def test_a_pool_that_has_learned_nothing_assumes_a_minute() -> None:
    assert auto_lead([], 1, SETTLE) == 60 * SECOND + MARGIN + SETTLE


@each("seconds, lead", [(10, 11), (10.1, 12), (0.4, 1), (60, 66)], name=lambda x: f"{x}")
def test_what_was_observed_is_taken_a_tenth_longer_in_whole_seconds(
    seconds: float, lead: int
) -> None:
    assert auto_lead([WarmUp(seconds, 1)], 1, SETTLE) == lead * SECOND + MARGIN + SETTLE


@each("had, wanted, factor", [(1, 4, 2), (2, 2, 1), (5, 1, 1), (1, 9, 3), (0, 4, 2)])
def test_more_replicas_stretch_it_by_the_square_root_and_fewer_do_not_shorten_it(
    had: int, wanted: int, factor: int
) -> None:
    assert auto_lead([WarmUp(10, had)], wanted, SETTLE) == (11 * factor * SECOND + MARGIN + SETTLE)


def test_one_slow_start_in_twenty_is_forgiven() -> None:
    ups = [WarmUp(10, 1)] * (KEEP - 1) + [WarmUp(300, 1)]
    assert auto_lead(ups, 1, SETTLE) == 11 * SECOND + MARGIN + SETTLE


WARM_UPS = st.lists(st.builds(WarmUp, st.floats(0, 10**6), st.integers(0, 1000)), max_size=KEEP)


@examples(100)
@given(WARM_UPS, st.integers(1, 1000), st.integers(0, 60))
def test_a_lead_lies_between_the_margin_and_an_hour(
    ups: list[WarmUp], replicas: int, settle: int
) -> None:
    lead = auto_lead(ups, replicas, settle * SECOND)
    assert MARGIN + settle * SECOND <= lead <= LONGEST


@examples(50)
@given(WARM_UPS, st.integers(1, 100))
def test_more_replicas_never_have_a_shorter_lead(ups: list[WarmUp], replicas: int) -> None:
    assert auto_lead(ups, replicas + 1, SETTLE) >= auto_lead(ups, replicas, SETTLE)


def warming(**memory: object) -> Memory:
    return Memory(phase=Phase.WARMING, since=t("09:59"), **memory)


READY = Observation(replicas=2, ready=2, pods=2)
SPEC = pool_spec(windows=[once("pitch", "10:00", "12:00", 2)])


def test_a_warm_up_is_measured_from_the_decision_until_the_floor_is_ready() -> None:
    memory = decide(
        SPEC, READY, warming(process=Process(raised_at=t("09:59"))), t("09:59:12")
    ).memory
    assert (memory.warm_ups, memory.process.raised_at) == ((WarmUp(12.0, 2, window=True),), None)


def test_the_clock_may_step_back_while_pods_start() -> None:
    memory = decide(SPEC, READY, warming(process=Process(raised_at=t("10:20"))), t("10:00")).memory
    assert memory.warm_ups == (WarmUp(0.0, 2, window=True),)


def test_only_the_last_warm_ups_are_remembered() -> None:
    old = tuple(WarmUp(float(n), 2, window=True) for n in range(KEEP))
    begun = warming(process=Process(raised_at=t("09:59")), warm_ups=old)
    memory = decide(SPEC, READY, begun, t("09:59:50")).memory
    assert memory.warm_ups == (*old[1:], WarmUp(50.0, 2, window=True))


@pytest.mark.parametrize("past", [timedelta(), 30 * MINUTE])
def test_what_is_in_force_is_kept_only_while_a_window_is_within_it(past: timedelta) -> None:
    """A lead of 30 minutes was in force; 10 s is what was learned since."""
    ups = (WarmUp(10.0, 2),)
    learned = 11 * SECOND + MARGIN + SETTLE
    memory = warming(warm_ups=ups, lead=30 * MINUTE)
    decided = decide(SPEC, READY, memory, t("09:45") - past).memory
    assert decided.lead == (learned if past else 30 * MINUTE)
