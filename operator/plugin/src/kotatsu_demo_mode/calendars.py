"""From the events of a calendar to changes of the windows of a pool, and what to know before.

An annotation of the pool says which calendar and event a window comes from. Importing a calendar
again makes the windows of that calendar what it says now: it changes and removes them by the UID of
their event, and leaves all other windows alone.
"""

import hashlib
from argparse import Namespace
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TextIO, TypeVar
from zoneinfo import ZoneInfo

from kotatsu_operator.core.budget.ledger import period_at
from kotatsu_operator.core.calendar.occasions import (
    CalendarError,
    Occasion,
    Skipped,
    matches,
    window_name,
)
from kotatsu_operator.core.calendar.schedule import (
    Occurrence,
    Window,
    check_cron,
    occurrences,
    openings_a_day,
)
from kotatsu_operator.core.calendar.wallclock import last_instant, to_instant
from kotatsu_operator.core.formats import format_duration
from kotatsu_operator.core.pool.spec import mode_field
from kotatsu_operator.features.calendars.ics import Calendar, Event, read
from kotatsu_operator.features.calendars.limit import limited
from kotatsu_operator.features.calendars.repeats import RepeatError, expand, occasions

from .entries import MOST_WINDOWS, Edit, after_all, entries_of, most_replicas, sources_of
from .errors import DemoModeError
from .notes import OFTEN, budget_notes, described, difference, first_opening, overlaps
from .pools import Object, Pool
from .source import is_url, load, shown
from .words import days, wall

T = TypeVar("T")


@dataclass(frozen=True)
class Import:
    """A calendar, and what to take from it."""

    calendar: Calendar
    name: str
    """The name under which its windows are known."""
    match: str
    ahead: timedelta
    """How far ahead single windows are made."""
    replicas: int | None = None
    parked: bool = False
    """Whether the pods of its windows are parked until a request comes."""


@dataclass(frozen=True)
class Wanted:
    """A window that the calendar asks for: its entry without name and replicas."""

    title: str
    uid: str
    day: str
    """The day of one of several windows of an event; empty for its only one."""
    times: Object

    def named(self, *, is_unique: bool) -> str:
        """Its name; with a part of the UID if titles alone are not unique."""
        name = window_name(self.title) + (f"-{self.day}" if self.day else "")
        if is_unique:
            return name
        key = f"{self.uid}/{self.times.get('start', '')}"
        return f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:6]}"


@dataclass(frozen=True)
class Read:
    """The windows of a calendar in one time zone, and what is not one of them."""

    wanted: Sequence[Wanted]
    skipped: Sequence[Skipped]
    """Events that cannot be windows, and windows that differ from their event."""
    elsewhere: int
    """Events that match and have nothing in the time ahead."""


def windows_of(asked: Import, zone: ZoneInfo, now: datetime) -> Read:
    """The windows that a calendar asks for, in the zone of a pool."""
    matching = [e for e in asked.calendar.events if _matches(asked.match, e)]
    wanted, single = list[Wanted](), list[Event]()
    for event in matching:
        cron = as_cron(event, zone, now) if event.repeats else None
        if cron is None:
            single.append(event)
            continue
        times: Object = {"schedule": cron.schedule, "duration": format_duration(cron.duration)}
        if cron.exclude:
            times["excludeDates"] = sorted(day.isoformat() for day in cron.exclude)
        wanted.append(Wanted(event.title, event.uid, "", times))
    rest = Calendar(asked.calendar.name, tuple(single), asked.calendar.skipped)
    expanded = expand(rest, asked.match, now, now + asked.ahead)
    skipped = [s for s in expanded.skipped if matches(asked.match, s.title, ())]
    with_windows = {o.uid for o in expanded.occasions}
    failed = {s.title for s in skipped}
    missing = [e for e in single if e.uid not in with_windows and e.title not in failed]
    for occasion in expanded.occasions:
        made = _single(occasion, zone, now)
        if isinstance(made, Skipped):
            skipped.append(made)
        elif made is not None:
            wanted.append(made)
            skipped += _differences(occasion, zone)
    return Read(wanted, skipped, len(missing))


