"""The ledger of one pool: the cost of its pods in this period.

A pod costs what it *requests*, from the moment it is scheduled until it is gone, Ready or not.
Between two entries of one process, elapsed time is measured and not read from the wall clock
(decision 8). A new process charges pods that still exist from the last entry, and pods that went in
between up to that entry, which is at most a minute old.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

from kotatsu_operator.core.budget.prices import hourly
from kotatsu_operator.core.calendar.wallclock import to_instant
from kotatsu_operator.core.formats import money_of
from kotatsu_operator.core.pool.spec import Period, PoolSpec, Prices


def period_at(period: Period, zone: ZoneInfo, now: datetime) -> tuple[datetime, datetime]:
    """The period of `now`, as instants in UTC; its end belongs to the next period."""
    today = now.astimezone(zone).date()
    start, end = _bounds(period, zone, today)
    if now >= end:
        # The clocks went back from just after midnight: the day still begins only once.
        return _bounds(period, zone, today + timedelta(days=1))
    return start, end


@lru_cache(maxsize=4096)
def _bounds(period: Period, zone: ZoneInfo, day: date) -> tuple[datetime, datetime]:
    first = day
    if period is Period.WEEK:
        first = day - timedelta(days=day.weekday())
    elif period is Period.MONTH:
        first = day.replace(day=1)
    after = {
        Period.DAY: first + timedelta(days=1),
        Period.WEEK: first + timedelta(days=7),
        Period.MONTH: (first + timedelta(days=31)).replace(day=1),
    }[period]
    start, end = (to_instant(datetime.combine(d, time()), zone)[0] for d in (first, after))
    return start, end


_HOUR = timedelta(hours=1) // timedelta(microseconds=1)


@dataclass(frozen=True)
class BilledPod:
    """A pod for the ledger: when it was scheduled and what it requests (base units)."""

    scheduled_at: datetime
    requests: Mapping[str, Decimal]
    uid: str = ""
    gone_at: datetime | None = None
    """When it released its requests; None while it holds them."""


@dataclass(frozen=True)
class Spent:
    """The total of a period that has ended."""

    currency: str
    period_start: datetime
    accrued: Decimal = Decimal(0)


@dataclass(frozen=True)
class Ledger:
    """Money spent since `period_start`, complete up to `at`."""

    currency: str = ""
    period_start: datetime | None = None
    accrued: Decimal = Decimal(0)
    at: datetime | None = None
    rate: Decimal = Decimal(0)
    """Cost per hour of the current pods."""
    pod_hour: Decimal | None = None
    """Price of one hour of one pod of the target, at the current prices."""
    parked_hour: Decimal | None = None
    """The same of a parked pod; None if the pods cannot be parked."""
    period: Period = Period.MONTH
    period_end: datetime | None = None
    limit: Decimal | None = None
    exhausted_at: datetime | None = None
    """When the limit was reached; None below the limit."""
    forecast: Decimal | None = None
    """The expected cost at the end of the period, by the schedule."""
    previous: Spent | None = None
    ended: tuple[Spent, ...] = ()
    """All totals that the last entry has closed, oldest first: `previous` is the newest. An edit of
    currency or period closes one too."""
    pods: Mapping[str, Decimal] = field(default_factory=dict)
    """Price per hour of each pod counted up to `at`, by uid; empty after a restart."""

    @property
    def totals(self) -> tuple[Spent, ...]:
        """Those of the last period that has ended and of the current one; none without prices."""
        if not self.currency or self.period_start is None:
            return ()
        current = Spent(self.currency, self.period_start, self.accrued)
        return (current,) if self.previous is None else (self.previous, current)


def money(rate: Decimal, lasting: timedelta) -> Decimal:
    """The cost of a time at a rate per hour, to the microsecond; 0 for a negative time."""
    microseconds = lasting // timedelta(microseconds=1)
    return rate * max(microseconds, 0) / _HOUR


def accrue(
    ledger: Ledger,
    pods: Iterable[BilledPod],
    spec: PoolSpec,
    now: datetime,
    elapsed: timedelta | None = None,
) -> Ledger:
    """Update the ledger to `now`.

    `pods` are the current pods and those that went since the last entry. `elapsed` is the measured
    time since that entry; None if another process made it. Pods that were counted before are
    charged up to now at their previous price.
    """
    known, prices, limit = list(pods), spec.platform.prices, spec.budget.limit
    ledger = replace(ledger, ended=())
    staying = {pod.uid: hourly(pod.requests, prices) for pod in known if not pod.gone_at}
    current = _brought_up(ledger, known, spec, now, elapsed)
    rate = sum(staying.values(), Decimal(0))
    current = replace(current, rate=rate, pods=staying, limit=limit)
    # As it is written: pools that share a limit reach it at the same sum.
    reached = limit is not None and money_of(current.accrued) + spec.budget.beside >= limit
    return replace(current, exhausted_at=min(current.exhausted_at or now, now) if reached else None)


def _brought_up(
    ledger: Ledger,
    pods: list[BilledPod],
    spec: PoolSpec,
    now: datetime,
    elapsed: timedelta | None,
) -> Ledger:
    if ledger.at is None or ledger.period_start is None:
        return _begun(spec, now)
    prices, zone = spec.platform.prices, spec.budget.zone or spec.zone
    # The time of the last entry, on the clock as it is set now.
    entry = min(ledger.at, now) if elapsed is None else now - elapsed
    stretches = [_stretch(pod, ledger, prices, entry, now) for pod in pods]
    ledger = _beside_the_clock(ledger, zone, now)
    while ledger.period_end is not None and now >= ledger.period_end:
        total = ledger.accrued + _spent(stretches, entry, ledger.period_end)
        entry = max(entry, ledger.period_end)
        start, end = period_at(ledger.period, zone, ledger.period_end)
        ledger = replace(
            _closed(ledger, total),
            period_start=start,
            period_end=end,
            accrued=Decimal(0),
            exhausted_at=None,
        )
    ledger = replace(ledger, accrued=ledger.accrued + _spent(stretches, entry, now), at=now)
    if (ledger.currency, ledger.period) != (prices.currency, spec.budget.period):
        closed = _closed(ledger, ledger.accrued)
        return replace(_begun(spec, now), previous=closed.previous, ended=closed.ended)
    return ledger


def _begun(spec: PoolSpec, now: datetime) -> Ledger:
    end = period_at(spec.budget.period, spec.budget.zone or spec.zone, now)[1]
    return Ledger(
        spec.platform.prices.currency, now, at=now, period=spec.budget.period, period_end=end
    )


def _closed(ledger: Ledger, total: Decimal) -> Ledger:
    """The ledger with the total of its period among those that have ended."""
    assert ledger.period_start is not None  # noqa: S101  (a ledger that has begun)
    spent = Spent(ledger.currency, ledger.period_start, total)
    return replace(ledger, previous=spent, ended=(*ledger.ended, spent))


def _beside_the_clock(ledger: Ledger, zone: ZoneInfo, now: datetime) -> Ledger:
    """The ledger with the end of its period by the current zone and clock.

    If the clock was set back to before the period began, the previous period continues.
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
    if ledger.period_end is None:  # from a version without periods
        end = period_at(ledger.period, zone, ledger.period_start)[1]
        return replace(ledger, period_end=end)
    has_moved = now < ledger.period_end != end
    return replace(ledger, period_end=end) if has_moved else ledger


Stretch = tuple[datetime, datetime, Decimal]
"""From, to, and the price of an hour."""


def _stretch(
    pod: BilledPod, ledger: Ledger, prices: Prices, entry: datetime, now: datetime
) -> Stretch:
    rate = ledger.pods.get(pod.uid)
    end = now if pod.gone_at is None else min(pod.gone_at, now)
    if rate is not None:
        return entry, end, rate
    # The scheduler's clock may be ahead: charge such a pod from its first observation.
    begin = max(entry, min(pod.scheduled_at, now))
    same = ledger.currency == prices.currency
    return begin, end, hourly(pod.requests, prices) if same else Decimal(0)


def _spent(stretches: Iterable[Stretch], begin: datetime, end: datetime) -> Decimal:
    return sum((money(rate, min(end, b) - max(begin, a)) for a, b, rate in stretches), Decimal(0))
