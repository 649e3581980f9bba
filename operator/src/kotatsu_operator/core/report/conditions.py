"""The conditions of a WarmPool, and the events when they change.

A condition to wait for always exists. A condition that only warns exists while it applies.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from kotatsu_operator.core.budget.limit import BudgetState
from kotatsu_operator.core.calendar.schedule import dropped
from kotatsu_operator.core.formats import format_duration, stamp
from kotatsu_operator.core.objects import port_text, server_first_ports
from kotatsu_operator.core.plan.activity import (
    SOON,
    UNKNOWN_LIMIT,
    hold_too_short,
    idle_after,
    idle_too_short,
    why_timed_out,
)
from kotatsu_operator.core.plan.lead import slowest_wake
from kotatsu_operator.core.pool.decision import WAITS_FOR_BLOCKED, Decision, Note, Observation
from kotatsu_operator.core.pool.memory import Memory, Phase, Reason
from kotatsu_operator.core.pool.spec import PoolSpec, RouteMode
from kotatsu_operator.core.report.status import Status

SAY_AFTER = timedelta(seconds=10)
"""Demand that is unknown for a shorter time is not reported."""


def condition(kind: str, holds: bool, reason: str, message: str) -> Status:
    return {
        "type": kind,
        "status": "True" if holds else "False",
        "reason": reason,
        "message": message,
    }


def pool_conditions(spec: PoolSpec, seen: Observation, decision: Decision) -> list[Status]:
    """Accepted, Ready and Warm for a pool on which the operator acts.

    Ready is true while the pool sleeps: `kubectl wait` must not hang on a pool without pods.
    """
    phase = decision.memory.phase
    asleep = phase.is_asleep
    no_activator = seen.acknowledged is None
    if asleep and no_activator:
        ready = condition("Ready", False, "NoActivator", _NO_ACTIVATOR)
    elif asleep and decision.memory.reason is Reason.BUDGET:
        ready = condition("Ready", False, "BudgetExhausted", _BUDGET_EXHAUSTED)
    elif asleep:
        ready = condition("Ready", True, "Asleep", "the pool is asleep; the next request wakes it")
    elif phase is Phase.WARMING:
        ready = _warming(seen)
    elif no_activator and phase is Phase.DRAINING:
        ready = condition("Ready", True, "NoActivator", _NO_ACTIVATOR)
    elif seen.catching_up and phase is Phase.DRAINING:
        ready = condition("Ready", True, "CatchingUp", _CATCHING_UP)
    else:
        by = f"; WarmPool {seen.order.needed_by} depends on it" if seen.order.needed_by else ""
        text = f"{seen.ready} replicas are Ready{by}{_without(seen)}"
        ready = condition("Ready", True, phase.value, text)
    asked = max(decision.floor, 1)
    floor = seen.within(asked)
    had = f"; {asked} are requested, {floor} are possible" if floor < asked else ""
    is_warm = phase is Phase.WARM and seen.ready >= floor
    short = phase is Phase.WARM and not is_warm
    text = f"{seen.ready} of {floor} replicas are Ready{had}"
    warm = condition("Warm", is_warm, "PodsNotReady" if short else phase.value, text)
    accepted = condition("Accepted", True, "Accepted", "the spec is in effect")
    if spec.suspend:
        accepted = condition("Accepted", True, "Suspended", "spec.suspend stops all actions")
    elif never := dropped(spec.windows, spec.zone):
        text = "the spec is in effect, but " + "; ".join(d.message for d in never)
        accepted = condition("Accepted", True, "WindowNeverOpens", text)
    return [accepted, ready, warm]


def _warming(seen: Observation) -> Status:
    if seen.order.awaits and seen.replicas == 0:
        text = f"starts once WarmPool {seen.order.awaits} is Warm, on which it depends"
        limit = f", or {format_duration(WAITS_FOR_BLOCKED)} after it was woken"
        text += f"{limit}{_without(seen)}" if seen.order.blocked else ""
        return condition("Ready", False, "AwaitsDependency", text)
    if seen.starting.failing:
        return condition("Ready", False, "PodsCannotStart", seen.starting.failing)
    text, waiting = f"{seen.ready} replicas are Ready so far", seen.starting.waiting
    text += _without(seen)
    if not waiting:
        return condition("Ready", False, "Warming", text)
    pods = "1 pod finds" if waiting == 1 else f"{waiting} pods find"
    return condition(
        "Ready", False, "NoNode", f"{text}; {pods} no node: see the event WarmUpUnschedulable"
    )


def _without(seen: Observation) -> str:
    """What a pool lacks that the operator does not start; empty for nothing."""
    order = seen.order
    if not order.blocked:
        return ""
    return f"; WarmPool {order.awaits}, on which it depends, {order.blocked} and has no Ready pod"


_NO_ACTIVATOR = (
    "no Ready activator could wake a sleeping pool, so the pool stays as it is: see `kubectl get "
    "pods -A -l app.kubernetes.io/component=activator`"
)

_CATCHING_UP = (
    "the API server did not respond for some time: the pods stay until kube-proxy and the "
    "controllers have reconnected, at most two minutes"
)

_BUDGET_EXHAUSTED = (
    "the pool is asleep, and its budget is spent: requests get 503 until the period ends or "
    "spec.budget.limit is raised"
)


def budget_condition(standing: BudgetState, message: str) -> Status:
    """BudgetAvailable: whether the pool may still start to spend."""
    made = condition("BudgetAvailable", standing is not BudgetState.EXHAUSTED, standing, message)
    return made | {"status": "Unknown"} if standing is BudgetState.UNPRICED else made


def target_conditions(
    spec: PoolSpec, seen: Observation, decision: Decision, now: datetime
) -> list[Status]:
    """DemandKnown and Unproven; Parked with spec.parkedFor; what warns, while it applies."""
    found = [_demand_known(spec, seen, decision, now), _unproven(seen, decision)]
    found += _parked(spec, seen, decision)
    contest = decision.memory.contest
    if contest is not None and contest.holds and not spec.suspend:
        found.append(
            condition(
                "ReplicasContested",
                True,
                *_contested(decision, f"{spec.target.kind} {spec.target.name}"),
            )
        )
    if seen.autoscaler is not None and seen.autoscaler.max_replicas < decision.floor:
        limit = seen.autoscaler
        text = (
            f"HorizontalPodAutoscaler {limit.name} allows at most {limit.max_replicas} replicas, "
            f"and {decision.floor} are requested: raise its maxReplicas"
        )
        found.append(condition("FloorLimited", True, "AutoscalerMaximum", text))
    if decision.memory.has_timed_out:
        text = f"requests {why_timed_out(spec, decision.memory)}"
        found.append(condition("RequestsTimedOut", True, "NoPodInTime", text))
    took = slowest_wake(decision.memory.warm_ups, decision.memory.template.hash)
    if slow := "; ".join(filter(None, (hold_too_short(spec, took), idle_too_short(spec, took)))):
        found.append(condition("SlowStart", True, "Measured", slow))
    if decision.memory.woken_soon > 1:
        found.append(condition("Flapping", True, "WokenSoon", _flapping(spec, decision.memory)))
    return found


def _flapping(spec: PoolSpec, memory: Memory) -> str:
    own, lasts = (format_duration(d) for d in (spec.idle_after, idle_after(spec, memory)))
    return (
        f"requests woke the pool within {SOON.seconds} s of its sleep {memory.woken_soon} times in "
        "succession; clients probably reconnect when the sleep ends their connections. Until a "
        f"sleep lasts longer, the pool sleeps {lasts} after the last request and not {own}: raise "
        "idleAfter above the time for which these clients are silent, or add a window for them"
    )


def clients_unlimited(policy: str) -> Status:
    """The condition of a pool whose NetworkPolicy limits its clients only while it is awake."""
    return condition(
        "ClientsUnlimited",
        True,
        "ActivatorsAdmitAll",
        f"NetworkPolicy {policy} limits the clients of the pods, but while the pool sleeps every "
        "client reaches it through the activators: name its clients in the chart value "
        "activator.allowedClients",
    )


def said_of_silence(known: Sequence[Status], service: Mapping[str, Any]) -> list[Status]:
    """The conditions; of a sleeping pool with the clients that do not wake it."""
    ports = ", ".join(map(port_text, server_first_ports(service)))
    if not ports:
        return list(known)
    but = (
        f", but not a client of port {ports} that waits for the server to speak: it gets no byte "
        "until a window, an override or a pool that depends on this one starts a pod"
    )
    return [
        c | {"message": f"{c['message']}{but}"}
        if c["reason"] == "Asleep" and c["type"] == "Ready"
        else c
        for c in known
    ]


def _demand_known(spec: PoolSpec, seen: Observation, decision: Decision, now: datetime) -> Status:
    memory, demand = decision.memory, seen.demand
    since = memory.unknown_since
    if memory.template.metered is False and spec.route is RouteMode.AUTO:
        why = demand.silent or "its pods report no requests in flight"
        return condition("DemandKnown", False, "Unmetered", f"{why}: {_UNMETERED}")
    if memory.phase.is_asleep:
        return condition(
            "DemandKnown", True, "Asleep", "the operator does not query pods while the pool sleeps"
        )
    if since is None or now - since < SAY_AFTER:
        return condition("DemandKnown", True, "Known", "all pods report their requests")
    limit = since + UNKNOWN_LIMIT
    # Cut to the second, so that the message changes only with its meaning.
    until = stamp(limit.replace(microsecond=0))
    then = "as idle" if demand.silent_activator else "by the connections that pass the activators"
    held = f"the pool counts as busy until {until}, then {then}"
    if now >= limit:
        held = f"since {until} the pool counts {then}"
    return condition("DemandKnown", False, "Silent", f"{demand.silent}; {held}")


_UNMETERED = (
    "the activators see a share of the new connections, and the pool sleeps when they have seen "
    "none for idleAfter; other connections end with their pod. To count all, set "
    "route: Activator or name a gauge in spec.inFlightMetric"
)


def _parked(spec: PoolSpec, seen: Observation, decision: Decision) -> list[Status]:
    """Parked, and ParkingFailed while pods cannot be parked or restored."""
    if spec.parked is None and not decision.memory.reduced:
        return []
    parking, is_parked = seen.parking, decision.memory.phase is Phase.PARKED
    text = f"{seen.ready} pods are Ready with smaller requests"
    if not is_parked:
        text = f"{parking.reduced} pods wait for their full requests"
    if not is_parked and not parking.reduced:
        text = "no pod has smaller requests than its template"
    reason = "Parked" if is_parked else "Restoring" if parking.reduced else "NotParked"
    found = [condition("Parked", is_parked, reason, text)]
    if parking.refused:
        text = (
            f"the full requests of {parking.refused} pods cannot be restored: {parking.trouble}; "
            "these pods serve with smaller requests, and the pool requests one more pod for each"
        )
        found.append(condition("ParkingFailed", True, "NotRestored", text))
    elif parking.reason:
        text = (
            f"{parking.message}; until then the pool sleeps when it is idle, and windows with mode "
            "Parked are warm"
        )
        found.append(condition("ParkingFailed", True, parking.reason, text))
    return found


def _unproven(seen: Observation, decision: Decision) -> Status:
    if decision.memory.template.proven:
        return condition(
            "Unproven", False, "Proven", "all pods of the current template have been Ready once"
        )
    return condition(
        "Unproven",
        True,
        "NeverReady",
        seen.starting.failing
        or "with the current pod template, not all requested pods have been Ready yet: wake the "
        "pool once before you rely on it",
    )


def _contested(decision: Decision, target: str) -> tuple[str, str]:
    contest = decision.memory.contest
    assert contest is not None  # noqa: S101  (asked by the caller)
    remedy = (
        "remove `replicas` from its manifest (Argo CD: add /spec/replicas to ignoreDifferences "
        "with RespectIgnoreDifferences=true; Flux and Helm: remove the field from the source)"
    )
    if contest.applied:
        text = f"{contest.by} applies a manifest that sets spec.replicas of {target}"
        return "AppliedByAnother", f"{text}: {remedy}"
    text = f"{contest.by} has set spec.replicas of {target} {contest.count} times"
    return "WrittenByAnother", f"{text}: {remedy}"


def date_conditions(
    new: list[Status], old: Mapping[str, Mapping[str, Any]], generation: int, now: datetime
) -> list[Status]:
    """Set each condition's lastTransitionTime: that in `old` if the status is the same."""
    dated = []
    for c in new:
        before = old.get(c["type"])
        kept = before is not None and before["status"] == c["status"]
        at = before["lastTransitionTime"] if before is not None and kept else stamp(now)
        dated.append(c | {"lastTransitionTime": at, "observedGeneration": generation})
    return dated


