"""The ledger: what a pool's pods cost, from scheduled until gone, each second once."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.core.budget.ledger import BilledPod, Ledger, Spent, accrue
from kotatsu_operator.core.formats import parse_quantity
from kotatsu_operator.core.pool.spec import Budget, Period, PoolSpec
from tests.operator.core.values import HOUR, MINUTE, SECOND, examples, pool_spec, t, utc

GIB = Decimal(2**30)
UTC = ZoneInfo("UTC")
TOKYO = ZoneInfo("Asia/Tokyo")
SPEC = pool_spec(prices={"currency": "JPY", "cpuHour": "60", "memoryGiBHour": "30"})
DAILY = replace(SPEC, budget=Budget(period=Period.DAY))


def at_prices(**prices: str) -> PoolSpec:
    """The pool at other prices of the chart."""
    return pool_spec(prices={"currency": "JPY", **prices})


END = utc("2026-12-01T00:00")


def core(start: str = "08:00", uid: str = "a", cores: int = 1) -> BilledPod:
    """A pod of one core, or several: 1 a minute each."""
    return BilledPod(t(start), {"cpu": Decimal(cores)}, uid)


def opened(at: str = "10:00", accrued: int = 0, **fields: object) -> Ledger:
    """A ledger as another process has left it in the status."""
    made = Ledger("JPY", t("00:00"), Decimal(accrued), t(at), period_end=END)
    return replace(made, **fields)


def enter(ledger, now, *pods, spec=SPEC, elapsed=None):
    return accrue(ledger, pods, spec, t(now), elapsed)


MIDNIGHT = t("00:00") + 24 * HOUR


def today(at: str, accrued: int = 0) -> Ledger:
    """A ledger of a day."""
    return opened(at, accrued, period=Period.DAY, period_end=MIDNIGHT)


def forgotten_demo(hours: float, step: timedelta) -> Ledger:
    """100 x 3008 MiB kept warm, at prices given per GB-second, entered at every step."""
    spec = at_prices(currency="USD", memoryGiBHour="0.01500012")
    begin = utc("2026-10-01T00:00")
    pods = [BilledPod(begin, {"memory": parse_quantity("3008Mi")}, str(n)) for n in range(100)]
    ledger, now = accrue(Ledger(), pods, spec, begin), begin
    while now < begin + hours * HOUR:
        now += step
        ledger = accrue(ledger, pods, spec, now, step)
    return ledger


def test_the_published_bill_of_the_forgotten_demo_comes_out():
    """12 h are 12,690,000 GB-seconds, which come to 52.88 USD."""
    ledger = forgotten_demo(12, MINUTE)
    assert round(ledger.accrued, 2) == Decimal("52.88")
    assert round(ledger.accrued / Decimal("0.0000041667")) == 12_690_000


# --- entries ---


def test_a_new_ledger_begins_now_with_nothing():
    ledger = enter(Ledger(), "10:00", core())
    assert (ledger.currency, ledger.period_start, ledger.accrued) == ("JPY", t("10:00"), 0)
    assert (ledger.at, ledger.rate, ledger.period_end) == (t("10:00"), 60, END)


@each("pods, accrued, rate", {
    "a pod from the last entry on": ([core()], 160, 60),
    "from its start, if it came while the operator was away": ([core("10:30")], 130, 60),
    "no pod costs nothing": ([], 100, 0),
})  # fmt: skip
def test_what_is_there_is_charged(pods, accrued, rate):
    ledger = enter(opened(accrued=100), "11:00", *pods)
    assert (ledger.accrued, ledger.rate, ledger.at) == (accrued, rate, t("11:00"))


def test_a_pod_whose_node_has_a_clock_ahead_of_ours_is_charged_from_its_first_sight():
    ledger = enter(opened(accrued=1), "11:00", core("11:00:05"))
    assert ledger.accrued == 1
    assert enter(ledger, "11:01", core("11:00:05"), elapsed=MINUTE).accrued == 2


def test_changed_prices_apply_from_then_on():
    ledger = enter(opened(), "10:00", core())
    dearer = at_prices(cpuHour="600")
    ledger = enter(ledger, "10:10", core(), spec=dearer, elapsed=10 * MINUTE)
    assert (ledger.accrued, ledger.rate) == (10, 600)
    assert enter(ledger, "10:11", core(), spec=dearer, elapsed=MINUTE).accrued == 20


@each("spec, currency, period, end", [
    (at_prices(currency="USD", cpuHour="1"), "USD", Period.MONTH, END),
    (DAILY, "JPY", Period.DAY, MIDNIGHT),
])  # fmt: skip
def test_another_currency_or_period_begins_a_new_ledger_and_keeps_the_total_of_the_old_one(
    spec, currency, period, end
):
    ledger = enter(opened(accrued=100), "10:00", core())
    ledger = enter(ledger, "10:30", core(), spec=spec, elapsed=30 * MINUTE)
    assert (ledger.currency, ledger.period, ledger.period_end) == (currency, period, end)
    assert (ledger.accrued, ledger.period_start) == (0, t("10:30"))
    assert ledger.previous == Spent("JPY", t("00:00"), Decimal(130))


# --- requests that change ---


def parked(pod: BilledPod) -> BilledPod:
    """The pod while it is parked: a tenth of its core."""
    return replace(pod, requests={"cpu": Decimal("0.1")})


def test_requests_that_change_are_charged_at_the_former_rate_until_that_is_seen():
    ledger = enter(opened(), "10:00", core())
    ledger = enter(ledger, "10:10", parked(core()), elapsed=10 * MINUTE)
    assert (ledger.accrued, ledger.rate) == (10, 6)
    ledger = enter(ledger, "10:20", core(), elapsed=10 * MINUTE)
    assert (ledger.accrued, ledger.rate) == (11, 60)
    assert enter(ledger, "10:30", core(), elapsed=10 * MINUTE).accrued == 21


def test_requests_that_change_across_midnight_are_split_at_the_former_rate():
    ledger = accrue(today("23:50"), [parked(core())], DAILY, t("23:50"))
    ledger = accrue(ledger, [core()], DAILY, MIDNIGHT + 10 * MINUTE, 20 * MINUTE)
    assert (ledger.previous, ledger.accrued) == (Spent("JPY", t("00:00"), Decimal(1)), 1)


def test_a_new_process_charges_a_parked_pod_what_it_requests_since_the_last_entry():
    """Not the full rate: whether the pod was parked before is not in the status."""
    assert enter(opened("10:00"), "10:10", parked(core("08:00"))).accrued == 1


@each("step", [-HOUR, HOUR, -24 * HOUR])
def test_a_clock_that_steps_does_not_change_what_a_parked_pod_costs(step):
    ledger = enter(opened(), "10:00", core())
    ledger = enter(ledger, "10:10", parked(core()), elapsed=10 * MINUTE)
    now = t("10:20") + step
    ledger = accrue(ledger, [core()], SPEC, now, 10 * MINUTE)
    assert (ledger.accrued, ledger.at) == (11, now)


# --- periods ---


def test_an_operator_that_was_away_for_days_is_in_todays_period():
    after = accrue(today("23:00", 7), [core()], DAILY, t("01:00") + 72 * HOUR)
    assert after.previous == Spent("JPY", t("00:00") + 48 * HOUR, Decimal(24 * 60))
    assert (after.accrued, after.period_start) == (60, t("00:00") + 72 * HOUR)


def test_a_new_period_is_not_exhausted_any_more():
    spec = replace(DAILY, budget=replace(DAILY.budget, limit=Decimal(100)))
    ledger = enter(today("23:50", 100), "23:55", spec=spec)
    assert ledger.exhausted_at == t("23:55")
    assert accrue(ledger, [], spec, MIDNIGHT).exhausted_at is None


def test_another_time_zone_moves_the_end_of_the_period_and_keeps_what_is_spent():
    ledger = accrue(opened(accrued=100), [], replace(SPEC, zone=TOKYO), t("11:00"))
    assert (ledger.accrued, ledger.period_end) == (100, utc("2026-11-30T15:00"))


def test_a_budget_that_pools_share_has_a_day_of_its_own():
    shared = replace(DAILY, budget=replace(DAILY.budget, zone=TOKYO))
    for spec in (shared, replace(shared, zone=ZoneInfo("Pacific/Kiritimati"))):
        assert enter(Ledger(), "10:00", spec=spec).period_end == t("15:00")
        assert enter(today("10:00", 5), "11:00", spec=spec).period_end == t("15:00")


def test_a_ledger_from_before_there_were_periods_goes_on():
    ledger = enter(opened(accrued=100, period_end=None), "11:00", core())
    assert (ledger.accrued, ledger.period_end) == (160, END)


def test_since_when_the_limit_is_reached_is_kept():
    limited = replace(SPEC, budget=Budget(Decimal(30)))
    ledger = enter(opened(), "10:29", core(), spec=limited)
    assert ledger.exhausted_at is None
    for clock in ("10:30", "10:45"):
        ledger = enter(ledger, clock, core(), spec=limited)
        assert ledger.exhausted_at == t("10:30")
    raised = replace(SPEC, budget=Budget(Decimal(1000)))
    assert enter(ledger, "10:46", core(), spec=raised).exhausted_at is None
    assert enter(ledger, "10:46", core()).exhausted_at is None


# --- clocks ---


def test_a_ledger_dated_ahead_is_taken_up_by_the_next_operator_at_once():
    """Another process left it under a clock that was an hour ahead: how long ago is not known."""
    ledger = enter(opened("11:00", 5), "10:00", core("09:00"))
    assert (ledger.accrued, ledger.at) == (5, t("10:00"))
    assert enter(ledger, "10:01", core("09:00"), elapsed=MINUTE).accrued == 6


def test_a_step_back_over_midnight_goes_on_with_the_day_before():
    ledger = accrue(today("23:50", 7), [core()], DAILY, MIDNIGHT + 10 * MINUTE)
    ledger = accrue(ledger, [core()], DAILY, t("23:11"), MINUTE)
    assert (ledger.accrued, ledger.period_start, ledger.previous) == (28, t("00:00"), None)
    ledger = accrue(ledger, [core()], DAILY, MIDNIGHT + MINUTE, 50 * MINUTE)
    assert (ledger.accrued, ledger.previous) == (1, Spent("JPY", t("00:00"), Decimal(77)))


def test_a_step_back_by_years_goes_on_with_what_is_spent():
    ledger = opened(period_start=utc("2031-01-01T00:00"), period_end=utc("2031-02-01T00:00"))
    ledger = enter(replace(ledger, accrued=Decimal(5)), "10:00")
    assert (ledger.accrued, ledger.period_end) == (5, END)


# --- whatever happens ---


def any_pods(die: Random) -> list[BilledPod]:
    """Pods that come and go in four hours around a midnight."""
    pods = []
    for n in range(die.randint(0, 6)):
        start = t("22:00") + timedelta(milliseconds=die.randint(-3_600_000, 4 * 3_600_000))
        gone = start + timedelta(milliseconds=die.randint(1, 3 * 3_600_000))
        requests = {"cpu": Decimal(die.randint(0, 4000)) / 1000, "memory": die.randint(0, 9) * GIB}
        pods.append(BilledPod(start, requests, f"pod-{n}", gone if die.random() < 0.7 else None))
    return pods


def by_hand(pods: list[BilledPod], begin: datetime, end: datetime) -> Decimal:
    """The integral, worked out from the pods' whole lives."""
    total = Decimal(0)
    for pod in pods:
        first, last = max(begin, pod.scheduled_at), min(end, pod.gone_at or end)
        rate = pod.requests["cpu"] * 60 + pod.requests["memory"] / GIB * 30
        total += rate * Decimal(max(0, (last - first) // timedelta(microseconds=1)))
    return total / (3600 * 10**6)


def seen(pods: list[BilledPod], before: datetime, now: datetime) -> list[BilledPod]:
    """What an operator that watches finds: pods that are there, and those gone since it looked."""
    there = [p for p in pods if p.scheduled_at <= now]
    staying = [replace(p, gone_at=None) for p in there if p.gone_at is None or p.gone_at > now]
    return staying + [p for p in there if p.gone_at is not None and before < p.gone_at <= now]


ALMOST = Decimal("1e-15")
SEEDS = st.integers(0, 2**32)
BEGIN, LENGTH = t("22:00"), 4 * 3_600_000


@examples(150)
@given(SEEDS)
def test_the_periods_sum_up_to_the_integral_whatever_the_rate_of_looks(seed):
    die = Random(seed)
    pods, before, closed = any_pods(die), BEGIN, []
    ledger = accrue(Ledger(), seen(pods, BEGIN, BEGIN), DAILY, BEGIN)
    for milliseconds in sorted(die.randint(0, LENGTH) for _ in range(die.choice([1, 5, 50]))):
        now = BEGIN + timedelta(milliseconds=milliseconds)
        ledger = accrue(ledger, seen(pods, before, now), DAILY, now, now - before)
        if ledger.previous is not None and ledger.previous not in closed:
            closed.append(ledger.previous)
        before = now
    total = ledger.accrued + sum(s.accrued for s in closed)
    assert abs(total - by_hand(pods, BEGIN, before)) < ALMOST
    if before >= MIDNIGHT:
        assert abs(ledger.accrued - by_hand(pods, MIDNIGHT, before)) < ALMOST


@pytest.mark.slow
@examples(150)
@given(SEEDS)
def test_restarts_lose_at_most_one_interval_of_the_pods_that_went_meanwhile(seed):
    """A new process finds the status of the last write, and only pods that are still there."""
    die = Random(seed)
    pods, day = any_pods(die), SPEC
    ledger, before = accrue(Ledger(), seen(pods, BEGIN, BEGIN), day, BEGIN), BEGIN
    lost = Decimal(0)
    now = BEGIN
    while now < BEGIN + 4 * HOUR:
        now += die.randint(1, 60) * SECOND
        if die.random() < 0.1:
            there = [p for p in seen(pods, now, now) if p.gone_at is None]
            gone = [p for p in pods if p.gone_at and before < p.gone_at <= now]
            lost += by_hand(gone, before, now)
            written = replace(ledger, pods={})
            ledger = accrue(written, there, day, now)
        else:
            ledger = accrue(ledger, seen(pods, before, now), day, now, now - before)
        before = now
    assert abs(ledger.accrued + lost - by_hand(pods, BEGIN, now)) < ALMOST
    most = sum(p.requests["cpu"] * 60 + p.requests["memory"] / GIB * 30 for p in pods) / 60
    assert 0 <= lost <= most * len([p for p in pods if p.gone_at])


@examples(150)
@given(SEEDS)
def test_a_clock_that_jumps_about_charges_what_was_measured(seed):
    die = Random(seed)
    pods = [core(uid=str(n), cores=die.randint(0, 4)) for n in range(die.randint(1, 4))]
    ledger, real, closed = accrue(opened("10:00"), pods, DAILY, t("10:00")), timedelta(), []
    begun = ledger.accrued
    for _ in range(die.randint(1, 30)):
        step = die.randint(0, 120) * SECOND
        real += step
        now = t("10:00") + real + die.choice([0, 0, -1, 1]) * HOUR
        ledger = accrue(ledger, pods, DAILY, now, step)
        if ledger.previous is not None and ledger.previous not in closed:
            closed.append(ledger.previous)
    per_second = Decimal(sum(p.requests["cpu"] for p in pods)) / 60
    assert abs(ledger.accrued - begun - per_second * (real // SECOND)) < ALMOST
