"""The price of an hour in `make bench`: the table of a page, and the requests of a parked pod."""

from decimal import Decimal

import hourly


def test_the_prices_are_those_that_the_page_on_cost_shows():
    table = hourly.price_table()
    assert table.currency == "JPY"
    assert table.per_hour["cpu"] == Decimal("6.5")


def test_a_parked_pod_keeps_its_memory_and_requests_at_most_5m_of_cpu():
    requests = {"cpu": Decimal("0.25"), "memory": Decimal(2**28)}
    assert hourly.reduced(requests) == requests | {"cpu": Decimal("0.005")}


def test_a_pod_that_requests_less_than_a_parked_one_requests_no_more_than_before():
    assert hourly.reduced({"cpu": Decimal("0.001")}) == {"cpu": Decimal("0.001")}
