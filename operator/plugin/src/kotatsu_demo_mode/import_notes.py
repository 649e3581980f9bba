"""What to know before a calendar is imported: its windows, what is left out, price and overlaps."""

from argparse import Namespace
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TextIO

from kotatsu_operator.core.budget.ledger import period_at
from kotatsu_operator.core.calendar.ics import read
from kotatsu_operator.core.calendar.occasions import CalendarError, Match, window_name
from kotatsu_operator.core.calendar.schedule import Occurrence, Window, openings_a_day

from .calendar_source import is_url, load, shown
from .errors import DemoModeError
from .imports import Import, Read
from .pools import Pool
from .window_notes import OFTEN, budget_notes, described, difference, first_opening, overlaps
from .windows import Edit, after_all
from .words import days

_MOST = 10
"""Lines of a kind: events left out, overlaps."""
_PERIODS = 3
"""Periods of the budget that are calculated."""


def asked(options: Namespace, stdin: TextIO) -> Import:
    """The import of the command line: reads the calendar. Raises DemoModeError."""
    source = options.source
    try:
        calendar = read(load(source, stdin))
    except CalendarError as error:
        raise DemoModeError(f"{shown(source)} {error}") from None
    match = Match(options.match, options.category)
    name = options.calendar or _name(source, calendar.name)
    ahead = timedelta(days=options.days)
    return Import(calendar, name, match, ahead, options.replicas, options.parked)


def _name(source: str, own: str) -> str:
    """A name that is the same at the next import."""
    name = own if source == "-" or is_url(source) else Path(source).stem
    if not name.strip():
        raise DemoModeError(
            f"{shown(source)} gives itself no name; add one with --calendar, and use it each time "
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
        yield "no event of the calendar becomes a window; check --match and --category"


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
