"""The cost accounts of all pools: prices in effect, cost so far, and what the budget allows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from kotatsu_operator.core.budget.forecast import forecast
from kotatsu_operator.core.budget.groups import Entry, Groups, Terms
from kotatsu_operator.core.budget.ledger import BilledPod, Ledger, accrue, compared
from kotatsu_operator.core.budget.limit import Allowed, allowed, sentence, standing, told
from kotatsu_operator.core.budget.prices import NO_PRICES, PriceTable, hourly, priced
from kotatsu_operator.core.formats import conditions_of
from kotatsu_operator.core.pool.decision import Note
from kotatsu_operator.core.pool.memory import Memory
from kotatsu_operator.core.pool.spec import Budget, PoolSpec
from kotatsu_operator.core.report.conditions import budget_condition
from kotatsu_operator.core.report.status import Status, read_ledger
from kotatsu_operator.kube.objects import Key, Object
from kotatsu_operator.kube.pod import PodView


@dataclass(frozen=True)
class Account:
    """One pool's account at one reconcile."""

    budget: Budget
    """The budget with the prices in effect."""
    ledger: Ledger
    allowed: Allowed
    conditions: tuple[Status, ...]
    """The condition BudgetAvailable, if the pool has a limit."""
    notes: tuple[Note, ...]

    def foresee(
        self, spec: PoolSpec, memory: Memory, requests: Mapping[str, Decimal], now: datetime
    ) -> Ledger:
        """The ledger with the forecast of its period, after the decision.

        `requests` are those of one pod of the target.
        """
        if not self.ledger.currency:
            return self.ledger
        pods, one = len(self.ledger.pods), hourly(requests, self.budget.prices)
        pod_hour = self.ledger.rate / pods if pods else one
        expected = forecast(spec, memory, self.ledger, pod_hour, now)
        return replace(self.ledger, forecast=expected, pod_hour=one)


@dataclass
class Accounts:
    """The ledgers between reconciles. `monotonic` measures time in seconds; by default, `now`."""

    table: PriceTable = NO_PRICES
    monotonic: Callable[[], float] | None = None
    groups: Groups = field(default_factory=Groups)
    _kept: dict[Key, tuple[str, Ledger, float]] = field(default_factory=dict)
    """The pool's uid, its ledger, and the monotonic time of its last entry."""

    def forget(self, key: Key) -> None:
        """Drop the account of a deleted pool."""
        self._kept.pop(key, None)
        self.groups.delete(key)

    def reset(self) -> None:
        """Drop all accounts: another operator has led and has written newer ones to the status."""
        self._kept.clear()
        self.groups.reset()

    def settle(
        self,
        key: Key,
        pool: Object,
        spec: PoolSpec,
        pods: list[PodView],
        departed: list[BilledPod],
        now: datetime,
    ) -> Account:
        """Bring a pool's ledger up to `now` and check it against the budget."""
        budget = priced(spec.budget, self.table)
        if budget != spec.budget:
            spec = replace(spec, budget=budget)
        ledger = self._enter(key, pool, spec, pods, departed, now)
        stands = standing(ledger, budget)
        conditions: tuple[Status, ...] = ()
        notes: tuple[Note, ...] = ()
        if stands is not None:
            conditions = (budget_condition(stands, sentence(ledger, budget)),)
            notes = told(_told_before(pool.get("status") or {}, ledger), ledger, budget)
        return Account(budget, ledger, allowed(ledger, budget, now), conditions, notes)

    def _enter(
        self,
        key: Key,
        pool: Object,
        spec: PoolSpec,
        pods: list[PodView],
        departed: list[BilledPod],
        now: datetime,
    ) -> Ledger:
        if not spec.budget.currency:
            self._kept.pop(key, None)
            self.groups.leave(key)
            return Ledger()
        uid, ticks = pool["metadata"]["uid"], self.monotonic() if self.monotonic else 0.0
        elapsed: timedelta | None = None
        known = self._kept.get(key)
        if known is not None and known[0] != uid:
            self.groups.delete(key)
            known = None
        ledger = read_ledger(pool.get("status") or {}) if known is None else known[1]
        if known is not None and self.monotonic is not None:
            elapsed = timedelta(seconds=max(0.0, ticks - known[2]))
        billed = [
            p.billed
            for p in pods
            # A pod that ended before the last entry is paid for. Checked by uid, not by time,
            # because the clock may have changed since.
            if p.billed and not (known and p.billed.gone_at and p.uid not in ledger.pods)
        ]
        ledger = accrue(ledger, [*billed, *departed], spec.budget, spec.zone, now, elapsed)
        ledger = self._share(key, spec, ledger, now)
        self._kept[key] = (uid, ledger, ticks)
        return ledger

    def _share(self, key: Key, spec: PoolSpec, ledger: Ledger, now: datetime) -> Ledger:
        """Enter the ledger into the pool's budget group and compare their sum with the limit."""
        group = spec.budget.group
        if not group:
            self.groups.leave(key)
            return replace(ledger, shared=None)
        terms = Terms(ledger.currency, ledger.period, spec.zone.key)
        entry = Entry(terms, ledger.period_end, ledger.accrued, ledger.rate, ledger.limit)
        return compared(replace(ledger, shared=self.groups.enter(key, group, entry)), now)


def _told_before(status: Mapping[str, Any], ledger: Ledger) -> str:
    """The reason of BudgetAvailable that the status has for the ledger's period; else empty."""
    if read_ledger(status).period_start != ledger.period_start:
        return ""
    return str(conditions_of(status).get("BudgetAvailable", {}).get("reason", ""))