_EVENTS = {
    "DemandKnown": ("False", "DemandUnknown", "DemandKnown"),
    "ReplicasContested": ("True", "ReplicasContested", "ReplicasUncontested"),
    "FloorLimited": ("True", "FloorLimited", "FloorReachable"),
    "Unproven": ("True", "Unproven", "Proven"),
    "CalendarFailed": ("True", "CalendarFailed", "CalendarRead"),
    "ParkingFailed": ("True", "ParkingFailed", "ParkingPossible"),
    "ClientsUnlimited": ("True", "ClientsUnlimited", "ClientsLimited"),
    "SlowStart": ("True", "SlowStart", "SlowStartEnded"),
    "Flapping": ("True", "Flapping", "FlappingEnded"),
}
"""By condition: the status that means trouble, and the events at its start and end."""

_QUIET_AT_FIRST = frozenset({"Unproven"})
"""Every new pool begins with these conditions, so their start is no warning and no first event."""


def transitions(old: Mapping[str, Mapping[str, Any]], new: Sequence[Status]) -> list[Note]:
    """Events for conditions that changed to or from trouble since the last status write."""
    after = {c["type"]: c for c in new}
    notes = []
    for kind, (trouble, begins, ends) in _EVENTS.items():
        was, now = old.get(kind, {}).get("status"), after.get(kind)
        if now is not None and now["status"] == trouble:
            if was != trouble and now.get("reason") == "Unmetered":
                notes.append(Note("Unmetered", now["message"]))  # as most workloads: no fault
            elif was != trouble and (was is not None or kind not in _QUIET_AT_FIRST):
                warning = kind not in _QUIET_AT_FIRST
                notes.append(Note(begins, now["message"], warning=warning))
        elif was == trouble:
            notes.append(
                Note(ends, now["message"] if now is not None else "the condition has ended")
            )
    return notes
