"""Conversion between wall-clock times in a zone and instants.

A clock that goes forward skips times, and a clock that goes back repeats times. Both are detected
by comparing the offsets before and after the change (`fold` 0 and 1, PEP 495).
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from pkgutil import get_data
from zoneinfo import ZoneInfo


@cache
def zones() -> frozenset[str]:
    """The zone names of the IANA database, the same on every machine.

    The zone folder of a machine has more files (localtime, posixrules, posix/, right/), which
    browsers and other machines lack. Factory is a placeholder, not a zone.
    """
    names = get_data("tzdata", "zones") or b""
    return frozenset(names.decode().split()) - {"Factory"}


def to_instant(wall: datetime, zone: ZoneInfo) -> tuple[datetime, bool]:
    """Convert a wall-clock time: (instant in UTC, whether it was moved out of a gap).

    A time that occurs twice becomes its first occurrence. A time that does not exist becomes the
    end of its gap.
    """
    early = _placed(wall, zone, fold=0)
    if on_clock(early, zone) == wall:
        return early, False
    # In a gap. With fold=0 the offset before the change applies, so the result is as far after the
    # end of the gap as the wall time is after its beginning. Bisect the offset to find the change.
    late = _placed(wall, zone, fold=1)
    low, high = min(early, late), max(early, late)
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0), True


def second_instant(wall: datetime, zone: ZoneInfo) -> datetime | None:
    """The second occurrence of a wall-clock time after clocks go back; None if it is unique."""
    late = _placed(wall, zone, fold=1)
    is_repeated = late > _placed(wall, zone, fold=0) and on_clock(late, zone) == wall
    return late if is_repeated else None


def last_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """The last instant at which a clock shows a time; the end of its gap if there is none."""
    return second_instant(wall, zone) or to_instant(wall, zone)[0]


def on_clock(instant: datetime, zone: ZoneInfo) -> datetime:
    """The naive time that a clock in the zone shows at an instant."""
    return instant.astimezone(zone).replace(tzinfo=None)


@lru_cache(maxsize=65536)
def steady_offset(zone: ZoneInfo, day: date) -> timedelta | None:
    """The zone's offset from UTC on a day; None if the offset changes on that day.

    The offset is compared at each full hour: no zone changes its clock twice within an hour.
    """
    midnight = datetime.combine(day, time.min, tzinfo=zone)
    offset = midnight.utcoffset()
    for hours in range(25):
        wall = midnight + timedelta(hours=hours)
        if wall.utcoffset() != offset or wall.replace(fold=1).utcoffset() != offset:
            return None
    return offset


def _placed(wall: datetime, zone: ZoneInfo, *, fold: int) -> datetime:
    return wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
