"""What the period will have cost: spent, and the schedule's rest."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from cpu import loops
from rows import each

from kotatsu_operator.core.budget import forecast as forecast_module
from kotatsu_operator.core.budget.forecast import MOST_CHANGES, forecast
from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.budget.podtime import PodPrice, pod_price
from kotatsu_operator.core.budget.simulate import asks
from kotatsu_operator.core.pool.memory import Memory, Phase, WarmUp
from tests.operator.core.values import (
    HOUR,
    MINUTE,
    SECOND,
    cron,
    once,
    pool_spec,
    t,
    utc,
)

END = utc("2026-12-01T00:00")
ASLEEP = Memory(phase=Phase.ASLEEP, since=t("00:00"))
BUSY = Memory(phase=Phase.WARM, since=t("08:00"), last_active=t("08:00"))
AT_ONCE = {"lead": "0s"}
ONE = Decimal(60)  # one pod: 60 an hour, 1 a minute
WARM = PodPrice(ONE)
PRICE = PodPrice(ONE, parked=ONE / 10)


def ledger(pods: int = 0, accrued: int = 100) -> Ledger:
    hours = {str(n): ONE for n in range(pods)}
    return Ledger(
        "JPY", t("00:00"), Decimal(accrued), t("08:00"), ONE * pods, period_end=END, pods=hours
    )


def to_come(spec, now="08:00", memory=ASLEEP, pods=0, price=PRICE):
    """Minutes of pods that the forecast adds to what is spent; ten parked pods cost as one."""
    return forecast(spec, memory, ledger(pods), price, t(now)) - 100


TEN = once("w", "10:00", "11:00", 2)


def test_the_last_pods_of_a_sleeping_pool_are_as_good_as_gone():
    assert to_come(pool_spec(), memory=replace(BUSY, phase=Phase.SLEEPING), pods=2) == 0


def test_there_is_no_forecast_without_a_period():
    assert forecast(pool_spec(), ASLEEP, Ledger(), WARM, t("08:00")) is None


def test_windows_that_a_spent_budget_keeps_shut_are_not_to_come():
    spec = pool_spec(windows=[TEN], budget={"limit": "1"}, **AT_ONCE)
    spent = replace(ledger(), exhausted_at=t("07:00"))
    assert to_come(spec) == 120
    assert forecast(spec, ASLEEP, spent, PRICE, t("08:00")) == spent.accrued


def test_a_clock_that_steps_back_gets_its_hours_again():
    spec = pool_spec(windows=[once("w", "06:00", "11:00", 1)], **AT_ONCE)
    assert to_come(spec, "10:00") == 60
    assert to_come(spec, "07:00") == 240
    assert to_come(spec, "10:00") == 60


def test_a_month_is_simulated_once_and_not_at_each_look(monkeypatch):
    begun = []

    def counted(*args: Any) -> Any:
        begun.append(args)
        return asks(*args)

    monkeypatch.setattr(forecast_module, "asks", counted)
    spec = pool_spec(windows=[cron("7 */2 * * *", "17m", 3, "counted")])
    for second in range(3600):
        forecast(spec, ASLEEP, ledger(), WARM, t("08:00") + second * SECOND)
    assert len(begun) == 1


def test_of_dense_openings_a_part_is_simulated_and_the_rest_taken_to_be_alike(monkeypatch):
    changes = []

    def counted(*args: Any) -> Any:
        for ask in asks(*args):
            changes.append(ask)
            yield ask

    monkeypatch.setattr(forecast_module, "asks", counted)
    spec = pool_spec(windows=[cron("* * * * *", "30s", 2)], **AT_ONCE)
    assert abs(to_come(spec) - (END - t("08:00")) // MINUTE) < 1
    assert len(changes) == MOST_CHANGES + 1


@pytest.mark.slow
def test_hundreds_of_pools_are_foreseen_within_a_beat():
    specs = [
        pool_spec(windows=[cron(f"{n % 60} {n // 60 % 24} * * 1-5", "90m", 2, f"w{n}")])
        for n in range(300)
    ]
    for spec in specs:
        forecast(spec, ASLEEP, ledger(), WARM, t("08:00"))

    def beat() -> None:
        for spec in specs:
            forecast(spec, BUSY, ledger(2), WARM, t("08:00:02"))

    assert loops(beat) < 20, "a second of the machine on which the loop takes 50 ms"


# --- parked pods ---


PARKED = {"mode": "Parked"}
STARTS = tuple(WarmUp(seconds, 1, "") for seconds in (120.0, 120.0, 900.0))


def test_of_a_lead_pods_that_will_be_parked_are_warm_for_what_a_start_takes_as_a_rule():
    spec, memory = pool_spec(windows=[TEN | PARKED], lead="30m"), replace(ASLEEP, warm_ups=STARTS)
    assert to_come(spec, memory=memory) == 2 * (2 + Decimal(28 + 60) / 10)


def test_where_no_pod_can_be_parked_all_windows_are_warm():
    assert to_come(pool_spec(windows=[TEN | PARKED], **AT_ONCE), price=WARM) == 120


def test_a_suspended_pool_stays_parked_at_the_rate_it_has():
    at_rest = replace(ledger(1), rate=ONE / 10)
    spec = pool_spec(parkedFor="20m", suspend=True)
    expected = forecast(spec, ASLEEP, at_rest, PRICE, t("08:00"))
    assert expected == 100 + at_rest.rate * ((END - t("08:00")) // HOUR)


# --- the price of a pod ---


@each("why, pods, rate, reduced, price", [
    ("as the current ones do", 2, 140, 0, (70, None)),
    ("without pods as the template says", 0, 0, 0, (60, 6)),
    ("while they are parked the template has the warm price", 2, 12, 2, (60, 6)),
    ("while some are parked both stay", 2, 66, 1, (60, 6)),
    ("a sidecar that was injected costs the same while parked", 1, 9, 1, (63, 9)),
])  # fmt: skip
def test_a_pod_costs(why, pods, rate, reduced, price):
    parked_price = None if price[1] is None else ONE / 10
    found = pod_price(replace(ledger(pods), rate=Decimal(rate)), ONE, parked_price, reduced)
    assert (found.warm, found.parked) == price, why
