"""The cost of one pod per hour: its requests times the prices, which are inputs."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from kotatsu_operator.core.formats import parse_quantity, quantity, table, tables, text
from kotatsu_operator.core.objects import INFEASIBLE, is_sidecar, resize_pending
from kotatsu_operator.core.pool.parse import SpecError, positive
from kotatsu_operator.core.pool.spec import NO_PRICES, Prices

_GIB = Decimal(2**30)
Requests = dict[str, Decimal]
"""Amounts in base units (cores, bytes, pieces) by resource name."""


def pod_requests(spec: Mapping[str, Any], status: Mapping[str, Any] | None = None) -> Requests:
    """The resources that the scheduler reserves for a pod with this PodSpec.

    The higher of two amounts: all containers and sidecars together, or the largest init container
    plus the sidecars started before it. A request of the pod replaces it; RuntimeClass overhead is
    added. With the status of an existing pod, also while its containers are resized.
    """
    held = _held(spec, status or {})
    total = _sum(_reserved(c, held) for c in spec.get("containers") or ())
    sidecars: Requests = {}
    peak: Requests = {}
    for container in spec.get("initContainers") or ():
        wants = _reserved(container, held)
        if is_sidecar(container):
            total, sidecars = _sum((total, wants)), _sum((sidecars, wants))
            wants = sidecars
        else:
            wants = _sum((sidecars, wants))
        peak = _highest((peak, wants))
    total = _highest((total, peak))
    # Of the pod-level resources only requests count: a pod limit does not become its request if the
    # containers have requests.
    own = _amounts((spec.get("resources") or {}).get("requests"))
    return _sum((total | own, _amounts(spec.get("overhead"))))


def _held(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Mapping[str, Requests]:
    """What is reserved for the containers that are being resized, by name.

    As PodRequests of k8s.io/component-helpers/resource: the highest of what the spec requests, what
    the kubelet has allocated, and what is in effect. An infeasible request does not count.
    """
    kinds = ("containerStatuses", "initContainerStatuses")
    by_name = {c.get("name"): c for kind in kinds for c in status.get(kind) or ()}
    held: dict[str, Requests] = {}
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        name = container.get("name", "")
        asked = (container.get("resources") or {}).get("requests")
        allocated = by_name.get(name, {}).get("allocatedResources")
        actual = (by_name.get(name, {}).get("resources") or {}).get("requests")
        known = [amounts for amounts in (allocated, actual) if amounts is not None]
        if all(amounts == asked for amounts in known):
            continue  # no resize, as nearly always
        counted = known if resize_pending(status)[0] == INFEASIBLE else [asked, *known]
        held[name] = _highest(map(_amounts, counted))
    return held


def _highest(many: Iterable[Requests]) -> Requests:
    highest: Requests = {}
    for amounts in many:
        for name, amount in amounts.items():
            highest[name] = max(highest.get(name, amount), amount)
    return highest


def _reserved(container: Mapping[str, Any], held: Mapping[str, Requests]) -> Requests:
    found = held.get(container.get("name", ""))
    return _requested(container) if found is None else found


def requesting(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parts of a PodSpec that its requests depend on, and whether they can be changed.

    Only what is well-formed: the CRD of a further kind need not say what its template may have.
    """
    kept = {
        "resources": _resources(spec),
        "overhead": _quantities(spec.get("overhead")),
        "containers": [_container(c) for c in tables(spec.get("containers"))],
        "initContainers": [_container(c) for c in tables(spec.get("initContainers"))],
    }
    return {name: part for name, part in kept.items() if part}


def _container(container: Mapping[str, Any]) -> Mapping[str, Any]:
    kept = {
        "name": text(container.get("name")),
        "restartPolicy": text(container.get("restartPolicy")),
        "resources": _resources(container),
        "resizePolicy": list(tables(container.get("resizePolicy"))),
    }
    return {name: part for name, part in kept.items() if part}


def _resources(part: Mapping[str, Any]) -> Mapping[str, Mapping[str, str]]:
    given = table(part.get("resources"))
    kept = {kind: _quantities(given.get(kind)) for kind in ("requests", "limits")}
    return {kind: amounts for kind, amounts in kept.items() if amounts}


def _quantities(raw: Any) -> Mapping[str, str]:
    given = {name: str(value) for name, value in table(raw).items()}
    return {name: text for name, text in given.items() if quantity(text) is not None}


def _requested(part: Mapping[str, Any]) -> Requests:
    # The API server copies a limit to a missing request. A template without pods has not been
    # through that yet.
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
    """The price of one hour of a pod with these requests."""
    total = Decimal(0)
    for resource, price in prices.per_hour.items():
        amount = requests.get(resource, Decimal(0))
        total += price * (amount / _GIB if resource == "memory" else amount)
    return total


_PRICED = {"cpuHour": "cpu", "memoryGiBHour": "memory"}
"""The names in the chart's price table, and the resource of each price."""


def parse_table(raw: Mapping[str, Any]) -> Prices:
    """Parse `{currency, cpuHour, memoryGiBHour, extended}`. Raises SpecError with a sentence."""
    more, currency = raw.get("extended") or {}, raw.get("currency") or ""
    if not isinstance(more, Mapping):
        raise SpecError("prices.extended: is not a table of prices by resource name")
    prices = {name: positive(price, f"prices.extended.{name}") for name, price in more.items()}
    for key, price in raw.items():
        if key in _PRICED:
            prices[_PRICED[key]] = positive(price, f"prices.{key}")
        elif key not in ("extended", "currency"):
            known = ", ".join([*_PRICED, "extended"])
            raise SpecError(f"prices.{key}: is not one of {known}")
    is_code = isinstance(currency, str) and len(currency) == 3 and currency.isalpha()
    if (prices or currency) and not (is_code and currency.isascii() and currency.isupper()):
        raise SpecError(f"prices.currency: {currency!r} is not an ISO 4217 code like JPY")
    return Prices(currency, prices) if prices else NO_PRICES
