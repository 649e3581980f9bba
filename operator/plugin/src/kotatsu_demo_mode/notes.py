"""What to know before a window is written: its times, its price, overlaps and the budget."""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from kotatsu_operator.core.budget.ledger import period_at
from kotatsu_operator.core.budget.limit import sentence
from kotatsu_operator.core.calendar.schedule import (
    Occurrence,
    Window,
    occurrences,
    openings,
    openings_a_day,
)
from kotatsu_operator.core.formats import format_duration
from kotatsu_operator.core.pool.spec import OverrideMode

from .pools import Pool
from .timeline import timeline
from .words import about, amount, at_most, clock, many, pods, windows_pods

_FAR = timedelta(days=100 * 366)
"""How far ahead to search for an opening."""

_DAY, _MONTH = timedelta(days=1), timedelta(days=30)
"""The time for which a repeating window is priced, and compared with other windows. A day is enough
for one that opens more often than each hour, and a month of it takes seconds to plan."""

OFTEN = 24
"""Openings a day."""

_BEFORE = timedelta(hours=26)
"""More than the longest lead: a price includes the pods that start early."""

_SHOWN = 3
"""Overlapping windows to name."""


def first_opening(window: Window, zone: ZoneInfo, now: datetime) -> Occurrence | None:
    """The opening that is in progress, or the next one; None if there is none."""
    return next(openings((window,), zone, now, now + _FAR), None)


def added_notes(
    pool: Pool, after: Pool, window: Window, before: Window | None, now: datetime
) -> list[str]:
    """About a window that is added to `pool`, or replaces `before`."""
    zone, notes = after.spec.zone, []
    if before is not None:
        notes.append(f"replaces {described(before, first_opening(before, zone, now), zone, now)}")
    first = first_opening(window, zone, now)
    text = described(window, first, zone, now)
    if first is None:
        return [*notes, f"{text}; it never opens"]
    begin, end = _range(window, first, now)
    text += _price(pool, after, begin, end, window)
    return [
        *notes,
        text,
        *_start_notes(after, first, now),
        *overlaps(after, window, begin, end, now),
        *budget_notes(after, first, now),
    ]


def removed_notes(pool: Pool, after: Pool, window: Window, now: datetime) -> list[str]:
    """About a window that is removed from `pool`."""
    zone = pool.spec.zone
    first = first_opening(window, zone, now)
    text = f"removes {described(window, first, zone, now)}"
    if first is None:
        return [f"{text}; it is over"]
    begin, end = _range(window, first, now)
    notes = [f"{text}{_price(pool, after, begin, end, window)}"]
    if first.start <= now:
        notes.append(f"{window.name} is open: its pods end when the pool is idle")
    return notes


def described(window: Window, first: Occurrence | None, zone: ZoneInfo, now: datetime) -> str:
    """A window in one line: when it is open next, and its pods."""
    there = windows_pods(window.replicas, parked=window.parked)
    return f"{window.name}, {when(window, first, zone, now)}, {there}"


def when(window: Window, first: Occurrence | None, zone: ZoneInfo, now: datetime) -> str:
    """When a window is open next; `first` is its `first_opening`."""
    if window.schedule is not None and window.duration is not None:
        text = f"`{window.schedule}` for {format_duration(window.duration)} {zone.key}"
        if first is None:
            return text
        is_open = first.start <= now
        return f"{text}, {'now open' if is_open else f'next {clock(first.start, zone, now)}'}"
    if first is None:
        return f"{window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} {zone.key}"
    there = "now open" if first.start <= now else f"in {about(first.start - now)}"
    until = clock(first.end, zone, first.start)
    return f"{clock(first.start, zone, now)} to {until} {zone.key} ({there})"


def _range(window: Window, first: Occurrence, now: datetime) -> tuple[datetime, datetime]:
    begin = max(now, first.start - _BEFORE)
    return begin, max(first.end, begin + _priced(window))


def _priced(window: Window) -> timedelta:
    """The time for which a repeating window is priced; 0 for a single one."""
    if window.schedule is None:
        return timedelta()
    return _DAY if openings_a_day(window.schedule) > OFTEN else _MONTH


