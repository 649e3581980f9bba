"""Cron expressions, durations and times, as people write them."""

import time
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from fuzz.kit import CRONS, NOW, SOON, Target, attempt, mixed
from hypothesis import strategies as st

from kotatsu_demo_mode.errors import DemoModeError
from kotatsu_demo_mode.words import end_of_override
from kotatsu_operator.core.calendar.schedule import Window, check_cron, next_start
from kotatsu_operator.core.calendar.wallclock import on_clock, second_instant, to_instant
from kotatsu_operator.core.formats import format_duration, parse_duration


def cron(text: str) -> None:
    """An expression is refused in a sentence, or its openings are found, and soon."""
    began = time.process_time()
    _, why = attempt(lambda: check_cron(text), ValueError)
    if why:
        assert why.startswith(repr(text))
    else:
        window = Window("w", 1, schedule=text, duration=timedelta(minutes=5))
        for zone in ("Asia/Tokyo", "America/New_York", "Australia/Lord_Howe"):
            next_start([window], ZoneInfo(zone), NOW, timedelta(days=8))
    assert time.process_time() - began < SOON


def duration(text: str) -> None:
    """A duration is refused in a sentence, or written so that it can be read again."""
    read, why = attempt(lambda: parse_duration(text), ValueError)
    if read is None:
        assert "is not a duration" in why
        return
    assert read >= timedelta()
    assert abs(parse_duration(format_duration(read)) - read) <= timedelta(seconds=0.5)


_ZONES = (
    "Asia/Tokyo",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Casablanca",
)


def wall_clock(given: list[Any]) -> None:
    """A wall-clock time is placed where a clock there shows it, or at the next moment it shows."""
    text, name = given
    wall, zone = datetime.fromisoformat(text), ZoneInfo(name)
    at, shifted = to_instant(wall, zone)
    shown = on_clock(at, zone)
    assert shown >= wall if shifted else shown == wall
    again = second_instant(wall, zone)
    assert again is None or (again > at and on_clock(again, zone) == wall)


def command_line(given: list[Any]) -> None:
    """An end of an override is refused in a sentence, or lies within the next day."""
    lasting, until, name = given
    try:
        end = end_of_override(lasting, until, ZoneInfo(name), NOW, "1h")
    except DemoModeError:
        return
    assert NOW < end <= NOW + timedelta(hours=24, seconds=1)


_WALLS = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31)).map(
    lambda at: at.replace(second=0, microsecond=0).isoformat()
)
_FOR = st.one_of(st.none(), mixed("1", "h", "m", "s", "9" * 12))
_UNTIL = st.one_of(
    st.none(),
    mixed("18:30", "2026-11-25", "T", ":", "+09:00", "Z", "0001-01-01", "9999-12-31", "W"),
)
_ZONE = st.sampled_from(_ZONES)

TARGETS = [
    Target("cron", CRONS, cron, is_text=True),
    Target("duration", mixed("1", ".", "h", "m", "s", "ms", "9" * 20, "-"), duration, is_text=True),
    Target("wall_clock", st.tuples(_WALLS, _ZONE).map(list), wall_clock),
    Target("command_line", st.tuples(_FOR, _UNTIL, _ZONE).map(list), command_line),
]
