"""When windows open and close: golden instants, worked out by hand from the zones' rules."""

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.core.calendar import schedule
from kotatsu_operator.core.calendar.schedule import (
    Occurrence,
    Window,
    check_cron,
    next_start,
    occurrences,
    to_instant,
)
from tests.operator.core.values import HOUR, MINUTE, examples, utc

YEAR = timedelta(days=365)


def repeating(schedule: str, duration: timedelta = HOUR, *, replicas: int = 2, **more) -> Window:
    return Window(more.pop("name", "w"), replicas, schedule=schedule, duration=duration, **more)


def single(start: str, end: str, *, name: str = "w", replicas: int = 2) -> Window:
    return Window(
        name, replicas, start=datetime.fromisoformat(start), end=datetime.fromisoformat(end)
    )


def opened(window: Window, zone: str, after: str, before: str) -> list[Occurrence]:
    return occurrences([window], ZoneInfo(zone), utc(after), utc(before))


def starts(window: Window, zone: str, after: str, before: str) -> list[str]:
    return [f"{o.start:%Y-%m-%dT%H:%M}" for o in opened(window, zone, after, before)]


# --- plain windows ---


def test_a_one_off_window_is_a_wall_clock_time_in_its_zone():
    window = single("2026-11-25T10:00", "2026-11-25T12:00")
    found = opened(window, "Asia/Tokyo", "2026-11-24T00:00", "2026-11-27T00:00")
    assert found == [Occurrence(utc("2026-11-25T01:00"), utc("2026-11-25T03:00"), "w", 2)]


@each("end", ["2026-12-31T00:00", "9998-12-31T00:00"])
def test_a_one_off_window_of_months_or_without_end_is_found_from_its_middle(end):
    window = single("2026-01-01T00:00", end)
    assert starts(window, "UTC", "2026-07-01T00:00", "2026-07-01T00:01") == ["2026-01-01T00:00"]


def test_the_range_is_closed_at_its_begin_and_open_at_its_end():
    window = repeating("0 10 * * *")
    assert starts(window, "UTC", "2026-11-25T11:00", "2026-11-26T10:00") == []
    assert starts(window, "UTC", "2026-11-25T10:59", "2026-11-26T10:00") == ["2026-11-25T10:00"]
    assert starts(window, "UTC", "2026-11-25T11:00", "2026-11-26T10:01") == ["2026-11-26T10:00"]


@each("zone, schedule, instants", [
    ("UTC", "0 18 * * *", ["30T18:00", "01T18:00"]),
    # 07:00 on the 31st in Tokyo is still the 30th in UTC.
    ("Asia/Tokyo", "0 7 * * *", ["29T22:00", "31T22:00"]),
])  # fmt: skip
def test_a_window_does_not_open_on_an_excluded_date_of_its_zone(zone, schedule, instants):
    window = repeating(schedule, exclude=frozenset({date(2026, 12, 31)}))
    found = opened(window, zone, "2026-12-29T20:00", "2027-01-01T20:00")
    assert [f"{o.start:%dT%H:%M}" for o in found] == instants


def test_an_excluded_date_keeps_the_evening_before_open_past_midnight():
    window = repeating("0 22 * * *", 4 * HOUR, exclude=frozenset({date(2026, 12, 31)}))
    found = opened(window, "UTC", "2026-12-31T01:00", "2027-01-01T01:00")
    assert [(o.start, o.end) for o in found] == [(utc("2026-12-30T22:00"), utc("2026-12-31T02:00"))]


@each("zone, schedule, instant", [
    # Monday 2026-11-23, 07:00 in Tokyo is Sunday evening in UTC.
    ("Asia/Tokyo", "0 7 * * 1", "2026-11-22T22:00"),
    # Friday 2026-11-27, 22:00 in Los Angeles is Saturday morning in UTC.
    ("America/Los_Angeles", "0 22 * * 5", "2026-11-28T06:00"),
    # Sunday may be written 0, 7 or SUN.
    ("Asia/Tokyo", "0 1 * * 0", "2026-11-28T16:00"),
    ("Asia/Tokyo", "0 1 * * 7", "2026-11-28T16:00"),
    ("Asia/Tokyo", "0 1 * * SUN", "2026-11-28T16:00"),
])  # fmt: skip
def test_the_weekday_is_the_zones_and_not_utcs(zone, schedule, instant):
    found = starts(repeating(schedule), zone, "2026-11-22T12:00", "2026-11-29T12:00")
    assert found == [instant]


