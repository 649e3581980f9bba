"""The ledger: what a pool's pods cost, from scheduled until gone, each second once."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotatsu_operator.core.cost import BilledPod, Ledger, accrue, hourly, parse_quantity
from kotatsu_operator.core.spec import Budget, Prices

from .values import HOUR, MINUTE, SECOND, examples, t

GIB = Decimal(2**30)
BUDGET = Budget("JPY", Prices({"cpu": Decimal("6.5"), "memory": Decimal("0.7")}))
SMALL = {"cpu": Decimal("0.5"), "memory": 2 * GIB}
SMALL_HOUR = Decimal("4.65")  # 0.5 x 6.5 + 2 x 0.7


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2),
        ("500m", Decimal("0.5")),
        ("0.5", Decimal("0.5")),
        ("100n", Decimal("1e-7")),
        ("250u", Decimal("0.00025")),
        ("3008Mi", 3008 * 2**20),
        ("1.5Gi", 3 * 2**29),
        ("64Ki", 65536),
        ("2Ti", 2**41),
        ("128M", 128_000_000),
        ("1G", 10**9),
        ("5k", 5000),
        ("1e3", 1000),
        ("12E", 12 * 10**18),
        ("2E3", 2000),
        ("1Ei", 2**60),
    ],
)
def test_a_quantity_is_read_in_base_units(text: str, value: Decimal | int) -> None:
    assert parse_quantity(text) == value


def test_a_pod_costs_what_it_requests_at_the_prices_of_an_hour() -> None:
    assert hourly(SMALL, BUDGET.prices) == SMALL_HOUR


@pytest.mark.parametrize(
    ("requests", "price"),
    [({}, 0), ({"cpu": Decimal(2)}, 13), ({"nvidia.com/gpu": Decimal(1)}, 0)],
    ids=["no requests", "one resource", "a resource without a price"],
)
def test_what_is_not_requested_or_has_no_price_costs_nothing(requests: dict, price: int) -> None:
    assert hourly(requests, BUDGET.prices) == price


def test_the_published_bill_of_the_forgotten_demo_comes_out() -> None:
    """100 x 3008 MiB for 12 h at 0.0000041667 USD per GB-second: 12,690,000 GB-s, 52.88 USD."""
    per_hour = Decimal("0.0000041667") * 3600
    budget = Budget("USD", Prices({"memory": per_hour}))
    pods = [BilledPod(t("00:00"), {"memory": parse_quantity("3008Mi")})] * 100
    ledger = accrue(Ledger(), pods, budget, t("00:00"))
    for minute in range(1, 12 * 60 + 1):
        ledger = accrue(ledger, pods, budget, t("00:00") + minute * MINUTE)
    assert round(ledger.accrued, 2) == Decimal("52.88")
    assert round(ledger.accrued / Decimal("0.0000041667")) == 12_690_000


def test_a_month_of_the_forgotten_demo_comes_out_too() -> None:
    budget = Budget("USD", Prices({"memory": Decimal("0.0000041667") * 3600}))
    pods = [BilledPod(t("00:00"), {"memory": parse_quantity("3008Mi")})] * 100
    ledger = accrue(Ledger(), pods, budget, t("00:00"))
    assert round(accrue(ledger, pods, budget, t("00:00") + 730 * HOUR).accrued) == 3217


def test_a_new_ledger_begins_now_with_nothing() -> None:
    ledger = accrue(Ledger(), [BilledPod(t("08:00"), SMALL)], BUDGET, t("10:00"))
    assert ledger == Ledger("JPY", t("10:00"), Decimal(0), t("10:00"), SMALL_HOUR)


def test_a_pod_is_charged_from_the_last_entry_on() -> None:
    pods = [BilledPod(t("08:00"), SMALL)]
    ledger = accrue(Ledger("JPY", t("00:00"), Decimal(100), t("10:00")), pods, BUDGET, t("11:00"))
    assert ledger.accrued == 100 + SMALL_HOUR
    assert ledger.period_start == t("00:00")


def test_a_pod_scheduled_after_the_last_entry_is_charged_from_its_start() -> None:
    """It came while the operator was away for an hour."""
    pods = [BilledPod(t("10:30"), SMALL)]
    ledger = accrue(Ledger("JPY", t("00:00"), Decimal(0), t("10:00")), pods, BUDGET, t("11:00"))
    assert ledger.accrued == SMALL_HOUR / 2


def test_a_pod_whose_node_has_a_clock_ahead_of_ours_costs_nothing_yet() -> None:
    pods = [BilledPod(t("11:00:05"), SMALL)]
    ledger = accrue(Ledger("JPY", t("00:00"), Decimal(1), t("10:00")), pods, BUDGET, t("11:00"))
    assert ledger.accrued == 1


def test_a_pool_without_pods_costs_nothing() -> None:
    ledger = accrue(Ledger("JPY", t("00:00"), Decimal(1), t("10:00")), [], BUDGET, t("20:00"))
    assert (ledger.accrued, ledger.rate, ledger.at) == (1, 0, t("20:00"))


def test_a_clock_that_steps_back_charges_nothing_twice() -> None:
    pods = [BilledPod(t("08:00"), SMALL)]
    ledger = accrue(Ledger("JPY", t("00:00"), Decimal(0), t("10:00")), pods, BUDGET, t("11:00"))
    for clock in ("10:15", "10:45", "11:00"):
        ledger = accrue(ledger, pods, BUDGET, t(clock))
        assert ledger.accrued == SMALL_HOUR
    assert accrue(ledger, pods, BUDGET, t("12:00")).accrued == 2 * SMALL_HOUR


def test_the_rate_follows_the_pods_even_while_the_clock_stands() -> None:
    ledger = Ledger("JPY", t("00:00"), Decimal(0), t("10:00"))
    pods = [BilledPod(t("08:00"), SMALL)] * 3
    assert accrue(ledger, pods, BUDGET, t("10:00")).rate == 3 * SMALL_HOUR


def test_another_currency_begins_a_new_ledger() -> None:
    ledger = Ledger("JPY", t("00:00"), Decimal(100), t("10:00"))
    dollars = replace(BUDGET, currency="USD")
    assert accrue(ledger, [], dollars, t("11:00")) == Ledger(
        "USD", t("11:00"), Decimal(0), t("11:00")
    )


PODS = st.lists(
    st.builds(
        lambda start, cpu, memory: BilledPod(
            t("10:00") + start * SECOND, {"cpu": Decimal(cpu) / 1000, "memory": Decimal(memory)}
        ),
        st.integers(-3600, 7200),
        st.integers(0, 64_000),
        st.integers(0, 2**38),
    ),
    max_size=5,
)
ALMOST = Decimal("1e-12")  # seconds are floats: no finer than their rounding


@examples(100)
@given(PODS, st.lists(st.integers(0, 3_600_000), max_size=20))
def test_any_split_of_the_time_gives_the_same_sum(pods: list[BilledPod], looks: list[int]) -> None:
    begin = Ledger("JPY", t("00:00"), Decimal(7), t("10:00"))
    at_once = accrue(begin, pods, BUDGET, t("11:00"))
    split = begin
    for milliseconds in sorted(looks):
        split = accrue(split, pods, BUDGET, t("10:00") + timedelta(milliseconds=milliseconds))
    split = accrue(split, pods, BUDGET, t("11:00"))
    assert abs(split.accrued - at_once.accrued) < ALMOST * (1 + at_once.accrued)


@examples(100)
@given(PODS, st.lists(st.integers(-3600, 7200), max_size=20))
def test_a_clock_that_jumps_about_never_charges_less_than_nothing_or_more_than_the_time_passed(
    pods: list[BilledPod], clock: list[int]
) -> None:
    ledger = begin = Ledger("JPY", t("00:00"), Decimal(0), t("10:00"))
    for seconds in clock:
        before = ledger
        ledger = accrue(ledger, pods, BUDGET, t("10:00") + seconds * SECOND)
        assert ledger.accrued >= before.accrued
        assert ledger.at is not None
        assert before.at is not None
        assert ledger.at >= before.at
    if clock and max(clock) > 0:
        straight = accrue(begin, pods, BUDGET, t("10:00") + max(clock) * SECOND)
        assert abs(ledger.accrued - straight.accrued) < ALMOST * (1 + straight.accrued)
