"""How early pods start: learned, stretched for more replicas, never below the margin."""

from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.core.decide.decide import decide
from kotatsu_operator.core.plan.lead import KEEP, LONGEST, MARGIN, auto_lead, percentile
from kotatsu_operator.core.pool.decision import Observation
from kotatsu_operator.core.pool.memory import Memory, Phase, WarmUp
from tests.operator.core.values import MINUTE, SECOND, examples, once, pool_spec, t

SETTLE = 5 * SECOND


@each("values, share, expected", [
    ([7.0], 0.95, 7.0), ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0), ([1.0, 2.0, 3.0, 4.0], 0.95, 4.0),
    ([float(n) for n in range(1, 21)], 0.95, 19.0), ([3.0, 5.0], 0.0, 3.0),
    ([float(n) for n in range(20, 0, -1)], 1.0, 20.0),
])  # fmt: skip
def test_a_percentile_is_one_of_the_values(values, share, expected):
    assert percentile(values, share) == expected


def test_a_pool_that_has_learned_nothing_assumes_a_minute():
    assert auto_lead([], 1, SETTLE) == 60 * SECOND + MARGIN + SETTLE


@each("seconds, lead", [(10, 11), (10.1, 12), (0.4, 1), (60, 66)], name=lambda x: f"{x}")
def test_what_was_observed_is_taken_a_tenth_longer_in_whole_seconds(seconds, lead):
    assert auto_lead([WarmUp(seconds, 1)], 1, SETTLE) == lead * SECOND + MARGIN + SETTLE


@each("had, wanted, factor", [(1, 4, 2), (2, 2, 1), (5, 1, 1), (1, 9, 3), (0, 4, 2)])
def test_more_replicas_stretch_it_by_the_square_root_and_fewer_do_not_shorten_it(
    had, wanted, factor
):
    assert auto_lead([WarmUp(10, had)], wanted, SETTLE) == (11 * factor * SECOND + MARGIN + SETTLE)


def test_one_slow_start_in_twenty_is_forgiven():
    ups = [WarmUp(10, 1)] * (KEEP - 1) + [WarmUp(300, 1)]
    assert auto_lead(ups, 1, SETTLE) == 11 * SECOND + MARGIN + SETTLE


WARM_UPS = st.lists(st.builds(WarmUp, st.floats(0, 10**6), st.integers(0, 1000)), max_size=KEEP)


@examples(100)
@given(WARM_UPS, st.integers(1, 1000), st.integers(0, 60))
def test_a_lead_lies_between_the_margin_and_an_hour(ups, replicas, settle):
    lead = auto_lead(ups, replicas, settle * SECOND)
    assert MARGIN + settle * SECOND <= lead <= LONGEST


@examples(50)
@given(WARM_UPS, st.integers(1, 100))
def test_more_replicas_never_have_a_shorter_lead(ups, replicas):
    assert auto_lead(ups, replicas + 1, SETTLE) >= auto_lead(ups, replicas, SETTLE)


def ready(at: str, raised: str | None = None, **memory: object) -> Memory:
    """The memory of a warming pool after a look at its Ready pods."""
    at_start = {"since": t("09:59"), "raised_at": raised and t(raised)}
    before = Memory(phase=Phase.WARMING, **at_start, **memory)
    return decide(SPEC, Observation(replicas=2, ready=2, pods=2), before, t(at)).memory


SPEC = pool_spec(windows=[once("pitch", "10:00", "12:00", 2)])


@each("raised, at, seconds",
    [("09:59", "09:59:12", 12.0), ("10:20", "10:00", 0.0)],  # or the clock steps back
)  # fmt: skip
def test_a_warm_up_is_measured_from_the_decision_until_the_floor_is_ready(raised, at, seconds):
    memory = ready(at, raised)
    assert memory.warm_ups == (WarmUp(seconds, 2, window=True),)
    assert memory.raised_at is None


def test_only_the_last_warm_ups_are_remembered():
    old = tuple(WarmUp(float(n), 2, window=True) for n in range(KEEP))
    memory = ready("09:59:50", "09:59", warm_ups=old)
    assert memory.warm_ups == (*old[1:], WarmUp(50.0, 2, window=True))


@each("at, lead", [("09:45", 30 * MINUTE), ("09:15", 11 * SECOND + MARGIN + SETTLE)])
def test_what_is_in_force_is_kept_only_while_a_window_is_within_it(at, lead):
    """A lead of 30 minutes was in force; 10 s is what was learned since."""
    assert ready(at, warm_ups=(WarmUp(10.0, 2),), lead=30 * MINUTE).lead == lead
