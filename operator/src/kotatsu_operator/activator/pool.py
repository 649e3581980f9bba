"""What the activator reads of a WarmPool, and of the ports of its Service. Pure.

A port keeps its identity when the Service is edited. The name may change: a Service with one port
need not name it, and must name it when a second port is added. Clients connect to the number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from kotatsu_operator.core.formats import (
    amount,
    choice,
    conditions_of,
    instant,
    internal,
    is_true,
    lasting,
    seconds_of,
    table,
    text,
)
from kotatsu_operator.core.objects import poolset_of, speaks_first, target_of
from kotatsu_operator.core.pool.memory import Phase, Route, read_warm_ups
from kotatsu_operator.core.pool.route import all_pass, counts_connections
from kotatsu_operator.core.pool.spec import KNATIVE, PLATFORM, OnExhausted, OverrideMode, PoolSpec
from kotatsu_operator.kube.objects import Object, ref

_LONGEST_RETRY = 3600
"""The longest Retry-After, in seconds: the limit may be raised at any time."""

RETRY_SOON, RETRY_LATE = 5, 59
"""Seconds: the Retry-After while a pod starts is within these. Some clients ignore a longer one:
litellm above 60 s, openai-python above 120 s."""


def retry_while_starting(usual: float | None, began: datetime, now: datetime) -> int:
    """Seconds until a client may retry: what is left of a start that usually takes `usual`."""
    if usual is None:
        return RETRY_SOON
    left = usual - (now - began).total_seconds()
    return min(max(ceil(left), RETRY_SOON), RETRY_LATE)


@dataclass(frozen=True)
class SpentBudget:
    """Why and until when requests must not wake a sleeping pool."""

    limit: str
    """The limit and its period, such as `3000 JPY a month`."""
    until: datetime
    warm_until: datetime | None = None
    """The end of a Warm override, which permits a wake despite the spent budget."""

    def forbids_raise(self, now: datetime) -> bool:
        """Whether the scale must not be raised from 0, in any phase: the watch of pools may lag."""
        return now < self.until and (self.warm_until is None or now >= self.warm_until)

    def retry_after(self, phase: Phase, now: datetime) -> int:
        """Seconds until a client may retry; 0 unless the pool sleeps and must not wake."""
        if not (phase.is_asleep and self.forbids_raise(now)):
            return 0
        left = -((now - self.until) // timedelta(seconds=1))  # rounded up
        return min(left, _LONGEST_RETRY)


def spent_budget(spec: Mapping[str, Any], status: Mapping[str, Any]) -> SpentBudget | None:
    """The spent budget in a WarmPool's status; None while the budget permits a wake.

    A limit that was edited since counts as not reached, so that a raised limit needs no operator.
    """
    budget, cost = spec.get("budget") or {}, table(status.get("cost"))
    inner = table(internal(status).get("cost"))
    policy = budget.get("onExhausted", OnExhausted.BLOCK_STARTS)
    limit, until = amount(budget.get("limit")), instant(inner.get("periodEnd"))
    if (
        instant(inner.get("exhaustedAt")) is None
        or limit is None
        or until is None
        or policy == OnExhausted.WARN
    ):
        return None
    if limit != amount(cost.get("limit")):
        return None
    period = text(inner.get("period"), "period").lower()
    return SpentBudget(
        limit=f"{limit} {cost.get('currency', '')} a {period}",
        until=until,
        warm_until=None if policy == OnExhausted.SLEEP else _warm_until(spec, status),
    )


def _warm_until(spec: Mapping[str, Any], status: Mapping[str, Any]) -> datetime | None:
    asked = spec.get("override") or {}
    until = instant(asked.get("until"))
    if asked.get("mode") != OverrideMode.WARM or until is None:
        return None
    known = table(internal(status).get("override"))
    ends = instant(status.get("overrideEndsAt")) if "seenAt" in known else None
    return until if ends is None else min(until, ends)


@dataclass(frozen=True)
class Pool:
    """The activator's view of one WarmPool."""

    name: str
    service: str
    target: str
    """The `ref` of the workload."""
    route: Route
    epoch: int
    phase: Phase
    accepted: bool
    was_accepted: bool
    """Whether it is or was accepted: a pool that is rejected later remains published."""
    activators: str
    """The set of activators to which the operator has assigned it."""
    mine: bool
    """Whether that is the set of this activator."""
    hold_timeout: float
    max_held: int
    """Connections held for it at most; further ones get 503."""
    health_check_paths: frozenset[str]
    connection_idle_timeout: float
    """Seconds after its last byte for which an open connection keeps the pool awake."""
    settle: float
    """Seconds in which a change of endpoints reaches every kube-proxy."""
    page: bool = False
    """Whether browsers get the waiting page."""
    hold_keepalive: float = 0.0
    """Seconds between two comments to a held client that asked for a stream; 0 for none."""
    usual_wake: float | None = None
    """Seconds that the last wake took, or else the last warm-up; None before the first."""
    depends_on: tuple[str, ...] = ()
    """Pools that must answer before this one starts. None of a rejected pool: those of a cycle
    would wait for each other."""
    only_way: bool = False
    """Every connection passes the activator, and the Service selects no pod."""
    counted: bool = False
    """Whether the operator judges the pool by its connections here, because its pods have no gauge
    or route is Activator. Those connections then stay here while the pool is warm."""
    deleted: bool = False
    """The WarmPool is deleted. It stays until its target's pods answer, so that no client is
    rejected."""
    spent: SpentBudget | None = None
    """The spent budget that prevents a wake; None within the budget."""
    poolset: str = ""
    """The WarmPoolSet that made the pool; empty if none did."""

    @property
    def is_going_down(self) -> bool:
        """Whether its pods may end soon, so that new requests wait for their announcement."""
        return self.phase in (Phase.DRAINING, Phase.SLEEPING)

    @property
    def is_announced(self) -> bool:
        """Whether its pods serve and new requests are announced."""
        return self.is_going_down or self.phase is Phase.PARKED


