"""Wall-clock times placed in a zone: what is read off a clock that sometimes jumps.

A clock that goes forward leaves times out, and one that goes back shows times twice. Both are found
by asking the zone for the offset before and after its change (`fold` 0 and 1, PEP 495).
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo


def to_instant(wall: datetime, zone: ZoneInfo) -> tuple[datetime, bool]:
    """Place a wall-clock time in a zone: (instant in UTC, whether it had to move out of a gap).

    A time that occurs twice is placed at its first occurrence, one that does not exist at the end
    of the gap it lies in.
    """
    early = _placed(wall, zone, fold=0)
    if on_clock(early, zone) == wall:
        return early, False
    # In a gap. With fold=0 the offset before the jump is used, which lands as far after the gap's
    # end as the wall time lies in the gap; the jump itself is found by bisecting the offset.
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
    """When a wall-clock time is shown again after clocks went back; None when it is not."""
    late = _placed(wall, zone, fold=1)
    is_repeated = late > _placed(wall, zone, fold=0) and on_clock(late, zone) == wall
    return late if is_repeated else None


def on_clock(instant: datetime, zone: ZoneInfo) -> datetime:
    """What a clock in the zone shows at an instant, as a naive time."""
    return instant.astimezone(zone).replace(tzinfo=None)


@lru_cache(maxsize=65536)
def steady_offset(zone: ZoneInfo, day: date) -> timedelta | None:
    """The offset from UTC that holds all day on a zone's clock; None on a day when it changes.

    The zone is asked at each full hour: no zone changes its clock twice within one.
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
