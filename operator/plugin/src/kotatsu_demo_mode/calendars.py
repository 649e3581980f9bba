"""From the events of a calendar to changes of the windows of a pool, and what to know before.

An annotation of the pool says which calendar and event a window comes from. Importing a calendar
again makes the windows of that calendar what it says now: it changes and removes them by the UID of
their event, and leaves all other windows alone.
"""

import hashlib
from argparse import Namespace
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TextIO
from zoneinfo import ZoneInfo

from kotatsu_operator.core.budget.ledger import period_at
from kotatsu_operator.core.calendar.occasions import CalendarError, Occasion, Skipped, window_name
from kotatsu_operator.core.calendar.repeats import Found, occasions_of
from kotatsu_operator.core.calendar.schedule import Occurrence, Window, openings_a_day
from kotatsu_operator.core.calendar.wallclock import last_instant, to_instant
from kotatsu_operator.core.pool.spec import mode_field

from .entries import MOST_WINDOWS, Edit, after_all, entries_of, most_replicas, sources_of
from .errors import DemoModeError
from .notes import OFTEN, budget_notes, described, difference, first_opening, overlaps
from .objects import Object
from .pools import Pool
from .source import is_url, load, shown
from .words import at_most, many, wall


@dataclass(frozen=True)
class Import:
    """What a calendar has in the time ahead, and what to make of it."""

    found: Found
    name: str
    """The name under which its windows are known."""
    ahead: timedelta
    replicas: int | None = None
    parked: bool = False
    """Whether the pods of its windows are parked until a request comes."""


@dataclass(frozen=True)
class Wanted:
    """A window that the calendar asks for, on the clock of a pool."""

    occasion: Occasion
    start: datetime
    end: datetime

    def named(self, *, is_unique: bool) -> str:
        """Its name; with a part of the UID if titles alone are not unique."""
        name = window_name(self.occasion.title)
        if self.occasion.recurrence:
            name += f"-{self.start:%Y%m%d}"
        if is_unique:
            return name
        key = f"{self.occasion.uid}/{wall(self.start)}"
        return f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:6]}"


def windows_of(
    found: Found, zone: ZoneInfo, now: datetime
) -> tuple[Sequence[Wanted], Sequence[Skipped]]:
    """The windows that a calendar asks for, in the zone of a pool.

    Also the events that cannot be windows, and windows that differ from their event.
    """
    wanted, skipped = list[Wanted](), [*found.skipped]
    for occasion in found.occasions:
        if last_instant(occasion.walls(zone)[1], zone) <= now:
            continue
        made = occasion.opened(zone)
        if isinstance(made, Skipped):
            skipped.append(made)
        else:
            wanted.append(Wanted(occasion, *made))
            skipped += _differences(occasion, made[0], zone)
    return wanted, skipped


def _differences(occasion: Occasion, start: datetime, zone: ZoneInfo) -> list[Skipped]:
    """That a window is longer than its event, because a clock shows a time twice."""
    moment = occasion.start
    is_instant = isinstance(moment, datetime) and moment.tzinfo is not None
    if not is_instant or to_instant(start, zone)[0] == moment:
        return []
    why = f"{start:%H:%M} occurs twice on {start:%Y-%m-%d}, and the window opens at the first"
    return [Skipped(occasion.title, why)]


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
    of_event = {uids[str(entry.get("name"))]: entry for entry in mine.values()}
    edits = []
    for name, one in named.items():
        index, uid = by_name.get(name), one.occasion.uid
        if index is None and by_uid[uid]:  # the event has another title or day now
            index = by_uid[uid].pop(0)
        before = None if index is None else entries[index]
        value = _entry(pool, asked, name, one, before or of_event.get(uid))
        source = {"calendar": asked.name, "uid": uid}
        is_same = value == before and source == sources.get(name)
        verb = "added" if before is None else "unchanged" if is_same else "replaced"
        edits.append(Edit(pool, name, verb, index, value, source=source))
        left.discard(-1 if index is None else index)
    edits += [Edit(pool, str(mine[i].get("name")), "removed", i, None) for i in sorted(left)]
    number = len(entries) - len(left) + sum(e.verb == "added" for e in edits)
    if number > MOST_WINDOWS:
        raise DemoModeError(
            f"{pool.name} would have {number} windows, and a pool can have {MOST_WINDOWS}; choose "
            "fewer events with --match, or a shorter time with --days"
        )
    return edits


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


