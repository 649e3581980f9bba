"""The books of all pools between reconciles: what they cost and what their budgets allow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Generic, TypeVar

from kotatsu_operator.core.budget.forecast import forecast
from kotatsu_operator.core.budget.ledger import BilledPod, Ledger, accrue
from kotatsu_operator.core.budget.limit import Allowed, allowed, news, sentence, standing
from kotatsu_operator.core.budget.podtime import PodPrice, pod_price
from kotatsu_operator.core.budget.prices import hourly
from kotatsu_operator.core.formats import conditions_of, instant, table
from kotatsu_operator.core.pool.decision import Parking
from kotatsu_operator.core.pool.memory import Memory
from kotatsu_operator.core.pool.news import Note
from kotatsu_operator.core.pool.spec import PoolSpec
from kotatsu_operator.core.report.conditions import budget_condition
from kotatsu_operator.core.report.status import Status, read_ledger
from kotatsu_operator.kube.objects import Key, Object, key_of
from kotatsu_operator.kube.views import PodView

T = TypeVar("T")

_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass
class Book(Generic[T]):
    """A page for each pool: what this process has entered last, and when.

    `monotonic` measures time in seconds; by default, `now`.
    """

    monotonic: Callable[[], float] | None = None
    _pages: dict[Key, tuple[str, T, timedelta]] = field(default_factory=dict)
    """The pool's uid, what was entered, and when."""

    def last(self, pool: Object, now: datetime) -> tuple[T, timedelta] | None:
        """The last entry and the time since; None if another process made it."""
        if self.is_of_another(pool) or (page := self._pages.get(key_of(pool))) is None:
            return None
        return page[1], max(self._measured(now) - page[2], timedelta())

    def is_of_another(self, pool: Object) -> bool:
        """Whether the page is that of a deleted pool with the same name."""
        page = self._pages.get(key_of(pool))
        return page is not None and page[0] != pool["metadata"]["uid"]

    def enter(self, pool: Object, entry: T, now: datetime) -> None:
        self._pages[key_of(pool)] = (pool["metadata"]["uid"], entry, self._measured(now))

    def correct(self, pool: Object, entry: T) -> None:
        """Replace the last entry; its time stays."""
        uid, _, at = self._pages[key_of(pool)]
        self._pages[key_of(pool)] = (uid, entry, at)

    def forget(self, key: Key) -> None:
        self._pages.pop(key, None)

    def reset(self) -> None:
        self._pages.clear()

    def _measured(self, now: datetime) -> timedelta:
        return now - _EPOCH if self.monotonic is None else timedelta(seconds=self.monotonic())


@dataclass(frozen=True)
class Account:
    """One pool's account at one reconcile."""

    ledger: Ledger
    allowed: Allowed
    conditions: tuple[Status, ...]
    """The condition BudgetAvailable, if the pool has a limit."""
    notes: tuple[Note, ...]

    def foresee(
        self,
        spec: PoolSpec,
        memory: Memory,
        requests: Mapping[str, Decimal],
        parking: Parking,
        now: datetime,
    ) -> Ledger:
        """The ledger with the forecast of its period, after the decision."""
        ledger, prices = self.ledger, spec.platform.prices
        if not ledger.currency:
            return ledger
        one = hourly(requests, prices)
        parked = None if parking.requests is None else hourly(parking.requests, prices)
        price = pod_price(ledger, one, parked, parking.reduced)
        expected = forecast(spec, memory, ledger, price, now)
        return replace(ledger, forecast=expected, pod_hour=one, parked_hour=parked)


NO_ACCOUNT = Account(Ledger(), Allowed(), (), ())


class Accounts:
    """The ledgers between reconciles. `monotonic` measures time in seconds; by default, `now`."""

    def __init__(self, monotonic: Callable[[], float] | None = None) -> None:
        self._book = Book[Ledger](monotonic)

    def forget(self, key: Key) -> None:
        self._book.forget(key)

    def reset(self) -> None:
        """Drop all accounts: another operator has led and has written newer ones to the status."""
        self._book.reset()

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
        budget = spec.budget
        ledger = self._enter(key, pool, spec, pods, departed, now)
        stands = standing(ledger, budget)
        conditions: tuple[Status, ...] = ()
        notes: tuple[Note, ...] = ()
        if stands is not None:
            status = table(pool.get("status"))
            price = _written_price(status)
            conditions = (budget_condition(stands, sentence(ledger, spec, price)),)
            notes = news(_reported(status, ledger), ledger, spec, price)
        return Account(ledger, allowed(ledger, budget, now), conditions, notes)

    def _enter(
        self,
        key: Key,
        pool: Object,
        spec: PoolSpec,
        pods: list[PodView],
        departed: list[BilledPod],
        now: datetime,
    ) -> Ledger:
        if not spec.platform.prices.currency:
            self._book.forget(key)
            return Ledger()
        known = self._book.last(pool, now)
        ledger, elapsed = known or (read_ledger(pool.get("status") or {}), None)
        billed = [
            p.billed
            for p in pods
            # A pod that ended before the last entry is paid for. Checked by uid, not by time,
            # because the clock may have changed since.
            if p.billed and not (known and p.billed.gone_at and p.uid not in ledger.pods)
        ]
        ledger = accrue(ledger, [*billed, *departed], spec, now, elapsed)
        self._book.enter(pool, ledger, now)
        return ledger


def _written_price(status: Mapping[str, Any]) -> PodPrice | None:
    """The price of a pod as the last reconcile has written it."""
    written = read_ledger(status)
    return None if written.pod_hour is None else PodPrice(written.pod_hour, written.parked_hour)


def _reported(status: Mapping[str, Any], ledger: Ledger) -> str:
    """The reason of BudgetAvailable that the status has for the ledger's period; else empty."""
    if instant(table(status.get("cost")).get("periodStart")) != ledger.period_start:
        return ""
    return str(conditions_of(status).get("BudgetAvailable", {}).get("reason", ""))