@each("zone, instant", [
    ("Asia/Kathmandu", "2026-11-25T04:15"),  # UTC+05:45
    ("Asia/Kolkata", "2026-11-25T04:30"),  # UTC+05:30
    ("Pacific/Chatham", "2026-11-24T20:15"),  # UTC+13:45 in summer
    ("Pacific/Marquesas", "2026-11-25T19:30"),  # UTC-09:30
    ("Pacific/Kiritimati", "2026-11-24T20:00"),  # UTC+14
    ("Pacific/Pago_Pago", "2026-11-25T21:00"),  # UTC-11
])  # fmt: skip
def test_zones_with_odd_offsets_open_at_their_own_ten_o_clock(zone, instant):
    window = single("2026-11-25T10:00", "2026-11-25T11:00")
    assert starts(window, zone, "2026-11-24T00:00", "2026-11-27T00:00") == [instant]


def test_the_29th_of_february_comes_in_leap_years_only():
    window = repeating("0 10 29 2 *")
    assert starts(window, "UTC", "2026-01-01T00:00", "2033-01-01T00:00") == [
        f"{year}-02-29T10:00" for year in (2028, 2032)
    ]
    assert starts(window, "UTC", "2097-01-01T00:00", "2104-12-31T00:00") == ["2104-02-29T10:00"]


def test_a_day_of_the_month_or_a_weekday_is_enough_when_both_are_named():
    """Debian's cron rule: the 13th and each Friday of December 2026 (whose 13th is a Sunday)."""
    window = repeating("0 9 13 * 5")
    assert starts(window, "UTC", "2026-12-01T00:00", "2027-01-01T00:00") == [
        f"2026-12-{day:02}T09:00" for day in (4, 11, 13, 18, 25)
    ]


# --- clocks that jump ---


@each("zone, schedule, near, instant", [
    # Berlin, 29 March 2026: 02:00 → 03:00 at 01:00 UTC.
    ("Europe/Berlin", "30 2 * * *", "2026-03-29", "2026-03-29T01:00"),
    ("Europe/Berlin", "0 2 * * *", "2026-03-29", "2026-03-29T01:00"),
    # New York, 8 March 2026: 02:00 → 03:00 at 07:00 UTC.
    ("America/New_York", "15 2 * * *", "2026-03-08", "2026-03-08T07:00"),
    # Lord Howe, 4 October 2026: 02:00 → 02:30, at 15:30 UTC of the day before.
    ("Australia/Lord_Howe", "15 2 4 10 *", "2026-10-04", "2026-10-03T15:30"),
    # Samoa had no 30 December 2011: from the 29th to the 31st at 10:00 UTC.
    ("Pacific/Apia", "0 10 30 12 *", "2011-12-30", "2011-12-30T10:00"),
    # Santiago jumps at midnight: 6 September 2026, 00:00 → 01:00 at 04:00 UTC.
    ("America/Santiago", "30 0 6 9 *", "2026-09-06", "2026-09-06T04:00"),
])  # fmt: skip
def test_a_start_that_does_not_exist_opens_at_the_next_minute_that_does(
    zone, schedule, near, instant
):
    middle = utc(f"{near}T00:00")
    found = occurrences(
        [repeating(schedule)], ZoneInfo(zone), middle - 12 * HOUR, middle + 22 * HOUR
    )
    moved = [o for o in found if o.shifted]
    assert [(o.start, o.end - o.start) for o in moved] == [(utc(instant), HOUR)]


