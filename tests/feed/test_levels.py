import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_feed.domain.levels import level_for, threshold


@each(
    "experience, level",
    [(0, 1), (10, 1), (19, 1), (20, 2), (50, 2), (59, 2), (60, 3), (139, 3), (140, 4), (300, 5)],
)
def test_levels_begin_at_20_60_140_300(experience: int, level: int) -> None:
    assert level_for(experience) == level


@given(st.integers(1, 200))
def test_the_step_from_level_n_to_the_next_costs_10_times_2_to_the_n(n: int) -> None:
    assert threshold(n + 1) - threshold(n) == 10 * 2**n


@given(st.integers(1, 200))
def test_a_level_begins_exactly_at_its_threshold(n: int) -> None:
    assert level_for(threshold(n)) == n
    if n > 1:
        assert level_for(threshold(n) - 1) == n - 1


@pytest.mark.parametrize("call", [lambda: level_for(-1), lambda: threshold(0)])
def test_what_can_not_be_is_refused(call: object) -> None:
    with pytest.raises(ValueError):
        call()  # type: ignore[operator]
