"""Why a pool cannot be used: each reason says what to change.

The operator makes these checks with what its watches have shown, and `kubectl demo-mode check` with
what it has read, so that both give the same reason.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kotatsu_operator.core.formats import table
from kotatsu_operator.core.objects import Object, controller_of, owners, serves
from kotatsu_operator.core.pool.spec import PoolSpec, RouteMode, Scaled
from kotatsu_operator.core.protocol import (
    ACTIVATOR,
    NAME_LABEL,
    NATIVE,
    OPERATOR,
    PROGRAM,
    ROUTE_LABEL,
    ROUTE_TAKEN,
)


@dataclass(frozen=True)
class Refusal:
    """Why a pool is rejected: a reason (one word) and a message."""

    reason: str
    message: str


def check_only_pool(spec: PoolSpec, older: str) -> Refusal | None:
    """Reject all but the oldest of the pools that have the same target.

    `older` is the name of an older pool with it; empty if there is none.
    """
    of = spec.target
    if not older:
        return None
    return Refusal(
        "TargetClaimed",
        f"{of.kind} {of.name} already belongs to the older WarmPool {older}: delete one of the two "
        "or give this one another targetRef",
    )


def check_dependencies(
    name: str, namespace: str, depends_on: Callable[[str], Sequence[str] | None]
) -> Refusal | None:
    """Reject a pool that depends on a missing pool, or on itself by way of others.

    `depends_on` returns the spec.dependsOn of a pool of the namespace; None if there is none.
    """
    ways = [[name]]
    known = {name}
    while ways:
        way = ways.pop(0)
        for other in depends_on(way[-1]) or ():
            if other == name:
                return Refusal(
                    "DependencyCycle",
                    f"spec.dependsOn leads back to this pool ({' → '.join([*way, name])}), so the "
                    "pools would wait for each other: remove one of them",
                )
            if len(way) == 1 and depends_on(other) is None:
                return Refusal(
                    "DependencyNotFound",
                    f"there is no WarmPool {other} in namespace {namespace}: create it or correct "
                    "spec.dependsOn",
                )
            if other not in known:
                known.add(other)
                ways.append([*way, other])
    return None


def check_exists(spec: PoolSpec, namespace: str, kind: str, *, exists: bool) -> Refusal | None:
    """Reject a pool whose target does not exist; `kind` is the word for it."""
    if exists:
        return None
    return Refusal(
        "TargetNotFound",
        f"there is no {kind} {spec.target.name} in namespace {namespace}: "
        "create it or correct spec.targetRef.name",
    )


def check_is_not_kotatsu(spec: PoolSpec, labels: Mapping[str, str]) -> Refusal | None:
    """Reject Kotatsu itself: at 0 it could not wake any pool, nor itself.

    `labels` are those of the target's pods.
    """
    of = spec.target
    if of.name not in (OPERATOR, ACTIVATOR) and labels.get(NAME_LABEL) != PROGRAM:
        return None
    return Refusal(
        "TargetIsKotatsu",
        f"{of.kind} {of.name} is Kotatsu itself, which must run while other workloads sleep: "
        f"name another {of.kind} in spec.targetRef.name",
    )


def check_kind(spec: PoolSpec, scaled: Scaled) -> Refusal | None:
    """Reject a kind that the operator may not read and scale; `scaled` are those that it may."""
    of = spec.target
    known = scaled.get(of.kind)
    if known is not None and known.api_version == of.api_version:
        return None
    todo = (
        f"a {of.kind} has no scale; name a workload that has one, like a Deployment, in "
        "spec.targetRef"
        if (of.api_version, of.kind) in _WITHOUT_SCALE
        else f"add {{apiVersion: {of.api_version}, kind: {of.kind}, resource: …}} to the chart "
        "value `targets`, or correct spec.targetRef"
    )
    text = f"Kotatsu may not scale {of.kind} of {of.api_version}: {todo}"
    return Refusal("KindNotPermitted", text)


_WITHOUT_SCALE = frozenset(
    {("apps/v1", "DaemonSet"), ("batch/v1", "CronJob"), ("batch/v1", "Job"), ("v1", "Pod")}
)
"""Workloads of Kubernetes whose number of pods cannot be set."""


def check_selector(spec: PoolSpec, selector: Mapping[str, Any]) -> Refusal | None:
    """Reject an existing workload whose pods are not known."""
    if selector:
        return None
    of = spec.target
    return Refusal(
        "TargetHasNoSelector",
        f"{of.kind} {of.name} shows no label selector of its pods (spec.selector, or "
        "status.selector as text), so its pods are unknown: name a workload that has one",
    )


def check_volume_claims(spec: PoolSpec, *, deletes: bool) -> Refusal | None:
    """Reject a StatefulSet that would lose its volumes with each sleep."""
    if not deletes:
        return None
    of = spec.target
    return Refusal(
        "ClaimsDeleted",
        f"{of.kind} {of.name} deletes the volume claims of pods that are scaled down, so each "
        "sleep would delete its data: set persistentVolumeClaimRetentionPolicy.whenScaled to "
        "Retain",
    )


# --- the Service ---


@dataclass(frozen=True)
class ServiceFacts:
    """What decides whether the clients of a Service can wake a pool."""

    namespace: str
    labels: Mapping[str, str]
    """Of the target's pods."""
    service: Mapping[str, Any] | None
    """The Service; None if it does not exist."""
    older: str = ""
    """An older pool with this Service; empty if there is none."""
    foreign: Sequence[tuple[str, str]] = ()
    """EndpointSlices of the Service with endpoints that no activator has published: their names and
    the controllers that manage them (empty if one names none)."""