_SETTLE = PLATFORM.route_settle.total_seconds()


def pool_view(
    obj: Object, settle: float = _SETTLE, max_held: int = 1000, activators: str = ""
) -> Pool:
    """Read a WarmPool. A pool without a status is on the native route.

    `settle` and `max_held` are values of the chart, `activators` is the set of this activator.

    Raises nothing for an object that the API server accepts: one invalid pool would end the
    activator of all pools.
    """
    spec, status = obj["spec"], obj.get("status") or {}
    route = status.get("route") or {}
    kind, name = target_of(obj)
    is_ours = kind != KNATIVE  # Knative has its own activator
    is_accepted = is_true(conditions_of(status).get("Accepted"))
    assigned = text(internal(status).get("activators"))
    return Pool(
        name=obj["metadata"]["name"],
        # The accepted Service: a rejected edit does not change the published one.
        service=route.get("service") or spec.get("service") or name,
        target=ref(kind, name),
        route=choice(Route, route.get("target"), Route.NATIVE),
        epoch=int(route.get("epoch", 0)),
        phase=choice(Phase, status.get("phase"), Phase.WARM),
        accepted=is_ours and is_accepted,
        was_accepted=is_ours and (is_accepted or "target" in route),
        activators=assigned,
        mine=assigned == activators,
        hold_timeout=seconds_of(spec.get("holdTimeout"), PoolSpec.hold_timeout.total_seconds()),
        max_held=max_held,
        health_check_paths=frozenset(
            spec.get("healthCheckPaths", ("/healthz", "/livez", "/readyz", "/metrics"))
        ),
        connection_idle_timeout=seconds_of(spec.get("connectionIdleTimeout"), 600.0),
        settle=settle,
        page=spec.get("waitingPage") is True,
        hold_keepalive=seconds_of(spec.get("holdKeepalive"), 0.0),
        usual_wake=_usual_wake(status),
        depends_on=tuple(spec.get("dependsOn") or ()) if is_accepted else (),
        spent=spent_budget(spec, status),
        poolset=poolset_of(obj),
        only_way=all_pass(obj),
        counted=counts_connections(obj),
    )


def _usual_wake(status: Mapping[str, Any]) -> float | None:
    if wake := lasting(table(status.get("lastWake")).get("duration")).total_seconds():
        return wake
    ups = read_warm_ups(status)
    return ups[-1].seconds if ups else None


# --- addresses and ports ---


@dataclass(frozen=True)
class Port:
    """A port of a Service: its name (may be empty), its number and the target port of the pods."""

    name: str = ""
    number: int = 0
    """0 if only the name is known."""
    target: str | int = ""
    server_first: bool = False
    """Whether its clients wait for the server's first bytes."""


UNKNOWN = Port()


def ports_of(service: Object) -> list[Port]:
    return [
        Port(
            port.get("name", ""),
            port["port"],
            port.get("targetPort", port["port"]),
            bool(speaks_first(port)),
        )
        for port in service["spec"].get("ports") or ()
        if port.get("protocol", "TCP") == "TCP"
    ]


def successors(known: Sequence[Port], ports: Sequence[Port]) -> Mapping[Port, Port]:
    """Which of the known ports becomes which current port, each at most once.

    It is the one with the same number, or else with the same name; none if the port is gone.
    """
    by_number = {p.number: p for p in known if p.number}
    found = {by_number[p.number]: p for p in ports if p.number in by_number}
    taken = set(found.values())
    by_name = {p.name: p for p in known if p not in found}
    return found | {by_name[p.name]: p for p in ports if p not in taken and p.name in by_name}


FAMILIES = ("IPv4", "IPv6")


def family_of(ip: str) -> str:
    """The address family of an address, as Services and EndpointSlices name it."""
    return "IPv6" if ":" in ip else "IPv4"


@dataclass(frozen=True)
class PodIdentity:
    """The activator's own pod."""

    namespace: str
    """The pod's own namespace, which a pool's may differ from."""
    pod: str
    uid: str
    ips: tuple[str, ...]
    """The pod's addresses, at most one per family, the primary one first."""
    node: str
    activators: str = ""
    """The set of this activator (see `protocol.set_of_pod`)."""

    @property
    def is_shared(self) -> bool:
        """Whether it serves more namespaces than its own."""
        return bool(self.activators) and "/own/" not in self.activators

    def address(self, family: str) -> str | None:
        """The pod's address of a family (IPv4 or IPv6); None without one."""
        return next((ip for ip in self.ips if family_of(ip) == family), None)
