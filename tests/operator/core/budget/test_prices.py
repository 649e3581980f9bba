"""What one pod costs an hour: quantities, requests as the scheduler counts them, prices."""

from decimal import Decimal

import pytest
from rows import each

from kotatsu_operator.core.budget.prices import hourly, parse_table, pod_requests
from kotatsu_operator.core.formats import parse_quantity
from kotatsu_operator.core.pool.parse import SpecError
from kotatsu_operator.core.pool.spec import NO_PRICES, Prices

GIB = Decimal(2**30)
TABLE = parse_table(
    {
        "currency": "JPY",
        "cpuHour": "6.5",
        "memoryGiBHour": "0.7",
        "extended": {"nvidia.com/gpu": "110"},
    }
)


@each("text, value", [
    ("0", 0), ("2", 2), ("500m", Decimal("0.5")), ("0.5", Decimal("0.5")),
    ("100n", Decimal("1e-7")), ("250u", Decimal("0.00025")), ("3008Mi", 3008 * 2**20),
    ("1.5Gi", 3 * 2**29), ("64Ki", 65536), ("2Ti", 2**41), ("128M", 128_000_000),
    ("1G", 10**9), ("5k", 5000), ("1e3", 1000), ("12E", 12 * 10**18), ("2E3", 2000),
    ("1Ei", 2**60),
])  # fmt: skip
def test_a_quantity_is_read_in_base_units(text, value):
    assert parse_quantity(text) == value


@each("requests, price", [
    ({"cpu": Decimal("0.5"), "memory": 2 * GIB}, Decimal("4.65")),  # 0.5 x 6.5 + 2 x 0.7
    ({"cpu": Decimal(2), "nvidia.com/gpu": Decimal(1)}, 123),
    ({}, 0),
    ({"example.com/fpga": Decimal(1)}, 0),  # has no price
])  # fmt: skip
def test_a_pod_costs_what_it_requests_at_the_prices_of_an_hour(requests, price):
    assert hourly(requests, TABLE) == price


def wants(**requests: str) -> dict:
    """A container that requests this much."""
    return {"resources": {"requests": requests}}


def sidecar(**requests: str) -> dict:
    return wants(**requests) | {"restartPolicy": "Always"}


ONE = {"containers": [wants(cpu="1")]}


def first(*containers: dict) -> dict:
    """A pod of one core, with init containers."""
    return ONE | {"initContainers": list(containers)}


@each("spec, cpu", [
    ({"containers": [wants(cpu="1"), wants(cpu="500m"), {}]}, "1.5"),
    (first(wants(cpu="500m")), "1"),
    (first(wants(cpu="8")), "8"),
    (first(sidecar(cpu="2")), "3"),
    (first(sidecar(cpu="2"), wants(cpu="8"), sidecar(cpu="1")), "10"),
    (first(wants(cpu="3"), sidecar(cpu="2"), sidecar(cpu="1")), "4"),
    (ONE | {"overhead": {"cpu": "250m"}}, "1.25"),
    (first(wants(cpu="8")) | {"overhead": {"cpu": "250m"}}, "8.25"),
    (ONE | {"resources": {"requests": {"cpu": "4"}}}, "4"),
    ({"containers": [{"resources": {"limits": {"cpu": "1"}}}]}, "1"),
    (ONE | {"resources": {"limits": {"cpu": "4"}}}, "1"),
    ({}, "0"),
])  # fmt: skip
def test_a_pod_requests_what_the_scheduler_reserves(spec, cpu):
    assert pod_requests(spec).get("cpu", 0) == Decimal(cpu)


def test_each_resource_is_counted_for_itself():
    spec = {
        "containers": [wants(**{"cpu": "2", "memory": "1Gi", "nvidia.com/gpu": "1"})],
        "initContainers": [wants(cpu="1", memory="4Gi")],
        "overhead": {"memory": "1Gi"},
    }
    assert pod_requests(spec) == {"cpu": 2, "memory": 5 * GIB, "nvidia.com/gpu": 1}


def told(allocated: str, actual: str, name: str = "app") -> dict:
    """The status of a container with what the kubelet has allocated and what is in effect."""
    return {
        "name": name,
        "allocatedResources": {"cpu": allocated},
        "resources": {"requests": {"cpu": actual}},
    }


@each("asked, has, pending, cpu", [
    ("1", None, "", "1"),
    ("1", told("1", "1"), "", "1"),
    ("5m", told("1", "1"), "", "1"),
    ("5m", told("5m", "1"), "", "1"),
    ("5m", told("5m", "5m"), "", "0.005"),
    ("1", told("5m", "5m"), "Deferred", "1"),
    ("1", told("5m", "5m"), "Infeasible", "0.005"),
    ("5m", told("1", "1", name="other"), "", "0.005"),
])  # fmt: skip
def test_a_pod_that_is_resized_reserves_the_most_of_what_it_asks_for_and_has(
    asked, has, pending, cpu
):
    spec = {"containers": [{"name": "app", **wants(cpu=asked)}]}
    status: dict = {"containerStatuses": [has]} if has else {}
    if pending:
        status["conditions"] = [{"type": "PodResizePending", "status": "True", "reason": pending}]
    assert pod_requests(spec, status) == {"cpu": Decimal(cpu)}


def test_the_sidecars_of_a_pod_are_resized_as_its_containers():
    spec = {
        "containers": [{"name": "app", **wants(cpu="1", memory="1Gi")}],
        "initContainers": [{"name": "proxy", **sidecar(cpu="5m")}],
    }
    status = {"initContainerStatuses": [told("2", "2", name="proxy")]}
    assert pod_requests(spec, status) == {"cpu": 3, "memory": GIB}


@each("raw", [{}, {"currency": "USD"}])
def test_without_any_price_there_is_no_currency_and_no_cost(raw):
    assert parse_table(raw) == NO_PRICES == Prices()


@each("raw, named", [
    ({"cpuHour": "1"}, "prices.currency"),
    ({"currency": "yen", "cpuHour": "1"}, "'yen'"),
    ({"currency": "円円円", "cpuHour": "1"}, "ISO 4217"),
    ({"currency": 7, "cpuHour": "1"}, "prices.currency"),
    ({"currency": "JPY", "cpuHour": "much"}, "prices.cpuHour"),
    ({"currency": "JPY", "cpuHour": "-1"}, "prices.cpuHour"),
    ({"currency": "JPY", "extended": {"nvidia.com/gpu": "x"}}, "nvidia.com/gpu"),
    ({"currency": "JPY", "gpuHour": "1"}, "gpuHour"),
])  # fmt: skip
def test_a_wrong_table_is_refused_with_its_place(raw, named):
    with pytest.raises(SpecError) as caught:
        parse_table(raw)
    assert named in str(caught.value)
