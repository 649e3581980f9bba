"""The fields of a WarmPool that follow from what was found, each with the reason."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from kotatsu_demo_mode.operators import settings
from kotatsu_operator.core.budget.prices import parse_table
from kotatsu_operator.core.formats import conditions_of, format_duration, instant, table
from kotatsu_operator.core.plan.lead import enough_hold
from kotatsu_operator.core.pool.parse import SpecError
from kotatsu_operator.core.pool.spec import Metrics, PoolSpec, RouteMode, Scaling

from .found import Case, Found
from .gauges import gauge_in, pod_of
from .installation import PRICES, responsible


@dataclass(frozen=True)
class Filled:
    """A field of the spec, its value, and a sentence about it."""

    path: tuple[str, ...]
    value: Any
    why: str


def filled(case: Case, zone: str, most: int) -> list[Filled]:
    """The fields, for windows with `most` pods at most."""
    return [
        *_route(case),
        *_zone(case.found, zone),
        *_scaling(most),
        *_wake(case.found),
        *_budget(case.found),
    ]


def _route(case: Case) -> Iterator[Filled]:
    """The Service, the route, and where the gauge of requests in flight is."""
    spec, raw, of = case.pool.spec, case.pool.raw["spec"], case.found.label
    if spec.target.scales_itself:
        return
    if "service" in raw:
        yield Filled(("service",), spec.service, f"Requests to this Service wake {of}.")
    if spec.route is RouteMode.ALWAYS:
        why = "All connections pass the activator, which counts them."
        yield Filled(("route",), RouteMode.ALWAYS.value, why)
        return
    gauge = None if case.found.pages_unread else gauge_in(case)
    if gauge is None or gauge.value > 0:
        unread = case.found.pages_unread
        why = (
            f"Whether its pods report requests in flight is not known ({unread}): if they do, "
            "`route: Auto` takes the activator out of the way while pods are warm."
            if unread
            else "Its pods report no usable gauge of requests in flight."
        )
        why += (
            " All connections pass the activator, which counts them: the pool adds a term to the "
            f"selector of Service {spec.service}, and removes it when it is deleted."
        )
        yield Filled(("route",), RouteMode.ALWAYS.value, why)
        return
    where = pod_of(case.found)
    why = f"{where[0].upper()}{where[1:]} reports its requests in flight ({gauge.name})."
    yield Filled(("route",), RouteMode.AUTO.value, why)
    if gauge.port != Metrics.port:
        value = int(gauge.port) if gauge.port.isdigit() else gauge.port
        yield Filled(("metrics", "port"), value, "The container port with that gauge.")
    if gauge.path != Metrics.path:
        yield Filled(("metrics", "path"), gauge.path, "The page with that gauge.")


def _zone(found: Found, zone: str) -> Iterator[Filled]:
    used = {str(pool["spec"].get("timeZone", "UTC")) for pool in found.pools.items}
    if zone:
        yield Filled(("timeZone",), zone, "Of the windows' times.")
    elif len(used) == 1:
        yield Filled(("timeZone",), used.pop(), "As in the other WarmPools of this namespace.")
    else:
        yield Filled(("timeZone",), "UTC", "Of the windows' times; --time-zone sets another one.")


def _scaling(most: int) -> Iterator[Filled]:
    if most > Scaling.max_replicas:
        yield Filled(("scaling", "maxReplicas"), most, "As many pods as the largest window.")


_LONGEST = timedelta(minutes=10)


def _wake(found: Found) -> Iterator[Filled]:
    took = start_of(found)
    if took is None or 2 * took <= PoolSpec.hold_timeout:
        return
    yield Filled(
        ("wake", "holdTimeout"),
        format_duration(min(enough_hold(took), _LONGEST)),
        f"Twice the {format_duration(took)} that a pod took from its node to Ready. Proxies in "
        "front must wait longer.",
    )


def start_of(found: Found) -> timedelta | None:
    """The longest time from scheduled to Ready of the pods that have not restarted."""
    took = []
    for pod in found.ready_pods:
        status = table(pod.get("status"))
        conditions = conditions_of(status)
        begin = instant(conditions.get("PodScheduled", {}).get("lastTransitionTime"))
        end = instant(conditions.get("Ready", {}).get("lastTransitionTime"))
        restarted = any(c.get("restartCount") for c in status.get("containerStatuses") or ())
        if begin is not None and end is not None and end >= begin and not restarted:
            took.append(end - begin)
    return max(took, default=None)


_MOST_PRICES = 64 * 2**10
"""Characters of a price table."""


def _budget(found: Found) -> Iterator[Filled]:
    given = settings(responsible(found)).get(PRICES, "")
    try:
        prices = json.loads(given) if 0 < len(given) <= _MOST_PRICES else {}
        read = parse_table(prices) if isinstance(prices, dict) else None
    except (SpecError, ValueError, RecursionError):
        return
    if read is None or not read.prices.per_hour:
        return
    yield Filled(("budget", "currency"), read.currency, "Of the chart's price table.")
    yield Filled(
        ("budget", "prices"),
        {name: value for name, value in prices.items() if name != "currency" and value},
        "The chart's prices, so that `kubectl demo-mode plan -f` shows costs too. Without them "
        "here, the pool follows the chart.",
    )
