"""The history of a pool: what it was warm for, and that its costs are the ledger's."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.core.budget.ledger import BilledPod, Ledger, accrue
from kotatsu_operator.core.pool.decision import Decision
from kotatsu_operator.core.pool.memory import Memory, Outcome, Phase, Reason
from kotatsu_operator.core.pool.spec import Override, OverrideMode, PoolSpec
from kotatsu_operator.core.report.episodes import (
    KEPT,
    PERIODS,
    LedgerPeriod,
    Why,
    outbox_status,
    read_stored,
)
from kotatsu_operator.core.report.past import read_past
from kotatsu_operator.core.report.status import cost_status, read_ledger
from kotatsu_operator.core.schema import joined
from kotatsu_operator.features.history import History, Seen, entered, history_of, recalled
from tests.operator.core.report.test_status import stored
from tests.operator.core.values import HOUR, MINUTE, SECOND, examples, pool_spec, t, utc

PRICES = {"currency": "JPY", "cpuHour": "0.0123457"}
"""Amounts with more digits than the status has."""
PRICE = Decimal(PRICES["cpuHour"])

POOL = {"metadata": {"name": "voice", "namespace": "demo", "uid": "uid-1"}}
DAILY = {"period": "Day"}
PRICED, FREE = pool_spec(prices=PRICES, budget=DAILY), pool_spec(budget=DAILY)
DOLLARS = pool_spec(prices=PRICES | {"currency": "USD"}, budget=DAILY)
ASLEEP = (Phase.ASLEEP, Reason.IDLE)
WINDOW = (Phase.WARM, Reason.WINDOW)
REQUEST = (Phase.WARM, Reason.REQUEST)
OVERRIDE = (Phase.WARM, Reason.OVERRIDE)


@dataclass
class Pool:
    """One pool's ledger and history, and the status that the API server has of them."""

    now: datetime = field(default_factory=lambda: t("10:00"))
    spec: PoolSpec = PRICED
    status: dict[str, Any] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    history: History | None = None
    pods: dict[str, BilledPod] = field(default_factory=dict)
    made: int = 0
    override: Override | None = None
    past: dict[str, Any] | None = None
    """Its WarmPoolHistory."""

    def scale(self, pods: int) -> list[BilledPod]:
        """Start or end pods now; returns the bills of those that ended."""
        gone = []
        while len(self.pods) > pods:
            uid, bill = self.pods.popitem()
            gone.append(replace(bill, gone_at=self.now))
        while len(self.pods) < pods:
            self.made += 1
            uid = f"pod-{self.made}"
            self.pods[uid] = BilledPod(self.now, {"cpu": Decimal(1)}, uid)
        return gone

    def restart(self) -> None:
        """Another process, which has only the status."""
        self.history, self.ledger = None, read_ledger(self.status)

    def look(
        self,
        pods: int,
        why: tuple[Phase, Reason],
        after: timedelta = MINUTE,
        *,
        jump: timedelta = timedelta(),
        writes: bool = True,
        appends: bool = False,
        outcomes: tuple[Outcome, ...] = (),
    ) -> "Pool":
        """One reconcile `after` the last one; the wall clock may jump beside that."""
        self.now += after + jump
        elapsed = None if self.history is None else after
        gone = self.scale(pods)
        bills, before = [*self.pods.values(), *gone], self.ledger
        if self.spec.platform.prices.currency:
            self.ledger = accrue(self.ledger, bills, self.spec, self.now, elapsed)
        else:
            self.ledger = Ledger()
        if self.history is None:
            self.history, _ = recalled(self.status, before, 0, self.now)
        seen = Seen(self.now, len(self.pods), before, self.ledger, self.status, elapsed)
        memory = Memory(phase=why[0], reason=why[1], since=self.now)
        decision = Decision(memory, None, self.now, window="pitch", outcomes=outcomes)
        self.history = entered(self.history, seen, decision, self.override)
        if writes:
            self.write()
            if appends:
                self.append()
        return self

    def write(self) -> None:
        """What a merge patch leaves behind."""
        patch = joined(outbox_status(self.history.outbox), cost_status(self.ledger))
        self.status = stored(joined(self.status, patch))

    def append(self, *, dies: bool = False) -> None:
        """The WarmPoolHistory gets what waits; then the process may die."""
        made = history_of(POOL, self.past, self.history.outbox)
        self.past = {**made, "metadata": {**made["metadata"], "resourceVersion": "1"}}
        if dies:
            self.restart()
        else:
            self.history = self.history.having(finished=())

    @property
    def record(self):
        return read_stored(self.status, self.past)

    def told(self) -> list[tuple[Why, str]]:
        return [(e.cause.why, e.cause.name) for e in self.record.finished]

    @property
    def costs(self) -> list[tuple[LedgerPeriod, Decimal]]:
        """What each episode and sum has cost."""
        record = self.record
        every = [*record.finished, *record.earlier, *([record.running] if record.running else [])]
        return [(e.period, e.cost or Decimal(0)) for e in every]

    def paid(self, period_start: str, currency: str = "JPY") -> Decimal:
        """The sum of a period's episodes."""
        period = LedgerPeriod(currency, datetime.fromisoformat(period_start))
        return sum(cost for of, cost in self.costs if of == period)

    def check_current(self) -> None:
        cost = self.status["cost"]
        assert self.paid(cost["periodStart"], cost["currency"]) == Decimal(cost["accrued"])

    def check(self) -> None:
        self.check_current()
        if before := self.status["internal"]["cost"].get("previous"):
            paid = self.paid(before["periodStart"], before["currency"])
            assert paid == Decimal(before["accrued"])


