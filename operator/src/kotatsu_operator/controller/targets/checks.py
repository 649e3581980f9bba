"""Checks of a pool that several kinds of targets share: claims, existence, Service, autoscalers."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from kotatsu_operator.controller.targets.target import Refusal, Target
from kotatsu_operator.core.pool.spec import RouteMode
from kotatsu_operator.kube.objects import Key, Object, selects
from kotatsu_operator.kube.workload import KEDA_PAUSE, foreign_owner, keda_object


def older_pool(target: Target, claimants: Sequence[Key]) -> str:
    """The name of the oldest claimant; empty if that is this pool, or there is none."""
    return "" if not claimants or claimants[0] == target.key else claimants[0][1]


def check_claim(target: Target) -> Refusal | None:
    """Reject all but the oldest of the pools that have the same target."""
    of = target.spec.target
    older = older_pool(target, target.cache.pools_of_target(of.kind, (target.key[0], of.name)))
    if not older:
        return None
    return Refusal(
        "TargetClaimed",
        f"{of.kind} {of.name} already belongs to the older WarmPool {older}: delete one of the two "
        "or give this one another targetRef",
    )


def check_exists(target: Target, kind: str, *, exists: bool) -> Refusal | None:
    """Reject a pool whose target does not exist."""
    if exists:
        return None
    return Refusal(
        "TargetNotFound",
        f"there is no {kind} {target.spec.target.name} in namespace {target.key[0]}: "
        "create it or correct spec.targetRef.name",
    )


def check_autoscalers(target: Target, found: Sequence[Object]) -> Refusal | None:
    """Accept at most one HorizontalPodAutoscaler, and none that another program owns."""
    of = f"{target.spec.target.kind} {target.spec.target.name}"
    for autoscaler in found:
        name, owner = autoscaler["metadata"]["name"], foreign_owner(autoscaler)
        if scaled_object := keda_object(autoscaler):
            pause = f"kubectl annotate scaledobject {scaled_object} -n {target.key[0]} {KEDA_PAUSE}"
            return Refusal(
                "ForeignAutoscaler",
                f"KEDA scales {of} by ScaledObject {scaled_object} and would undo what Kotatsu "
                f"sets: pause it ({pause}), by which KEDA deletes HorizontalPodAutoscaler {name}, "
                "or leave this workload to KEDA",
            )
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


class _Case(NamedTuple):
    target: Target
    labels: Mapping[str, str]
    """Of the target's pods."""
    service: Object

    @property
    def name(self) -> str:
        return self.target.spec.service


def check_service(target: Target, labels: Mapping[str, str]) -> Refusal | None:
    """Check the Service of a target whose pods have these labels."""
    name, key = target.spec.service, (target.key[0], target.spec.service)
    older = older_pool(target, target.cache.pools_of_service(key))
    if older:
        return Refusal(
            "ServiceClaimed",
            f"Service {name} already belongs to the older WarmPool {older}: "
            "delete one of the two or name another Service in spec.service",
        )
    service = target.cache.services.get(key)
    if service is None:
        return Refusal(
            "ServiceNotFound",
            f"there is no Service {name} in namespace {key[0]}: "
            "create it or name another one in spec.service",
        )
    case = _Case(target, labels, service)
    return next(filter(None, (check(case) for check in _CHECKS)), None)


def _kind(case: _Case) -> Refusal | None:
    spec, name = case.service["spec"], case.name
    if (case.target.key[0], name) == ("default", "kubernetes"):
        return Refusal(
            "ServiceHasEndpoints",
            "Service kubernetes in namespace default is the cluster's API server, which writes its "
            "endpoints itself: name the Service of the target's pods in spec.service",
        )
    if spec.get("type") == "ExternalName":
        return Refusal(
            "ServiceExternalName",
            f"Service {name} is of type ExternalName, which is only a DNS alias, so no request to "
            "it can wake a pool: name a ClusterIP Service in spec.service",
        )
    if spec.get("clusterIP") == "None":
        return Refusal(
            "ServiceHeadless",
            f"Service {name} is headless (clusterIP: None): its clients connect to the pods' own "
            "addresses, and a sleeping pool has none: name a Service with a cluster "
            "IP in spec.service",
        )
    return None


def _ports(case: _Case) -> Refusal | None:
    ports = case.service["spec"].get("ports") or ()
    if any(port.get("protocol", "TCP") == "TCP" for port in ports):
        return None
    return Refusal(
        "ServiceWithoutTCP",
        f"Service {case.name} has no TCP port, and only TCP connections can wait for "
        "a pod: add one, or name another Service in spec.service",
    )


def _selector(case: _Case) -> Refusal | None:
    selector, name, of = case.service["spec"].get("selector"), case.name, case.target.spec.target
    if case.target.spec.route is RouteMode.ALWAYS:
        if not selector:
            return _endpoints(case)
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
    if selects({"matchLabels": selector}, case.labels):
        return _readiness(case)
    asked = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    return Refusal(
        "ServiceSelectsOthers",
        f"Service {name} selects {asked}, but the pods of {of.kind} {of.name} do not have these "
        "labels, so its clients cannot reach them: correct the selector, the labels of the pod "
        "template, or spec.service",
    )


def _readiness(case: _Case) -> Refusal | None:
    """With route Auto, connections must not reach a pod before it is Ready."""
    if not case.service["spec"].get("publishNotReadyAddresses"):
        return None
    return Refusal(
        "ServicePublishesNotReady",
        f"Service {case.name} has publishNotReadyAddresses, so while a pod starts, Kubernetes "
        "routes connections to it that it refuses: remove the field, or name another Service of "
        "these pods in spec.service",
    )


def _endpoints(case: _Case) -> Refusal | None:
    """With route Always, the activators must be the only endpoints of the Service."""
    name, slices = case.name, case.target.cache.foreign_slices
    key = min(slices.having((case.target.key[0], name)), default=None)
    if key is None:
        return None
    manager = slices[key].manager
    kept = f", managed by {manager}" if manager else ""
    return Refusal(
        "ServiceHasEndpoints",
        f"Service {name} has endpoints in EndpointSlice {key[1]}{kept}, so connections would "
        "bypass the activator, but with spec.route Always every connection must pass it: delete "
        f"that EndpointSlice and Endpoints {name}, create the Service anew if it had a selector, "
        "or name another one in spec.service",
    )


_CHECKS: tuple[Callable[[_Case], Refusal | None], ...] = (_kind, _ports, _selector)
