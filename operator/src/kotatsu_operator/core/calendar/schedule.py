"""Windows to instants: when wall-clock schedules in an IANA zone open and close.

Cron expressions are evaluated in *naive* wall-clock time. Only the results are converted with the
zone. Clock changes must not shorten a promised window:

- A start that does not exist (clocks go forward) moves to the next moment that exists.
- A start that occurs twice (clocks go back) opens once, at the first occurrence. If the minute or
  hour of the schedule begins with `*`, it is a rhythm and not a time of day, as in Debian's cron:
  it continues through the repeated hour and opens both times.
- A repeating window lasts its `duration` in elapsed time from its start. If it reaches the
  schedule's next start on the wall clock, it is extended over a repeated hour to reach it.
- A single window ends at its wall-clock `end`; if `end` occurs twice, at the second occurrence.
- A single window that lies entirely in a gap never opens: see `dropped`.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from operator import attrgetter
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from kotatsu_operator.core.calendar.wallclock import (
    last_instant,
    on_clock,
    second_instant,
    steady_offset,
    to_instant,
)

# A zone's clock changes by at most one day at once (Samoa, when it crossed the date line), so a
# wall-clock search that is wider by this much is complete.
_SLACK = timedelta(days=1, hours=1)

_DAY, _MINUTE = timedelta(days=1), timedelta(minutes=1)

_AT_ONCE = 2000
"""The openings that `openings` computes at once, more or less."""


@dataclass(frozen=True)
class Window:
    """One window: either a single `start`..`end` or a cron `schedule` + `duration`.

    `start` and `end` are naive wall-clock times in the pool's zone.
    """

    name: str
    replicas: int
    start: datetime | None = None
    end: datetime | None = None
    schedule: str | None = None
    duration: timedelta | None = None
    exclude: frozenset[date] = frozenset()
    calendar: str = ""
    """The calendar that the window comes from; empty for one of spec.windows."""
    parked: bool = False
    """Whether its pods may be parked: the mode Parked."""


@dataclass(frozen=True, order=True)
class Occurrence:
    """One opening of a window: instants in UTC, `end` exclusive."""

    start: datetime
    end: datetime
    window: str
    replicas: int
    shifted: bool = False
    """True if the wall-clock start does not exist and was moved to the next moment that exists."""
    parked: bool = False
    """Whether its pods may be parked."""


def check_cron(expression: str) -> None:
    """Raise ValueError with a sentence if the cron expression is not valid.

    A valid expression has five fields.
    """
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
            # Cron implementations disagree: some read one value, others all values from it upwards.
            raise ValueError(
                f"{expression!r} is not a five-field cron schedule: {first}-{last}/{step} steps "
                f"through one value; write {first}, or {first}/{step} for each {step} from {first}"
            )


def openings_a_day(expression: str) -> int:
    """The openings of a valid schedule on each day that matches it."""
    return len(_minutes(expression))


@lru_cache(maxsize=16384)
def _cron(expression: str) -> CronSim:
    """The parsed expression. It is used to match days, not as an iterator."""
    return CronSim(expression, datetime(2024, 1, 1))  # noqa: DTZ001  (naive on purpose)


_MINUTES = tuple(range(24 * 60))
"""The minutes of a day, as objects that all schedules share: a schedule can have all of them."""


@lru_cache(maxsize=1024)
def _minutes(expression: str) -> tuple[int, ...]:
    """The minutes of a matching day at which a schedule opens, in order."""
    cron = _cron(expression)
    return tuple(
        _MINUTES[60 * hour + minute]
        for hour in sorted(cron.hours)
        for minute in sorted(cron.minutes)
    )


def _days(window: Window, first: date, last: date) -> Iterator[date]:
    """The days on which a schedule opens, from `first` to `last`.

    The order is backwards if `last` is earlier than `first`.
    """
    assert window.schedule is not None  # noqa: S101  (spec.parse has checked)
    cron = _cron(window.schedule)
    step = _DAY if first <= last else -_DAY
    for _ in range(abs((last - first).days) + 1):
        if first.month in cron.months and first not in window.exclude and cron.match_day(first):
            yield first
        first += step


def _walk(window: Window, since: datetime, until: datetime) -> Iterator[datetime]:
    """The wall-clock starts of a schedule after `since`, up to and including `until`."""
    assert window.schedule is not None  # noqa: S101  (spec.parse has checked)
    minutes = _minutes(window.schedule)
    for day in _days(window, since.date(), until.date()):
        midnight = datetime.combine(day, time.min)
        passed = bisect_right(minutes, (since - midnight) // _MINUTE) if since >= midnight else 0
        for minute in minutes[passed:]:
            wall = midnight + minute * _MINUTE
            if wall > until:
                return
            yield wall


def _newest(window: Window, before: datetime, since: datetime) -> datetime | None:
    """The last wall-clock start before `before`; None if that is earlier than `since`."""
    assert window.schedule is not None  # noqa: S101  (spec.parse has checked)
    minutes = _minutes(window.schedule)
    for day in _days(window, before.date(), since.date()):
        midnight = datetime.combine(day, time.min)
        passed = bisect_left(minutes, -(-(before - midnight) // _MINUTE))
        if passed:
            wall = midnight + minutes[passed - 1] * _MINUTE
            return wall if wall >= since else None
    return None


def _wall_starts(
    window: Window, zone: ZoneInfo, after: datetime, before: datetime
) -> Iterator[datetime]:
    """The wall-clock starts of openings that may overlap the wall-clock range [after, before]."""
    if window.start is not None:
        yield window.start
        return
    assert window.duration is not None  # noqa: S101  (spec.parse has checked)
    first, last = after - _SLACK, before
    if not _is_steady(zone, last, last + _SLACK):
        last += _SLACK
    if window.duration < _SLACK and _is_steady(zone, first, after):
        first = after - window.duration
    else:
        # Of the openings that certainly began before the range, only the newest matters: it closes
        # last. This avoids a walk from the first opening of a dense schedule.
        first = _newest(window, first, first - window.duration - _SLACK) or first
    yield from _walk(window, first - timedelta(microseconds=1), last)


def _is_steady(zone: ZoneInfo, first: datetime, last: datetime) -> bool:
    """Whether the offset from UTC is the same on all days of a wall-clock range."""
    offset, day = steady_offset(zone, first.date()), first.date()
    while offset is not None and day <= last.date():
        if steady_offset(zone, day) != offset:
            return False
        day += _DAY
    return offset is not None


def occurrences(
    windows: Iterable[Window], zone: ZoneInfo, after: datetime, before: datetime
) -> list[Occurrence]:
    """Every occurrence that is open at some moment of [after, before), ordered by start.

    If openings of one window overlap, those that began more than a day before the range are omitted
    if a newer one closes later.
    """
    found: list[Occurrence] = []
    first, last = (on_clock(at, zone) for at in (after, before))
    for window in windows:
        opened: dict[datetime, Occurrence] = {}
        for wall in _wall_starts(window, zone, first, last):
            for start, end, shifted in _openings(window, wall, zone):
                if start < before and end > after and end > start:
                    # Several starts in one gap move to the same moment: they are one opening.
                    known = opened.get(start)
                    if known is None or (known.shifted and not shifted):
                        opened[start] = Occurrence(
                            start, end, window.name, window.replicas, shifted, window.parked
                        )
        found += opened.values()
    return sorted(found, key=attrgetter("start", "end", "window", "replicas", "shifted"))


_Opening = tuple[datetime, datetime, bool]
"""Start, end, and whether the start was moved out of a gap."""


def _openings(window: Window, wall: datetime, zone: ZoneInfo) -> Iterator[_Opening]:
    """The openings of one wall-clock start: one, or two in a repeated hour."""
    if window.duration is not None:
        offset = steady_offset(zone, wall.date())
        if offset is not None and offset == steady_offset(zone, (wall + window.duration).date()):
            start = (wall - offset).replace(tzinfo=UTC)
            yield start, start + window.duration, False
            return
    start, shifted = to_instant(wall, zone)
    again = second_instant(wall, zone) if _is_rhythm(window) else None
    yield start, _end(window, wall, start, zone, goes_on=again is not None), shifted
    if again is not None:
        yield again, again + (window.duration or timedelta()), False


def _is_rhythm(window: Window) -> bool:
    """Whether the schedule is a rhythm (minute or hour begins with `*`), not a time of day."""
    return any(field.startswith("*") for field in (window.schedule or "").split()[:2])


def _end(
    window: Window, wall: datetime, start: datetime, zone: ZoneInfo, *, goes_on: bool
) -> datetime:
    if window.end is not None:
        return last_instant(window.end, zone)
    assert window.duration is not None  # noqa: S101  (spec.parse has checked)
    assert window.schedule is not None  # noqa: S101
    end, named = start + window.duration, wall + window.duration
    if goes_on or on_clock(end, zone) >= named:
        return end
    # Clocks go back before the window closes. If it reaches the next start on the wall clock,
    # extend it: otherwise the pool would be cold for an hour before that start.
    following = next(_walk(window, wall, named), None)
    if following is not None:
        return max(end, to_instant(following, zone)[0])
    return end


def openings(
    windows: Iterable[Window], zone: ZoneInfo, after: datetime, before: datetime
) -> Iterator[Occurrence]:
    """The same as `occurrences`, computed as they are needed: first those of a week, then more."""
    known = tuple(windows)
    a_day = sum(openings_a_day(w.schedule) for w in known if w.schedule is not None)
    most = max(_AT_ONCE // max(a_day, 1), 1) * _DAY
    begin, part = after, min(7 * _DAY, most)
    while begin < before:
        found = occurrences(known, zone, begin, min(begin + part, before))
        yield from (o for o in found if begin == after or o.start >= begin)
        begin, part = begin + part, min(2 * part, most)


def next_start(
    windows: Iterable[Window], zone: ZoneInfo, after: datetime, horizon: timedelta
) -> Occurrence | None:
    """The first occurrence that starts after `after` and within `horizon`; None without one."""
    coming = openings(windows, zone, after, after + horizon)
    return next((o for o in coming if o.start > after), None)


# --- windows that never open ---


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