def _entry(pool: Pool, asked: Import, name: str, one: Wanted, like: Object | None) -> Object:
    """The entry of spec.windows.

    Without --replicas and --parked it has those of `like`: itself, or another window of its event.
    """
    kept = None if like is None else like.get("replicas")
    replicas = most_replicas(pool, asked.replicas) if asked.replicas or not kept else kept
    mode = mode_field(parked=asked.parked)
    if like is not None and "mode" in like and not asked.parked:
        mode = {"mode": like["mode"]}
    times = {"start": wall(one.start), "end": wall(one.end)}
    return {"name": name, "replicas": replicas, **mode, **times}


_MOST = 10
"""Lines of a kind: events left out, overlaps."""
_PERIODS = 3
"""Periods of the budget that are calculated."""


def asked(options: Namespace, stdin: TextIO, now: datetime) -> Import:
    """The import of the command line: reads the calendar. Raises DemoModeError."""
    source, ahead = options.source, timedelta(days=options.days)
    data = load(source, stdin)
    try:
        found = occasions_of(data, now, now + ahead, match=options.match)
    except CalendarError as error:
        raise DemoModeError(f"{shown(source)} {error}") from None
    name = options.calendar or _name(source, found.name)
    return Import(found, name, ahead, options.replicas, options.parked)


def _name(source: str, own: str) -> str:
    """A name that is the same at the next import."""
    name = own if source == "-" or is_url(source) else Path(source).stem
    if not name.strip():
        raise DemoModeError(
            f"{shown(source)} has no name; add one with --calendar, and use it each time "
            "you import this calendar"
        )
    return window_name(name)


def notes(
    pool: Pool, edits: Sequence[Edit], asked: Import, skipped: Sequence[Skipped], now: datetime
) -> list[str]:
    """About an import into one pool."""
    found = list(_left_out(asked, skipped))
    if all(edit.value is None for edit in edits):
        found.append("no event of the calendar becomes a window; check --match")
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
    return [*found, *at_most(clashes, _MOST, "{} more overlaps"), *_budgets(after, opened, now)]


_VERBS = {"added": "adds", "replaced": "changes", "removed": "removes"}


def _left_out(asked: Import, skipped: Sequence[Skipped]) -> Iterable[str]:
    lines = [f"{s.title!r}: {s.reason}" for s in skipped]
    yield from at_most(lines, _MOST, "{} more events like these")
    if asked.found.cancelled:
        yield f"{_count(asked.found.cancelled)} of the calendar cancelled"
    if asked.found.elsewhere:
        days_ahead = f"later than {asked.ahead.days} days from now (--days)"
        yield f"{_count(asked.found.elsewhere)} over, or {days_ahead}"


def _count(number: int) -> str:
    return "1 event is" if number == 1 else f"{number} events are"


def _length(after: Pool, asked: Import) -> timedelta:
    """The time to price: a day if a window opens more often than each hour, else the time ahead."""
    often = any(openings_a_day(w.schedule) > OFTEN for w in after.spec.windows if w.schedule)
    return timedelta(days=1) if often else asked.ahead


def _price(pool: Pool, after: Pool, begin: datetime, end: datetime) -> str:
    more = difference(pool, after, begin, end)
    if more is None:
        return "price unknown"
    return f"all together {more} in {many((end - begin).days, 'day')}"


def _budgets(after: Pool, opened: Sequence[tuple[Window, Occurrence]], now: datetime) -> list[str]:
    """The budget in the first periods in which windows open."""
    firsts = dict[datetime, Occurrence]()
    for _, first in sorted(opened, key=lambda pair: pair[1].start):
        begin, _ = period_at(after.spec.budget.period, after.spec.zone, max(first.start, now))
        firsts.setdefault(begin, first)
    found = [note for o in [*firsts.values()][:_PERIODS] for note in budget_notes(after, o, now)]
    return list(dict.fromkeys(found))