def _matches(match: str, event: Event) -> bool:
    named = (event, *(e for e in event.changed.values() if e is not None))
    return any(matches(match, e.title, e.categories) for e in named)


def _single(occasion: Occasion, zone: ZoneInfo, now: datetime) -> Wanted | Skipped | None:
    start, end = occasion.walls(zone)
    if last_instant(end, zone) <= now:
        return None
    if end <= start:
        return Skipped(occasion.title, f"clocks go back in {zone.key} while it lasts")
    if to_instant(start, zone)[0] >= to_instant(end, zone)[0]:
        return Skipped(occasion.title, f"clocks in {zone.key} skip the time at which it is")
    day = f"{start:%Y%m%d}" if occasion.recurrence else ""
    return Wanted(occasion.title, occasion.uid, day, {"start": wall(start), "end": wall(end)})


def _differences(occasion: Occasion, zone: ZoneInfo) -> list[Skipped]:
    """That a window is longer than its event, because a clock shows a time twice."""
    if not _is_instant(occasion.start):
        return []
    start, _ = occasion.walls(zone)
    if to_instant(start, zone)[0] == occasion.start:
        return []
    why = f"{start:%H:%M} occurs twice on {start:%Y-%m-%d}, and the window opens at the first"
    return [Skipped(occasion.title, why)]


def _is_instant(moment: date) -> bool:
    return isinstance(moment, datetime) and moment.tzinfo is not None


# --- a repeating event as a cron schedule, where a schedule says exactly the same ---

_COMPARED = timedelta(days=400)
"""How far ahead event and schedule are compared: over both clock changes of a year."""
_LONGEST = timedelta(hours=744)
_MOST_EXCLUDED = 366
_ENDS = {"COUNT", "UNTIL"}
_WEEKDAYS = {"SU": 0, "MO": 1, "TU": 2, "WE": 3, "TH": 4, "FR": 5, "SA": 6}


@dataclass(frozen=True)
class Cron:
    """A schedule, the length of its openings, and the days without one."""

    schedule: str
    duration: timedelta
    exclude: frozenset[date]


def as_cron(event: Event, zone: ZoneInfo, now: datetime) -> Cron | None:
    """The schedule in a pool's zone that says the same as an event from now on; None if none does.

    A schedule goes on forever, so a rule that ends has none. The rest is not derived but tried: the
    openings of the schedule and the occurrences of the event are compared, so clock changes, the
    begin of the series and its exceptions need no rules here.
    """
    is_changed = event.added or event.changed or event.later
    is_endless = event.rule.get("INTERVAL", [1]) == [1] and not event.rule.keys() & _ENDS
    if is_changed or not is_endless or event.length > _LONGEST:
        return None
    fields = _fields(event)
    if fields is None:
        return None
    days = {m.date() if isinstance(m, datetime) else m for m in event.removed}
    exclude = frozenset(day for day in days if day >= now.date() - timedelta(days=40))
    made = Cron(fields, event.length, exclude)
    try:
        check_cron(fields)
    except ValueError:
        return None
    is_same = len(exclude) <= _MOST_EXCLUDED and _agrees(made, event, zone, now)
    return made if is_same else None


def _fields(event: Event) -> str | None:
    start, rule = event.start, event.rule
    hour, minute = (start.hour, start.minute) if isinstance(start, datetime) else (0, 0)
    if isinstance(start, datetime) and start.second:
        return None
    used = rule.keys() - {"FREQ", "INTERVAL", "WKST"}
    day, month, weekday = "*", "*", "*"
    names = rule.get("BYDAY", [])
    match rule.get("FREQ"):
        case ["DAILY" | "WEEKLY" as frequency] if used <= {"BYDAY"} and _WEEKDAYS.keys() >= {
            *names
        }:
            if names:
                weekday = ",".join(str(n) for n in sorted({_WEEKDAYS[n] for n in names}))
            elif frequency == "WEEKLY":
                weekday = str(start.isoweekday() % 7)
        case ["MONTHLY"] if used <= {"BYMONTHDAY"}:
            day = ",".join(map(str, rule.get("BYMONTHDAY", [start.day])))
        case ["YEARLY"] if used in (set(), {"BYMONTH"}, {"BYMONTH", "BYMONTHDAY"}):
            day = ",".join(map(str, rule.get("BYMONTHDAY", [start.day])))
            month = ",".join(map(str, rule.get("BYMONTH", [start.month])))
        case _:
            return None
    return f"{minute} {hour} {day} {month} {weekday}"