def _price(pool: Pool, after: Pool, begin: datetime, end: datetime, window: Window) -> str:
    """The difference between the cost with and without the window."""
    more = difference(pool, after, begin, end)
    if more is None:
        return ", price unknown"
    length = _priced(window).days
    return f", {more} in {many(length, 'day')}" if length else f", {more}"


def difference(pool: Pool, after: Pool, begin: datetime, end: datetime) -> str | None:
    """How much more or less a changed pool costs; None if that is unknown."""
    old, new = timeline(pool, begin, end).cost, timeline(after, begin, end).cost
    if old is None or new is None:
        return None
    return f"{amount(abs(new - old), after.currency)} {'less' if new < old else 'more'}"


def _start_notes(after: Pool, first: Occurrence, now: datetime) -> list[str]:
    notes, zone = [], after.spec.zone
    lead = after.plan_at(now).lead
    if first.start <= now:
        notes.append(f"{first.window} is open already: its pods start now")
    elif first.start - lead < now:
        notes.append(
            f"{first.window} opens in {about(first.start - now)} and its pods need about "
            f"{about(lead)}: it may open before they are Ready"
        )
    override = after.override_at(max(first.start, now))
    if override is not None and override.mode is OverrideMode.ASLEEP:
        until = clock(override.until, zone, now)
        notes.append(f"an override (Asleep) keeps the pool asleep until {until}")
    if first.parked and after.parking is None:
        notes.append("its pods cannot be parked (condition ParkingWorks): they are warm")
    if after.spec.suspend:
        notes.append(f"{after.name} is suspended: no pods start until spec.suspend is false")
    return notes


def overlaps(
    after: Pool, window: Window, begin: datetime, end: datetime, now: datetime
) -> list[str]:
    """Other windows that are open at the same time as this one, and which of them wins."""
    zone = after.spec.zone
    mine = occurrences((window,), zone, begin, end)
    notes = []
    for other in after.spec.windows:
        if other.name == window.name:
            continue
        met = _meeting(mine, occurrences((other,), zone, begin, end))
        if met is not None:
            warm = "; while both are open, all pods are warm" * (window.parked != other.parked)
            at = clock(met, zone, now)
            notes.append(f"overlaps {other.name} from {at}: {_wins(window, other)}{warm}")
    return at_most(notes, _SHOWN, "overlaps {} more windows")


def _meeting(mine: Sequence[Occurrence], others: Sequence[Occurrence]) -> datetime | None:
    """The first moment at which two windows are both open."""
    starts = [o.start for o in mine]
    for other in others:
        for o in mine[max(0, bisect_left(starts, other.start) - 1) :]:
            if o.start >= other.end:
                break
            if o.end > other.start:
                return max(o.start, other.start)
    return None


def _wins(window: Window, other: Window) -> str:
    if other.replicas == window.replicas:
        return f"both need {pods(window.replicas)}, so no pods are added"
    if other.replicas > window.replicas:
        return f"{other.name} wins with {pods(other.replicas)}"
    return f"{window.name} wins, and {other.name} ({pods(other.replicas)}) adds none"


def budget_notes(after: Pool, first: Occurrence, now: datetime) -> list[str]:
    """Whether the budget keeps the window closed, or would be spent in the window's period."""
    budget, ledger, zone = after.spec.budget, after.ledger, after.spec.zone
    if budget.limit is None:
        return []
    if not after.allowed_at(max(first.start, now)).begins:
        return [f"{first.window} does not open: {sentence(ledger, after.spec, after.price)}"]
    begin, end = period_at(budget.period, zone, max(first.start, now))
    is_current = begin <= now and ledger.period_end is not None and ledger.period_end > now
    spent = after.ledger.accrued if is_current else Decimal(0)
    coming = timeline(after, max(begin, now), end).cost
    if coming is None or spent + coming <= budget.limit:
        return []
    total = amount(spent + coming, after.currency)
    text = (
        f"the budget would be spent: {total} of {amount(budget.limit)} until "
        f"{clock(end, zone, now)}, and spec.budget.onExhausted is {budget.on_exhausted.value}; "
        "raise spec.budget.limit, or use fewer pods"
    )
    return [text]
