"""Periods of a budget: local midnights, whatever the clocks do there."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.core.budget.ledger import period_at
from kotatsu_operator.core.pool.spec import Period
from tests.operator.core.values import HOUR, MINUTE, examples, utc

TOKYO = ZoneInfo("Asia/Tokyo")
BERLIN = ZoneInfo("Europe/Berlin")


@each(
    "period, start, end",
    [
        (Period.DAY, "2026-11-24T15:00", "2026-11-25T15:00"),
        (Period.WEEK, "2026-11-22T15:00", "2026-11-29T15:00"),  # Monday the 23rd in Tokyo
        (Period.MONTH, "2026-10-31T15:00", "2026-11-30T15:00"),
    ],
)
def test_a_period_goes_from_midnight_to_midnight_of_the_zone(
    period: Period, start: str, end: str
) -> None:
    assert period_at(period, TOKYO, utc("2026-11-25T03:00")) == (utc(start), utc(end))


@each("day, hours", [("2026-03-29", 23), ("2026-06-01", 24), ("2026-10-25", 25)])
def test_a_day_is_as_long_as_the_clocks_make_it(day: str, hours: int) -> None:
    start, end = period_at(Period.DAY, BERLIN, utc(f"{day}T12:00"))
    assert end - start == hours * HOUR


def test_a_day_whose_midnight_does_not_exist_begins_with_its_first_minute() -> None:
    beirut = ZoneInfo("Asia/Beirut")  # 2026-03-29: from 00:00 to 01:00
    start, _ = period_at(Period.DAY, beirut, utc("2026-03-29T12:00"))
    assert start.astimezone(beirut).replace(tzinfo=None) == datetime(2026, 3, 29, 1)


def test_a_midnight_that_comes_twice_begins_one_day() -> None:
    """St. John's used to turn back at 00:01: the day before had two endings."""
    zone = ZoneInfo("America/St_Johns")
    first = datetime(2010, 11, 7, tzinfo=zone).astimezone(UTC)
    for minutes in range(0, 120, 5):
        assert period_at(Period.DAY, zone, first + minutes * MINUTE)[0] == first


ZONES = st.sampled_from(
    ["UTC", "Asia/Tokyo", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Africa/Cairo"]
)


@examples(200)
@given(st.sampled_from(Period), ZONES, st.integers(0, 40 * 365 * 24 * 60))
def test_periods_follow_one_another_without_a_gap(period: Period, name: str, minute: int) -> None:
    zone, now = ZoneInfo(name), utc("1995-01-01T00:00") + minute * MINUTE
    start, end = period_at(period, zone, now)
    assert start <= now < end
    assert period_at(period, zone, start) == (start, end)
    assert period_at(period, zone, end - timedelta(seconds=1)) == (start, end)
    assert period_at(period, zone, end)[0] == end
