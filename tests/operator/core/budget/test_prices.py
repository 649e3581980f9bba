"""What one pod costs an hour: quantities, requests as the scheduler counts them, prices."""

from decimal import Decimal

import pytest
from rows import each

from kotatsu_operator.core.budget.prices import (
    hourly,
    parse_table,
    pod_requests,
)
from kotatsu_operator.core.formats import parse_quantity
from kotatsu_operator.core.pool.parse import SpecError
from kotatsu_operator.core.pool.spec import NO_PRICES, Prices

GIB = Decimal(2**30)
PRICES = Prices("JPY", {"cpu": Decimal("6.5"), "memory": Decimal("0.7")})
SMALL = {"cpu": Decimal("0.5"), "memory": 2 * GIB}
SMALL_HOUR = Decimal("4.65")  # 0.5 x 6.5 + 2 x 0.7


# --- quantities ---


@each(
    "text, value",
    [
        ("0", 0),
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
    assert hourly(SMALL, PRICES) == SMALL_HOUR


@each(
    "requests, price",
    [({}, 0), ({"cpu": Decimal(2)}, 13), ({"nvidia.com/gpu": Decimal(1)}, 0)],
)
def test_what_is_not_requested_or_has_no_price_costs_nothing(requests: dict, price: int) -> None:
    assert hourly(requests, PRICES) == price


# --- requests ---


def wants(**requests: str) -> dict:
    """A container that requests this much."""
    return {"resources": {"requests": requests}}


def sidecar(**requests: str) -> dict:
    return wants(**requests) | {"restartPolicy": "Always"}


@each(
    "spec, cpu",
    [
        ({"containers": [wants(cpu="1"), wants(cpu="500m"), {}]}, "1.5"),
        ({"containers": [wants(cpu="1")], "initContainers": [wants(cpu="500m")]}, "1"),
        ({"containers": [wants(cpu="1")], "initContainers": [wants(cpu="8")]}, "8"),
        ({"containers": [wants(cpu="1")], "initContainers": [sidecar(cpu="2")]}, "3"),
        (
            {
                "containers": [wants(cpu="1")],
                "initContainers": [sidecar(cpu="2"), wants(cpu="8"), sidecar(cpu="1")],
            },
            "10",
        ),
        (
            {
                "containers": [wants(cpu="1")],
                "initContainers": [wants(cpu="3"), sidecar(cpu="2"), sidecar(cpu="1")],
            },
            "4",
        ),
        ({"containers": [wants(cpu="1")], "overhead": {"cpu": "250m"}}, "1.25"),
        (
            {
                "containers": [wants(cpu="1")],
                "initContainers": [wants(cpu="8")],
                "overhead": {"cpu": "250m"},
            },
            "8.25",
        ),
        ({"containers": [wants(cpu="1")], "resources": {"requests": {"cpu": "4"}}}, "4"),
        ({"containers": [{"resources": {"limits": {"cpu": "1"}}}]}, "1"),
        ({"containers": [wants(cpu="1")], "resources": {"limits": {"cpu": "4"}}}, "1"),
        ({}, "0"),
    ],
)
def test_a_pod_requests_what_the_scheduler_reserves(spec: dict, cpu: str) -> None:
    assert pod_requests(spec).get("cpu", 0) == Decimal(cpu)


def test_each_resource_is_counted_for_itself() -> None:
    spec = {
        "containers": [wants(**{"cpu": "2", "memory": "1Gi", "nvidia.com/gpu": "1"})],
        "initContainers": [wants(cpu="1", memory="4Gi")],
        "overhead": {"memory": "1Gi"},
    }
    assert pod_requests(spec) == {"cpu": 2, "memory": 5 * GIB, "nvidia.com/gpu": 1}


# --- resizes ---


def told(allocated: str, actual: str, name: str = "app") -> dict:
    """The status of a container with what the kubelet has allocated and what is in effect."""
    return {
        "name": name,
        "allocatedResources": {"cpu": allocated},
        "resources": {"requests": {"cpu": actual}},
    }


def deferred(reason: str) -> dict:
    return {"type": "PodResizePending", "status": "True", "reason": reason}


@each("asked, status, cpu",
    [
        ("1", {}, "1"),
        ("1", {"containerStatuses": [told("1", "1")]}, "1"),
        ("5m", {"containerStatuses": [told("1", "1")]}, "1"),
        ("5m", {"containerStatuses": [told("5m", "1")]}, "1"),
        ("5m", {"containerStatuses": [told("5m", "5m")]}, "0.005"),
        ("1", {"containerStatuses": [told("5m", "5m")], "conditions": [deferred("Deferred")]}, "1"),
        (
            "1",
            {"containerStatuses": [told("5m", "5m")], "conditions": [deferred("Infeasible")]},
            "0.005",
        ),
        ("5m", {"containerStatuses": [told("1", "1", name="other")]}, "0.005"),
    ],
)  # fmt: skip
def test_a_pod_that_is_resized_reserves_the_most_of_what_it_asks_for_and_has(
    asked: str, status: dict, cpu: str
) -> None:
    spec = {"containers": [{"name": "app", **wants(cpu=asked)}]}
    assert pod_requests(spec, status) == {"cpu": Decimal(cpu)}


def test_the_sidecars_of_a_pod_are_resized_as_its_containers() -> None:
    spec = {
        "containers": [{"name": "app", **wants(cpu="1", memory="1Gi")}],
        "initContainers": [{"name": "proxy", **sidecar(cpu="5m")}],
    }
    status = {"initContainerStatuses": [told("2", "2", name="proxy")]}
    assert pod_requests(spec, status) == {"cpu": 3, "memory": GIB}


def test_other_resources_have_prices_too() -> None:
    prices = Prices("JPY", {"nvidia.com/gpu": Decimal(110), "cpu": Decimal("6.5")})
    requests = pod_requests({"containers": [wants(**{"nvidia.com/gpu": "2", "cpu": "1"})]})
    assert hourly(requests, prices) == Decimal("226.5")


# --- prices ---

TABLE = parse_table(
    {
        "currency": "JPY",
        "cpuHour": "6.5",
        "memoryGiBHour": "0.7",
        "extended": {"nvidia.com/gpu": "110"},
    }
)


def test_a_table_has_a_currency_and_a_price_for_each_resource() -> None:
    assert TABLE.currency == "JPY"
    assert TABLE.per_hour == {
        "cpu": Decimal("6.5"),
        "memory": Decimal("0.7"),
        "nvidia.com/gpu": Decimal(110),
    }


def test_without_any_price_there_is_no_currency_and_no_cost() -> None:
    assert parse_table({"currency": "USD"}) == NO_PRICES


def test_no_table_is_no_prices() -> None:
    assert parse_table({}) == NO_PRICES == Prices()


@each(
    "raw, named",
    [
        ({"cpuHour": "1"}, "prices.currency"),
        ({"currency": "yen", "cpuHour": "1"}, "'yen'"),
        ({"currency": "円円円", "cpuHour": "1"}, "ISO 4217"),
        ({"currency": 7, "cpuHour": "1"}, "prices.currency"),
        ({"currency": "JPY", "cpuHour": "much"}, "prices.cpuHour"),
        ({"currency": "JPY", "cpuHour": "-1"}, "prices.cpuHour"),
        ({"currency": "JPY", "extended": {"nvidia.com/gpu": "x"}}, "nvidia.com/gpu"),
        ({"currency": "JPY", "gpuHour": "1"}, "gpuHour"),
    ],
)
def test_a_wrong_table_is_refused_with_its_place(raw: dict, named: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_table(raw)
    assert named in str(caught.value)
