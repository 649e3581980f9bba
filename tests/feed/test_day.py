from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotatsu_feed.domain.day import bounds, day_of

instants = st.datetimes(
    min_value=datetime(1990, 1, 1),
    max_value=datetime(2100, 1, 1),
    timezones=st.just(UTC),
)


def test_the_day_changes_at_15_o_clock_utc_which_is_midnight_in_tokyo() -> None:
    assert day_of(datetime(2026, 11, 25, 14, 59, 59, tzinfo=UTC)) == date(2026, 11, 25)
    assert day_of(datetime(2026, 11, 25, 15, 0, 0, tzinfo=UTC)) == date(2026, 11, 26)


def test_it_is_the_same_day_wherever_the_clock_stands() -> None:
    here = datetime(2026, 11, 25, 10, 0, tzinfo=timezone(timedelta(hours=-8)))
    assert day_of(here) == date(2026, 11, 26)


def test_an_instant_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError):
        day_of(datetime(2026, 11, 25))


def test_github_is_asked_for_the_day_s_first_to_its_last_second() -> None:
    first, last = bounds(date(2026, 11, 25))
    assert first.isoformat() == "2026-11-24T15:00:00+00:00"
    assert last.isoformat() == "2026-11-25T14:59:59+00:00"


@given(instants)
def test_every_instant_lies_in_its_own_day(now: datetime) -> None:
    first, last = bounds(day_of(now))
    assert first <= now < last + timedelta(seconds=1)


@given(st.dates(date(1990, 1, 1), date(2100, 1, 1)))
def test_days_follow_each_other_without_gap_or_overlap(day: date) -> None:
    assert bounds(day + timedelta(days=1))[0] == bounds(day)[1] + timedelta(seconds=1)
