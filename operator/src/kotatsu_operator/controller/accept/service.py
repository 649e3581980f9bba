"""Validates a pool's Service: whether its clients can wake the pool.

A request wakes a sleeping pool through an additional EndpointSlice of its Service. So the Service
needs a virtual IP that a proxy handles and a TCP port to listen on. Its clients must reach the pods
of this target and of no other.
"""

from collections.abc import Callable

from kotatsu_operator.controller.accept.candidate import Candidate, Refusal
from kotatsu_operator.core.pool.spec import RouteMode
from kotatsu_operator.kube.objects import selects
from kotatsu_operator.kube.resources import Object


def validate_service(candidate: Candidate) -> Refusal | None:
    """Validate the Service of a pool with a Deployment; Knative has its own Services."""
    if candidate.spec.target.is_knative:
        return None
    refusal = _claim(candidate)
    if refusal is not None:
        return refusal
    service = candidate.service
    if service is None:
        return Refusal(
            "ServiceNotFound",
            f"there is no Service {candidate.spec.service} in namespace {candidate.namespace}: "
            "create it or name another one in spec.service",
        )
    for validate in _VALIDATORS:
        refusal = validate(candidate, service)
        if refusal is not None:
            return refusal
    return None


def _claim(candidate: Candidate) -> Refusal | None:
    older = candidate.older(
        candidate.cache.pools_of_service((candidate.namespace, candidate.spec.service))
    )
    if not older:
        return None
    return Refusal(
        "ServiceClaimed",
        f"Service {candidate.spec.service} already belongs to the older WarmPool {older}: "
        "delete one of the two or name another Service in spec.service",
    )


def _kind(candidate: Candidate, service: Object) -> Refusal | None:
    spec, name = service["spec"], candidate.spec.service
    if (candidate.namespace, name) == ("default", "kubernetes"):
        return Refusal(
            "ServiceHasEndpoints",
            "Service kubernetes in namespace default is the cluster's API server, which writes its "
            "endpoints itself: name the Service of the target's pods in spec.service",
        )
    if spec.get("type") == "ExternalName":
        return Refusal(
            "ServiceExternalName",
            f"Service {name} is of type ExternalName, a mere DNS alias, and no request to it can "
            "wake anything: name a ClusterIP Service in spec.service",
        )
    if spec.get("clusterIP") == "None":
        return Refusal(
            "ServiceHeadless",
            f"Service {name} is headless (clusterIP: None): its clients connect to the pods' own "
            "addresses, and there are none while the pool sleeps; name a Service with a cluster "
            "IP in spec.service",
        )
    return None


def _ports(candidate: Candidate, service: Object) -> Refusal | None:
    ports = service["spec"].get("ports") or ()
    if any(port.get("protocol", "TCP") == "TCP" for port in ports):
        return None
    return Refusal(
        "ServiceWithoutTCP",
        f"Service {candidate.spec.service} has no TCP port, and only TCP connections can wait for "
        "a pod: give it one, or name another Service in spec.service",
    )


def _selector(candidate: Candidate, service: Object) -> Refusal | None:
    selector, name = service["spec"].get("selector"), candidate.spec.service
    if candidate.spec.route is RouteMode.ALWAYS:
        if not selector:
            return _endpoints(candidate)
        return Refusal(
            "ServiceHasSelector",
            f"Service {name} has a selector, so Kubernetes leads connections past the activator, "
            "but spec.route Always promises that every one passes it: create the Service anew "
            "without one (taken away, it leaves its endpoints behind), or set route: Auto",
        )
    if not selector:
        return Refusal(
            "ServiceHasNoSelector",
            f"Service {name} has no selector, so Kubernetes leads nobody to the pods: give it the "
            f"pod labels of Deployment {candidate.spec.target.name} as its selector, or set "
            "route: Always",
        )
    labels = candidate.deployment.labels if candidate.deployment is not None else {}
    if selects({"matchLabels": selector}, labels):
        return None
    target = candidate.spec.target.name
    asked = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    return Refusal(
        "ServiceSelectsOthers",
        f"Service {name} selects {asked}, which the pods of Deployment {target} do not carry, so "
        "waking them would answer nobody: make the selector and the pod template's labels agree, "
        "or correct spec.service",
    )


def _endpoints(candidate: Candidate) -> Refusal | None:
    """With route Always, the activators must be the only endpoints of the Service."""
    name, foreign = candidate.spec.service, candidate.foreign_slices
    if not foreign:
        return None
    named, keeper = foreign[0]
    kept = f", kept by {keeper}" if keeper else ""
    return Refusal(
        "ServiceHasEndpoints",
        f"Service {name} has endpoints in EndpointSlice {named}{kept}, so connections would bypass "
        "the activator, but spec.route Always promises that every one passes it: delete that "
        f"EndpointSlice and Endpoints {name}, create the Service anew if it had a selector, or "
        "name another one in spec.service",
    )


_VALIDATORS: tuple[Callable[[Candidate, Object], Refusal | None], ...] = (_kind, _ports, _selector)