def _agrees(cron: Cron, event: Event, zone: ZoneInfo, now: datetime) -> bool:
    end = now + _COMPARED
    window = Window("", 1, schedule=cron.schedule, duration=cron.duration, exclude=cron.exclude)
    try:
        wanted = occasions(event, now, end)
    except RepeatError:
        return False
    single = [
        Window("", 1, start=begin, end=stop) for begin, stop in (o.walls(zone) for o in wanted)
    ]
    exact = {(o.start, o.end) for o in wanted if _is_instant(o.start)}
    by_clock = {(o.start, o.end) for o in occurrences(single, zone, now, end)}
    opened = {(o.start, o.end) for o in occurrences((window,), zone, now, end)}
    return bool(opened) and opened == (exact or by_clock)


# --- the changes of a pool ---


def changes(pool: Pool, asked: Import, wanted: Iterable[Wanted]) -> list[Edit]:
    """The changes that make the calendar's windows of a pool what is wanted; also unchanged ones.

    Raises DemoModeError if the pool would have too many windows.
    """
    entries = entries_of(pool)
    sources = sources_of(pool.raw)
    uids = {n: source["uid"] for n, source in sources.items() if source["calendar"] == asked.name}
    mine = {i: entry for i, entry in enumerate(entries) if entry.get("name") in uids}
    taken = {str(e.get("name")) for i, e in enumerate(entries) if i not in mine}
    named = _named(wanted, taken)
    by_name = {str(entry.get("name")): i for i, entry in mine.items()}
    left = {i for i in mine if str(mine[i].get("name")) not in named}
    by_uid = defaultdict[str, list[int]](list)
    for i in sorted(left):
        by_uid[uids[str(mine[i].get("name"))]].append(i)
    edits = []
    for name, one in named.items():
        index = by_name.get(name)
        if index is None and by_uid[one.uid]:  # the event has another title or day now
            index = by_uid[one.uid].pop(0)
        before = None if index is None else entries[index]
        value = _entry(pool, asked, name, one, before)
        source = {"calendar": asked.name, "uid": one.uid}
        is_same = value == before and source == sources.get(name)
        verb = "added" if before is None else "unchanged" if is_same else "replaced"
        edits.append(Edit(pool, name, verb, index, value, source=source))
        left.discard(-1 if index is None else index)
    edits += [Edit(pool, str(mine[i].get("name")), "removed", i, None) for i in sorted(left)]
    _check_number(pool, len(entries) - len(left) + sum(e.verb == "added" for e in edits))
    return edits


def _check_number(pool: Pool, number: int) -> None:
    if number > MOST_WINDOWS:
        raise DemoModeError(
            f"{pool.name} would have {number} windows, and a pool can have {MOST_WINDOWS}; choose "
            "fewer events with --match, or a shorter time with --days"
        )


def _named(wanted: Iterable[Wanted], taken: set[str]) -> dict[str, Wanted]:
    """The windows by name.

    All titles that are not unique get a part of the UID, so the order of a file does not matter.
    """
    found = list(wanted)
    uses = Counter(one.named(is_unique=True) for one in found)
    named = {}
    for one in found:
        name = one.named(is_unique=True)
        is_unique = uses[name] == 1 and name not in taken
        named[one.named(is_unique=is_unique)] = one
    return named


def _entry(pool: Pool, asked: Import, name: str, one: Wanted, before: Object | None) -> Object:
    """The entry of spec.windows. Without --replicas and --parked, a window keeps what it has."""
    kept = None if before is None else before.get("replicas")
    replicas = most_replicas(pool, asked.replicas) if asked.replicas or not kept else kept
    mode = mode_field(parked=asked.parked)
    if before is not None and "mode" in before and not asked.parked:
        mode = {"mode": before["mode"]}
    return {"name": name, "replicas": replicas, **mode, **one.times}


_MOST = 10
"""Lines of a kind: events left out, overlaps."""
_PERIODS = 3
"""Periods of the budget that are calculated."""


