"""What the pools of a set have spent together in the period of its budget.

It is no second ledger: for each uid, the amount that the ledger of its pool has had last. That of a
pool that is there is entered again and again; that of a deleted one stays. So nothing is counted
twice, however often a pool, its deletion or a status is seen. The set's status has all of them for
the next operator: pools that it does not find were deleted, and their last minute may be missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from kotatsu_operator.core.budget.ledger import Ledger, period_at
from kotatsu_operator.core.formats import (
    amount,
    choice,
    instant,
    internal,
    money_of,
    stamp,
    tables,
    text,
)
from kotatsu_operator.core.pool.spec import Budget, Period

NOTHING = Decimal(0)

MOST_GONE = 1000
"""Deleted pools whose amounts a status has one by one; those of earlier ones are added up."""


@dataclass
class Purse:
    """What the pools of one set have spent in its current period, as their statuses write it."""

    currency: str = ""
    """That of the prices; without one nothing is counted."""
    budget: Budget = field(default_factory=Budget)
    start: datetime | None = None
    end: datetime | None = None
    """None before the first `turn`."""
    spent: dict[str, Decimal] = field(default_factory=dict)
    """By uid, of the pools that are there."""
    gone: dict[str, Decimal] = field(default_factory=dict)
    """The same of deleted ones."""
    left: Decimal = NOTHING
    """What all deleted pools have spent."""
    total: Decimal = NOTHING
    own: set[str] = field(default_factory=set)
    """The pools of which this operator has the ledger, which is newer than their status."""

    def turn(self, budget: Budget, now: datetime) -> bool:
        """Begin at nothing if the last period is over or was of another kind; returns whether.

        An edit of the time zone moves the end of the period, as in a ledger.
        """
        is_new = self.end is None or now >= self.end or budget.period is not self.budget.period
        self.start, self.end = period_at(budget.period, budget.zone or ZoneInfo("UTC"), now)
        self.budget = budget
        if is_new:
            self.spent, self.gone, self.left, self.total = {}, {}, NOTHING, NOTHING
        return is_new

    def counts(self, ledger: Ledger, now: datetime) -> bool:
        """Whether a ledger is of the current period and currency."""
        is_same = self.currency == ledger.currency != "" and ledger.period is self.budget.period
        return is_same and ledger.period_end is not None and now < ledger.period_end

    def enter(self, uid: str, ledger: Ledger, now: datetime) -> None:
        """Take the ledger of a pool for what it has spent; nothing if its period is over."""
        found = money_of(ledger.accrued) if self.counts(ledger, now) else NOTHING
        where = self.gone if uid in self.gone else self.spent
        more = found - where.get(uid, NOTHING)
        where[uid] = found
        self.total += more
        if where is self.gone:
            self.left += more

    def join(self, uid: str) -> None:
        """A pool is there."""
        if (found := self.gone.pop(uid, None)) is not None:
            self.spent[uid] = found
            self.left -= found

    def leave(self, uid: str) -> None:
        """A pool is deleted."""
        if (found := self.spent.pop(uid, None)) is not None:
            self.gone[uid] = found
            self.left += found

    def beside(self, uid: str) -> Decimal:
        """What all others have spent."""
        return self.total - self.spent.get(uid, self.gone.get(uid, NOTHING))

    @property
    def status(self) -> Mapping[str, Any]:
        """What the set's status has of it."""
        gone = [one for one in self.gone.items() if one[1]][-MOST_GONE:]
        there = [one for one in self.spent.items() if one[1]]
        return {
            "currency": self.currency,
            "period": self.budget.period.value,
            "periodEnd": stamp(self.end),
            "earlier": str(self.left - sum((found for _, found in gone), NOTHING)),
            # A list: a patch replaces it as a whole.
            "spent": [{"uid": uid, "accrued": str(found)} for uid, found in [*gone, *there]],
        }

    def recall(self, status: Mapping[str, Any], now: datetime) -> None:
        """Take over what the set's status has of pools that are not known here: they are deleted.

        A sum alone, as statuses once had it, is not read: pools counted in it more than once.
        """
        inner, self.left = internal(status), NOTHING
        period = choice(Period, inner.get("period"), self.budget.period)
        end = instant(inner.get("periodEnd"))
        if self.counts(Ledger(text(inner.get("currency")), period=period, period_end=end), now):
            for one in tables(inner.get("spent")):
                if (uid := text(one.get("uid"))) not in self.spent and uid not in self.own:
                    self.gone[uid] = amount(one.get("accrued")) or NOTHING
            self.left = amount(inner.get("earlier")) or NOTHING
        self.left += sum(self.gone.values(), NOTHING)
        self.total = self.left + sum(self.spent.values(), NOTHING)
