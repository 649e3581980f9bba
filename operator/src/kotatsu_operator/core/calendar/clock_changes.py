"""What a change of clocks does to a schedule, in sentences for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from kotatsu_operator.core.calendar.schedule import Occurrence, Window
from kotatsu_operator.core.calendar.wallclock import on_clock, to_instant


@dataclass(frozen=True)
class Dropped:
    """A window that never opens, and why."""

    window: str
    message: str


@lru_cache(maxsize=4096)
def dropped(windows: Sequence[Window], zone: ZoneInfo) -> tuple[Dropped, ...]:
    """The single windows that lie wholly in a gap of the zone's clock: they cannot open."""
    found = []
    for window in windows:
        if window.start is None or window.end is None:
            continue
        start, is_moved = to_instant(window.start, zone)
        if is_moved and to_instant(window.end, zone)[0] <= start:
            text = (
                f"window {window.name} never opens: {_gap(start, zone)}, and all of "
                f"{window.start:%H:%M}–{window.end:%H:%M} is left out"
            )
            found.append(Dropped(window.name, text))
    return tuple(found)


def shift_note(occurrence: Occurrence, zone: ZoneInfo) -> str:
    """Why an opening is not at the time its schedule names; empty when it is."""
    if not occurrence.shifted or occurrence.wall is None:
        return ""
    opens = on_clock(occurrence.start, zone)
    return (
        f"{occurrence.wall:%H:%M} does not exist that day: {_gap(occurrence.start, zone)}; "
        f"it opens at {_clock(opens, occurrence.wall)}"
    )


def _gap(end: datetime, zone: ZoneInfo) -> str:
    """Name the jump that ends at an instant."""
    after = on_clock(end, zone)
    # What the clock would show had it not jumped.
    before = on_clock(end - timedelta(seconds=1), zone) + timedelta(seconds=1)
    return (
        f"on {before:%Y-%m-%d} clocks in {zone.key} go from {before:%H:%M} to "
        f"{_clock(after, before)}"
    )


def _clock(wall: datetime, day: datetime) -> str:
    """A time of day, with its date when that is another one."""
    return f"{wall:%H:%M}" if wall.date() == day.date() else f"{wall:%H:%M on %Y-%m-%d}"
