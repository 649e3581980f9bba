"""What the period will have cost: spent, and the schedule's rest."""

import time
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotatsu_operator.core.budget import forecast as forecast_module
from kotatsu_operator.core.budget.forecast import forecast
from kotatsu_operator.core.budget.ledger import Ledger, money
from kotatsu_operator.core.budget.prices import hourly
from kotatsu_operator.core.calendar.schedule import occurrences, spans
from kotatsu_operator.core.formats import parse_quantity
from kotatsu_operator.core.pool.memory import Memory, Phase
from kotatsu_operator.core.pool.spec import PoolSpec, Prices
from tests.operator.core.values import (
    HOUR,
    MINUTE,
    SECOND,
    cron,
    examples,
    once,
    override,
    pool_spec,
    t,
    utc,
)

END = utc("2026-12-01T00:00")
ASLEEP = Memory(phase=Phase.ASLEEP, since=t("00:00"))
NO_DRAIN = {"drain": {"routeSettle": "0s"}}
ONE = Decimal(60)  # one pod: 60 an hour, 1 a minute


def ledger(pods: int = 0, accrued: int = 100) -> Ledger:
    hours = {str(n): ONE for n in range(pods)}
    return Ledger(
        "JPY", t("00:00"), Decimal(accrued), t("08:00"), ONE * pods, period_end=END, pods=hours
    )


def to_come(spec: PoolSpec, now: str = "08:00", memory: Memory = ASLEEP, pods: int = 0) -> Decimal:
    """Minutes of pods that the forecast adds to what is spent."""
    expected = forecast(spec, memory, ledger(pods), ONE, t(now))
    assert expected is not None
    return expected - 100


def warm(since: str = "08:00", last: str | None = None) -> Memory:
    return Memory(phase=Phase.WARM, since=t(since), last_active=t(last or since))


def test_one_opening_costs_pods_times_time_times_the_price_of_a_pod() -> None:
    assert 5 * money(Decimal("1.84"), 2 * HOUR) == Decimal("18.4")


def test_the_published_bill_is_one_opening() -> None:
    requests = {"memory": parse_quantity("3008Mi")}
    pod_hour = hourly(requests, Prices({"memory": Decimal("0.0000041667") * 3600}))
    assert round(100 * money(pod_hour, 12 * HOUR), 2) == Decimal("52.88")
    assert round(100 * money(pod_hour, 730 * HOUR)) == 3217


def test_a_pool_without_windows_will_cost_what_it_has_cost() -> None:
    assert to_come(pool_spec()) == 0


def test_a_window_to_come_costs_its_pods() -> None:
    assert to_come(pool_spec(windows=[once("w", "10:00", "11:00", 2)], **NO_DRAIN)) == 120


def test_the_rest_of_an_open_window_costs_its_pods() -> None:
    spec = pool_spec(windows=[once("w", "07:00", "09:00", 2)], **NO_DRAIN)
    assert to_come(spec, memory=warm("07:00"), pods=2) == 120


def test_the_lead_before_and_the_drain_after_a_window_cost_too() -> None:
    spec = pool_spec(windows=[once("w", "10:00", "11:00", 2)], drain={"routeSettle": "30s"})
    assert to_come(spec, memory=replace(ASLEEP, lead=2 * MINUTE)) == 2 * Decimal("62.5")


def test_windows_that_overlap_cost_the_highest_of_them() -> None:
    windows = [once("a", "10:00", "12:00", 2), once("b", "11:00", "13:00", 5)]
    assert to_come(pool_spec(windows=windows, **NO_DRAIN)) == 120 + 600


def test_a_window_costs_no_more_than_the_most_replicas() -> None:
    spec = pool_spec(
        windows=[once("w", "10:00", "11:00", 9)], scaling={"maxReplicas": 4}, **NO_DRAIN
    )
    assert to_come(spec) == 240


def test_a_window_costs_only_until_the_period_ends() -> None:
    """Each evening to 02:00, five evenings left: the last one ends in December."""
    spec = pool_spec(windows=[cron("0 22 * * *", "4h", 1)], **NO_DRAIN)
    assert to_come(spec) == 5 * 240 + 120


def test_a_warm_override_costs_until_its_end() -> None:
    spec = pool_spec(
        override=override("Warm", t("10:00"), replicas=3),
        windows=[once("w", "09:00", "11:00", 1)],
        **NO_DRAIN,
    )
    assert to_come(spec, memory=warm(), pods=3) == 360 + 60


def test_an_asleep_override_saves_the_windows_until_its_end() -> None:
    spec = pool_spec(
        override=override("Asleep", t("10:00")),
        windows=[once("w", "09:00", "11:00", 1)],
        **NO_DRAIN,
    )
    assert to_come(spec) == 60