def check_service(spec: PoolSpec, facts: ServiceFacts) -> Refusal | None:
    """Check the Service of a pool."""
    name = spec.service
    if facts.older:
        return Refusal(
            "ServiceClaimed",
            f"Service {name} already belongs to the older WarmPool {facts.older}: "
            "delete one of the two or name another Service in spec.service",
        )
    if facts.service is None:
        return Refusal(
            "ServiceNotFound",
            f"there is no Service {name} in namespace {facts.namespace}: "
            "create it or name another one in spec.service",
        )
    service = facts.service["spec"]
    return next(filter(None, (check(spec, facts, service) for check in _CHECKS)), None)


def _kind(spec: PoolSpec, facts: ServiceFacts, service: Mapping[str, Any]) -> Refusal | None:
    name = spec.service
    if (facts.namespace, name) == ("default", "kubernetes"):
        return Refusal(
            "ServiceHasEndpoints",
            "Service kubernetes in namespace default is the cluster's API server, which writes its "
            "endpoints itself: name the Service of the target's pods in spec.service",
        )
    if service.get("type") == "ExternalName":
        return Refusal(
            "ServiceExternalName",
            f"Service {name} is of type ExternalName, which is only a DNS alias, so no request to "
            "it can wake a pool: name a ClusterIP Service in spec.service",
        )
    if service.get("clusterIP") == "None":
        return Refusal(
            "ServiceHeadless",
            f"Service {name} is headless (clusterIP: None): its clients connect to the pods' own "
            "addresses, and a sleeping pool has none: name a Service with a cluster "
            "IP in spec.service",
        )
    return None


def _ports(spec: PoolSpec, _: ServiceFacts, service: Mapping[str, Any]) -> Refusal | None:
    ports = service.get("ports") or ()
    if any(port.get("protocol", "TCP") == "TCP" for port in ports):
        return None
    return Refusal(
        "ServiceWithoutTCP",
        f"Service {spec.service} has no TCP port, and only TCP connections can wait for "
        "a pod: add one, or name another Service in spec.service",
    )


