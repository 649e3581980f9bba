"""Why a pool cannot be used, from the objects around it: each refusal says what to change.

The operator makes these checks with what its watches have shown, and `kubectl demo-mode check` with
what it has read, so that both give the same reason.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kotatsu_operator.core.objects import serves
from kotatsu_operator.core.pool.kinds import Scaled
from kotatsu_operator.core.pool.spec import PoolSpec, RouteMode
from kotatsu_operator.core.protocol import ACTIVATOR, NAME_LABEL, OPERATOR, PROGRAM


@dataclass(frozen=True)
class Refusal:
    """Why a pool is rejected: a reason (one word) and a message."""

    reason: str
    message: str


def check_claim(spec: PoolSpec, older: str) -> Refusal | None:
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
    return Refusal(
        "KindNotPermitted",
        f"Kotatsu may not scale {of.kind} of {of.api_version}: add {{apiVersion: "
        f"{of.api_version}, kind: {of.kind}, resource: …}} to the chart value `targets`, or "
        "correct spec.targetRef",
    )


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


def check_claims(spec: PoolSpec, *, deletes: bool) -> Refusal | None:
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
    foreign: tuple[str, str] | None = None
    """An EndpointSlice of the Service with endpoints that no activator has published: its name and
    the controller that manages it (empty if it names none)."""


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
    if spec.route is RouteMode.ALWAYS:
        if not selector:
            return _endpoints(name, facts)
        return Refusal(
            "ServiceHasSelector",
            f"Service {name} has a selector, so Kubernetes routes connections past the activator, "
            "but with spec.route Always every connection must pass it: create the Service anew "
            "without one (a removed selector leaves its endpoints behind), or set route: Auto",
        )
    if not selector:
        return Refusal(
            "ServiceHasNoSelector",
            f"Service {name} has no selector, so Kubernetes routes no connection to the pods: give "
            f"it the pod labels of {of.kind} {of.name} as its selector, or set route: Always",
        )
    if serves(selector, facts.labels):
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


def _endpoints(name: str, facts: ServiceFacts) -> Refusal | None:
    """With route Always, the activators must be the only endpoints of the Service."""
    if facts.foreign is None:
        return None
    of, manager = facts.foreign
    kept = f", managed by {manager}" if manager else ""
    return Refusal(
        "ServiceHasEndpoints",
        f"Service {name} has endpoints in EndpointSlice {of}{kept}, so connections would "
        "bypass the activator, but with spec.route Always every connection must pass it: delete "
        f"that EndpointSlice and Endpoints {name}, create the Service anew if it had a selector, "
        "or name another one in spec.service",
    )


_Check = Callable[[PoolSpec, ServiceFacts, Mapping[str, Any]], Refusal | None]
_CHECKS: tuple[_Check, ...] = (_kind, _ports, _selector)
