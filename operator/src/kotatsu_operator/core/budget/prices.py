"""What one pod costs an hour: what it requests, times the prices given.

Prices are inputs (per core-hour, per GiB-hour and per unit of any other resource, as in a cloud's
price list), never constants here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from kotatsu_operator.core.pool.spec import Budget, Prices, SpecError, parse_prices

_GIB = Decimal(2**30)
_SUFFIX = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12),
    "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
    "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip

Requests = dict[str, Decimal]
"""Amounts in base units (cores, bytes, pieces) by resource name."""


def parse_quantity(text: str) -> Decimal:
    """Read a Kubernetes quantity (`500m`, `3008Mi`, `2`) into base units."""
    for length in (2, 1):
        scale = _SUFFIX.get(text[-length:])
        if scale is not None and len(text) > length:
            return Decimal(text[:-length]) * scale
    return Decimal(text)


def pod_requests(spec: Mapping[str, Any]) -> Requests:
    """What the scheduler reserves for a pod with this PodSpec.

    The containers and sidecars together, or what an init container needs beside the sidecars that
    were started before it, whichever is more; where the pod itself requests something, that counts
    instead; and the overhead of its RuntimeClass.
    """
    total = _sum(_requested(c) for c in spec.get("containers") or ())
    sidecars: Requests = {}
    peak: Requests = {}
    for container in spec.get("initContainers") or ():
        wants = _requested(container)
        if is_sidecar(container):
            total, sidecars = _sum((total, wants)), _sum((sidecars, wants))
            wants = sidecars
        else:
            wants = _sum((sidecars, wants))
        for name, amount in wants.items():
            peak[name] = max(peak.get(name, amount), amount)
    for name, amount in peak.items():
        total[name] = max(total.get(name, amount), amount)
    # Of the pod itself only a request counts: its limit says nothing where containers request.
    own = _amounts((spec.get("resources") or {}).get("requests"))
    return _sum((total | own, _amounts(spec.get("overhead"))))


def is_sidecar(container: Mapping[str, Any]) -> bool:
    """Whether an init container stays and serves like any other."""
    return bool(container.get("restartPolicy") == "Always")


def _requested(part: Mapping[str, Any]) -> Requests:
    # Where only a limit is given, the API server takes it for the request too; a template that no
    # pod has been made of yet still lacks that.
    resources = part.get("resources") or {}
    return _amounts((resources.get("limits") or {}) | (resources.get("requests") or {}))


def _amounts(raw: Mapping[str, Any] | None) -> Requests:
    return {name: parse_quantity(str(text)) for name, text in (raw or {}).items()}


def _sum(parts: Iterable[Requests]) -> Requests:
    total: Requests = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = total.get(name, Decimal(0)) + amount
    return total


def hourly(requests: Mapping[str, Decimal], prices: Prices) -> Decimal:
    """Price of one hour of a pod that requests this much."""
    total = Decimal(0)
    for resource, price in prices.per_hour.items():
        amount = requests.get(resource, Decimal(0))
        total += price * (amount / _GIB if resource == "memory" else amount)
    return total


@dataclass(frozen=True)
class PriceTable:
    """The prices an operator was given for all its pools; empty by default."""

    currency: str = ""
    prices: Prices = field(default_factory=Prices)


NO_PRICES = PriceTable()
"""Of an operator that was given none."""


def parse_table(raw: Mapping[str, Any]) -> PriceTable:
    """Read `{currency, cpuHour, memoryGiBHour, extended}`. Raises SpecError with a sentence."""
    given = {key: value for key, value in raw.items() if key != "currency"}
    prices = parse_prices(given, "prices")
    currency = raw.get("currency") or ""
    is_code = isinstance(currency, str) and len(currency) == 3 and currency.isalpha()
    if (prices or currency) and not (is_code and currency.isascii() and currency.isupper()):
        raise SpecError(f"prices.currency: {currency!r} is not an ISO 4217 code like JPY")
    return PriceTable(currency, Prices(prices))


def priced(budget: Budget, table: PriceTable) -> Budget:
    """A pool's budget with the prices in force: its own, and the table's where it names none.

    A table in another currency gives nothing: amounts of two currencies are never added. Without
    any price there is no currency either, and with it no cost.
    """
    currency = budget.currency or table.currency
    per_hour = dict(budget.prices.per_hour)
    if currency == table.currency:
        per_hour = {**table.prices.per_hour, **per_hour}
    if not per_hour:
        currency = ""
    return replace(budget, currency=currency, prices=Prices(per_hour))
