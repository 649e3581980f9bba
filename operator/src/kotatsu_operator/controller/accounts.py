"""The account of a pool: what it costs and what its budget allows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

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
from kotatsu_operator.kube.objects import Object
from kotatsu_operator.kube.views import PodView


@dataclass(frozen=True)
class Account:
    """One pool's account at one reconcile."""

    ledger: Ledger
    allowed: Allowed
    conditions: tuple[Status, ...]
    """The condition BudgetAvailable, if the pool has a limit."""
    notes: tuple[Note, ...]
    before: Ledger
    """The ledger at the last entry that was written."""

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


NO_ACCOUNT = Account(Ledger(), Allowed(), (), (), Ledger())


def settle(
    pool: Object,
    spec: PoolSpec,
    pods: list[PodView],
    departed: Sequence[BilledPod],
    known: tuple[Ledger, timedelta] | None,
    now: datetime,
) -> Account:
    """Bring a pool's ledger up to `now` and check it against the budget.

    `known` is the last entry of this process, and the measured time since: else the status has it.
    `departed` are the deleted pods that it does not have.
    """
    budget = spec.budget
    before, elapsed = known or (read_ledger(pool.get("status") or {}), None)
    billed = [
        pod.billed
        for pod in pods
        # A pod that ended before the last entry is paid for. Checked by uid, not by time,
        # because the clock may have changed since.
        if pod.billed and not (known and pod.billed.gone_at and pod.uid not in before.pods)
    ]
    is_priced = bool(spec.platform.prices.currency)
    ledger = accrue(before, [*billed, *departed], spec, now, elapsed) if is_priced else Ledger()
    stands = standing(ledger, budget)
    conditions: tuple[Status, ...] = ()
    notes: tuple[Note, ...] = ()
    if stands is not None:
        status = table(pool.get("status"))
        price = _written_price(status)
        conditions = (budget_condition(stands, sentence(ledger, spec, price)),)
        notes = news(_reported(status, ledger), ledger, spec, price)
    return Account(ledger, allowed(ledger, budget, now), conditions, notes, before)


def _written_price(status: Mapping[str, Any]) -> PodPrice | None:
    """The price of a pod as the last reconcile has written it."""
    written = read_ledger(status)
    return None if written.pod_hour is None else PodPrice(written.pod_hour, written.parked_hour)


def _reported(status: Mapping[str, Any], ledger: Ledger) -> str:
    """The reason of BudgetAvailable that the status has for the ledger's period; else empty."""
    if instant(table(status.get("cost")).get("periodStart")) != ledger.period_start:
        return ""
    return str(conditions_of(status).get("BudgetAvailable", {}).get("reason", ""))
