"""Why the pods of a target cannot be parked: each reason says what to change.

The operator makes these checks with what its watches have shown, and `kubectl demo-mode check` with
what it has read. None of them refuses a pool: it then does without parked pods.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kotatsu_operator.core.formats import table, tables
from kotatsu_operator.core.objects import Object
from kotatsu_operator.core.pool.resize import PodSize, Quantities, parked
from kotatsu_operator.core.pool.spec import Target


@dataclass(frozen=True)
class Obstacle:
    """Why pods cannot be parked: a reason (one word) and a message."""

    reason: str
    message: str


NOT_ENABLED = Obstacle(
    "NotEnabled", "the operator may not change requests: set the chart's value parked.enabled"
)

NOT_SERVED = Obstacle(
    "NotServed",
    "the cluster cannot resize running pods (pods/resize): upgrade it to Kubernetes 1.33 or newer",
)


def unparkable(
    target: Target,
    template: PodSize | None,
    most: Mapping[str, Decimal],
    autoscalers: Sequence[Object],
) -> Obstacle | None:
    """Why pods of this template cannot be parked; None if they can.

    `template` is None for a target that shows none; `most` is spec.parked.requests.
    """
    if target.scales_itself:
        return Obstacle("Knative", "Knative scales its pods itself: remove spec.parked")
    of = f"{target.kind} {target.name}"
    if template is None or not template.containers:
        text = f"{of} has no spec.template that says what its pods request: remove spec.parked"
        return Obstacle("NoTemplate", text)
    changes = parked(template, most)
    found = (*_of_template(of, template, changes, most), *_of_autoscalers(autoscalers, changes))
    return next(iter(found), None)


def _of_template(
    of: str, template: PodSize, changes: Quantities, most: Mapping[str, Decimal]
) -> Iterator[Obstacle]:
    if template.of_pod:
        yield Obstacle(
            "PodLevelResources",
            f"the pods of {of} have resources of the whole pod (spec.resources): move them to the "
            "containers",
        )
    if not changes:
        names = " and ".join(most)
        yield Obstacle(
            "NothingToReduce",
            f"no container of {of} requests more {names} than spec.parked.requests: set requests "
            "in its pod template, or lower spec.parked.requests",
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
                    f"set a target of type AverageValue there, or leave {resource} out of "
                    "spec.parked.requests",
                )


def _utilizations(autoscaler: Object) -> Iterator[tuple[Any, Any]]:
    """The resource and container of each metric that is a share of the request."""
    for metric in tables(table(autoscaler.get("spec")).get("metrics")):
        of = table(metric.get("resource") or metric.get("containerResource"))
        if table(of.get("target")).get("type") == "Utilization":
            yield of.get("name"), of.get("container")