def test_the_pods_there_are_now_cost_until_they_would_be_idle() -> None:
    spec = pool_spec(scaling={"idleAfter": "10m"}, drain={"routeSettle": "30s"})
    assert to_come(spec, memory=warm(last="07:55"), pods=2) == 2 * Decimal("5.5")


def test_pods_beyond_the_window_cost_until_they_would_be_idle() -> None:
    spec = pool_spec(
        windows=[once("w", "07:00", "09:00", 1)], scaling={"idleAfter": "10m"}, **NO_DRAIN
    )
    assert to_come(spec, memory=warm(last="08:00"), pods=3) == 60 + 2 * 10


def test_the_last_pods_of_a_sleeping_pool_are_as_good_as_gone() -> None:
    memory = Memory(phase=Phase.SLEEPING, since=t("08:00"), last_active=t("08:00"))
    assert to_come(pool_spec(), memory=memory, pods=2) == 0


def test_a_suspended_pool_stays_as_it_is() -> None:
    spec = pool_spec(suspend=True, windows=[once("w", "10:00", "11:00", 2)])
    assert to_come(spec, pods=1) == (END - t("08:00")) // MINUTE


def test_there_is_no_forecast_without_a_period() -> None:
    assert forecast(pool_spec(), ASLEEP, Ledger(), ONE, t("08:00")) is None


def test_a_clock_that_steps_back_gets_its_hours_again() -> None:
    spec = pool_spec(windows=[once("w", "06:00", "11:00", 1)], **NO_DRAIN)
    assert to_come(spec, "10:00") == 60
    assert to_come(spec, "07:00") == 240
    assert to_come(spec, "10:00") == 60


def by_minutes(spec: PoolSpec, lead: timedelta, now: datetime, end: datetime) -> int:
    """Pod-minutes, counted one minute after the other."""
    tail, most = spec.drain.route_settle, spec.scaling.max_replicas
    found = occurrences(spec.windows, spec.zone, now - tail, end + lead)
    total, at = 0, now
    while at < end:
        total += max(
            (min(o.replicas, most) for o in found if o.start - lead <= at < o.end + tail), default=0
        )
        at += MINUTE
    return total


@examples(30)
@given(st.integers(0, 2**32))
def test_any_schedule_is_summed_up_as_counting_does(seed: int) -> None:
    die = Random(seed)
    windows: list[dict[str, Any]] = [
        cron(
            f"{die.randint(0, 59)} */{die.randint(1, 23)} * * *",
            f"{die.randint(1, 300)}m",
            die.randint(1, 6),
            f"w{n}",
        )
        for n in range(die.randint(0, 4))
    ]
    spec = pool_spec(
        windows=windows,
        drain={"routeSettle": die.choice(["0s", "60s"])},
        scaling={"maxReplicas": 5},
    )
    lead = die.randint(0, 90) * MINUTE
    for clock in ("2026-11-29T00:00", "2026-11-29T13:07"):  # the second one from the same staircase
        now = utc(clock)
        expected = forecast(spec, replace(ASLEEP, lead=lead), ledger(), ONE, now)
        assert expected is not None
        assert round(expected - 100, 12) == by_minutes(spec, lead, now, END)


def test_a_month_is_walked_once_and_not_at_each_look(monkeypatch: pytest.MonkeyPatch) -> None:
    walks = []

    def counted(*args: Any) -> Any:
        walks.append(args)
        return spans(*args)

    monkeypatch.setattr(forecast_module, "spans", counted)
    spec = pool_spec(windows=[cron("7 */2 * * *", "17m", 3, "counted")])
    for second in range(3600):
        forecast(spec, ASLEEP, ledger(), ONE, t("08:00") + second * SECOND)
    assert len(walks) == 1


def test_a_month_of_dense_openings_is_laid_out_in_part_and_taken_to_be_alike() -> None:
    spec = pool_spec(windows=[cron("* * * * *", "30s", 2)], **NO_DRAIN)
    lead = replace(ASLEEP, lead=timedelta())
    levels = forecast_module._laid_out(spec, lead.lead, t("08:00"), END)
    assert len(levels._steps) < 2 * forecast_module._MOST_SPANS + 10
    minutes = (END - t("08:00")) // MINUTE
    assert abs(to_come(spec, memory=lead) - minutes) < 1


def test_hundreds_of_pools_are_foreseen_within_a_beat() -> None:
    specs = [
        pool_spec(windows=[cron(f"{n % 60} {n // 60 % 24} * * 1-5", "90m", 2, f"w{n}")])
        for n in range(300)
    ]
    for spec in specs:
        forecast(spec, ASLEEP, ledger(), ONE, t("08:00"))
    began = time.process_time()
    for spec in specs:
        forecast(spec, warm(), ledger(2), ONE, t("08:00:02"))
    assert time.process_time() - began < 1
