"""The occurrences of an event within a range of time.

The work of a rule is bounded before it begins: a rule that repeats by the hour or more often is
refused, and so is one that needs many steps to reach the range.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice

from icalendar.prop import vRecur

from kotatsu_operator.core.calendar.ics import Calendar, Event
from kotatsu_operator.core.calendar.occasions import Match, Moment, Occasion, Skipped
from kotatsu_operator.core.calendar.series import Rhythm, RhythmError, series

MOST_OCCASIONS = 1000
"""Occurrences of one event within the range."""
_MOST_IN_ALL = 5000
_MOST_STEPS, _MOST_STEPS_IN_ALL = 80_000, 500_000
"""Steps of one rule, and of all rules of a calendar, weighted by what they cost: 5 µs."""
_STARTS_A_STEP = 4
"""Starts that cost as much as a step."""
_MOST_VALUES, _MOST_A_DAY = 100, 24
_DAY = timedelta(days=1)
_PERIODS = {"DAILY": (1, 2), "WEEKLY": (7, 5), "MONTHLY": (28, 8), "YEARLY": (365, 60)}
"""The days between two steps of a rule, and what a step costs at most."""
_LISTS = frozenset(
    {
        *("BYSECOND", "BYMINUTE", "BYHOUR", "BYDAY", "BYMONTHDAY"),
        *("BYYEARDAY", "BYWEEKNO", "BYMONTH", "BYSETPOS"),
    }
)
_PARTS = _LISTS | {"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST"}


class RepeatError(ValueError):
    """The occurrences cannot be computed. The message is the reason."""


@dataclass(frozen=True)
class Rule:
    """A recurrence rule with bounds that are checked."""

    frequency: str
    interval: int
    count: int | None
    until: Moment | None
    week_start: str
    values: dict[str, list[str]]
    """The parts that are lists, as written."""
    a_day: int = 1
    """Starts on a day at most."""

    def starts(self, periods: int) -> int:
        """How many starts this many periods have at most."""
        names_days = bool(self.values.keys() - {"BYHOUR", "BYMINUTE", "BYSECOND", "BYSETPOS"})
        most = periods * self.a_day * (_PERIODS[self.frequency][0] if names_days else 1)
        return most if self.count is None else min(most, self.count)


@dataclass(frozen=True)
class Expanded:
    """The occurrences of a calendar within a range, ordered by start, and what is left out."""

    occasions: tuple[Occasion, ...]
    skipped: tuple[Skipped, ...]


def expand(calendar: Calendar, match: Match, after: datetime, before: datetime) -> Expanded:
    """The occurrences of the events that match and are in progress within [after, before).

    Floating and all-day events are included if that holds in some zone.
    """
    found, skipped, steps = list[Occasion](), list(calendar.skipped), 0
    for event in calendar.events:
        changes = [*event.changed.values(), *(other for _, other in event.later)]
        named = (event, *(e for e in changes if e is not None))
        if not any(match.takes(e.title, e.categories) for e in named):
            continue
        try:
            steps += _steps(event, after, before)
            if steps > _MOST_STEPS_IN_ALL:
                raise RepeatError("the rules of this calendar need too many steps; split it")
            made = occasions(event, after, before)
            found += [o for o in made if match.takes(o.title, o.categories)]
        except RepeatError as error:
            skipped.append(Skipped(event.title, str(error)))
        if len(found) > _MOST_IN_ALL:
            why = f"this calendar has more than {_MOST_IN_ALL} occurrences; choose fewer events"
            skipped.append(Skipped(event.title, why))
            break
    return Expanded(tuple(sorted(found[:_MOST_IN_ALL], key=_order)), tuple(skipped))


def _order(occasion: Occasion) -> tuple[datetime, str, str]:
    return _placed(occasion.start), occasion.uid, occasion.recurrence


def _placed(moment: Moment) -> datetime:
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time.min, tzinfo=UTC)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def occasions(event: Event, after: datetime, before: datetime) -> list[Occasion]:
    """The occurrences of one event in the range, at most `MOST_OCCASIONS`. Raises RepeatError."""
    found: list[Occasion] = []
    for start in _starts(event, after, before):
        if start in event.changed:
            continue
        if len(found) >= MOST_OCCASIONS:
            raise RepeatError(f"it has more than {MOST_OCCASIONS} occurrences in this time")
        made = _occasion(event, start)
        if made is not None and _is_within(made, after, before):
            found.append(made)
    for of, other in event.changed.items():
        if other is not None:
            made = _made(event, other, other.start, of)
            found += [made] if _is_within(made, after, before) else []
    return found


def _occasion(event: Event, of: Moment) -> Occasion | None:
    """The occurrence that a rule begins at this time; None if it is cancelled."""
    try:
        taken, start = event.at(of)
    except OverflowError:
        raise RepeatError("one of its times is outside of the years 1 to 9999") from None
    return None if taken is None else _made(event, taken, start, of if event.repeats else None)


def _made(event: Event, taken: Event, start: Moment, of: Moment | None) -> Occasion:
    try:
        begin, end = taken.instant(start), taken.instant(start + taken.length)
    except OverflowError:
        raise RepeatError("one of its times is outside of the years 1 to 9999") from None
    recurrence = "" if of is None else of.isoformat()
    return Occasion(event.uid, taken.title, begin, end, taken.categories, recurrence)


def _is_within(occasion: Occasion, after: datetime, before: datetime) -> bool:
    start, end = _placed(occasion.start), _placed(occasion.end)
    is_fixed = isinstance(occasion.start, datetime) and occasion.start.tzinfo is not None
    slack = timedelta() if is_fixed else _DAY
    return end > after - slack and start < before + slack and end > start


def _starts(event: Event, after: datetime, before: datetime) -> Iterator[Moment]:
    """The starts that the event itself has, without those that are removed."""
    first, last = _range(event, after, before)
    is_day = not isinstance(event.start, datetime)
    walls = {_wall(m) for m in (event.start, *event.added)}
    if event.rule:
        walls |= set(_ruled(event, rule_of(event.rule), first, last))
        if len(walls) > MOST_OCCASIONS + len(event.added) + 1:
            raise RepeatError(f"it has more than {MOST_OCCASIONS} occurrences in this time")
    for wall in sorted(walls):
        start: Moment = wall.date() if is_day else wall
        is_removed = start in event.removed or (not is_day and wall.date() in event.removed)
        if first <= wall <= last and not is_removed:
            yield start


def _range(event: Event, after: datetime, before: datetime) -> tuple[datetime, datetime]:
    """The range on the clock of the event, wide enough for any zone and for what is moved."""
    later = [(_wall(other.start) - _wall(of), other) for of, other in event.later if other]
    try:
        length = max([event.length, *(moved + other.length for moved, other in later)])
        back = min([timedelta(), *(moved for moved, _ in later)])
        return (
            (after - length).replace(tzinfo=None) - 2 * _DAY,
            (before - back).replace(tzinfo=None) + 2 * _DAY,
        )
    except OverflowError:
        raise RepeatError("it is too long") from None


def _wall(moment: Moment) -> datetime:
    if isinstance(moment, datetime):
        return moment.replace(fold=0)
    return datetime.combine(moment, time.min)


def rule_of(text: str) -> Rule:
    """Read a rule. Raises RepeatError."""
    pairs = dict(part.upper().partition("=")[::2] for part in text.split(";") if "=" in part)
    unknown = pairs.keys() - _PARTS
    if unknown or len(text) > 2000:
        raise RepeatError(f"its rule has a part that is not supported: {min(unknown, default='')}")
    frequency = pairs.get("FREQ", "")
    if frequency not in _PERIODS:
        often = frequency in ("HOURLY", "MINUTELY", "SECONDLY")
        raise RepeatError(
            "it repeats each hour or more often; use a window with a schedule"
            if often
            else f"its rule is invalid: {text[:60]!r}"
        )
    lists = {name: pairs[name].split(",") for name in _LISTS & pairs.keys()}
    a_day = 1
    for name in ("BYHOUR", "BYMINUTE", "BYSECOND"):
        a_day *= len(set(lists.get(name, [""])))
    if sum(map(len, lists.values())) > _MOST_VALUES or a_day > _MOST_A_DAY:
        raise RepeatError("it repeats too often; use a window with a schedule")
    try:
        read = vRecur.from_ical(text)
        interval = int(read.get("INTERVAL", [1])[0])
        count = int(read["COUNT"][0]) if "COUNT" in read else None
        until = read["UNTIL"][0] if "UNTIL" in read else None
    except (ValueError, LookupError, TypeError):
        raise RepeatError(f"its rule is invalid: {text[:60]!r}") from None
    if interval < 1 or (count is not None and count < 1):
        raise RepeatError(f"its rule is invalid: {text[:60]!r}")
    return Rule(
        frequency,
        interval,
        count,
        until if isinstance(until, date) else None,
        pairs.get("WKST", "MO"),
        lists,
        a_day,
    )


def _steps(event: Event, after: datetime, before: datetime) -> int:
    """About how much work the rule is. Raises RepeatError if it is too much."""
    if not event.rule:
        return 1
    rule = rule_of(event.rule)
    first, last = _range(event, after, before)
    days, cost = _PERIODS[rule.frequency]
    end = min(last, _until(event, rule, last))
    if end < first:
        return 1
    ahead = end - _begin(event, rule, first)
    periods = max(0, ahead.days) // (days * rule.interval) + 1
    steps = periods * cost + rule.starts(periods) // _STARTS_A_STEP
    if steps > _MOST_STEPS:
        raise RepeatError("it began too long ago; let its series begin later")
    return steps


def _begin(event: Event, rule: Rule, first: datetime) -> datetime:
    """Where to follow a rule from: a start of its own rhythm not long before the range.

    A rule that counts is followed from its first day. So is one whose day not every month or year
    has, because it is the default of BYMONTHDAY.
    """
    start = _wall(event.start)
    if rule.count is not None or start >= first:
        return start
    if rule.frequency in ("DAILY", "WEEKLY"):
        step = timedelta(days=_PERIODS[rule.frequency][0] * min(rule.interval, 10_000))
        is_far = rule.interval > 10_000  # no second start within a lifetime
        return start if is_far else start + step * max(0, (first - start - 8 * _DAY) // step)
    months = rule.interval * (12 if rule.frequency == "YEARLY" else 1)
    is_everywhere = start.day <= 28 or (months % 12 == 0 and (start.month, start.day) != (2, 29))
    passed = 12 * (first.year - start.year) + first.month - start.month - 2
    periods = passed // months
    if periods <= 0 or not is_everywhere:
        return start
    years, month = divmod(start.month - 1 + periods * months, 12)
    return start.replace(year=start.year + years, month=month + 1)


def _ruled(event: Event, rule: Rule, first: datetime, last: datetime) -> Iterator[datetime]:
    """The starts of a rule within the range, on the clock of the event."""
    end = min(last, _until(event, rule, last))
    start = _begin(event, rule, first)
    if end < first or end < start:
        return
    months = 12 * (end.year - start.year) + end.month - start.month
    counted = islice(_series(event, rule, start, end, months), rule.count)
    yield from islice((at for at in counted if at >= first), MOST_OCCASIONS + 1)


def _series(
    event: Event, rule: Rule, start: datetime, end: datetime, months: int
) -> Iterator[datetime]:
    how = Rhythm(rule.frequency, rule.values, rule.interval, rule.week_start)
    try:
        yield from series(how, start, end, months)
    except RhythmError:
        raise RepeatError(f"its rule is invalid: {event.rule[:60]!r}") from None


def _until(event: Event, rule: Rule, last: datetime) -> datetime:
    """The last moment of a rule on the clock of the event."""
    until = rule.until
    if until is None:
        return last
    if not isinstance(until, datetime):
        return datetime.combine(until, time.max.replace(microsecond=0))
    if not isinstance(event.start, datetime):
        return datetime.combine(until.date(), time.max.replace(microsecond=0))
    if until.tzinfo is None:
        return until
    try:
        return until.astimezone(event.zone or UTC).replace(tzinfo=None)
    except OverflowError:
        return last