def test_an_evening_is_told_as_episodes_with_their_reasons():
    pool = Pool().look(0, ASLEEP)
    pool.look(2, (Phase.WARMING, Reason.WINDOW))
    pool.look(2, WINDOW, outcomes=(Outcome.READY,))
    pool.look(2, WINDOW, HOUR)
    pool.override = Override(OverrideMode.WARM, pool.now + HOUR, reason="judges come back")
    pool.look(2, OVERRIDE)
    pool.look(3, OVERRIDE, HOUR)
    pool.look(3, (Phase.DRAINING, Reason.IDLE))
    pool.look(3, (Phase.SLEEPING, Reason.IDLE))
    pool.look(0, ASLEEP, 30 * SECOND)
    window, override = pool.record.finished
    assert pool.told() == [(Why.WINDOW, "pitch"), (Why.OVERRIDE, "judges come back")]
    assert (window.end, override.end) == (override.begin, pool.now)
    assert (window.counts.opened, window.counts.cold) == (1, 0)
    assert (window.replicas, override.replicas) == (2, 3)
    # Two pods for an hour and two minutes; two for an hour, and three while the pool goes down.
    assert window.counts.pod_seconds == 2 * 3720
    assert override.counts.pod_seconds == 2 * 3600 + 3 * 150
    assert pool.record.running is None
    pool.check()


def test_each_wake_counts_once_also_after_a_restart():
    pool = Pool().look(0, ASLEEP)
    pool.look(1, REQUEST)
    pool.status["lastWake"] = {"at": "2026-11-25T10:02:01Z", "duration": "1.8s"}
    pool.look(1, REQUEST)
    pool.look(1, REQUEST)
    assert pool.record.running.counts.wakes == 1
    pool.restart()
    pool.look(1, REQUEST)
    pool.look(0, ASLEEP)
    pool.look(1, REQUEST)
    assert (pool.record.finished[0].counts.wakes, pool.record.running.counts.wakes) == (1, 0)
    pool.look(0, ASLEEP)
    pool.status["lastWake"] = {"at": "2026-11-25T10:30:00Z", "duration": "1.8s"}
    pool.restart()  # it came while no operator ran
    pool.look(1, REQUEST, HOUR)
    assert pool.record.running.counts.wakes == 1


def test_a_pool_without_prices_has_a_history_without_costs():
    pool = Pool(spec=FREE).look(1, WINDOW)
    pool.look(1, WINDOW, HOUR)
    pool.look(0, ASLEEP)
    (window,) = pool.record.finished
    assert (window.cost, window.period.currency) == (None, "")
    assert window.counts.pod_seconds == 3660


def test_an_episode_is_parted_where_the_period_ends():
    pool = Pool(now=t("23:00")).look(2, WINDOW)
    pool.look(2, WINDOW, 2 * HOUR)
    (before,) = pool.record.finished
    assert before.end == pool.record.running.begin == utc("2026-11-26T00:00")
    assert pool.record.running.cause == before.cause
    pool.check()


def test_after_a_day_without_operator_the_periods_in_between_are_paid_too():
    pool = Pool().look(2, WINDOW)
    pool.restart()
    pool.look(2, WINDOW, 50 * HOUR)
    pool.check()
    assert [e.begin.day for e in pool.record.finished] == [25, 26]


@each("edited, past", {
    "its currency": (DOLLARS, 2),
    "its period": (pool_spec(prices=PRICES, budget={"period": "Week"}), 2),
    "its currency, after days without an operator": (DOLLARS, 50),
})  # fmt: skip
def test_an_edit_that_falls_into_the_look_of_a_periods_end_loses_no_cost(edited, past):
    pool = Pool(now=t("23:00")).look(1, WINDOW)
    pool.spec = edited
    pool.look(1, WINDOW, past * HOUR)
    paid = sum(cost for period, cost in pool.costs if period.currency == "JPY")
    assert abs(paid - past * PRICE) < Decimal("0.000003")
    pool.check()


