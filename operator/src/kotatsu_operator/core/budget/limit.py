"""What a budget permits its pool: everything, what has already begun, or nothing.

Precedence: an exhausted budget with policy Sleep, then an Asleep override, then the highest of a
Warm override, the windows and demand. BlockStarts only blocks what would begin: a window that
opened before the limit was reached and an override run to their end, and serving pods run until
they are idle. No other window opens, and no request wakes the pool.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum

from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.budget.podtime import PodPrice, PodTime, Stretch
from kotatsu_operator.core.calendar.schedule import Occurrence, Window, occurrences
from kotatsu_operator.core.plan.plan import Plan
from kotatsu_operator.core.pool.news import Note
from kotatsu_operator.core.pool.spec import Budget, OnExhausted, Period, PoolSpec

NEAR = Decimal("0.8")
"""The part of a limit at which an event warns."""

_SECOND, _INSTANT = timedelta(seconds=1), timedelta(microseconds=1)


class BudgetState(StrEnum):
    """The spent part of the limit: the reasons of the condition BudgetAvailable."""

    WITHIN = "WithinLimit"
    NEAR = "NearLimit"
    EXHAUSTED = "Exhausted"
    UNPRICED = "NoPrices"
    """There is a limit and there are no prices."""


class Ends(IntEnum):
    """How far the pods of a rejected pool may be lowered when the reason for them ends."""

    NOTHING = 0
    """No change: another client scales the pods, or their state is unknown."""
    LOWER = 1
    """To one pod: a request could not wake the pool."""
    SLEEP = 2
    """To 0, by the sleep protocol."""


@dataclass(frozen=True)
class Allowed:
    """What is permitted now, and when to check again."""

    policy: OnExhausted = OnExhausted.WARN
    exhausted_at: datetime | None = None
    """When the limit was reached; None: everything is permitted."""
    until: datetime | None = None
    """When the restriction ends by itself: the end of the period."""
    recheck: datetime | None = None
    """When the result may change without an event."""

    refused_since: datetime | None = None
    """When the pool was rejected: nothing new begins, and what has begun runs to its end."""
    ends: Ends = Ends.SLEEP

    @property
    def is_refused(self) -> bool:
        return self.refused_since is not None

    @property
    def begins(self) -> bool:
        """Whether anything new may begin: a window, a wake, one more pod for demand."""
        return not self.is_spent and self.refused_since is None

    @property
    def is_spent(self) -> bool:
        """Whether the budget blocks everything new."""
        return self.exhausted_at is not None and self.policy is not OnExhausted.WARN

    @property
    def sleeps(self) -> bool:
        """Whether the pool must go to sleep now, regardless of demand."""
        return self.is_spent and self.policy is OnExhausted.SLEEP

    def opens(self, occurrence: Occurrence) -> bool:
        if not self.is_spent:
            return True
        began = self.exhausted_at is not None and occurrence.start <= self.exhausted_at
        return began and not self.sleeps

    def refused(self, since: datetime, ends: Ends) -> "Allowed":
        """The same for a pool that was rejected at `since`."""
        return replace(self, refused_since=since, ends=ends)

    def floor(self, asked: int, replicas: int) -> int:
        """The permitted part of a floor: a rejected pool never gets more replicas than it has."""
        if self.refused_since is None:
            return asked
        return min(asked if self.ends is Ends.SLEEP else max(asked, 1), replicas)

    def trim(self, plan: Plan) -> Plan:
        """The plan without the windows that do not open before the period ends."""
        if self.begins:
            return plan
        since = self.refused_since
        open_ = [
            o
            for o in plan.current
            if self.opens(o) and (since is None or plan.starts_at(o) <= since)
        ]
        ends = {(o.window, o.end) for o in open_}
        coming = [
            transition
            for transition in plan.upcoming
            if (self.until is not None and transition.at >= self.until)
            or (transition.window, transition.at) in ends
        ]
        return Plan(open_, plan.lead, coming)


EVERYTHING = Allowed()
"""For a pool without a limit."""


def allowed(ledger: Ledger, budget: Budget, now: datetime) -> Allowed:
    """What the ledger, updated to `now`, permits."""
    if budget.limit is None or not ledger.currency:
        return EVERYTHING
    recheck = ledger.period_end
    left = budget.limit - ledger.accrued - budget.beside
    if ledger.exhausted_at is None and ledger.rate > 0 and ledger.period_end is not None:
        hours = (ledger.period_end - now) / timedelta(hours=1)
        if left < ledger.rate * Decimal(hours):
            # Not before the limit is reached: an earlier recheck would repeat without end.
            seconds = int(left / ledger.rate * 3600)
            recheck = now + timedelta(seconds=seconds) + _SECOND
    return Allowed(budget.on_exhausted, ledger.exhausted_at, ledger.period_end, recheck)


def standing(ledger: Ledger, budget: Budget) -> BudgetState | None:
    """The ledger compared with the limit; None without a limit."""
    if budget.limit is None:
        return None
    if not ledger.currency:
        return BudgetState.UNPRICED
    if ledger.exhausted_at is not None:
        return BudgetState.EXHAUSTED
    spent = ledger.accrued + budget.beside
    return BudgetState.NEAR if spent >= NEAR * budget.limit else BudgetState.WITHIN


_CONSEQUENCE = {
    OnExhausted.WARN: "the pool continues",
    OnExhausted.BLOCK_STARTS: "no further window opens and no request wakes the pool",
    OnExhausted.SLEEP: "the pool sleeps",
}


def overrun(spec: PoolSpec, price: PodPrice, at: datetime, until: datetime) -> Decimal:
    """What the windows that are open at `at` cost from then on, up to `until`, if they finish."""
    open_ = [spec.raised(o) for o in occurrences(spec.windows, spec.zone, at, at + _INSTANT)]
    spent, begin = PodTime(), at
    for end in sorted({min(o.end, until) for o in open_}):
        rest = [o for o in open_ if o.end > begin]
        pods = min(max(o.replicas for o in rest), spec.max_replicas)
        is_parked = price.parked is not None and all(o.parked for o in rest)
        spent, begin = spent + Stretch(begin, end, pods, is_parked).time, end
    return price.of(spent)


def _beyond(ledger: Ledger, spec: PoolSpec, price: PodPrice | None) -> str:
    """By how much windows that may finish go beyond the limit; empty if that is nothing."""
    budget, at, until = spec.budget, ledger.exhausted_at, ledger.period_end
    finish = budget.on_exhausted is OnExhausted.BLOCK_STARTS
    if price is None or budget.limit is None or not finish:
        return ""
    if at is not None and until is not None:
        more = overrun(spec, price, at, until)
        what = f"; windows that were open then finish: {more:.2f} {ledger.currency} beyond it"
        return what if more else ""
    windows = map(spec.raised, spec.windows)
    costs = [(price.of(_opening(window, price)), window.name) for window in windows]
    cost, name = max(costs, default=(Decimal(0), ""))
    if at is not None or cost <= budget.limit:
        return ""
    return f"; an opening of {name} finishes beyond it, and costs {cost:.2f} {ledger.currency}"


def _opening(window: Window, price: PodPrice) -> PodTime:
    """The pod time of one opening, without a change of the clocks."""
    length = window.duration
    if length is None and window.start is not None and window.end is not None:
        length = window.end - window.start
    time = window.replicas * (length or timedelta())
    return PodTime(parked=time) if window.parked and price.parked is not None else PodTime(time)


def sentence(ledger: Ledger, spec: PoolSpec, price: PodPrice | None) -> str:
    """The ledger compared with the limit, as a sentence that changes only with the result."""
    budget = spec.budget
    if not ledger.currency:
        return "spec.budget.limit has no effect without prices: set the chart value prices"
    beyond = _beyond(ledger, spec, price)
    of = f" of {budget.shared}" if budget.shared else ""
    limit = f"{budget.limit} {ledger.currency}{of}"
    until = f"{ledger.period_end:%Y-%m-%dT%H:%M:%SZ}" if ledger.period_end else "its end"
    stands = standing(ledger, budget)
    if stands is BudgetState.EXHAUSTED:
        what = _CONSEQUENCE[budget.on_exhausted]
        until += " or until the limit is raised"
        return f"the limit of {limit} is reached: {what} until {until}{beyond}"
    return so_far(stands, limit, budget.period, until) + beyond


def so_far(stands: BudgetState | None, limit: str, period: Period, until: str) -> str:
    """How much of a limit is spent, in words that change only with its standing."""
    parts: dict[BudgetState | None, str] = {
        BudgetState.EXHAUSTED: "all",
        BudgetState.NEAR: "80 % or more",
    }
    part = parts.get(stands, "less than 80 %")
    return f"{part} of {limit} is spent; the {period.lower()} ends at {until}"


def news(
    before: str, ledger: Ledger, spec: PoolSpec, price: PodPrice | None = None
) -> tuple[Note, ...]:
    """The event if the standing is worse than `before` (a BudgetState, or "").

    None for a shared limit, which would have as many as it has pools.
    """
    if spec.budget.shared:
        return ()
    now = standing(ledger, spec.budget)
    if now is BudgetState.EXHAUSTED and before != now:
        return (Note("BudgetExhausted", sentence(ledger, spec, price), warning=True),)
    if now is BudgetState.NEAR and before not in (BudgetState.NEAR, BudgetState.EXHAUSTED):
        return (Note("BudgetNearLimit", sentence(ledger, spec, price), warning=True),)
    return ()
