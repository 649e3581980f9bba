"""What a pool uses of a calendar, in its status. A status may have been edited by hand."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from kotatsu_operator.core.calendar.schedule import Window
from kotatsu_operator.core.formats import (
    choice,
    count,
    instant,
    stamp,
    table,
    tables,
    text,
    wall,
    wall_date,
)
from kotatsu_operator.core.pool.calendars import MOST_DAYS, MOST_WINDOWS
from kotatsu_operator.core.pool.memory import Followed
from kotatsu_operator.core.pool.spec import WindowMode


def write_followed(followed: Followed) -> dict[str, Any]:
    """The entry of status.calendars that `read_followed` reads."""
    return {
        "name": followed.name,
        "readAt": stamp(followed.read_at),
        "windows": [
            {
                "name": window.name,
                "replicas": window.replicas,
                "start": window.start.isoformat(),
                "end": window.end.isoformat(),
            }
            | ({"mode": WindowMode.PARKED.value} if window.parked else {})
            for window in followed.windows
            if window.start is not None and window.end is not None
        ],
        "closed": [day.isoformat() for day in sorted(followed.closed)],
        "leftOut": followed.left_out,
    }


def read_followed(written: Any) -> Followed | None:
    """One calendar, without what cannot be read; None without a name or a time."""
    given = table(written)
    name, read_at = text(given.get("name")), instant(given.get("readAt"))
    if not name or read_at is None:
        return None
    listed, closed = islice(tables(given.get("windows")), MOST_WINDOWS), given.get("closed")
    windows = (_read_window(window, name) for window in listed)
    days = map(wall_date, closed[:MOST_DAYS] if isinstance(closed, list) else ())
    return Followed(
        name,
        read_at,
        tuple(window for window in windows if window is not None),
        frozenset(day for day in days if day is not None),
        count(given.get("leftOut")),
    )


def _read_window(written: Mapping[str, Any], calendar: str) -> Window | None:
    start, end = wall(written.get("start")), wall(written.get("end"))
    replicas = count(written.get("replicas"))
    if start is None or end is None or end <= start or not replicas:
        return None
    name = text(written.get("name"), "event")
    parked = choice(WindowMode, written.get("mode"), None) is WindowMode.PARKED
    return Window(name, replicas, start=start, end=end, calendar=calendar, parked=parked)
