"""From readings of calendars to windows of a pool, and to days on which windows stay shut. Pure.

Also the condition of a pool that follows calendars.

What a pool uses of a reading is part of its memory, and so of its status (`core.pool.calendars`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from kotatsu_operator.core.calendar.occasions import Occasion, Skipped, matches, window_name
from kotatsu_operator.core.calendar.schedule import Window
from kotatsu_operator.core.calendar.wallclock import last_instant, on_clock
from kotatsu_operator.core.formats import stamp
from kotatsu_operator.core.pool.calendars import MOST_DAYS, MOST_WINDOWS
from kotatsu_operator.core.pool.memory import Followed, Memory, changed
from kotatsu_operator.core.pool.spec import CalendarUse, PoolSpec
from kotatsu_operator.core.report.conditions import condition
from kotatsu_operator.core.report.status import Status

AHEAD = timedelta(days=62)
"""How far ahead calendars are read."""

BACK = timedelta(days=32)
"""How far back: a window of a closed day may last 31 days, and stays shut as long as it lasts."""

_MOST_MADE = 512
"""What is kept of one reading for different uses of it."""

_Use = tuple[str, tuple[CalendarUse, ...], bool, ZoneInfo, date]
"""The name of a calendar, what a pool takes of it, whether it closes days, the zone, and today."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What the operator knows of a calendar."""

    read_at: datetime | None = None
    """When it was last read; None if it has not been read since the operator leads."""
    occasions: tuple[Occasion, ...] = ()
    """Ordered by start."""
    error: str = ""
    """Why it cannot be read now; empty if it can. `occasions` are then those read before."""
    made: dict["_Use", Followed] = field(default_factory=dict, init=False, repr=False)
    """What pools use of it, because each reconcile asks. It ends with the reading."""


Readings = Mapping[str, Reading]
"""By the name of the calendar."""


def follow(spec: PoolSpec, memory: Memory, readings: Readings, now: datetime) -> Memory:
    """The memory with what the pool uses of its calendars, by the last readings.

    A calendar without a reading keeps what was read before, without windows that are over.
    """
    if not (spec.calendars or spec.closed_on or memory.calendars):
        return memory
    known = {f.name: f for f in memory.calendars}
    found = []
    for name in spec.calendar_names:
        before, reading = known.get(name), readings.get(name)
        if reading is not None and reading.read_at is not None:
            uses = tuple(c for c in spec.calendars if c.name == name)
            today = on_clock(now, spec.zone).date()
            made = _cached(reading, (name, uses, name in spec.closed_on, spec.zone, today))
            if before is not None and made == replace(before, read_at=made.read_at):
                made = before
            found.append(made)
        elif before is not None:
            found.append(_pruned(before, spec.zone, now))
    return changed(memory, calendars=tuple(found))


def _cached(reading: Reading, use: _Use) -> Followed:
    """What a pool uses of a reading; most reconciles ask for the same again."""
    if use not in reading.made:
        if len(reading.made) >= _MOST_MADE:
            reading.made.clear()
        reading.made[use] = _followed(reading, use)
    return reading.made[use]


def _followed(reading: Reading, use: _Use) -> Followed:
    name, uses, closes, zone, today = use
    windows, closed, left_out = list[Window](), set[date](), 0
    for occasion in reading.occasions:
        if closes and len(closed) < MOST_DAYS:
            closed |= _days(occasion, zone, today)
        if occasion.walls(zone)[1].date() < today:
            continue
        for taken in uses:
            if not matches(taken.match, occasion.title, occasion.categories):
                continue
            made = _window(occasion, taken, zone)
            if made is None or len(windows) >= MOST_WINDOWS:
                left_out += 1
            else:
                windows.append(made)
    assert reading.read_at is not None  # noqa: S101  (asked by the caller)
    days = frozenset(sorted(closed)[:MOST_DAYS])
    return Followed(name, reading.read_at, tuple(windows), days, left_out)


def _window(occasion: Occasion, use: CalendarUse, zone: ZoneInfo) -> Window | None:
    """The window of an occasion; None if it has no length in this zone."""
    made, name = occasion.opened(zone), window_name(occasion.title)
    if isinstance(made, Skipped):
        return None
    start, end = made
    return Window(name, use.replicas, start=start, end=end, calendar=use.name, parked=use.parked)


def _days(occasion: Occasion, zone: ZoneInfo, today: date) -> set[date]:
    """The days in a pool's zone that an occasion closes: all that it touches.

    Of a long occasion they are the first, which is enough: tomorrow they begin a day later.
    """
    start, end = occasion.walls(zone)
    first = max(start.date(), today - BACK)
    days = (first + timedelta(days=i) for i in range(MOST_DAYS))
    return {day for day in days if datetime.combine(day, time.min) < end}


def _pruned(before: Followed, zone: ZoneInfo, now: datetime) -> Followed:
    windows = tuple(
        w for w in before.windows if w.end is not None and last_instant(w.end, zone) > now
    )
    first = on_clock(now, zone).date() - BACK
    closed = frozenset(day for day in before.closed if day >= first)
    if len(windows) == len(before.windows) and len(closed) == len(before.closed):
        return before
    return replace(before, windows=windows, closed=closed)


# --- the condition ---


def calendars_read(
    spec: PoolSpec, memory: Memory, readings: Readings, before: Mapping[str, Any] | None
) -> list[Status]:
    """The condition of a pool that follows calendars; empty for another one.

    While a calendar has not been read since the operator leads, it stays as it was `before`.
    """
    if not spec.calendar_names:
        return []
    known = {f.name: f for f in memory.calendars}
    names = spec.calendar_names
    unknown = [name for name in names if name not in readings]
    if unknown:
        text = "; ".join(_missing(name, known.get(name)) for name in unknown)
        return [condition("CalendarsRead", False, "NotConfigured", text)]
    failed = [(name, readings[name]) for name in names if readings[name].error]
    if failed:
        text = "; ".join(_unread(name, reading, known.get(name)) for name, reading in failed)
        return [condition("CalendarsRead", False, "Unreadable", text)]
    full = [name for name in names if name in known and known[name].left_out]
    if full:
        text = "; ".join(_full(known[name]) for name in full)
        return [condition("CalendarsRead", False, "EventsLeftOut", text)]
    if any(readings[name].read_at is None for name in names):
        unread = condition("CalendarsRead", None, "NotReadYet", "the calendars are not read yet")
        return [dict(before) if before else unread]
    return [condition("CalendarsRead", True, "Read", "the windows are those of the calendars")]


def _missing(name: str, known: Followed | None) -> str:
    return (
        f"the operator follows no calendar {name}: add it to the chart value `calendars`, or "
        f"correct the name{_kept(known)}"
    )


def _unread(name: str, reading: Reading, known: Followed | None) -> str:
    return f"calendar {name} {reading.error}{_kept(known)}"


def _kept(known: Followed | None) -> str:
    if known is None:
        return "; it has no windows yet"
    at = stamp(known.read_at.replace(microsecond=0))
    ahead = sum(w.end is not None for w in known.windows)
    if not ahead and not known.closed:
        return f"; no window and no closed day of {at} is left"
    what = [f"{ahead} windows"] * bool(ahead) + [f"{len(known.closed)} closed days"] * bool(
        known.closed
    )
    return f"; {' and '.join(what)} of {at} stay"


def _full(known: Followed) -> str:
    return (
        f"{known.left_out} events of calendar {known.name} are no windows: a pool takes the next "
        f"{MOST_WINDOWS} of a calendar, and none at a time that clocks skip; choose fewer with "
        "spec.calendars[].match"
    )
