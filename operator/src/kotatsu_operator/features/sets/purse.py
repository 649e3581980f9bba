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
from kotatsu_operator.core.formats import amount, instant, table, text
from kotatsu_operator.core.pool.spec import Budget, Period
from kotatsu_operator.kube.objects import Key

NOTHING = Decimal(0)


@dataclass
class Purse:
    """What the pools of one set have spent in the current period."""

    of: Period = Period.MONTH
    period: tuple[datetime, datetime] | None = None
    currency: str = ""
    spent: dict[Key, Decimal] = field(default_factory=dict)
    living: Decimal = NOTHING
    """The sum of `spent`."""
    gone: Decimal = NOTHING
    """What pools that are deleted have spent."""

    @property
    def total(self) -> Decimal:
        return self.living + self.gone

    def turn(
        self, budget: Budget, zone: ZoneInfo, now: datetime, currency: str | None = None
    ) -> bool:
        """Begin at nothing if the period of `now` or the currency is another; returns whether.

        Without a currency it stays. An edit of the time zone moves the same period.
        """
        period, before = period_at(budget.period, zone, now), self.currency
        is_same = budget.period is self.of and self._is_now(0, period[0])
        self.of, self.period = budget.period, period
        self.currency = before if currency is None else currency
        if is_same and self.currency == before:
            return False
        self.spent, self.living, self.gone = {}, NOTHING, NOTHING
        return True

    def _is_now(self, side: int, at: datetime | None) -> bool:
        """Whether the start (0) or end (1) of a period is nearer to this one's than to another's.

        They are by the clock of a zone, and a pool may have another one than its set.
        """
        if self.period is None or at is None:
            return False
        half = (self.period[1] - self.period[0]) / 2
        return -half <= at - self.period[side] < half

    def enter(self, key: Key, ledger: Ledger) -> None:
        """Enter what the ledger of a pool has.

        One of a former period or currency counts as nothing.
        """
        if ledger.period is not self.of or not self._is_now(1, ledger.period_end):
            return
        self.currency = self.currency or ledger.currency
        if not ledger.currency or ledger.currency != self.currency:
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
        if not self._is_now(0, instant(cost.get("periodStart"))):
            return
        self.currency = self.currency or text(cost.get("currency"))
        if text(cost.get("currency")) != self.currency:
            return
        total = amount(cost.get("accrued")) or NOTHING
        self.gone = max(self.gone, total - self.living)
