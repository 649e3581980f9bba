"""What the status has of the calendars that a pool follows, and what it makes of the spec.

The feature that reads calendars keeps it up to date. It stays while one cannot be read, also after
a restart of the operator.
"""

from dataclasses import replace
from datetime import date
from typing import Any

from kotatsu_operator.core.calendar.schedule import Window
from kotatsu_operator.core.formats import count, instant, table, text, wall, wall_date
from kotatsu_operator.core.pool.memory import Followed, Memory
from kotatsu_operator.core.pool.spec import PoolSpec
from kotatsu_operator.core.schema import Form

MOST_WINDOWS, MOST_DAYS = 64, 100
"""Windows and closed days of one calendar for one pool: those that come first. All days of what is
read of a calendar, back and ahead, are among them."""


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
