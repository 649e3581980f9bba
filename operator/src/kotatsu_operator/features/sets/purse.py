"""The budget that the pools of a set share: what they have spent together in its period.

It is no second ledger: the sum of theirs, and what deleted pools of the set have spent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from kotatsu_operator.core.budget.ledger import Ledger, period_at
from kotatsu_operator.core.formats import amount, instant, table
from kotatsu_operator.core.pool.spec import Budget
from kotatsu_operator.kube.objects import Key

NOTHING = Decimal(0)


@dataclass
class Purse:
    """What the pools of one set have spent in the current period."""

    period: tuple[datetime, datetime] | None = None
    spent: dict[Key, Decimal] = field(default_factory=dict)
    living: Decimal = NOTHING
    """The sum of `spent`."""
    gone: Decimal = NOTHING
    """What pools that are deleted have spent."""

    @property
    def total(self) -> Decimal:
        return self.living + self.gone

    def turn(self, budget: Budget, zone: ZoneInfo, now: datetime) -> bool:
        """Begin the period of `now` if it is another one; returns whether it is."""
        period = period_at(budget.period, zone, now)
        if period == self.period:
            return False
        self.period, self.spent, self.living, self.gone = period, {}, NOTHING, NOTHING
        return True

    def enter(self, key: Key, ledger: Ledger) -> None:
        """Enter what the ledger of a pool has. One of a former period counts as nothing."""
        start = ledger.period_start
        if self.period is None or start is None or not ledger.currency or start < self.period[0]:
            return
        before = self.spent.get(key, NOTHING)
        if ledger.accrued < before:  # the pool was made again
            self.gone += before
            self.living -= before
            before = NOTHING
        self.spent[key] = ledger.accrued
        self.living += ledger.accrued - before

    def leave(self, key: Key) -> None:
        """Keep what a pool has spent that is deleted."""
        spent = self.spent.pop(key, NOTHING)
        self.living -= spent
        self.gone += spent

    def beside(self, key: Key) -> Decimal:
        """What all others have spent."""
        return self.total - self.spent.get(key, NOTHING)

    def recall(self, status: Mapping[str, Any]) -> None:
        """Take over what the status of the set says of its period.

        What is missing of its total was spent by pools that were deleted without an operator.
        """
        cost = table(status.get("cost"))
        if self.period is None or instant(cost.get("periodStart")) != self.period[0]:
            return
        total = amount(cost.get("accrued")) or NOTHING
        self.gone = max(self.gone, total - self.living)
