"""The requests of pods: in full, as the target's template states them, and while parked.

Only CPU and memory of a running pod can be changed. A request that the template does not state (a
LimitRange's default, an injected sidecar) could not be restored from it, so it is left alone.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kotatsu_operator.core.formats import quantity, table, tables, text
from kotatsu_operator.core.objects import Object, is_sidecar
from kotatsu_operator.core.pool.spec import Target

RESIZABLE = ("cpu", "memory")

Quantities = Mapping[str, Mapping[str, str]]
"""Quantities by the name of a container, and by resource."""


@dataclass(frozen=True, slots=True)
class ContainerSize:
    """What a container requests, as the API server counts it."""

    requests: Mapping[str, str]
    """Of CPU and memory. A limit stands in for a request that is missing."""
    limits: Mapping[str, str]
    restarts: frozenset[str] = frozenset()
    """The resources whose change restarts the container (resizePolicy)."""


@dataclass(frozen=True, slots=True)
class PodSize:
    """The resources of a pod, or of a pod template."""

    containers: Mapping[str, ContainerSize]
    """By name; with sidecars, without init containers that end."""
    sidecars: frozenset[str] = frozenset()
    is_guaranteed: bool = False
    """Whether its QoS class is Guaranteed: each request equals its limit."""
    of_pod: bool = False
    """Whether the pod itself has requests or limits."""


def pod_size(spec: Mapping[str, Any]) -> PodSize:
    """Read a PodSpec."""
    plain, inits = list(tables(spec.get("containers"))), list(tables(spec.get("initContainers")))
    sidecars = [c for c in inits if is_sidecar(c)]
    own = table(spec.get("resources"))
    return PodSize(
        {text(c.get("name")): _container_size(c) for c in (*plain, *sidecars)},
        frozenset(text(c.get("name")) for c in sidecars),
        is_guaranteed=bool(plain) and all(map(_is_guaranteed, (*plain, *inits))),
        of_pod=any(table(own.get(kind)) for kind in ("requests", "limits")),
    )


def _container_size(container: Mapping[str, Any]) -> ContainerSize:
    resources = table(container.get("resources"))
    limits = _known(table(resources.get("limits")))
    return ContainerSize(
        limits | _known(table(resources.get("requests"))),
        limits,
        frozenset(
            text(policy.get("resourceName"))
            for policy in tables(container.get("resizePolicy"))
            if policy.get("restartPolicy") == "RestartContainer"
        ),
    )


def _known(amounts: Mapping[str, Any]) -> dict[str, str]:
    given = {name: str(amounts[name]) for name in RESIZABLE if name in amounts}
    return {name: text for name, text in given.items() if quantity(text) is not None}


def _is_guaranteed(container: Mapping[str, Any]) -> bool:
    size = _container_size(container)
    return all(
        name in size.limits and quantity(size.requests[name]) == quantity(size.limits[name])
        for name in RESIZABLE
    )


# --- what to change ---


def parked(template: PodSize, cpu: Decimal) -> Quantities:
    """What the containers request while their pod is parked: CPU, where it is less."""
    return {
        name: {"cpu": f"{cpu:f}"}
        for name, container in template.containers.items()
        if (quantity(container.requests.get("cpu", "")) or 0) > cpu
    }


def parked_spec(spec: Mapping[str, Any], cpu: Decimal) -> Mapping[str, Any]:
    """A PodSpec with the requests of a parked pod."""
    changes = parked(pod_size(spec), cpu)

    def container(given: Mapping[str, Any]) -> Mapping[str, Any]:
        requests = changes.get(text(given.get("name")))
        if requests is None:
            return given
        resources = table(given.get("resources"))
        requests = {**table(resources.get("requests")), **requests}
        return {**given, "resources": {**resources, "requests": requests}}

    kinds = ("containers", "initContainers")
    return {**spec, **{kind: [container(c) for c in tables(spec.get(kind))] for kind in kinds}}


def to_reduce(template: PodSize, pod: PodSize, cpu: Decimal) -> Quantities:
    """The requests to lower in a pod so that it is parked; empty if it is."""
    return _changes(pod, parked(template, cpu), lowers=True)


def to_restore(template: PodSize, pod: PodSize) -> Quantities:
    """The requests to raise in a pod so that it has those of the template; empty if it has them.

    Never above the limits of the pod, which may be one of an earlier template.
    """
    wanted = {}
    for name, container in template.containers.items():
        limits = pod.containers[name].limits if name in pod.containers else {}
        wanted[name] = {
            resource: min(full, limits.get(resource, full), key=lambda q: quantity(q) or 0)
            for resource, full in container.requests.items()
        }
    return _changes(pod, wanted, lowers=False)


def _changes(pod: PodSize, wanted: Quantities, *, lowers: bool) -> Quantities:
    found: dict[str, dict[str, str]] = {}
    for name, requests in wanted.items():
        known = pod.containers[name].requests if name in pod.containers else {}
        for resource, given in requests.items():
            has, asked = quantity(known.get(resource, "")), quantity(given)
            if has is not None and asked is not None and (asked < has if lowers else asked > has):
                found.setdefault(name, {})[resource] = given
    return found


def resize_patch(uid: str, requests: Quantities, sidecars: Collection[str]) -> dict[str, Any]:
    """The patch of a pod's subresource `resize`, for the pod with this uid alone.

    It is a strategic merge, which finds the containers by their names. A JSON merge would replace
    the list.
    """
    spec: dict[str, list[dict[str, Any]]] = {}
    for name, amounts in requests.items():
        part = "initContainers" if name in sidecars else "containers"
        given = {"name": name, "resources": {"requests": dict(amounts)}}
        spec.setdefault(part, []).append(given)
    return {"metadata": {"uid": uid}, "spec": spec}


# --- why not ---


@dataclass(frozen=True)
class Obstacle:
    """Why pods cannot be parked: a reason (one word) and a message.

    It refuses no pool: the pool then does without parked pods.
    """

    reason: str
    message: str


NOT_ENABLED = Obstacle(
    "NotEnabled", "the operator may not change requests: set the chart's value parked.enabled"
)

NOT_SERVED = Obstacle(
    "NotServed",
    "the cluster cannot resize running pods (pods/resize): upgrade it to Kubernetes 1.33 or newer",
)


_REMOVE = "remove spec.parkedFor, and mode: Parked of windows and calendars"


def unparkable(
    target: Target,
    template: PodSize | None,
    cpu: Decimal,
    autoscalers: Sequence[Object],
) -> Obstacle | None:
    """Why pods of this template cannot be parked; None if they can.

    `template` is None for a target that shows none; `cpu` is that of a parked container.
    """
    if target.scales_itself:
        return Obstacle("Knative", f"Knative scales its pods itself: {_REMOVE}")
    of = f"{target.kind} {target.name}"
    if template is None or not template.containers:
        text = f"{of} has no spec.template that says what its pods request: {_REMOVE}"
        return Obstacle("NoTemplate", text)
    changes = parked(template, cpu)
    found = (*_of_template(of, template, changes), *_of_autoscalers(autoscalers, changes))
    return next(iter(found), None)


def _of_template(of: str, template: PodSize, changes: Quantities) -> Iterator[Obstacle]:
    if template.of_pod:
        yield Obstacle(
            "PodLevelResources",
            f"the pods of {of} have resources of the whole pod (spec.resources): move them to the "
            "containers",
        )
    if not changes:
        yield Obstacle(
            "NothingToReduce",
            f"no container of {of} requests more CPU than a parked pod keeps: set requests in its "
            "pod template, or lower the chart value parked.cpu",
        )
    elif template.is_guaranteed:
        yield Obstacle(
            "Guaranteed",
            f"the pods of {of} have the QoS class Guaranteed, which a smaller request would "
            "change: set a request below its limit in one container",
        )
    for name, requests in changes.items():
        if restarting := sorted(template.containers[name].restarts & requests.keys()):
            yield Obstacle(
                "RestartsToResize",
                f"container {name} of {of} restarts when its {restarting[0]} is resized: set its "
                "resizePolicy to NotRequired",
            )


def _of_autoscalers(autoscalers: Sequence[Object], changes: Quantities) -> Iterator[Obstacle]:
    """An autoscaler would take a smaller request for a higher utilization, and start pods."""
    for autoscaler in autoscalers:
        name = autoscaler["metadata"]["name"]
        for resource, container in _utilizations(autoscaler):
            # Without a container the metric is about all of them.
            named = changes if container is None else {container} & changes.keys()
            if any(resource in changes[c] for c in named):
                yield Obstacle(
                    "AutoscalerUtilization",
                    f"HorizontalPodAutoscaler {name} divides the use of {resource} by the request: "
                    "set a target of type AverageValue there",
                )


def _utilizations(autoscaler: Object) -> Iterator[tuple[Any, Any]]:
    """The resource and container of each metric that is a share of the request."""
    for metric in tables(table(autoscaler.get("spec")).get("metrics")):
        of = table(metric.get("resource") or metric.get("containerResource"))
        if table(of.get("target")).get("type") == "Utilization":
            yield of.get("name"), of.get("container")
