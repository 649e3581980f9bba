"""Checks of the way of a request: the Service, its ports, the gauge, and how long a wake takes."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from kotatsu_demo_mode.objects import Object, name_of, spec_of
from kotatsu_operator.core.decide.refusal import ServiceFacts, check_service
from kotatsu_operator.core.formats import format_duration, lasting, table, tables
from kotatsu_operator.core.objects import named_target, serves, service_of
from kotatsu_operator.core.plan.activity import (
    hold_too_short,
    idle_too_short,
    why_flapping,
    why_timed_out,
)
from kotatsu_operator.core.plan.lead import enough_hold, slowest_wake
from kotatsu_operator.core.pool.spec import KNATIVE, PoolSpec, RouteMode
from kotatsu_operator.core.protocol import MANAGED_BY, MANAGED_BY_LABEL

from .found import (
    Case,
    Finding,
    Found,
    age_of,
    ending_of,
    note,
    ok,
    ports_of,
    refused,
    start_of,
    target_port,
    unknown,
    warning,
)
from .gauges import gauge_in, lacks_gauge, may_appear, pod_of, silences


def service_named(found: Found, name: str) -> Mapping[str, Any] | None:
    return next((s for s in found.services.items if name_of(s) == name), None)


def facts(case: Case) -> ServiceFacts:
    """What decides whether the Service can wake the pool."""

    def wakes_by(pool: Object) -> bool:
        return named_target(pool)[0] != KNATIVE and service_of(pool) == case.pool.spec.service

    foreign = [
        (name_of(s), str((s["metadata"].get("labels") or {}).get(MANAGED_BY_LABEL, "")))
        for s in case.found.slices.items
        if s.get("endpoints")
    ]
    return ServiceFacts(
        namespace=case.found.namespace,
        labels=case.found.labels,
        service=case.service,
        older=older(case, wakes_by),
        foreign=[of for of in foreign if of[1] != MANAGED_BY],
    )


def older(case: Case, shares: Callable[[Object], bool]) -> str:
    """The oldest other pool that shares something, if it is older than this one; else empty."""
    others = (p for p in case.found.pools.items if name_of(p) != case.pool.name)
    first = min((age_of(p) for p in others if shares(p)), default=None)
    if first is None or (not case.is_new and age_of(case.pool.raw) < first):
        return ""
    return first[1]


def service(case: Case) -> Iterator[Finding]:
    """Whether requests to the Service wake the pool."""
    spec, found = case.pool.spec, case.found
    if spec.target.scales_itself:
        yield ok("Knative routes requests itself")
        return
    if found.services.unread:
        yield unknown(f"Service {spec.service}: {found.services.unread}")
        return
    why = check_service(spec, facts(case))
    if why is None and lacks_gauge(case):
        spec = replace(spec, route=RouteMode.ACTIVATOR, decided=True)  # as the operator decides
        why = check_service(spec, facts(case))
    if why is not None:
        hint = f"; Service {case.others[0]} selects these pods" if case.others else ""
        yield refused(replace(why, message=f"{why.message}{hint}"))
        return
    if case.others:
        yield note(
            "ServiceAmbiguous",
            f"Services {', '.join([spec.service, *case.others])} select these pods, and only "
            f"requests to {spec.service} wake the pool: let all clients use it, or choose another "
            "one with --service",
        )
    shown = ", ".join(f"{p.get('port')} → {target_port(p)}" for p in case.tcp_ports)
    yield ok(f"requests to Service {spec.service} ({shown}) wake it")
    yield from _service_notes(spec, spec_of(case.service or {}))
    contest = check_service(replace(spec, beside=False), facts(case)) if spec.beside else None
    if contest is not None:
        yield warning(contest.reason, f"{contest.message}. Until then, an edit is refused")
    elif spec.route is RouteMode.ACTIVATOR and (uncounted := list(_uncounted(case))):
        yield note(
            "PassesNoActivator",
            f"connections to {' and '.join(uncounted)} pass no activator: they do not keep the "
            "pool awake, and end with their pod",
        )


def _uncounted(case: Case) -> Iterator[str]:
    """The ways to the pods that are not the pool's Service."""
    if case.others:
        yield f"Service{'s' * (len(case.others) > 1)} {', '.join(case.others)}"
    headless = (s for s in case.found.services.items if spec_of(s).get("clusterIP") == "None")
    for one in headless:
        selector = table(spec_of(one).get("selector"))
        if selector and serves(selector, case.found.labels):
            yield f"headless Service {name_of(one)} (the pods' own names)"
    ports = (port for c in case.found.containers for port in tables(c.get("ports")))
    if used := sorted({str(port["hostPort"]) for port in ports if port.get("hostPort")}):
        yield f"hostPort {', '.join(used)}"


