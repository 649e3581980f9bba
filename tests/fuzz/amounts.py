"""Quantities, prices, and what pods tell of themselves."""

from decimal import Decimal
from typing import Any

from fuzz.kit import NOW, WORDS, Target, attempt, mixed
from hypothesis import strategies as st

from kotatsu_operator.controller.pages import clock_skew
from kotatsu_operator.core.budget.prices import hourly, parse_table
from kotatsu_operator.core.exposition import (
    GAUGES,
    Samples,
    count_of,
    find_gauge,
    samples_of,
    unix_time,
)
from kotatsu_operator.core.formats import parse_quantity
from kotatsu_operator.core.pool.parse import SpecError

_DIGITS = st.from_regex(r"[+-]?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})", fullmatch=True)
_SUFFIXES = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
QUANTITIES = st.builds(
    str.__add__,
    _DIGITS,
    st.one_of(st.sampled_from(_SUFFIXES), st.from_regex(r"[eE][+-]?[0-9]{1,3}", fullmatch=True)),
)


def quantity(text: str) -> None:
    """Every quantity that Kubernetes knows is read into a number."""
    assert parse_quantity(text).is_finite()


_ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), WORDS, st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=5), inner)
    ),
    max_leaves=5,
)
_TABLES = st.dictionaries(
    st.sampled_from(["currency", "cpuHour", "memoryGiBHour", "extended", "gpuHour"]),
    st.one_of(_ANYTHING, st.dictionaries(st.text(max_size=5), _ANYTHING, max_size=2)),
    max_size=4,
)


def price_table(given: Any) -> None:
    """A table is refused in a sentence, or gives every pod an hourly price that can be written."""
    table, why = attempt(lambda: parse_table(given), SpecError)
    if table is None:
        assert why.startswith("prices")
        return
    price = hourly({"cpu": Decimal("0.25"), "memory": Decimal(2**40)}, table)
    for _ in range(3):
        price = price * 24 * 366 * 10_000
        assert f"{price:.6f}"


HELD = "kotatsu_activator_held"
_PAGES = mixed(
    HELD, "{", "}", 'namespace="demo",', 'name="voice"', " ", "\n", "1", "NaN", "+Inf", "1e999",
    "# TYPE ", "# HELP ", " gauge\n", " histogram\n", "_total", "_bucket", '"', "\\", ",", "=",
    f'{HELD}{{namespace="demo",name="voice"}} 3\n', "1764061200000", " # {} 1", most=14,
)  # fmt: skip


def metrics_page(text: str) -> None:
    """A page of a pod is read, or is none (ValueError): any other error would stop its pool."""
    try:
        found = [sample[1:] for sample in samples_of(text, (HELD,)) if sample is not None]
    except ValueError:
        return
    count = count_of(found)
    assert count is None or count >= 0
    for _, number in found:
        unix_time(number)


_GAUGES = [name for gauge in GAUGES for name in gauge.names]
_GAUGE_PAGES = mixed(
    *_GAUGES, "{", "}", 'envoy_http_conn_manager_prefix="admin"', 'a="b",', " ", "\n", "1", "NaN",
    "-Inf", "1e999", "-5", "_", "# TYPE ", f"{_GAUGES[0]} 3\n", f"{_GAUGES[1]} 1\n", most=14,
)  # fmt: skip


def gauge_page(text: str) -> None:
    """What a page without a field tells of requests in flight is a number, or why it is none."""
    samples: dict[str, Samples] = {}
    try:
        for sample in samples_of(text, tuple(_GAUGES)):
            if sample is not None:
                samples.setdefault(sample[0], []).append(sample[1:])
    except ValueError:
        return
    found = find_gauge(samples, 9090, {8080})
    if isinstance(found, int):
        assert found >= 0


def date_header(text: str) -> None:
    """Whatever a pod says the time is, nothing breaks over it."""
    clock_skew(text, NOW)


_DATES = mixed(
    "Wed, ", "25 ", "Nov ", "2026 ", "09:00:00 ", "GMT", "+9999", "-", ":", "0", "9" * 9
)  # fmt: skip

TARGETS = [
    Target("quantity", QUANTITIES, quantity, is_text=True),
    Target("price_table", _TABLES, price_table),
    Target("metrics_page", _PAGES, metrics_page, is_door=True, is_text=True),
    Target("gauge_page", _GAUGE_PAGES, gauge_page, is_door=True, is_text=True),
    Target("date_header", _DATES, date_header, is_door=True, is_text=True),
]
