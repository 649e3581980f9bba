"""kubectl demo-mode cost: what was spent, the forecast, and alternatives."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from math import ceil
from typing import Any

from kotatsu_operator.core.budget.ledger import period_at
from kotatsu_operator.core.formats import amount as read_amount
from kotatsu_operator.core.formats import table

from .errors import DemoModeError
from .pools import Pool
from .shell import Shell
from .terminal import paired
from .timeline import Stretch, timeline
from .words import amount, clock, number, pods, stamp

HOURS_A_MONTH = 730
"""A twelfth of a year of 8,760 hours, as in the price lists of clouds."""

_ROUNDING = 300
"""Seconds: provisioned concurrency is billed in steps of five minutes."""

_MIB = Decimal(2**20)


@dataclass(frozen=True)
class LambdaPrice:
    """The price of a GB-second of provisioned concurrency."""

    gb_second: Decimal
    mib: Decimal
    """Memory of one instance."""
    currency: str = ""


@dataclass(frozen=True)
class LambdaBill:
    """The cost of the same windows as provisioned concurrency."""

    gb_seconds: Decimal
    cost: Decimal
    month_left_on: Decimal
    currency: str


@dataclass(frozen=True)
class Figures:
    """The cost of one pool. None if prices or requests are unknown."""

    pool: Pool
    now: datetime
    spent: Decimal | None
    since: datetime | None
    period_end: datetime
    forecast: Decimal | None
    peak: int
    """The most pods of any window."""
    month_left_on: Decimal | None
    month_parked: Decimal | None = None
    """The same pods, parked; None also if they cannot be."""
    provisioned: LambdaBill | None = None


def gb_seconds(instances: int, mib: Decimal, seconds: Decimal) -> Decimal:
    """Instances x MiB/1024 x seconds, with the seconds rounded up to five minutes."""
    return instances * mib / 1024 * ceil(seconds / _ROUNDING) * _ROUNDING


def figures(pool: Pool, now: datetime, other: LambdaPrice | None = None) -> Figures:
    """The cost of a pool, from its status, its schedule and its prices."""
    ledger, end = pool.ledger, period_at(pool.spec.budget.period, pool.spec.zone, now)[1]
    coming = timeline(pool, now, max(end, now + timedelta(seconds=1)))
    spent = ledger.accrued if ledger.currency else None
    forecast = read_amount(table(pool.status.get("cost")).get("forecast"))
    if forecast is None and coming.cost is not None:
        forecast = (spent or Decimal(0)) + coming.cost
    peak = pool.spec.most_replicas
    price = pool.price
    month = peak * HOURS_A_MONTH
    return Figures(
        pool=pool,
        now=now,
        spent=spent,
        since=ledger.period_start,
        period_end=end,
        forecast=forecast,
        peak=peak,
        month_left_on=None if price is None else price.warm * month,
        month_parked=None if price is None or price.parked is None else price.parked * month,
        provisioned=None if other is None else _provisioned(coming.stretches, peak, other),
    )


def _provisioned(stretches: Sequence[Stretch], peak: int, other: LambdaPrice) -> LambdaBill:
    total = Decimal(0)
    for s in stretches:
        seconds = Decimal((s.end - s.begin).total_seconds())
        total += gb_seconds(s.replicas, other.mib, seconds)
    month = gb_seconds(peak, other.mib, Decimal(HOURS_A_MONTH * 3600))
    return LambdaBill(total, total * other.gb_second, month * other.gb_second, other.currency)


def run(options: Namespace, shell: Shell) -> int:
    now = shell.clock()
    with shell.api(options) as api:
        pools = shell.find(api, options)
    found = [figures(pool, now, lambda_price(options, pool)) for pool in pools]
    if options.output:
        shell.terminal.dump([record(f) for f in found], options.output)
        return 0
    if not found:
        shell.terminal.say("No WarmPool found; use -A for all namespaces.")
    for f in found:
        for line in text(f):
            shell.terminal.say(line)
    return 0


def lambda_price(options: Namespace, pool: Pool) -> LambdaPrice | None:
    """The price of --lambda-price; None without. Raises DemoModeError."""
    if options.lambda_price is None:
        return None
    memory = options.lambda_memory
    if memory is None and pool.requests and "memory" in pool.requests:
        memory = pool.requests["memory"] / _MIB
    if memory is None:
        raise DemoModeError(
            f"the memory of an instance of {pool.name} is unknown; give --lambda-memory in MiB"
        )
    return LambdaPrice(options.lambda_price, memory, options.lambda_currency)


def text(f: Figures) -> list[str]:
    pool, zone = f.pool, f.pool.spec.zone
    currency = pool.currency
    since = f" since {clock(f.since, zone, f.now)}" if f.since else ""
    limit = pool.spec.budget.limit
    of = f" of {amount(limit)}" if limit is not None else ""
    period = f"until {clock(f.period_end, zone, f.now)} {zone.key}"
    rows = [
        (f"spent{since}", amount(f.spent, currency) + of),
        (f"forecast {period}", amount(f.forecast, currency)),
        (f"{pods(f.peak)} left on for a month", amount(f.month_left_on, currency)),
    ]
    if f.month_parked is not None:
        rows.append((f"{pods(f.peak)} parked for a month", amount(f.month_parked, currency)))
    if f.provisioned is not None:
        bill, code = f.provisioned, f.provisioned.currency
        windows = f"coming windows as Lambda provisioned concurrency, {bill.gb_seconds:,.0f} GB-s"
        rows += [
            (f"the {windows}", amount(bill.cost, code)),
            ("its largest window left on for a month there", amount(bill.month_left_on, code)),
        ]
    lines = [pool.name, *paired(rows)]
    if f.month_left_on is None:
        lines.append(f"  ({_why_unknown(pool)})")
    return lines


def _why_unknown(pool: Pool) -> str:
    if not pool.spec.platform.prices.per_hour:
        return "no prices are known: set the chart value prices"
    return f"the requests of the pods are unknown: {pool.spec.target.name} cannot be read"


def record(f: Figures) -> dict[str, Any]:
    found: dict[str, Any] = {
        "namespace": f.pool.namespace,
        "pool": f.pool.name,
        "currency": f.pool.currency or None,
        "spent": number(f.spent),
        "since": None if f.since is None else stamp(f.since),
        "limit": number(f.pool.spec.budget.limit),
        "periodEnd": stamp(f.period_end),
        "forecast": number(f.forecast),
        "replicas": f.peak,
        "monthLeftOn": number(f.month_left_on),
        "monthParked": number(f.month_parked),
    }
    if f.provisioned is not None:
        found["lambda"] = {
            "currency": f.provisioned.currency or None,
            "gbSeconds": number(f.provisioned.gb_seconds),
            "cost": number(f.provisioned.cost),
            "monthLeftOn": number(f.provisioned.month_left_on),
        }
    return found