@each("wall, instant, moved", [
    ("2026-03-29T01:59", "2026-03-29T00:59", False),
    ("2026-03-29T02:00", "2026-03-29T01:00", True),
    ("2026-03-29T02:59", "2026-03-29T01:00", True),
    ("2026-03-29T03:00", "2026-03-29T01:00", False),
])  # fmt: skip
def test_only_what_lies_in_the_gap_moves(wall, instant, moved):
    berlin = ZoneInfo("Europe/Berlin")
    assert to_instant(datetime.fromisoformat(wall), berlin) == (utc(instant), moved)


@each("zone, schedule, near, instant", [
    # Berlin, 25 October 2026: 02:00–03:00 twice; first in summer time, UTC+2.
    ("Europe/Berlin", "30 2 * * *", "2026-10-25", "2026-10-25T00:30"),
    # New York, 1 November 2026: 01:00–02:00 twice; first in UTC-4.
    ("America/New_York", "30 1 * * *", "2026-11-01", "2026-11-01T05:30"),
    # Lord Howe, 5 April 2026: 01:30–02:00 twice; first in UTC+11.
    ("Australia/Lord_Howe", "45 1 * * *", "2026-04-05", "2026-04-04T14:45"),
])  # fmt: skip
def test_a_start_that_occurs_twice_opens_once_at_the_first(zone, schedule, near, instant):
    middle = utc(f"{near}T00:00")
    found = occurrences(
        [repeating(schedule, 10 * MINUTE)], ZoneInfo(zone), middle - 12 * HOUR, middle + 12 * HOUR
    )
    assert [(o.start, o.shifted) for o in found] == [(utc(instant), False)]


@each("zone, schedule, after, before, instants", [
    # Berlin, 25 October 2026: 02:00–03:00 at 00:00 and again at 01:00 UTC.
    ("Europe/Berlin", "*/20 * * * *", "2026-10-25T00:30", "2026-10-25T01:30",
     ["00:20", "00:40", "01:00", "01:20"]),
    ("Europe/Berlin", "*/30 2 * * *", "2026-10-25T00:00", "2026-10-25T03:00",
     ["00:00", "00:30", "01:00", "01:30"]),
    ("Europe/Berlin", "15 * * * *", "2026-10-25T00:00", "2026-10-25T03:00",
     ["00:15", "01:15", "02:15"]),
    # Lord Howe, 5 April 2026: 01:30–02:00 at 14:30 and again at 15:00 UTC of the day before.
    ("Australia/Lord_Howe", "*/15 * * * *", "2026-04-04T14:20", "2026-04-04T15:20",
     ["14:15", "14:30", "14:45", "15:00", "15:15"]),
    # A list of minutes and hours is times of day: each opens once.
    ("Europe/Berlin", "0,30 1-3 * * *", "2026-10-25T00:00", "2026-10-25T03:00",
     ["00:00", "00:30", "02:00", "02:30"]),
])  # fmt: skip
def test_a_rhythm_goes_on_through_a_repeated_hour_and_a_time_of_day_comes_once(
    zone, schedule, after, before, instants
):
    found = opened(repeating(schedule, 20 * MINUTE), zone, after, before)
    assert [f"{o.start:%H:%M}" for o in found] == instants


@each("schedule", ["*/10 * * * *", "30 * * * *", "0 2,3 * * *"])
def test_starts_that_move_to_the_same_moment_are_one_opening(schedule):
    found = opened(
        repeating(schedule, 10 * MINUTE), "Europe/Berlin", "2026-03-29T00:59", "2026-03-29T01:01"
    )
    at_the_jump = [o for o in found if o.start == utc("2026-03-29T01:00")]
    assert len(at_the_jump) == 1
    # 03:00 exists: where the schedule names it too, nothing was moved.
    assert at_the_jump[0].shifted == (schedule == "30 * * * *")


