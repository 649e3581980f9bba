"""kubectl demo-mode cost: figures against arithmetic by hand."""

from decimal import Decimal

import pytest
from plugin.kit import NOW, PITCH, costing, pool
from rows import each

from kotatsu_demo_mode.cost import LambdaPrice, figures, gb_seconds, record, text
from kotatsu_demo_mode.words import amount

SPENT = {"cost": {"currency": "JPY", "accrued": "12.5", "periodStart": "2026-10-31T15:00:00Z"}}
USD = LambdaPrice(Decimal("0.0000041667"), Decimal(3008), "USD")


def test_a_hundred_instances_forgotten_for_twelve_hours_as_it_began():
    total = gb_seconds(100, Decimal(3008), Decimal(12 * 3600))
    assert total == 12_690_000
    assert round(total * USD.gb_second, 2) == Decimal("52.88")


def test_provisioned_concurrency_is_billed_in_whole_five_minutes():
    assert gb_seconds(1, Decimal(1024), Decimal(1)) == 300
    assert gb_seconds(1, Decimal(1024), Decimal(300)) == 300
    assert gb_seconds(1, Decimal(1024), Decimal(301)) == 600
    assert gb_seconds(0, Decimal(1024), Decimal(301)) == 0


def test_the_operators_own_forecast_is_preferred():
    status = costing(SPENT["cost"] | {"forecast": "99"}, periodEnd="2026-11-30T15:00:00Z")
    assert figures(pool(status=status, windows=[PITCH]), NOW).forecast == 99


def test_the_figures_for_people():
    made = pool(status=SPENT, windows=[PITCH], budget={"limit": "500"})
    assert text(figures(made, NOW, USD)) == [
        "voice",
        "  spent since Sun 2026-11-01 00:00                                    12.50 JPY of 500.00",
        "  forecast until Tue 2026-12-01 00:00 Asia/Tokyo                      31.11 JPY",
        "  5 pods left on for a month                                          6,730 JPY",
        "  the coming windows as Lambda provisioned concurrency, 110,156 GB-s  0.46 USD",
        "  its largest window left on for a month there                        160.83 USD",
    ]


def test_the_figures_for_programs():
    found = record(figures(pool(status=SPENT, windows=[PITCH]), NOW, USD))
    assert found["spent"] == 12.5
    assert found["since"] == "2026-10-31T15:00:00Z"
    assert found["periodEnd"] == "2026-11-30T15:00:00Z"
    assert found["monthLeftOn"] == pytest.approx(6729.69, abs=0.01)
    assert found["lambda"]["currency"] == "USD"
    assert found["lambda"]["monthLeftOn"] == pytest.approx(
        5 * 3008 / 1024 * 730 * 3600 * 0.0000041667
    )


def test_without_prices_it_says_what_to_set():
    lines = text(figures(pool(priced=False, windows=[PITCH]), NOW))
    assert lines[-1].startswith("  (no price is known: set the chart value prices, or wait ")
    assert lines[1].endswith(" -")


@each(
    "value, shown",
    [
        ("6729.6875", "6,730"),
        ("18.4375", "18.44"),
        ("0.1536", "0.15"),
        ("0.0052", "0.0052"),
        ("0", "0.00"),
    ],
)
def test_amounts_have_as_many_digits_as_they_deserve(value: str, shown: str):
    assert amount(Decimal(value)) == shown
    assert amount(Decimal(value), "JPY") == f"{shown} JPY"


def test_a_pool_with_parked_pods_has_the_three_prices_of_a_month():
    """Warm and parked; asleep it costs nothing."""
    f = figures(pool(windows=[PITCH], parkedFor="1h"), NOW)
    assert (f.month_left_on, f.month_parked) == (
        730 * 5 * Decimal("1.84375"),
        730 * 5 * Decimal("0.25125"),
    )
    assert "  5 pods parked for a month                       917.06 JPY" in text(f)
    assert record(f)["monthParked"] == 917.0625
