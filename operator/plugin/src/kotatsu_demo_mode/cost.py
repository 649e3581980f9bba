"""kubectl demo-mode cost: what was spent, the forecast, and alternatives."""

from argparse import Namespace
from datetime import datetime, timedelta
from decimal import Decimal
from math import ceil
from typing import Any, NamedTuple

from kotatsu_operator.core.budget.ledger import period_at
from kotatsu_operator.core.formats import amount as read_amount
from kotatsu_operator.core.formats import table

from .errors import DemoModeError
from .pools import Pool
from .shell import Shell
from .terminal import paired
from .timeline import timeline
from .words import amount, clock, number, pods, stamp

HOURS_A_MONTH = 730
"""A twelfth of a year of 8,760 hours, as in the price lists of clouds."""

_ROUNDING = 300
"""Seconds: provisioned concurrency is billed in steps of five minutes."""


class LambdaPrice(NamedTuple):
    """The price of a GB-second of provisioned concurrency, and the MiB of one instance."""

    gb_second: Decimal
    mib: Decimal
    currency: str = ""


class Figures(NamedTuple):
    """The cost of one pool. None if prices are unknown."""

    pool: Pool
    now: datetime
    spent: Decimal | None
    period_end: datetime
    forecast: Decimal | None
    peak: int
    """The most pods of any window."""
    month_left_on: Decimal | None
    month_parked: Decimal | None = None
    """The same pods, parked; None also if they cannot be."""
    other: LambdaPrice | None = None
    coming: Decimal = Decimal(0)
    """GB-seconds of the coming windows as provisioned concurrency."""

    @property
    def other_month(self) -> Decimal:
        """GB-seconds of the largest window, left on for a month."""
        mib = Decimal(0) if self.other is None else self.other.mib
        return gb_seconds(self.peak, mib, Decimal(HOURS_A_MONTH * 3600))


def gb_seconds(instances: int, mib: Decimal, seconds: Decimal) -> Decimal:
    """Instances x MiB/1024 x seconds, with the seconds rounded up to five minutes."""
    return instances * mib / 1024 * ceil(seconds / _ROUNDING) * _ROUNDING


def figures(pool: Pool, now: datetime, other: LambdaPrice | None = None) -> Figures:
    """The cost of a pool, from its status, its schedule and its prices."""
    ledger, end = pool.ledger, period_at(pool.spec.budget.period, pool.spec.zone, now)[1]
    coming = timeline(pool.asleep, now, max(end, now + timedelta(seconds=1)))
    spent = ledger.accrued if ledger.currency else None
    forecast = read_amount(table(pool.status.get("cost")).get("forecast"))
    if forecast is None and coming.cost is not None:
        forecast = (spent or Decimal(0)) + coming.cost
    peak = pool.spec.most_replicas
    warm, parked = pool.price or (None, None)
    month = peak * HOURS_A_MONTH
    there, mib = Decimal(0), Decimal(0) if other is None else other.mib
    for s in coming.stretches:
        there += gb_seconds(s.replicas, mib, Decimal((s.end - s.begin).total_seconds()))
    return Figures(
        pool,
        now,
        spent,
        end,
        forecast,
        peak,
        None if warm is None else warm * month,
        None if parked is None else parked * month,
        other,
        there,
    )


def run(options: Namespace, shell: Shell) -> int:
    now, other = shell.clock(), None
    if options.lambda_price is not None:
        if options.lambda_memory is None:
            raise DemoModeError("--lambda-price: give --lambda-memory too, the MiB of an instance")
        other = LambdaPrice(options.lambda_price, options.lambda_memory, options.lambda_currency)
    with shell.api(options) as api:
        found = [figures(pool, now, other) for pool in shell.find(api, options)]
    return shell.show(found, options, text, record)


def text(f: Figures) -> list[str]:
    pool, zone, currency = f.pool, f.pool.spec.zone, f.pool.currency
    start, limit = pool.ledger.period_start, pool.spec.budget.limit
    since = f" since {clock(start, zone, f.now)}" if start else ""
    of = f" of {amount(limit)}" if limit is not None else ""
    until = f"until {clock(f.period_end, zone, f.now)} {zone.key}"
    rows = [
        (f"spent{since}", amount(f.spent, currency) + of),
        (f"forecast {until}", amount(f.forecast, currency)),
        (f"{pods(f.peak)} left on for a month", amount(f.month_left_on, currency)),
    ]
    if f.month_parked is not None:
        rows.append((f"{pods(f.peak)} parked for a month", amount(f.month_parked, currency)))
    if f.other is not None:
        price, code = f.other.gb_second, f.other.currency
        windows = f"coming windows as Lambda provisioned concurrency, {f.coming:,.0f} GB-s"
        month = amount(f.other_month * price, code)
        rows += [
            (f"the {windows}", amount(f.coming * price, code)),
            ("its largest window left on for a month there", month),
        ]
    lines = [pool.name, *paired(rows)]
    if f.month_left_on is None:
        why = "set the chart value prices, or wait until an operator has seen the pool"
        lines.append(f"  (no price is known: {why})")
    return lines


def record(f: Figures) -> dict[str, Any]:
    start = f.pool.ledger.period_start
    found: dict[str, Any] = {
        "namespace": f.pool.namespace,
        "pool": f.pool.name,
        "currency": f.pool.currency or None,
        "spent": number(f.spent),
        "since": None if start is None else stamp(start),
        "limit": number(f.pool.spec.budget.limit),
        "periodEnd": stamp(f.period_end),
        "forecast": number(f.forecast),
        "replicas": f.peak,
        "monthLeftOn": number(f.month_left_on),
        "monthParked": number(f.month_parked),
    }
    if f.other is not None:
        found["lambda"] = {
            "currency": f.other.currency or None,
            "gbSeconds": number(f.coming),
            "cost": number(f.coming * f.other.gb_second),
            "monthLeftOn": number(f.other_month * f.other.gb_second),
        }
    return found
