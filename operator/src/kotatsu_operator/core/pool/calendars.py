"""From readings of calendars to windows of a pool, and to days on which windows stay shut.

The operator reads calendars outside of any decision and passes the last readings in. What a pool
uses of them is part of its memory, and so of its status: a calendar that cannot be read keeps its
windows, also after a restart of the operator.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from kotatsu_operator.core.calendar.occasions import Occasion, matches, window_name
from kotatsu_operator.core.calendar.schedule import Window
from kotatsu_operator.core.calendar.wallclock import last_instant, on_clock, to_instant
from kotatsu_operator.core.formats import (
    count,
    instant,
    table,
    text,
    wall,
    wall_date,
)
from kotatsu_operator.core.pool.memory import Followed, Memory, changed
from kotatsu_operator.core.pool.spec import CalendarUse, PoolSpec, WindowMode
from kotatsu_operator.core.schema import Form

AHEAD = timedelta(days=62)
"""How far ahead calendars are read."""

MOST_WINDOWS, MOST_DAYS = 64, 100
"""Windows and closed days of one calendar for one pool: those that come first. The days from
yesterday to the end of `AHEAD` are always among them."""

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


def with_calendars(spec: PoolSpec, memory: Memory) -> PoolSpec:
    """The spec with the windows of calendars and without what opens on closed days."""
    if not memory.calendars:
        return spec
    closed = frozenset[date]().union(
        *(f.closed for f in memory.calendars if f.name in spec.closed_on)
    )
    named = {c.name for c in spec.calendars}
    added = [w for f in memory.calendars if f.name in named for w in f.windows]
    own = (_without(w, closed) for w in spec.windows)
    opened = (w for w in added if w.start is None or w.start.date() not in closed)
    return replace(spec, windows=(*own, *opened))


def _without(window: Window, closed: frozenset[date]) -> Window:
    """A window of the spec. A single one names its day, so it opens also on a closed day."""
    if window.schedule is None or not closed:
        return window
    return replace(window, exclude=window.exclude | closed)


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
        for taken in uses:
            if not matches(taken.match, occasion.title, occasion.categories):
                continue
            made = _window(occasion, taken, zone)
            if made is None or len(windows) >= MOST_WINDOWS:
                left_out += 1
            elif made.end is not None and made.end.date() >= today:
                windows.append(made)
    assert reading.read_at is not None  # noqa: S101  (asked by the caller)
    days = frozenset(sorted(closed)[:MOST_DAYS])
    return Followed(name, reading.read_at, tuple(windows), days, left_out)


def _window(occasion: Occasion, use: CalendarUse, zone: ZoneInfo) -> Window | None:
    """The window of an occasion; None if clocks skip or repeat its time, so that it has no length.

    Where a clock shows a time twice, a window opens at the first and closes at the second.
    """
    start, end = occasion.walls(zone)
    if end <= start or to_instant(start, zone)[0] >= to_instant(end, zone)[0]:
        return None
    name = window_name(occasion.title)
    return Window(name, use.replicas, start=start, end=end, calendar=use.name, parked=use.parked)


def _days(occasion: Occasion, zone: ZoneInfo, today: date) -> set[date]:
    """The days in a pool's zone that an occasion closes: all that it touches.

    They begin with yesterday, because a window of yesterday may last until today. Of a long
    occasion they are the first, which is enough: tomorrow they begin a day later.
    """
    start, end = occasion.walls(zone)
    first = max(start.date(), today - timedelta(days=1))
    days = (first + timedelta(days=i) for i in range(MOST_DAYS))
    return {day for day in days if datetime.combine(day, time.min) < end}


def _pruned(before: Followed, zone: ZoneInfo, now: datetime) -> Followed:
    windows = tuple(
        w for w in before.windows if w.end is not None and last_instant(w.end, zone) > now
    )
    yesterday = on_clock(now, zone).date() - timedelta(days=1)
    closed = frozenset(day for day in before.closed if day >= yesterday)
    if len(windows) == len(before.windows) and len(closed) == len(before.closed):
        return before
    return replace(before, windows=windows, closed=closed)


# --- the status, which may have been edited by hand ---


def read_followed(written: Any) -> Followed | None:
    """An entry of `internal.calendars`, without what cannot be read; None without name or time."""
    given = table(written)
    name, read_at = text(given.get("name")), instant(given.get("readAt"))
    if not name or read_at is None:
        return None
    listed, closed = given.get("windows"), given.get("closed")
    listed = listed[:MOST_WINDOWS] if isinstance(listed, list) else []
    windows = (_read_window(window, name) for window in listed)
    days = map(wall_date, closed[:MOST_DAYS] if isinstance(closed, list) else ())
    return Followed(
        name,
        read_at,
        tuple(window for window in windows if window is not None),
        frozenset(day for day in days if day is not None),
        count(given.get("leftOut")),
    )


def _read_window(written: Any, calendar: str) -> Window | None:
    if isinstance(written, Mapping):  # as v1alpha1 has written it
        row = [written.get(name) for name in ("name", "replicas", "start", "end", "mode")]
        written = [*row[:4], row[4] == WindowMode.PARKED]
    if not isinstance(written, list) or len(written) not in (4, 5):
        return None
    name, replicas, start, end = (
        text(written[0], "event"),
        count(written[1]),
        wall(written[2]),
        wall(written[3]),
    )
    if start is None or end is None or end <= start or not replicas:
        return None
    parked = bool(written[4:] and written[4])
    return Window(name, replicas, start=start, end=end, calendar=calendar, parked=parked)


FOLLOWED = Form(read_followed, lambda followed: followed.written)
"""An entry of `internal.calendars`."""