def asked(options: Namespace, stdin: TextIO) -> Import:
    """The import of the command line: reads the calendar. Raises DemoModeError."""
    source = options.source
    data = load(source, stdin)
    calendar = within_limit(source, lambda: read(data))
    name = options.calendar or _name(source, calendar.name)
    ahead = timedelta(days=options.days)
    return Import(calendar, name, options.match, ahead, options.replicas, options.parked)


def within_limit(source: str, work: Callable[[], T]) -> T:
    """The result of some work on a calendar. Raises DemoModeError, also if it is too much work."""
    try:
        with limited():
            return work()
    except CalendarError as error:
        raise DemoModeError(f"{shown(source)} {error}") from None


def _name(source: str, own: str) -> str:
    """A name that is the same at the next import."""
    name = own if source == "-" or is_url(source) else Path(source).stem
    if not name.strip():
        raise DemoModeError(
            f"{shown(source)} has no name; add one with --calendar, and use it each time "
            "you import this calendar"
        )
    return window_name(name)


def notes(pool: Pool, edits: Sequence[Edit], asked: Import, read: Read, now: datetime) -> list[str]:
    """About an import into one pool."""
    found = list(_left_out(asked, read))
    made = [edit for edit in edits if edit.is_change]
    if not made:
        return found
    after, zone = after_all(pool, edits), pool.spec.zone
    old, new = ({w.name: w for w in p.own_windows} for p in (pool, after))
    opened: list[tuple[Window, Occurrence]] = []
    for edit in made:
        windows = old if edit.value is None else new
        window = windows[edit.name]
        first = first_opening(window, zone, now)
        text = f"{_VERBS[edit.verb]} {described(window, first, zone, now)}"
        found.append(text if first is not None else f"{text}; it is over")
        if edit.value is not None and first is not None:
            opened.append((window, first))
    begin, length = now, _length(after, asked)
    found.append(_price(pool, after, begin, begin + length))
    clashes = [
        f"{window.name} {note}"
        for window, first in opened
        for note in overlaps(after, window, first.start, max(first.end, first.start + length), now)
    ]
    return [*found, *_first(clashes, "more overlaps"), *_budgets(after, opened, now)]


_VERBS = {"added": "adds", "replaced": "changes", "removed": "removes"}


def _left_out(asked: Import, read: Read) -> Iterable[str]:
    yield from _first([f"{s.title!r}: {s.reason}" for s in read.skipped], "more events like these")
    if asked.calendar.cancelled:
        yield f"{_count(asked.calendar.cancelled)} of the calendar cancelled"
    if read.elsewhere:
        yield (
            f"{_count(read.elsewhere)} over, or later than {asked.ahead.days} days from now "
            "(--days)"
        )
    if not read.wanted:
        yield "no event of the calendar becomes a window; check --match"


def _count(number: int) -> str:
    return "1 event is" if number == 1 else f"{number} events are"


def _first(lines: Sequence[str], more: str) -> list[str]:
    left = len(lines) - _MOST
    return [*lines[:_MOST], *([f"{left} {more}"] if left > 0 else [])]


def _length(after: Pool, asked: Import) -> timedelta:
    """The time to price: a day if a window opens more often than each hour, else the time ahead."""
    often = any(openings_a_day(w.schedule) > OFTEN for w in after.spec.windows if w.schedule)
    return timedelta(days=1) if often else asked.ahead


def _price(pool: Pool, after: Pool, begin: datetime, end: datetime) -> str:
    more = difference(pool, after, begin, end)
    if more is None:
        return "price unknown"
    return f"all together {more} in {days((end - begin).days)}"


def _budgets(after: Pool, opened: Sequence[tuple[Window, Occurrence]], now: datetime) -> list[str]:
    """The budget in the first periods in which windows open."""
    firsts = dict[datetime, Occurrence]()
    for _, first in sorted(opened, key=lambda pair: pair[1].start):
        begin, _ = period_at(after.spec.budget.period, after.spec.zone, max(first.start, now))
        firsts.setdefault(begin, first)
    found = [note for o in [*firsts.values()][:_PERIODS] for note in budget_notes(after, o, now)]
    return list(dict.fromkeys(found))
