"""The occurrences of a calendar's events within a range of time.

The one reading of a calendar: of the operator, and of the plugin's `window import`. dateutil
follows each rule from the start of its event on, on the clock of the event.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from dateutil.rrule import rrulestr
from icalendar.prop import vRecur

from kotatsu_operator.core.calendar.ics import Calendar, Event, placed, read
from kotatsu_operator.core.calendar.limit import MOST_WORK, limited
from kotatsu_operator.core.calendar.occasions import Moment, Occasion, Skipped, matches

MOST_OCCASIONS = 1000
"""Occurrences of one event within the range."""
_MOST_IN_ALL = 5000
_DAY = timedelta(days=1)


class _RepeatError(ValueError):
    """The occurrences cannot be computed. The message is the reason."""


@dataclass(frozen=True)
class Found:
    """What a file has within a range, and what is left out."""

    name: str
    """The name that the file gives itself; often empty."""
    occasions: tuple[Occasion, ...]
    """Ordered by start."""
    skipped: tuple[Skipped, ...]
    cancelled: int
    """Events that are cancelled, also those that do not match."""
    elsewhere: int
    """Events that match and have nothing in the range."""


def occasions_of(
    data: bytes, after: datetime, before: datetime, *, match: str = "", work: float = MOST_WORK
) -> Found:
    """What an iCalendar file has that matches and is in progress within [after, before).

    Floating and all-day events are included if that holds in some zone. Raises CalendarError, also
    for a file that takes more than `work` seconds of CPU; only the main thread can call this.
    """
    with limited(work):
        return _expanded(read(data), match, after, before)


def _expanded(calendar: Calendar, match: str, after: datetime, before: datetime) -> Found:
    found, elsewhere = list[Occasion](), 0
    skipped = [s for s in calendar.skipped if matches(match, s.title, ())]
    for event in calendar.events:
        changes = [*event.changed.values(), *(other for _, other in event.later)]
        named = (event, *(e for e in changes if e is not None))
        if not any(matches(match, e.title, e.categories) for e in named):
            continue
        try:
            every = _occasions(event, after, before)
            made = [o for o in every if matches(match, o.title, o.categories)]
        except _RepeatError as error:
            skipped.append(Skipped(event.title, str(error)))
            continue
        found += made
        elsewhere += not made
        if len(found) > _MOST_IN_ALL:
            why = f"this calendar has more than {_MOST_IN_ALL} occurrences; choose fewer events"
            skipped.append(Skipped(event.title, why))
            break
    ordered = tuple(sorted(found[:_MOST_IN_ALL], key=_order))
    return Found(calendar.name, ordered, tuple(skipped), calendar.cancelled, elsewhere)


def _order(occasion: Occasion) -> tuple[datetime, str, str]:
    return placed(occasion.start), occasion.uid, occasion.recurrence


def _occasions(event: Event, after: datetime, before: datetime) -> list[Occasion]:
    """The occurrences of one event in the range, at most `MOST_OCCASIONS`. Raises _RepeatError."""
    try:
        return list(_each(event, after, before))
    except OverflowError:
        raise _RepeatError("one of its times is outside of the years 1 to 9999") from None


def _each(event: Event, after: datetime, before: datetime) -> Iterator[Occasion]:
    """Raises _RepeatError, and OverflowError."""
    number = 0
    for of in _starts(event, after, before):
        taken, start = event.at(of)
        if of in event.changed or taken is None:
            continue
        made = _made(event, taken, start, of if event.repeats else None)
        if _is_within(made, after, before):
            number += 1
            yield made
        if number > MOST_OCCASIONS:
            raise _RepeatError(f"it has more than {MOST_OCCASIONS} occurrences in this time")
    for of, other in event.changed.items():
        if other is not None:
            made = _made(event, other, other.start, of)
            if _is_within(made, after, before):
                yield made


def _made(event: Event, taken: Event, start: Moment, of: Moment | None) -> Occasion:
    begin, end = taken.instant(start), taken.instant(start + taken.length)
    recurrence = "" if of is None else of.isoformat()
    return Occasion(event.uid, taken.title, begin, end, taken.categories, recurrence)


def _is_within(occasion: Occasion, after: datetime, before: datetime) -> bool:
    start, end = (placed(m).replace(tzinfo=UTC) for m in (occasion.start, occasion.end))
    is_fixed = isinstance(occasion.start, datetime) and occasion.start.tzinfo is not None
    slack = timedelta() if is_fixed else _DAY
    return end > after - slack and start < before + slack and end > start


def _starts(event: Event, after: datetime, before: datetime) -> Iterator[Moment]:
    """The starts that the event itself has, without those that are removed."""
    first, last = _range(event, after, before)
    is_day = not isinstance(event.start, datetime)
    walls = {placed(m) for m in (event.start, *event.added)}
    if event.rule:
        walls.update(_ruled(event, first, last))
    for wall in sorted(walls):
        start: Moment = wall.date() if is_day else wall
        is_removed = start in event.removed or wall.date() in event.removed
        if first <= wall <= last and not is_removed:
            yield start


def _range(event: Event, after: datetime, before: datetime) -> tuple[datetime, datetime]:
    """The range on the clock of the event, wide enough for any zone and for what is moved."""
    later = [(placed(other.start) - placed(of), other) for of, other in event.later if other]
    length = max([event.length, *(moved + other.length for moved, other in later)])
    back = min([timedelta(), *(moved for moved, _ in later)])
    return (
        (after - length).replace(tzinfo=None) - 2 * _DAY,
        (before - back).replace(tzinfo=None) + 2 * _DAY,
    )


def _ruled(event: Event, first: datetime, last: datetime) -> Iterator[datetime]:
    """The starts of the rule within the range, on the clock of the event. Raises _RepeatError."""
    end = min(last, _until(event, last))
    _check(event)
    try:
        endless = vRecur({k: v for k, v in event.rule.items() if k != "UNTIL"})
        text: bytes = endless.to_ical()  # type: ignore[no-untyped-call]
        rule = rrulestr(text.decode(), dtstart=placed(event.start))
    except (ValueError, TypeError, LookupError):
        raise _RepeatError("its rule is invalid") from None
    number = 0
    for at in rule:
        if at > end:
            return
        if at >= first:
            yield at
            number += 1
        if number > MOST_OCCASIONS:
            raise _RepeatError(f"it has more than {MOST_OCCASIONS} occurrences in this time")


def _check(event: Event) -> None:
    """Raises _RepeatError if the rule of an event is not supported."""
    if event.rule.get("FREQ", [""])[0] in ("HOURLY", "MINUTELY", "SECONDLY"):
        raise _RepeatError("it repeats each hour or more often; use a window with a schedule")
    if any(event.rule.get(name, [1])[0] < 1 for name in ("INTERVAL", "COUNT")):
        raise _RepeatError("its rule is invalid")


def _until(event: Event, last: datetime) -> datetime:
    """The last moment of a rule on the clock of the event."""
    until = event.rule.get("UNTIL", [last])[0]
    if not isinstance(until, datetime) or not isinstance(event.start, datetime):
        day = until.date() if isinstance(until, datetime) else until
        return datetime.combine(day, time.max)
    try:
        return placed(event.on_clock(until))
    except OverflowError:
        return last
