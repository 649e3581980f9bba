"""When windows open and close: wall-clock schedules in an IANA zone, turned into instants.

A cron expression is walked over *naive* wall-clock time, and only its answers are placed in the
zone. What happens where its clock jumps, so that no promised warmth is lost:

- A start that does not exist (clocks go forward) happens at the next moment that does.
- A start that occurs twice (clocks go back) opens once, at the first. A schedule whose minute or
  hour begins with `*` names a rhythm instead of a time of day, as for Debian's cron: it goes on
  through the repeated hour and opens both times.
- A repeating window lasts its `duration` in elapsed time from its start. Where on the wall clock it
  reaches to the schedule's next start, it does so in a repeated hour as well.
- A single window ends at its wall-clock `end`, and of an end that occurs twice at the second.
- A single window that lies wholly in a gap never opens: see `clock_changes.dropped`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from .wallclock import on_clock, second_instant, to_instant

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
    """True when the wall-clock start did not exist and was moved to the next moment that does."""
    wall: datetime | None = field(default=None, compare=False)
    """The start as the schedule names it: a naive time in the zone."""


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
    for first, last, step in re.findall(r"(\w+)-(\w+)/(\d+)", expression.upper()):
        if first.removeprefix("0") == last.removeprefix("0"):
            # Cron readers disagree: to some it is that one value, to others all from it upwards.
            raise ValueError(
                f"{expression!r} is not a five-field cron schedule: {first}-{last}/{step} steps "
                f"through one value; write {first}, or {first}/{step} for each {step} from {first}"
            )


def openings_a_day(expression: str) -> int:
    """How often a schedule that can be read opens on one of its days."""
    walk = CronSim(expression, datetime(2024, 1, 1))  # noqa: DTZ001  (naive on purpose)
    return len(walk.minutes) * len(walk.hours)


def _walk(window: Window, since: datetime, *, back: bool = False) -> Iterator[datetime]:
    """Wall-clock starts of a schedule after (or before) a time, without those on excluded dates.

    An excluded day is passed over as a whole: a dense schedule has a start in each of its minutes.
    """
    assert window.schedule is not None  # noqa: S101  (spec.parse has checked)
    edge = time.min if back else time.max
    walk = CronSim(window.schedule, since, reverse=back)
    while (wall := next(walk, None)) is not None:
        if wall.date() in window.exclude:
            walk = CronSim(window.schedule, datetime.combine(wall, edge), reverse=back)
        else:
            yield wall


def _wall_starts(window: Window, after: datetime, before: datetime) -> Iterator[datetime]:
    """Wall-clock starts of openings that may touch the wall-clock range [after, before]."""
    if window.start is not None:
        yield window.start
        return
    assert window.duration is not None  # noqa: S101  (spec.parse has checked)
    # Of the openings that surely began before the range, only the newest matters: it closes last.
    # Without it a dense schedule with a long duration would be walked from its very beginning.
    first = after - _SLACK
    for wall in _walk(window, first, back=True):
        if wall >= first - window.duration - _SLACK:
            first = wall
        break
    # What is walked comes strictly after the time that is given.
    for wall in _walk(window, first - timedelta(minutes=1)):
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
    found: list[Occurrence] = []
    first, last = (on_clock(at, zone) for at in (after, before))
    for window in windows:
        opened: dict[datetime, Occurrence] = {}
        for wall in _wall_starts(window, first, last):
            for o in _openings(window, wall, zone):
                if o.start < before and o.end > after and o.end > o.start:
                    # Several starts of one gap move to the same moment: they are one opening.
                    known = opened.get(o.start)
                    if known is None or (known.shifted and not o.shifted):
                        opened[o.start] = o
        found += opened.values()
    return sorted(found)


def _openings(window: Window, wall: datetime, zone: ZoneInfo) -> Iterator[Occurrence]:
    """The openings that one wall-clock start stands for: one, or two in a repeated hour."""
    start, shifted = to_instant(wall, zone)
    again = second_instant(wall, zone) if _is_rhythm(window) else None
    yield Occurrence(
        start,
        _end(window, wall, start, zone, goes_on=again is not None),
        window.name,
        window.replicas,
        shifted,
        wall,
    )
    if again is not None:
        end = again + (window.duration or timedelta())
        yield Occurrence(again, end, window.name, window.replicas, wall=wall)


def _is_rhythm(window: Window) -> bool:
    """Whether a schedule names a rhythm (its minute or hour begins with *), not a time of day."""
    return any(field.startswith("*") for field in (window.schedule or "").split()[:2])


def _end(
    window: Window, wall: datetime, start: datetime, zone: ZoneInfo, *, goes_on: bool
) -> datetime:
    if window.end is not None:
        return second_instant(window.end, zone) or to_instant(window.end, zone)[0]
    assert window.duration is not None  # noqa: S101  (spec.parse has checked)
    assert window.schedule is not None  # noqa: S101
    end, named = start + window.duration, wall + window.duration
    if goes_on or on_clock(end, zone) >= named:
        return end
    # Clocks go back before it closes: what reaches to the next start on the wall clock must not
    # leave a hole of an hour before it.
    following = next(_walk(window, wall), None)
    if following is not None and following <= named:
        return max(end, to_instant(following, zone)[0])
    return end


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
