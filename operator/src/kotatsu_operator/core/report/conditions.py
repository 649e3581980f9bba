"""The conditions of a WarmPool, and the events when they change.

Each condition always exists for what the spec asks for, and is True where nothing has to be done.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from kotatsu_operator.core.budget.limit import BudgetState
from kotatsu_operator.core.calendar.schedule import dropped
from kotatsu_operator.core.formats import format_duration, is_false, is_true, stamp
from kotatsu_operator.core.objects import port_text, server_first_ports
from kotatsu_operator.core.plan.activity import (
    hold_too_short,
    idle_too_short,
    why_flapping,
    why_timed_out,
)
from kotatsu_operator.core.plan.lead import slowest_wake
from kotatsu_operator.core.plan.plan import with_least
from kotatsu_operator.core.pool.decision import WAITS_FOR_BLOCKED, Decision, Observation
from kotatsu_operator.core.pool.memory import Contest, Memory, Phase, Reason
from kotatsu_operator.core.pool.news import Note
from kotatsu_operator.core.pool.spec import PoolSpec, RouteMode
from kotatsu_operator.core.report.status import Status

SAY_AFTER = timedelta(seconds=10)
"""Demand that is unknown for a shorter time is not reported."""


def condition(kind: str, holds: bool | None, reason: str, message: str) -> Status:
    """A condition; None for `holds` is Unknown."""
    return {
        "type": kind,
        "status": "Unknown" if holds is None else str(holds),
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
        ready = condition("Ready", True, "KeptAwake", _NO_ACTIVATOR)
    elif seen.catching_up and phase is Phase.DRAINING:
        ready = condition("Ready", True, "CatchingUp", _CATCHING_UP)
    else:
        by = f"; WarmPool {seen.order.needed_by} depends on it" if seen.order.needed_by else ""
        waits = f"; {low.waits}" if (low := decision.lowering) is not None and low.waits else ""
        text = f"{seen.ready} replicas are Ready{by}{_without(seen)}{waits}"
        ready = condition("Ready", True, phase.value, text)
    asked = max(decision.floor, 1)
    floor = seen.within(asked)
    had = f"; {asked} are requested, {floor} are possible" if floor < asked else ""
    is_warm = phase is Phase.WARM and seen.ready >= floor
    short = phase is Phase.WARM and not is_warm
    of = f" of {floor}" if seen.ready <= floor else ""
    text = f"{seen.ready}{of} replicas are Ready{had}"
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
    holds = None if standing is BudgetState.UNPRICED else standing is not BudgetState.EXHAUSTED
    return condition("BudgetAvailable", holds, standing, message)


def target_conditions(
    spec: PoolSpec, seen: Observation, decision: Decision, now: datetime
) -> list[Status]:
    """DemandKnown, Proven, ReplicasKept, DurationsFit; Parked and ParkingWorks if pods may park."""
    return [
        _demand_known(spec, seen, decision, now),
        _proven(seen, decision),
        _replicas_kept(spec, seen, decision),
        _durations_fit(spec, decision.memory),
        *_parked(spec, seen, decision),
    ]


def _replicas_kept(spec: PoolSpec, seen: Observation, decision: Decision) -> Status:
    contest, limit = decision.memory.contest, seen.autoscaler
    if contest is not None and contest.holds and not spec.suspend:
        target = f"{spec.target.kind} {spec.target.name}"
        return condition("ReplicasKept", False, *_contested(contest, target))
    if limit is not None and limit.max_replicas < decision.floor:
        text = (
            f"HorizontalPodAutoscaler {limit.name} allows at most {limit.max_replicas} replicas, "
            f"and {decision.floor} are requested: raise its maxReplicas"
        )
        return condition("ReplicasKept", False, "AutoscalerMaximum", text)
    if spec.held:
        was = " (10, which earlier versions filled in, does not count)" if spec.has_maximum else ""
        text = (
            f"{spec.target.kind} {spec.target.name} {spec.held}: until spec.maxReplicas is set"
            f"{was}, requests start no pod beyond {spec.max_replicas}. Set it to 1, unless the app "
            "shares its data among more pods"
        )
        return condition("ReplicasKept", False, "OneDisk", text)
    text = "nothing else sets or limits the replicas"
    if limit is not None:
        text = f"HorizontalPodAutoscaler {limit.name} sets the replicas of the awake pool"
    elif not spec.target.scales_itself:
        least = with_least(spec, decision.memory).least
        text += f": {least} to {spec.max_replicas} while the pool is awake"
    return condition("ReplicasKept", True, "Kept", text)


def _durations_fit(spec: PoolSpec, memory: Memory) -> Status:
    """Whether holdTimeout and idleAfter fit what was measured; the most urgent reason is first."""
    took = slowest_wake(memory.warm_ups, memory.template.hash)
    late = f"requests {why_timed_out(spec, memory)}" if memory.has_timed_out else ""
    slow = "; ".join(filter(None, (hold_too_short(spec, took), idle_too_short(spec, took))))
    flaps = why_flapping(spec, memory)
    if late or slow or flaps:
        reason = "RequestsTimedOut" if late else "SlowStart" if slow else "Flapping"
        text = "; ".join(filter(None, (late or slow, flaps)))
        return condition("DurationsFit", False, reason, text)
    text = "holdTimeout and idleAfter fit the starts and the clients so far"
    return condition("DurationsFit", True, "Fit", text)


def same_clients(policy: str) -> Status:
    """Whether a sleeping pool has the clients of an awake one; `policy` limits those of its pods.

    It is empty for none, and for one that the activators keep, too.
    """
    if not policy:
        text = "the activators admit no client that a NetworkPolicy excludes, or may do so"
        return condition("SameClients", True, "Same", text)
    return condition(
        "SameClients",
        False,
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
    if memory.phase.is_asleep:
        return condition(
            "DemandKnown", True, "Asleep", "the operator does not query pods while the pool sleeps"
        )
    if since is None or now - since < SAY_AFTER:
        return condition("DemandKnown", True, "Known", _who_counts(spec))
    text = f"{demand.silent}; the pool counts as busy"
    return condition("DemandKnown", False, "NotReported", text)


def _who_counts(spec: PoolSpec) -> str:
    """Where the demand comes from."""
    if spec.decided:
        return "the pods have no gauge of requests in flight: the activators count all connections"
    if spec.route is RouteMode.ACTIVATOR:
        return "the activators count all connections"
    return "each pod that is or was Ready reports its requests"


def of_contest(known: Status, refused: str, message: str) -> Status:
    """The condition DemandKnown of a pool whose Service leads to its pods as well.

    `refused` is the reason for which an edit of the pool is refused.
    """
    if known["type"] != "DemandKnown":
        return known
    text = f"connections that pass no activator are not counted and end with their pod: {message}"
    more = f"{text}. The pool stays so until its spec is edited, and is refused then"
    return condition("DemandKnown", False, refused, more)


def _parked(spec: PoolSpec, seen: Observation, decision: Decision) -> list[Status]:
    """Parked and ParkingWorks; empty for a pool that does not park."""
    if spec.parked is None and not decision.memory.reduced:
        return []
    parking, is_parked = seen.parking, decision.memory.phase is Phase.PARKED
    text = f"{seen.ready} pods are Ready with smaller requests"
    if not is_parked:
        text = f"{parking.reduced} pods wait for their full requests"
    if not is_parked and not parking.reduced:
        text = "no pod has smaller requests than its template"
    reason = "Parked" if is_parked else "Restoring" if parking.reduced else "NotParked"
    parked = condition("Parked", is_parked, reason, text)
    if parking.refused:
        text = (
            f"the full requests of {parking.refused} pods cannot be restored: {parking.trouble}; "
            "these pods serve with smaller requests, and the pool requests one more pod for each"
        )
        return [parked, condition("ParkingWorks", False, "NotRestored", text)]
    if parking.reason:
        text = (
            f"{parking.message}; until then the pool sleeps when it is idle, and windows with mode "
            "Parked are warm"
        )
        return [parked, condition("ParkingWorks", False, parking.reason, text)]
    return [parked, condition("ParkingWorks", True, "Works", "pods can be parked and restored")]


def _proven(seen: Observation, decision: Decision) -> Status:
    if decision.memory.template.proven:
        text = "all pods of the current template have been Ready once"
        return condition("Proven", True, "Proven", text)
    return condition(
        "Proven",
        False,
        "NeverReady",
        seen.starting.failing
        or "with the current pod template, not all requested pods have been Ready yet: wake the "
        "pool once before you rely on it",
    )


def _contested(contest: Contest, target: str) -> tuple[str, str]:
    remedy = (
        "remove `replicas` from its manifest (Argo CD: add /spec/replicas to ignoreDifferences "
        "with RespectIgnoreDifferences=true; Flux and Helm: remove the field from the source)"
    )
    if contest.applied:
        text = f"{contest.by} applies a manifest that sets spec.replicas of {target}"
        return "AppliedByAnother", f"{text}: {remedy}"
    text = f"{contest.by} has set spec.replicas of {target} {contest.count} times"
    return "WrittenByAnother", f"{text}: {remedy}"


def lowered(spec: PoolSpec, before: int, decision: Decision) -> list[Note]:
    """The event of an awake pool that wants fewer replicas than before: from, to and why.

    A pool that goes to sleep has events of its own, and so have the steps of an autoscaler.
    """
    now, memory = decision.replicas, decision.memory
    if now is None or now >= before or not memory.phase.is_awake:
        return []
    asked = f"windows and overrides ask for {decision.floor}"
    if decision.window:
        asked = f"window {decision.window} asks for {decision.floor}"
    why = (
        f"{asked}, the requests of the last minute for {memory.process.trend.replicas}, and an "
        f"awake pool has {with_least(spec, memory).least} to {spec.max_replicas}"
    )
    if memory.phase is Phase.PARKED:
        why = "the pool is idle, and parks what stays"
    return [Note("ReplicasLowered", f"from {before} to {now} replicas: {why}")]


def keeps_one(spec: PoolSpec, memory: Memory) -> Note:
    """The event of a pool that is older than `minReplicas`."""
    found = "" if memory.found is None else f" (its target was found with {memory.found})"
    text = (
        f"as before the upgrade, {spec.target.kind} {spec.target.name} has one pod at least while "
        f"the pool is awake{found}: set minReplicas to the number that it should have"
    )
    return Note("KeepsOneReplica", text)


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


WITH_EVENTS = (
    "DemandKnown",
    "Proven",
    "ReplicasKept",
    "DurationsFit",
    "ParkingWorks",
    "SameClients",
    "CalendarsRead",
    "Visited",
)
"""The conditions that have events."""

NO_FAULT = frozenset({"NeverReady", "Unused"})
"""Reasons with which most pools begin, and no request: their events are no warnings."""

_OF_ACTIVITY = "RequestsTimedOut"
"""The reason whose event `plan.activity` makes: it has the number of requests, and repeats."""


def transitions(old: Mapping[str, Mapping[str, Any]], new: Sequence[Status]) -> list[Note]:
    """Events since the last status write.

    A condition that becomes False has an event with its reason, and one that is True again an event
    with its type.
    """
    after = {c["type"]: c for c in new}
    return [
        note
        for kind in WITH_EVENTS
        if kind in after
        for note in _transition(kind, old.get(kind, {}), after[kind])
    ]


def _transition(kind: str, was: Mapping[str, Any], now: Status) -> Iterator[Note]:
    failed, reason = is_false(was), now["reason"]
    if is_true(now) and failed:
        yield Note(kind, now["message"])
    if not is_false(now) or reason == _OF_ACTIVITY:
        return
    is_new_pool = reason == "NeverReady" and not was
    if not is_new_pool and not (failed and was.get("reason") == reason):
        yield Note(reason, now["message"], warning=reason not in NO_FAULT)
