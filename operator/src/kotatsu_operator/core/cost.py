"""What warmth costs: the ledger of one pool.

A pod costs what it *requests*, from the moment it is scheduled until it is gone, whether or not it
is Ready: that is what a node autoscaler has to keep a machine for. Prices are inputs (per core-hour
and GiB-hour, as in a cloud's price list), never constants here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from .spec import Budget, Prices

_GIB = Decimal(2**30)
_HOUR = Decimal(3600)
_SUFFIX = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12),
    "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
    "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip


@dataclass(frozen=True)
class BilledPod:
    """A pod as the ledger sees it: when it was scheduled and what it requests (base units)."""

    scheduled_at: datetime
    requests: Mapping[str, Decimal]


@dataclass(frozen=True)
class Ledger:
    """Money spent since `period_start`, complete up to `at`."""

    currency: str = ""
    period_start: datetime | None = None
    accrued: Decimal = Decimal(0)
    at: datetime | None = None
    rate: Decimal = Decimal(0)
    """Cost per hour of the pods there are now."""


def parse_quantity(text: str) -> Decimal:
    """Read a Kubernetes quantity (`500m`, `3008Mi`, `2`) into base units."""
    for length in (2, 1):
        scale = _SUFFIX.get(text[-length:])
        if scale is not None and len(text) > length:
            return Decimal(text[:-length]) * scale
    return Decimal(text)


def requested(pod: Mapping[str, Any]) -> dict[str, Decimal]:
    """What the pods of a pod spec (or of a template's) request, in base units.

    A sidecar is an init container that stays: it counts like any other. Where only a limit is
    given, the API server takes it for the request too.
    """
    sidecars = [c for c in pod.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    total: dict[str, Decimal] = {}
    for container in [*(pod.get("containers") or ()), *sidecars]:
        resources = container.get("resources") or {}
        amounts = (resources.get("limits") or {}) | (resources.get("requests") or {})
        for resource, text in amounts.items():
            total[resource] = total.get(resource, Decimal(0)) + parse_quantity(str(text))
    return total


def hourly(requests: Mapping[str, Decimal], prices: Prices) -> Decimal:
    """Price of one hour of a pod that requests this much."""
    total = Decimal(0)
    for resource, price in prices.per_hour.items():
        amount = requests.get(resource, Decimal(0))
        total += price * (amount / _GIB if resource == "memory" else amount)
    return total


def accrue(ledger: Ledger, pods: Iterable[BilledPod], budget: Budget, now: datetime) -> Ledger:
    """Bring the ledger up to `now`.

    Each pod adds its hourly price for the time since the ledger's last entry, or since it was
    scheduled when that is later: pods that came while nobody watched (an operator restart) are
    charged from their start, once. A pod that has just gone is charged up to the previous entry,
    which the operator makes on every pod event and at least once a minute.
    """
    known = list(pods)
    rate = sum((hourly(p.requests, budget.prices) for p in known), Decimal(0))
    if ledger.at is None or ledger.currency != budget.currency:
        return Ledger(budget.currency, now, Decimal(0), now, rate)
    if now <= ledger.at:
        # The clock stepped back: nothing is charged twice.
        return replace(ledger, rate=rate)
    spent = Decimal(0)
    for pod in known:
        begin = max(ledger.at, pod.scheduled_at)
        seconds = Decimal(max(0.0, (now - begin).total_seconds()))
        spent += hourly(pod.requests, budget.prices) * seconds / _HOUR
    return replace(ledger, accrued=ledger.accrued + spent, at=now, rate=rate)