@each("schedule, duration, start, end", [
    ("0 0 * * *", 24 * HOUR, "2026-10-24T22:00", "2026-10-25T23:00"),
    ("0 0 * * *", 23 * HOUR, "2026-10-24T22:00", "2026-10-25T21:00"),
    ("0 0-6 * * *", HOUR, "2026-10-25T00:00", "2026-10-25T02:00"),
    ("0 */6 * * *", 6 * HOUR, "2026-10-24T22:00", "2026-10-25T05:00"),
])  # fmt: skip
def test_openings_that_touch_on_the_wall_clock_touch_when_clocks_go_back(
    schedule, duration, start, end
):
    found = opened(
        repeating(schedule, duration), "Europe/Berlin", "2026-10-24T20:00", "2026-10-26T00:00"
    )
    assert {o.start: o.end for o in found}[utc(start)] == utc(end)


def test_what_touches_an_excluded_date_ends_before_it():
    """On the 26th nothing opens, so the day of 25 hours before it has no next start to reach."""
    window = repeating("0 0 * * *", 24 * HOUR, exclude=frozenset({date(2026, 10, 26)}))
    (found,) = opened(window, "Europe/Berlin", "2026-10-24T23:00", "2026-10-26T22:00")
    assert (found.start, found.end) == (utc("2026-10-24T22:00"), utc("2026-10-25T22:00"))


@each("start, end, opens, closes", [
    ("01:00", "02:30", "2026-10-24T23:00", "2026-10-25T01:30"),
    ("02:30", "04:00", "2026-10-25T00:30", "2026-10-25T03:00"),
    ("02:15", "02:45", "2026-10-25T00:15", "2026-10-25T01:45"),
])  # fmt: skip
def test_a_single_window_covers_both_readings_of_a_time_that_occurs_twice(
    start, end, opens, closes
):
    window = single(f"2026-10-25T{start}", f"2026-10-25T{end}")
    (found,) = opened(window, "Europe/Berlin", "2026-10-24T00:00", "2026-10-26T00:00")
    assert (found.start, found.end) == (utc(opens), utc(closes))


@each("start, end, hours", [
    ("2026-03-29T01:00", "2026-03-29T04:00", 2),
    ("2026-10-25T01:00", "2026-10-25T04:00", 4),
    ("2026-11-25T01:00", "2026-11-25T04:00", 3),
])  # fmt: skip
def test_a_one_off_window_ends_at_its_wall_clock_time(start, end, hours):
    (found,) = opened(single(start, end), "Europe/Berlin", "2026-01-01T00:00", "2027-01-01T00:00")
    assert found.end - found.start == hours * HOUR


# --- looking ahead ---


@each("windows, after, start", {
    "strictly later": ([repeating("0 10 * * *")], "2026-11-25T10:00", "2026-11-26T10:00"),
    "months ahead": (
        [repeating("0 10 1 1 *"), single("2026-12-24T18:00", "2026-12-24T20:00")],
        "2026-03-01T00:00", "2026-12-24T18:00"),
    "none after the last": (
        [single("2026-01-01T00:00", "2026-01-02T00:00")], "2026-03-01T00:00", None),
    "none beyond the horizon": ([repeating("0 10 29 2 *")], "2026-03-01T00:00", None),
})  # fmt: skip
def test_the_next_start_is_found(windows, after, start):
    found = next_start(windows, ZoneInfo("UTC"), utc(after), YEAR)
    assert (found and found.start) == (start and utc(start))


# --- many ---


def test_openings_that_overlap_in_one_window_are_all_found_near_by():
    window = repeating("*/30 * * * *", 45 * MINUTE)
    found = starts(window, "UTC", "2026-11-25T10:35", "2026-11-25T10:36")
    assert found == ["2026-11-25T10:00", "2026-11-25T10:30"]


def test_a_dense_schedule_with_a_long_duration_is_not_walked_from_its_beginning():
    """Of openings long before the range only the newest matters: it closes last."""
    window = repeating("* * * * *", timedelta(hours=744))
    found = opened(window, "UTC", "2026-11-25T10:00", "2026-11-25T11:00")
    assert len(found) < 3 * 24 * 60
    assert found[-1].start == utc("2026-11-25T10:59")


