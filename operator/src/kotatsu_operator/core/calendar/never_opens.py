"""The effects of clock changes on a schedule, as sentences for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from kotatsu_operator.core.calendar.schedule import Window
from kotatsu_operator.core.calendar.wallclock import on_clock, to_instant


@dataclass(frozen=True)
class Dropped:
    """A window that never opens, and the reason."""

    window: str
    message: str


@lru_cache(maxsize=4096)
def dropped(windows: Sequence[Window], zone: ZoneInfo) -> tuple[Dropped, ...]:
    """The single windows that lie entirely in a gap of the zone's clock and cannot open."""
    found = []
    for window in windows:
        if window.start is None or window.end is None:
            continue
        start, is_moved = to_instant(window.start, zone)
        if is_moved and to_instant(window.end, zone)[0] <= start:
            text = (
                f"window {window.name} never opens: {_gap(start, zone)}, and "
                f"{window.start:%H:%M}–{window.end:%H:%M} is skipped"
            )
            found.append(Dropped(window.name, text))
    return tuple(found)


def _gap(end: datetime, zone: ZoneInfo) -> str:
    """Describe the clock change that ends at an instant."""
    after = on_clock(end, zone)
    # The time that the clock would show without the change.
    before = on_clock(end - timedelta(seconds=1), zone) + timedelta(seconds=1)
    return (
        f"on {before:%Y-%m-%d} clocks in {zone.key} go from {before:%H:%M} to "
        f"{_clock(after, before)}"
    )


def _clock(wall: datetime, day: datetime) -> str:
    """A time of day, with the date if it is not on `day`."""
    return f"{wall:%H:%M}" if wall.date() == day.date() else f"{wall:%H:%M on %Y-%m-%d}"