def _selector(spec: PoolSpec, facts: ServiceFacts, service: Mapping[str, Any]) -> Refusal | None:
    selector, name, of = service.get("selector"), spec.service, spec.target
    if spec.route is RouteMode.ACTIVATOR and not selector:
        return _endpoints(spec, facts.foreign)
    if not selector:
        return Refusal(
            "ServiceHasNoSelector",
            f"Service {name} has no selector, so Kubernetes routes no connection to the pods: give "
            f"it the pod labels of {of.kind} {of.name} as its selector, or set route: Activator",
        )
    if serves(selector, facts.labels):
        if spec.route is RouteMode.ACTIVATOR:
            # Those of Kubernetes follow the selector.
            others = [of for of in facts.foreign if of[1] != NATIVE]
            return None if spec.beside else _take(spec, facts) or _endpoints(spec, others)
        return _readiness(name, service)
    asked = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    return Refusal(
        "ServiceSelectsOthers",
        f"Service {name} selects {asked}, but the pods of {of.kind} {of.name} do not have these "
        "labels, so its clients cannot reach them: correct the selector, the labels of the pod "
        "template, or spec.service",
    )


def _readiness(name: str, service: Mapping[str, Any]) -> Refusal | None:
    """With route Auto, connections must not reach a pod before it is Ready."""
    if not service.get("publishNotReadyAddresses"):
        return None
    return Refusal(
        "ServicePublishesNotReady",
        f"Service {name} has publishNotReadyAddresses, so while a pod starts, Kubernetes "
        "routes connections to it that it refuses: remove the field, or name another Service of "
        "these pods in spec.service",
    )


def _take(spec: PoolSpec, facts: ServiceFacts) -> Refusal | None:
    """If all connections pass, the pool may add a term to the selector, which must stay there."""
    service: Object = facts.service or {}
    name, platform = spec.service, spec.platform
    if ROUTE_LABEL in service["spec"]["selector"]:
        return None
    # kubectl applies when a person does. A program applies its manifest again and again.
    applies = [o.manager for o in owners(service, "selector") if o.applies]
    by = next((manager for manager in applies if manager != "kubectl"), foreign_owner(service))
    todo = (
        f"add `{ROUTE_LABEL}: {ROUTE_TAKEN}` to spec.selector in its manifest, and "
        f"remove the line before the pool is deleted, or {_gauge(spec)}"
    )
    if by:
        return Refusal(
            "SelectorContested",
            f"{by} writes the selector of Service {name} and would undo what leads it to the "
            f"activators, as {_why_all(spec)}: {todo}",
        )
    if facts.namespace == platform.home:
        return Refusal(
            "SelectorNotPermitted",
            f"Service {name} is in the namespace of Kotatsu itself, where the operator adds "
            f"nothing to selectors: {todo}",
        )
    if not platform.patches_services:
        return Refusal(
            "SelectorNotPermitted",
            f"the operator may not change Service {name}: set {_VALUE}; or {todo}",
        )
    return None


def _why_all(spec: PoolSpec) -> str:
    """Why all connections to the Service of a pool pass the activators."""
    if not spec.decided:
        return "spec.route Activator asks for"
    return "Auto has decided, because the pods show no gauge of requests in flight"


def _gauge(spec: PoolSpec) -> str:
    """What makes connections go to the pods."""
    if not spec.decided:
        return "set route: Auto"
    return "name a gauge of the pods in spec.inFlightMetric"


_VALUE = "the chart value `rbac.patchServices` to true"


def check_left(spec: PoolSpec, left: str) -> Refusal | None:
    """Reject a pool that has taken the selector of a Service and cannot give it back.

    `left` is the name of a Service that it no longer leads to the activators; empty if the selector
    is as it was.
    """
    if not left or spec.platform.patches_services:
        return None
    return Refusal(
        "SelectorNotPermitted",
        f"the operator may not give Service {left} its pods back: set {_VALUE}, or remove "
        f"`{ROUTE_LABEL}` from its selector",
    )