@pytest.fixture
def placed(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The wall-clock starts that have been placed in a zone."""
    found: list[datetime] = []

    def counted(window: Window, wall: datetime, zone: ZoneInfo) -> Any:
        found.append(wall)
        return openings(window, wall, zone)

    openings = schedule._openings
    monkeypatch.setattr(schedule, "_openings", counted)
    return found


def test_excluded_days_are_passed_over_as_a_whole(placed):
    """Minute by minute, a year of them takes seconds in which no other pool is looked at."""
    year = frozenset(date(2026, 11, 1) + timedelta(days=n) for n in range(365))
    window = repeating("* * * * *", exclude=year)
    coming = next_start([window], ZoneInfo("UTC"), utc("2026-11-01T10:00"), timedelta(days=366))
    assert coming.start == utc("2027-11-01T00:00")
    assert len(placed) < 2_000


def test_a_dense_schedule_of_short_openings_is_not_walked_before_its_range(placed):
    window = repeating("* * * * *", timedelta(seconds=30))
    opened(window, "Europe/Berlin", "2026-11-25T10:00", "2026-11-25T11:00")
    assert len(placed) <= 61


def test_a_long_opening_is_found_though_the_later_ones_were_excluded():
    """Opened on the 1st for 20 days; the 2nd to the 10th are holidays."""
    holidays = frozenset(date(2026, 12, day) for day in range(2, 11))
    window = repeating("0 0 1-10 12 *", timedelta(days=20), exclude=holidays)
    found = opened(window, "UTC", "2026-12-20T00:00", "2026-12-20T00:01")
    assert [o.start for o in found] == [utc("2026-12-01T00:00")]


# --- expressions ---


@each(
    "expression",
    ["0 18 * * 1-5", "*/15 8-17 * * MON-FRI", "0 10 L * *", "0 10 * * 5#2", "5,35 1 1 JAN *"],
)
def test_a_five_field_expression_is_accepted(expression):
    check_cron(expression)


FIVE, ONE_VALUE = "minute hour day month weekday", "steps through one value"


@each("expression, words", [
    ("61 * * * *", "Bad minute"), ("0 25 * * *", "Bad hour"), ("0 0 0 * *", "Bad day-of-month"),
    ("0 0 * 13 *", "Bad month"), ("0 0 * * 8", "Bad day-of-week"),
    ("*/0 * * * *", "Bad minute"), ("5-1 * * * *", "Bad minute"), ("٣ * * * *", "Bad minute"),
    ("0 0 30 2 *", "Bad day-of-month"), ("0 0 * 2 1#6", "Bad day-of-week"),
    ("5-5/2 * * * *", "5-5/2 steps through one value; write 5, or 5/2"),
    ("0,07-7/3 * * * *", ONE_VALUE), ("0 0 * * mon-MON/2", ONE_VALUE),
    ("", FIVE), ("0 18 * *", FIVE), ("0 0 18 * * 1-5", FIVE), ("@daily", FIVE),
    ("every day at six", FIVE),
])  # fmt: skip
def test_what_cannot_be_read_is_refused_with_a_sentence(expression, words):
    with pytest.raises(ValueError, match=f"is not a five-field cron schedule.*{words}") as refused:
        check_cron(expression)
    assert repr(expression) in str(refused.value)


@examples(150)
@given(st.lists(st.text("0123456789*/,-#LW MONAB", min_size=1, max_size=6), min_size=5, max_size=5))
def test_no_expression_is_answered_by_anything_but_a_sentence(fields):
    with suppress(ValueError):
        check_cron(" ".join(fields))


def test_openings_come_in_order_of_their_start():
    once = single("2026-11-25T10:10", "2026-11-25T10:20", name="once")
    windows = [repeating("30 * * * *", name="half"), repeating("0 * * * *", name="full"), once]
    found = occurrences(windows, ZoneInfo("UTC"), utc("2026-11-25T09:59"), utc("2026-11-25T11:01"))
    assert [o.window for o in found] == ["full", "half", "full", "once", "half", "full"]
    assert all(o.start.tzinfo is UTC for o in found)