def test_what_was_spent_before_the_record_began_is_no_episode_and_a_note_says_so():
    pool = Pool().look(2, WINDOW, writes=False)
    begin = pool.now
    pool.look(2, WINDOW, HOUR, writes=False)
    pool.status = stored(cost_status(pool.ledger))  # of an operator without history
    pool.restart()
    pool.look(2, WINDOW)
    pool.look(0, ASLEEP, HOUR, appends=True)
    past = read_past(pool.status, pool.past, begin, pool.now, pool.now)
    [window] = past.episodes
    assert past.costs == {"JPY": window.cost} == {"JPY": Decimal("0.025103")}
    assert past.notes == (
        "the record begins at 2026-11-25T11:02:00Z: what was before is not in this report",
    )
    assert not past.balances


@each("back, balance", {
    "into the previous period": (12 * HOUR, ["differs"]),
    "into a period that the ledger does not know": (50 * HOUR, []),
})  # fmt: skip
def test_after_the_clock_was_set_back_nothing_is_charged_twice(back, balance):
    pool = Pool().look(0, ASLEEP)
    pool.look(1, WINDOW, 13 * HOUR)
    pool.look(1, WINDOW, 2 * HOUR)
    before = pool.costs
    pool.look(1, WINDOW, jump=-back)
    begin = pool.ledger.period_start
    assert pool.costs == [*before, (LedgerPeriod("JPY", begin), 0)]
    pool.look(1, WINDOW, HOUR)
    pool.look(0, ASLEEP, appends=True)
    whole = PRICE * (3 + Decimal(1) / 60)
    assert abs(sum(cost for _, cost in pool.costs) - whole) < Decimal("0.000003")
    past = read_past(pool.status, pool.past, begin, pool.now, pool.now)
    assert ["equal" if b.is_equal else "differs" for b in past.balances] == balance


@pytest.mark.slow
def test_old_episodes_become_one_sum_for_each_period_and_old_periods_are_dropped():
    pool = Pool()
    for number in range(KEPT + 20):
        pool.look(1, REQUEST, 3 * HOUR)
        pool.look(0, ASLEEP, 3 * HOUR, appends=True)
        pool.check()
        assert len(pool.record.finished) == min(number + 1, KEPT)
    record = pool.record
    assert sum(e.episodes for e in record.earlier) == 20
    assert len(record.earlier) == 6
    for _ in range(4 * (PERIODS + 4)):
        pool.look(1, REQUEST, 3 * HOUR)
        pool.look(0, ASLEEP, 3 * HOUR, appends=True)
    assert len(pool.record.earlier) == PERIODS
    pool.check()


_STEP = st.tuples(
    st.sampled_from([ASLEEP, WINDOW, REQUEST, OVERRIDE]),
    st.integers(0, 3),
    st.sampled_from([2 * SECOND, MINUTE, 7 * HOUR, 30 * HOUR]),
    st.sampled_from(["", "", "", "lost write", "restart", "forward", "currency"]),
    st.sampled_from(["", "append", "append and die"]),
)


@examples(300)
@given(st.lists(_STEP, max_size=40))
def test_the_history_is_the_ledger_to_the_last_digit_whatever_happens(steps):
    """Whatever the order of restarts, lost writes, appends, periods and currencies."""
    pool = Pool()
    pool.look(0, ASLEEP)
    for why, pods, after, what, then in steps:
        if what == "restart":
            pool.restart()
        if what == "currency":
            pool.spec = DOLLARS if pool.spec is PRICED else PRICED
        jump = 29 * HOUR * (what == "forward")
        pods = 0 if why is ASLEEP else max(pods, 1)
        pool.look(pods, why, after, jump=jump, writes=what != "lost write")
        if what != "lost write":
            if then:
                pool.append(dies=then == "append and die")
            pool.check_current()


PARKED = (Phase.PARKED, Reason.IDLE)


def test_parked_time_is_an_episode_of_its_own_and_all_sums_are_the_ledgers():
    pool = Pool().look(1, REQUEST)
    pool.look(1, REQUEST, 7 * SECOND)
    pool.look(1, PARKED)
    small = {"cpu": Decimal("0.005")}
    pool.pods = {uid: replace(p, requests=small) for uid, p in pool.pods.items()}
    pool.look(1, PARKED, SECOND)
    pool.look(1, PARKED, 11 * MINUTE)
    pool.look(1, REQUEST, HOUR)
    pool.look(1, (Phase.PARKED, Reason.WINDOW))
    pool.look(1, (Phase.DRAINING, Reason.IDLE))
    pool.look(0, ASLEEP)
    assert pool.told() == [
        (Why.REQUEST, ""), (Why.PARKED, "pitch"), (Why.REQUEST, ""), (Why.PARKED, "pitch"),
    ]  # fmt: skip
    pool.check()
    first = pool.record.finished[1]
    assert first.cost < first.counts.pod_seconds / 3600 * PRICE / 50
