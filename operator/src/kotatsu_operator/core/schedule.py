"""When windows open and close: wall-clock schedules in an IANA zone, turned into instants.

A cron expression is walked over *naive* wall-clock time, and only its answers are placed in the
zone. That keeps two rules simple and testable: a start that does not exist (clocks go forward)
happens at the next existing minute, and a start that occurs twice (clocks go back) opens once, at
its first occurrence. A window lasts its `duration` in elapsed time from there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

# A zone's clock never jumps by more than this in one transition (the record is a whole day, when
# Samoa crossed the date line), so a wall-clock search this much wider than the range is complete.
_SLACK = timedelta(days=1, hours=1)


@dataclass(frozen=True)
class Window:
    """One entry of spec.windows: either a single `start`..`end` or a cron `schedule` + `duration`.

    `start` and `end` are naive wall-clock times of the pool's zone.
    """

    name: str
    replicas: int
    start: datetime | None = None
    end: datetime | None = None
    schedule: str | None = None
    duration: timedelta | None = None
    exclude: frozenset[date] = frozenset()


@dataclass(frozen=True, order=True)
class Occurrence:
    """One opening of a window: instants in UTC, `end` exclusive."""

    start: datetime
    end: datetime
    window: str
    replicas: int
    shifted: bool = False
    """True when the wall-clock start did not exist and was moved to the next minute that does."""


def check_cron(expression: str) -> None:
    """Raise ValueError with a sentence when the five-field cron expression cannot be read."""
    if len(expression.split()) != 5:
        raise ValueError(
            f"{expression!r} is not a five-field cron schedule (minute hour day month weekday)"
        )
    try:
        next(CronSim(expression, datetime(2024, 1, 1)))  # noqa: DTZ001  (naive on purpose)
    except CronSimError as error:
        raise ValueError(f"{expression!r} is not a five-field cron schedule: {error}") from None
    except StopIteration:
        raise ValueError(f"{expression!r} never happens") from None


def to_instant(wall: datetime, zone: ZoneInfo) -> tuple[datetime, bool]:
    """Place a wall-clock time in a zone: (instant in UTC, whether it had to move out of a gap)."""
    early = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if early.astimezone(zone).replace(tzinfo=None) == wall:
        return early, False
    # In a gap. With fold=0 the offset before the jump is used, which lands as far after the gap's
    # end as the wall time lies in the gap; the jump itself is found by bisecting the offset.
    late = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    low, high = min(early, late), max(early, late)
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0), True


def _wall_starts(window: Window, after: datetime, before: datetime) -> Iterator[datetime]:
    """Wall-clock starts of openings that may touch the wall-clock range [after, before]."""
    if window.start is not None:
        yield window.start
        return
    assert window.schedule is not None  # noqa: S101  (spec.parse has checked)
    assert window.duration is not None  # noqa: S101
    # Of the openings that surely began before the range, only the newest matters: it closes last.
    # Without it a dense schedule with a long duration would be walked from its very beginning.
    first = after - _SLACK
    for wall in CronSim(window.schedule, first, reverse=True):
        if wall < first - window.duration - _SLACK:
            break
        if wall.date() not in window.exclude:
            first = wall
            break
    # CronSim yields times strictly after the one it is given.
    for wall in CronSim(window.schedule, first - timedelta(minutes=1)):
        if wall > before + _SLACK:
            return
        if wall >= first:
            yield wall


def occurrences(
    windows: Iterable[Window], zone: ZoneInfo, after: datetime, before: datetime
) -> list[Occurrence]:
    """Every occurrence that is open at some moment of [after, before), by start.

    Where a window's own openings overlap, those that began more than a day before the range are
    left out when a newer one of them closes later.
    """
    found = []
    first, last = (at.astimezone(zone).replace(tzinfo=None) for at in (after, before))
    for window in windows:
        for wall in _wall_starts(window, first, last):
            if wall.date() in window.exclude:
                continue
            start, shifted = to_instant(wall, zone)
            if window.end is not None:
                end = to_instant(window.end, zone)[0]
            else:
                end = start + (window.duration or timedelta())
            if start < before and end > after and end > start:
                found.append(Occurrence(start, end, window.name, window.replicas, shifted))
    return sorted(found)


def next_start(
    windows: Iterable[Window], zone: ZoneInfo, after: datetime, horizon: timedelta
) -> Occurrence | None:
    """The first occurrence that starts after `after`, looking `horizon` ahead."""
    span = timedelta(days=2)
    known = list(windows)
    while True:
        span = min(span, horizon)
        coming = [o for o in occurrences(known, zone, after, after + span) if o.start > after]
        if coming:
            return coming[0]
        if span == horizon:
            return None
        span *= 8