def _endpoints(spec: PoolSpec, foreign: Sequence[tuple[str, str]]) -> Refusal | None:
    """If all connections pass, the activators must be the only endpoints of the Service."""
    if not foreign:
        return None
    name, (of, manager) = spec.service, min(foreign)
    kept = f", managed by {manager}" if manager else ""
    return Refusal(
        "ServiceHasEndpoints",
        f"Service {name} has endpoints in EndpointSlice {of}{kept}, so connections would bypass "
        f"the activators, but all must pass them, as {_why_all(spec)}: delete that EndpointSlice "
        f"and Endpoints {name}, create the Service anew if it had a selector, name another one in "
        f"spec.service, or {_gauge(spec)}",
    )


_Check = Callable[[PoolSpec, ServiceFacts, Mapping[str, Any]], Refusal | None]
_CHECKS: tuple[_Check, ...] = (_kind, _ports, _selector)


# --- the autoscaler ---


_MANAGED_BY = "app.kubernetes.io/managed-by"
_KEDA = "keda-operator"
_SCALED_OBJECT = "ScaledObject"

_PAUSED = "autoscaling.keda.sh/paused"
_PAUSED_AT = "autoscaling.keda.sh/paused-replicas"
_FALSE = frozenset({"0", "f", "F", "false", "False", "FALSE"})
"""What Go's strconv.ParseBool reads as false. KEDA reads every other value as true."""


def is_left_alone(scaled_object: Object) -> bool:
    """Whether KEDA leaves the workload of a ScaledObject as it is, and has no autoscaler for it.

    With `paused-replicas` KEDA sets the replicas to that number, again and again.
    """
    annotations = table(table(scaled_object.get("metadata")).get("annotations"))
    paused = annotations.get(_PAUSED, "false") not in _FALSE
    return paused and _PAUSED_AT not in annotations


def keda_refusal(of: str, namespace: str, scaled_object: str) -> Refusal:
    """KEDA scales a workload (`of`); the message has the command that pauses KEDA."""
    pause = f"kubectl annotate scaledobject {scaled_object} -n {namespace} --overwrite"
    return Refusal(
        "ForeignAutoscaler",
        f"KEDA scales {of} by ScaledObject {scaled_object} and would undo what Kotatsu sets: pause "
        f"it ({pause} {_PAUSED}=true), by which KEDA deletes its HorizontalPodAutoscaler, or "
        "leave this workload to KEDA",
    )


def keda_object(autoscaler: Object) -> str:
    """The ScaledObject of KEDA that owns an autoscaler; empty if none does."""
    owners_of = autoscaler["metadata"].get("ownerReferences") or ()
    named = [owner["name"] for owner in owners_of if owner.get("kind") == _SCALED_OBJECT]
    return str(named[0]) if named else ""


def foreign_owner(autoscaler: Object) -> str:
    """The program that owns an autoscaler; empty if people manage it."""
    meta = autoscaler["metadata"]
    if owner := controller_of(meta):
        return owner
    if (meta.get("labels") or {}).get(_MANAGED_BY) == _KEDA:
        return "KEDA"
    return ""


def check_autoscalers(spec: PoolSpec, namespace: str, found: Sequence[Object]) -> Refusal | None:
    """Accept at most one HorizontalPodAutoscaler, and none that another program owns.

    `found` are those that scale the target, by name.
    """
    of = f"{spec.target.kind} {spec.target.name}"
    for autoscaler in found:
        name, owner = autoscaler["metadata"]["name"], foreign_owner(autoscaler)
        if scaled_object := keda_object(autoscaler):
            return keda_refusal(of, namespace, scaled_object)
        if owner:
            return Refusal(
                "ForeignAutoscaler",
                f"HorizontalPodAutoscaler {name} scales {of} and belongs to {owner}, which would "
                "undo what Kotatsu sets: leave this workload to one of the two",
            )
    if len(found) > 1:
        names = " and ".join(a["metadata"]["name"] for a in found)
        return Refusal(
            "TwoAutoscalers",
            f"the HorizontalPodAutoscalers {names} scale {of} at once and work against each other: "
            "delete all but one",
        )
    return None
