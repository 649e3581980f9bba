"""Budget groups: pools of one namespace whose limits apply to what they cost together.

Each pool keeps its own ledger; a group only adds them up, so money is never counted twice. A pool
that changes its group takes its spending of this period along. What a deleted pool has spent stays
with the group for the rest of the period, as long as the group has another pool and an operator saw
the deletion. `controller.groups` keeps the sums.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from kotatsu_operator.core.formats import amount, choice, instant, internal, table, text
from kotatsu_operator.core.pool.spec import Period

NEAR = Decimal("0.8")
"""The part of a limit at which an event warns."""


class Terms(NamedTuple):
    """What the pools of a group must have in common, so that their costs can be added."""

    currency: str
    period: Period
    zone: str

    def __str__(self) -> str:
        return f"{self.currency} a {self.period.lower()} in {self.zone}"


@dataclass(frozen=True)
class Contribution:
    """What one pool adds to its group."""

    terms: Terms
    period_end: datetime | None
    accrued: Decimal
    rate: Decimal = Decimal(0)
    limit: Decimal | None = None


@dataclass(frozen=True)
class Shared:
    """A group as one of its pools sees it."""

    name: str
    total: Decimal
    """Spent by all pools of the group in this period."""
    rate: Decimal = Decimal(0)
    """Cost per hour of the current pods of all pools."""
    deleted: Decimal | None = None
    """What deleted pools have spent, for the one pool whose status stores it."""
    disagreement: str = ""
    """Why not all pools of the group are added up; empty if they are."""


def group_of(pool: Mapping[str, Any]) -> str:
    """The budget group in a pool's spec; empty without one."""
    return text(table(table(pool.get("spec")).get("budget")).get("group"))


def stored_group(pool: Mapping[str, Any]) -> str:
    """The budget group in a pool's status; empty without one."""
    return text(stored(pool).get("name"))


def stored(pool: Mapping[str, Any]) -> Mapping[str, Any]:
    return table(table(internal(pool.get("status")).get("cost")).get("group"))


def contribution_of(pool: Mapping[str, Any]) -> Contribution | None:
    """What a pool's status adds to its group; None if it has no cost."""
    cost, spec = table(table(pool.get("status")).get("cost")), table(pool.get("spec"))
    inner = table(internal(pool.get("status")).get("cost"))
    currency, end = text(cost.get("currency")), instant(inner.get("periodEnd"))
    if not currency or end is None:
        return None
    accrued = amount(cost.get("accrued")) or Decimal(0)
    period = choice(Period, inner.get("period"), Period.MONTH)
    terms = Terms(currency, period, text(spec.get("timeZone")) or "UTC")
    rate, limit = amount(cost.get("ratePerHour")), amount(cost.get("limit"))
    return Contribution(terms, end, accrued, rate or Decimal(0), limit)
