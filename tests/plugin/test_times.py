"""Times on the command line."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from rows import each

from kotatsu_demo_mode.errors import DemoModeError
from kotatsu_demo_mode.words import about, clock, end_of_override, instant_of

TOKYO, BERLIN = ZoneInfo("Asia/Tokyo"), ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)  # noon in Tokyo


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def until(text: str, zone: ZoneInfo = TOKYO, now: datetime = NOON) -> datetime:
    return instant_of(text, zone, now, "--until")


@each(
    "text, instant",
    [
        ("18:30", "2026-11-25T09:30"),
        ("18:30:15", "2026-11-25T09:30:15"),
        ("2026-11-25T18:30", "2026-11-25T09:30"),
        ("2026-11-25 18:30", "2026-11-25T09:30"),
        ("2026-11-25T18:30:00+01:00", "2026-11-25T17:30"),
        ("2026-11-25T18:30:00Z", "2026-11-25T18:30"),
    ],
)
def test_a_time_without_an_offset_is_the_pools_wall_clock(text: str, instant: str):
    assert until(text) == utc(instant)


def test_a_time_of_day_that_has_passed_is_tomorrows():
    assert until("11:59") == utc("2026-11-26T02:59")


def test_a_time_of_day_that_the_clocks_skip_is_the_end_of_the_gap():
    # 02:30 does not exist in Berlin on 2026-03-29; the next minute that does is 03:00.
    assert until("02:30", BERLIN, utc("2026-03-28T22:00")) == utc("2026-03-29T01:00")


def test_a_time_of_day_that_comes_twice_is_the_one_that_comes_next():
    first, second = utc("2026-10-25T00:30"), utc("2026-10-25T01:30")
    assert until("02:30", BERLIN, first - timedelta(minutes=5)) == first
    assert until("02:30", BERLIN, first + timedelta(minutes=5)) == second
    assert until("02:30", BERLIN, second) == utc("2026-10-26T01:30")


@each("text", ["25:00", "18:3x", "tomorrow", "2026-13-01T00:00", ""])
def test_what_is_no_time_is_answered_with_how_to_write_one(text: str):
    with pytest.raises(DemoModeError, match="write it like 18:30"):
        until(text)


def end(
    lasting: str | None = None, at: str | None = None, now: datetime = NOON, default: str = "1h"
) -> datetime:
    return end_of_override(lasting, at, TOKYO, now, default)


def test_an_override_lasts_an_hour_unless_somebody_says_otherwise():
    assert end() == NOON + timedelta(hours=1)
    assert end("2h30m") == NOON + timedelta(hours=2, minutes=30)
    assert end(at="18:30") == utc("2026-11-25T09:30")


def test_an_override_ends_on_a_whole_second():
    assert end("1h", now=NOON + timedelta(milliseconds=1)) == NOON + timedelta(hours=1, seconds=1)


@each(
    "lasting, at, sentence",
    [
        ("30h", None, "--for: 30h is more than 24h away, the longest override"),
        ("0s", None, "is not longer than 0"),
        ("two hours", None, "'two hours' is not a duration: write it like 90s, 2m or 1h30m"),
        ("9999999h", None, "more than 24h away"),
        (None, "2026-11-25T11:00", r"has passed \(it is 2026-11-25T12:00\+09:00 in Asia/Tokyo\)"),
        (None, "2026-11-27T11:00", "--until: 2026-11-27T11:00 is more than 24h away"),
    ],
)
def test_an_end_that_cannot_be_has_a_sentence_of_its_own(
    lasting: str | None, at: str | None, sentence: str
):
    with pytest.raises(DemoModeError, match=sentence):
        end(lasting, at)


def test_people_see_the_date_only_when_it_is_another_day():
    assert clock(utc("2026-11-25T09:30"), TOKYO, NOON) == "18:30"
    assert clock(utc("2026-11-25T09:30:05"), TOKYO, NOON) == "18:30:05"
    assert clock(utc("2026-11-25T20:00"), TOKYO, NOON) == "Thu 2026-11-26 05:00"


@each(
    "seconds, text",
    [(0, "0s"), (40, "40s"), (3900, "1h 5m"), (7200, "2h"), (86400 * 3 + 4 * 3600, "3d 4h")],
)
def test_a_length_of_time_has_two_units_at_most(seconds: int, text: str):
    assert about(timedelta(seconds=seconds)) == text
