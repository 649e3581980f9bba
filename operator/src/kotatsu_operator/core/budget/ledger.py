"""The ledger of one pool: what its pods have cost in this period.

A pod costs what it *requests*, from the moment it is scheduled until it is gone, whether or not it
is Ready: that is what a node autoscaler has to keep a machine for.

Between two entries of one process the time that passed is measured, not read off the wall clock, so
a clock that steps charges nothing twice and loses nothing. A new process knows only what the status
keeps: pods that are still there are charged from the last entry on (or from their start), and what
went while nobody looked is charged up to that entry, which is at most a minute old.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from kotatsu_operator.core.budget.period import period_at
from kotatsu_operator.core.budget.prices import hourly
from kotatsu_operator.core.pool.spec import Budget, Period

_HOUR = timedelta(hours=1) // timedelta(microseconds=1)


@dataclass(frozen=True)
class BilledPod:
    """A pod as the ledger sees it: when it was scheduled and what it requests (base units)."""

    scheduled_at: datetime
    requests: Mapping[str, Decimal]
    uid: str = ""
    gone_at: datetime | None = None
    """When it freed what it requested; None while it holds it."""


@dataclass(frozen=True)
class Spent:
    """The total of a period that is over."""

    currency: str
    period_start: datetime
    accrued: Decimal


@dataclass(frozen=True)
class Ledger:
    """Money spent since `period_start`, complete up to `at`."""

    currency: str = ""
    period_start: datetime | None = None
    accrued: Decimal = Decimal(0)
    at: datetime | None = None
    rate: Decimal = Decimal(0)
    """Cost per hour of the pods there are now."""
    pod_hour: Decimal | None = None
    """Price of an hour of one pod of the target, at the prices in effect."""
    period: Period = Period.MONTH
    period_end: datetime | None = None
    limit: Decimal | None = None
    exhausted_at: datetime | None = None
    """Since when the limit is reached."""
    forecast: Decimal | None = None
    """What the period will have cost at its end, by the schedule."""
    previous: Spent | None = None
    pods: Mapping[str, Decimal] = field(default_factory=dict)
    """Price of an hour of each pod counted up to `at`, by uid; not known after a restart."""


def money(rate: Decimal, lasting: timedelta) -> Decimal:
    """What so much an hour comes to, to the microsecond; nothing for a negative time."""
    microseconds = lasting // timedelta(microseconds=1)
    return rate * max(microseconds, 0) / _HOUR


def accrue(
    ledger: Ledger,
    pods: Iterable[BilledPod],
    budget: Budget,
    zone: ZoneInfo,
    now: datetime,
    elapsed: timedelta | None = None,
) -> Ledger:
    """Bring the ledger up to `now`.

    `pods` are those that are there and those that have gone since the last entry. `elapsed` is the
    measured time since that entry; None when another process made it. `budget` has the prices in
    force from now on; pods that were counted before are charged up to now at what they cost then.
    """
    known = list(pods)
    staying = {pod.uid: hourly(pod.requests, budget.prices) for pod in known if not pod.gone_at}
    current = _brought_up(ledger, known, budget, zone, now, elapsed)
    reached = budget.limit is not None and current.accrued >= budget.limit
    return replace(
        current,
        rate=sum(staying.values(), Decimal(0)),
        pods=staying,
        limit=budget.limit,
        exhausted_at=min(current.exhausted_at or now, now) if reached else None,
    )


def _brought_up(
    ledger: Ledger,
    pods: list[BilledPod],
    budget: Budget,
    zone: ZoneInfo,
    now: datetime,
    elapsed: timedelta | None,
) -> Ledger:
    if ledger.at is None or ledger.period_start is None:
        return _begun(budget, zone, now)
    # Where the last entry lies on the clock as it runs now.
    entry = min(ledger.at, now) if elapsed is None else now - elapsed
    stretches = [_stretch(pod, ledger, budget, entry, now) for pod in pods]
    ledger = _beside_the_clock(ledger, zone, now)
    while ledger.period_end is not None and now >= ledger.period_end:
        total = ledger.accrued + _spent(stretches, entry, ledger.period_end)
        entry = max(entry, ledger.period_end)
        start, end = period_at(ledger.period, zone, ledger.period_end)
        ledger = replace(
            ledger,
            previous=_closed(ledger, total),
            period_start=start,
            period_end=end,
            accrued=Decimal(0),
            exhausted_at=None,
        )
    ledger = replace(ledger, accrued=ledger.accrued + _spent(stretches, entry, now), at=now)
    if (ledger.currency, ledger.period) != (budget.currency, budget.period):
        return replace(_begun(budget, zone, now), previous=_closed(ledger, ledger.accrued))
    return ledger


def _begun(budget: Budget, zone: ZoneInfo, now: datetime) -> Ledger:
    end = period_at(budget.period, zone, now)[1]
    return Ledger(budget.currency, now, at=now, period=budget.period, period_end=end)


def _closed(ledger: Ledger, total: Decimal) -> Spent:
    assert ledger.period_start is not None  # noqa: S101  (a ledger that has begun)
    return Spent(ledger.currency, ledger.period_start, total)


def _beside_the_clock(ledger: Ledger, zone: ZoneInfo, now: datetime) -> Ledger:
    """The ledger with its period's end where the zone of today has it, or the clock of now.

    A clock that was put back to before the period began continues the one before it.
    """
    assert ledger.period_start is not None  # noqa: S101  (a ledger that has begun)
    start, end = period_at(ledger.period, zone, now)
    if end <= ledger.period_start:
        before = ledger.previous
        if before is not None and before.currency == ledger.currency and before.period_start < end:
            return replace(
                ledger,
                period_start=before.period_start,
                period_end=end,
                accrued=ledger.accrued + before.accrued,
                previous=None,
            )
        return replace(ledger, period_start=start, period_end=end)
    if ledger.period_end is None:  # written before there were periods
        end = period_at(ledger.period, zone, ledger.period_start)[1]
        return replace(ledger, period_end=end)
    has_moved = now < ledger.period_end != end
    return replace(ledger, period_end=end) if has_moved else ledger


Stretch = tuple[datetime, datetime, Decimal]
"""From, to, and the price of an hour."""


def _stretch(
    pod: BilledPod, ledger: Ledger, budget: Budget, entry: datetime, now: datetime
) -> Stretch:
    rate = ledger.pods.get(pod.uid)
    end = now if pod.gone_at is None else min(pod.gone_at, now)
    if rate is not None:
        return entry, end, rate
    # A scheduler's clock may run ahead of ours: such a pod is charged from its first sight on.
    begin = max(entry, min(pod.scheduled_at, now))
    same = ledger.currency == budget.currency
    return begin, end, hourly(pod.requests, budget.prices) if same else Decimal(0)


def _spent(stretches: Iterable[Stretch], begin: datetime, end: datetime) -> Decimal:
    return sum((money(rate, min(end, b) - max(begin, a)) for a, b, rate in stretches), Decimal(0))