def _service_notes(pool: PoolSpec, spec: Mapping[str, Any]) -> Iterator[Finding]:
    name = pool.service
    for field in ("internalTrafficPolicy", "externalTrafficPolicy"):
        if spec.get(field) == "Local":
            yield warning(
                "TrafficPolicyLocal",
                f"Service {name} has {field} Local, so clients of a node without an activator "
                "reach nothing while the pool sleeps: set Cluster, or run an activator on each "
                "node that receives clients",
            )
    if spec.get("sessionAffinity") == "ClientIP":
        yield note(
            "SessionAffinity",
            f"Service {name} has sessionAffinity ClientIP: a client that woke the pool stays with "
            "the activator until the affinity times out, one hop more",
        )
    other = [p for p in tables(spec.get("ports")) if p.get("protocol", "TCP") != "TCP"]
    if other:
        ports = ", ".join(f"{p.get('port')}/{p.get('protocol')}" for p in other)
        yield note("PortsThatDoNotWake", f"{ports} of Service {name} wakes nothing: only TCP does")


def ports(case: Case) -> Iterator[Finding]:
    """Whether the Service's ports lead to ports of the containers."""
    found = case.found
    if case.service is None or not found.containers:
        return
    there = {port for container in found.containers for port in ports_of(container)}
    lost = [
        p for p in case.tcp_ports if not target_port(p).isdigit() and target_port(p) not in there
    ]
    for port in lost:
        names = ", ".join(sorted(t for t in there if not t.isdigit())) or "no named port"
        yield warning(
            "PortNotFound",
            f"port {port.get('port')} of Service {case.pool.spec.service} leads to the container "
            f"port {target_port(port)}, and the containers have {names}: correct targetPort, or "
            "name the container port so",
        )
    if not lost and case.tcp_ports:
        yield ok("each port of the Service leads to a port of the pods")


def metrics(case: Case) -> Iterator[Finding]:
    """Whether the pods report their requests in flight."""
    found, spec = case.found, case.pool.spec
    if spec.target.scales_itself or not found.containers:
        return
    if spec.route is RouteMode.ACTIVATOR:
        why = "its pods show no gauge" if spec.decided else "route Activator"
        yield ok(f"all connections pass through the activator, which counts them ({why})")
        return
    if found.pages_unread:
        advice = (
            ""
            if found.why_no_pod
            else "; request that permission, or set spec.inFlightMetric yourself"
        )
        yield unknown(f"requests in flight: {found.pages_unread}{advice}")
        return
    gauge, where = gauge_in(case), pod_of(found)
    why = next(silences(case), "")
    if gauge is not None and gauge.value > 0:
        yield note(
            "GaugeIsNeverZero",
            f"{where} reports {gauge.name} {gauge.value} in two readings: if it counts the metrics "
            "request itself, the pool never sleeps; use another gauge then",
        )
    elif gauge is not None:
        yield ok(f"{where} reports {gauge.name} {gauge.value} ({gauge.path} on {gauge.port})")
    elif case.metric is not None:
        lacks = f"has no metric {case.metric.name} on {case.metric.path}"
        yield warning(
            "GaugeMissing",
            f"{where} {why or lacks}, so all connections pass the activators: correct "
            "spec.inFlightMetric, or export that gauge",
        )
    else:
        known = f" ({why})" if "gauge" in why or "too much" in why else ""
        if not known and may_appear(case):
            known = " (if it has a gauge that appears with the first request: send one and repeat)"
        yield note(
            "NoGauge",
            f"{where} reports no requests in flight{known}, so route Auto leads all connections "
            "through the activators, which count them, one hop more: to lead them to the pods, "
            "name a gauge in spec.inFlightMetric",
        )


def wakes(case: Case) -> Iterator[Finding]:
    """Whether requests wait long enough for a pod, and whether sleeps last: as measured so far."""
    spec, memory = case.pool.spec, case.pool.memory
    last = lasting(table(case.pool.status.get("lastWake")).get("duration"))
    took = max(slowest_wake(memory.warm_ups, memory.template.hash), last)
    took = took or start_of(case.found) or took
    hold, idle = hold_too_short(spec, took), idle_too_short(spec, took)
    # `create` writes both fields.
    if hold:
        new = note("HoldTimeoutTooShort", hold)
        yield new if case.is_new else warning("HoldTimeoutTooShort", hold)
    elif memory.has_timed_out:
        yield warning("RequestsTimedOut", f"requests {why_timed_out(spec, memory)}")
    elif took:
        waits, shown = format_duration(spec.hold_timeout), format_duration(took)
        yield ok(f"requests wait up to {waits} for a pod, and a start took {shown} at most")
    elif not spec.target.scales_itself and case.has_clients:
        waits = format_duration(spec.hold_timeout)
        why = case.found.why_no_pod or "its pods have restarted"
        yield unknown(
            f"how long a start takes, and so whether requests wait long enough ({waits}, "
            f"spec.holdTimeout): {why}"
        )
    ending = ending_of(case.found)
    if ending and took and not hold and took + ending > spec.hold_timeout:
        yield note(
            "OldPodFirst",
            f"a request that comes while the last pod of {case.found.label} ends waits for that, "
            f"{format_duration(ending)} at most (terminationGracePeriodSeconds), and then for a "
            f"start of {format_duration(took)}: set spec.holdTimeout to "
            f"{format_duration(enough_hold(took) + ending)}, and the timeouts of clients and of "
            "proxies in front above it",
        )
    if idle:
        new = note("IdleAfterTooShort", idle)
        yield new if case.is_new else warning("IdleAfterTooShort", idle)
    if flapping := why_flapping(spec, memory):
        yield warning("Flapping", flapping)
