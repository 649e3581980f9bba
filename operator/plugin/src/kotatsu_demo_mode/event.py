"""Several pools as one event: their pods together, one total, and one verdict.

Amounts in two currencies are never added, so there is a total for each currency.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any, Protocol

from kotatsu_operator.core.budget.limit import BudgetState, sentence, standing
from kotatsu_operator.core.calendar.schedule import dropped
from kotatsu_operator.core.formats import conditions_of, is_true

from .money import amount, number
from .pools import Pool
from .timeline import Stretch, Timeline, price
from .times import clock

TOGETHER = "together"


@dataclass(frozen=True)
class Total:
    """What the pods of several pools cost together."""

    pod_hours: Decimal
    peak: int
    """The most pods at one moment."""
    costs: dict[str, Decimal]
    """By currency; without the pools of unknown cost."""
    unpriced: Sequence[str] = ()
    """The pools of unknown cost."""


class Drawn(Protocol):
    """The pods of one pool over time: planned ones, or those of a report."""

    @property
    def pool(self) -> Pool:
        """The pool."""

    @property
    def begin(self) -> datetime:
        """The left edge."""

    @property
    def end(self) -> datetime:
        """The right edge."""

    @property
    def stretches(self) -> Sequence[Stretch]:
        """The times with pods."""


def together(timelines: Sequence[Drawn]) -> list[Stretch]:
    """The pods of all pools at each moment; parked if all of them are."""
    moments = {at for t in timelines for at in (t.begin, t.end)}
    moments |= {at for t in timelines for s in t.stretches for at in (s.begin, s.end)}
    steps = {at: [0, 0] for at in moments}
    for t in timelines:
        for s in t.stretches:
            steps[s.begin][s.is_parked] += s.replicas
            steps[s.end][s.is_parked] -= s.replicas
    found, warm, parked = [], 0, 0
    for begin, end in pairwise(sorted(steps)):
        warm, parked = warm + steps[begin][False], parked + steps[begin][True]
        found.append(Stretch(begin, end, warm + parked, is_parked=parked > 0 and not warm))
    return found


def total(timelines: Sequence[Timeline]) -> Total:
    """The sum over all pools."""
    costs: dict[str, Decimal] = {}
    for t in timelines:
        if t.cost is not None:
            costs[t.pool.currency] = costs.get(t.pool.currency, Decimal(0)) + t.cost
    every = together(timelines)
    return Total(
        pod_hours=sum((s.pod_seconds for s in every), Decimal(0)) / 3600,
        peak=max((s.replicas for s in every), default=0),
        costs=costs,
        unpriced=[t.pool.name for t in timelines if t.cost is None],
    )


def problems(timelines: Sequence[Timeline], now: datetime) -> list[str]:
    """Why a window of these pools may not open warm; empty if nothing is known against it."""
    return [
        f"{t.pool.name}: {why}"
        for t in timelines
        for why in dict.fromkeys(_problems(t, timelines, now))
    ]


def _problems(t: Timeline, every: Sequence[Timeline], now: datetime) -> Iterator[str]:
    pool, zone = t.pool, t.pool.spec.zone
    conditions = conditions_of(pool.status)
    if pool.refusal:
        yield pool.refusal
    if pool.spec.suspend:
        yield "suspended; set spec.suspend to false"
    yield from (lost.message for lost in dropped(pool.spec.windows, zone))
    for change in t.changes:
        if change.kind == "open" and change.replicas == 0:
            at = clock(change.at, zone, now)
            yield f"an Asleep override is in effect when {change.window} opens at {at}"
    if standing(pool.ledger, pool.spec.budget) is BudgetState.EXHAUSTED:
        yield sentence(pool.ledger, pool.spec.budget)
    elif (ends := _spent_at(t, every)) is not None:
        limit = amount(pool.spec.budget.limit, pool.currency)
        limit += f" of budget group {pool.group}" if pool.group else ""
        yield f"with this plan the budget of {limit} is spent before {clock(ends, zone, now)}"
    opens = any(change.kind == "open" for change in t.changes)
    if opens and is_true(conditions.get("Unproven")):
        yield "its current pods have never been Ready; run `kubectl demo-mode rehearse` first"


def _spent_at(t: Timeline, every: Sequence[Timeline]) -> datetime | None:
    """The end of the budget's period, or of the plan, if the limit is reached before.

    In a budget group, the planned pods of all its pools in `every` count.
    """
    pool, limit = t.pool, t.pool.spec.budget.limit
    if limit is None or pool.price is None:
        return None
    end = min(pool.ledger.period_end or t.end, t.end)
    mark = (pool.namespace, pool.group, pool.currency)
    counted = [t]
    if pool.group:
        counted = [o for o in every if (o.pool.namespace, o.pool.group, o.pool.currency) == mark]
    cost = sum((_cost_until(end, other) for other in counted), Decimal(0))
    return end if pool.counted + cost >= limit else None


def _cost_until(end: datetime, t: Timeline) -> Decimal:
    cut = [replace(s, end=min(s.end, end)) for s in t.stretches if s.begin < end]
    return price(t.pool, cut) or Decimal(0)


def lines(timelines: Sequence[Timeline], now: datetime) -> list[str]:
    """The total and the verdict as text."""
    sum_of = total(timelines)
    costs = [amount(cost, currency) for currency, cost in sum_of.costs.items()]
    if sum_of.unpriced:
        costs.append(f"without {', '.join(sum_of.unpriced)}, of unknown cost")
    said = [
        ", ".join(
            [
                f"{TOGETHER}: {sum_of.pod_hours:,.1f} pod hours",
                f"at most {sum_of.peak} pods",
                *costs,
            ]
        )
    ]
    found = problems(timelines, now)
    if not found:
        return [*said, "Nothing is known that keeps a window of these pools from opening warm."]
    return [*said, "Not every window may open warm:", *(f"  - {why}" for why in found)]


def record(timelines: Sequence[Timeline], now: datetime) -> dict[str, Any]:
    """The total and the verdict for JSON."""
    sum_of, found = total(timelines), problems(timelines, now)
    return {
        "total": {
            "podHours": number(sum_of.pod_hours),
            "peak": sum_of.peak,
            "cost": {currency: number(cost) for currency, cost in sum_of.costs.items()},
            "unpriced": list(sum_of.unpriced),
        },
        "verdict": {"warm": not found, "problems": found},
    }
