"""The fields that are kept of what is listed and watched: those that the programs use.

An object can have 1.5 MB, most of it in fields that no decision depends on. With them an account
that may write to one namespace could fill the memory of the operator of all.
"""

from collections.abc import Mapping
from typing import Any

from kotatsu_operator.core.protocol import (
    BY_ANNOTATION,
    REASON_ANNOTATION,
    REHEARSAL_ANNOTATION,
)
from kotatsu_operator.kube.objects import (
    HorizontalPodAutoscaler,
    Object,
    Pod,
    Service,
    WarmPool,
)

LONGEST = 16 * 1024
"""Characters of a field whose size the API server does not limit, such as a label selector. A
longer one is left out, as if the object did not have it."""

MOST_ITEMS = 1000
"""Items of a list; the API server accepts as many endpoints of an EndpointSlice."""

_BOUNDED: Mapping[str, Any] = {}
"""A field that is kept if it is not too long."""

_BY_SCHEMA = None
"""A field that is kept whole: the CRD limits it."""


def fields(*names: str, **parts: Any) -> dict[str, Any]:
    """What is kept of an object, by name: fields of a bounded size, and parts of objects."""
    return {**dict.fromkeys(names, _BOUNDED), **parts}


META = fields("namespace", "name", "uid", "resourceVersion")


def _owned(field: str) -> dict[str, Any]:
    """The owners of an object, and the managers of one field of its spec."""
    return fields(
        ownerReferences=fields("kind", "name", "controller"),
        managedFields=fields(
            *("manager", "operation", "time"), fieldsV1={"f:spec": {f"f:{field}": _BOUNDED}}
        ),
    )


CONTAINERS = fields(
    *("name", "startupProbe", "readinessProbe", "resources", "restartPolicy", "resizePolicy"),
    ports=fields("name", "containerPort"),
)
_CONTAINER_STATUSES = fields(
    *("name", "ready", "started", "state", "lastState", "allocatedResources", "resources")
)
CONDITIONS = fields("type", "status", "reason", "message", "lastTransitionTime")

_KEPT: Mapping[Any, Mapping[str, Any]] = {
    WarmPool: {
        "metadata": META
        | fields(
            *("generation", "creationTimestamp", "deletionTimestamp"),
            annotations=fields(BY_ANNOTATION, REASON_ANNOTATION, REHEARSAL_ANNOTATION),
        ),
        "spec": _BY_SCHEMA,
        "status": _BY_SCHEMA,
    },
    Pod: {
        "metadata": META | fields("labels", "deletionTimestamp"),
        "spec": fields(
            *("nodeName", "overhead", "resources"),
            readinessGates=fields("conditionType"),
            containers=CONTAINERS,
            initContainers=CONTAINERS,
        ),
        "status": fields(
            *("phase", "podIP", "startTime"),
            conditions=CONDITIONS,
            containerStatuses=_CONTAINER_STATUSES,
            initContainerStatuses=_CONTAINER_STATUSES,
        ),
    },
    Service: {
        "metadata": META | _owned("selector"),
        "spec": fields(
            *("type", "clusterIP", "ipFamilies", "selector"),
            ports=fields("name", "port", "targetPort", "protocol", "appProtocol"),
        ),
    },
    HorizontalPodAutoscaler: {
        "metadata": META | fields("labels") | _owned("minReplicas"),
        "spec": fields(
            *("minReplicas", "maxReplicas"),
            scaleTargetRef=fields("kind", "name"),
            metrics={
                kind: fields("name", "container", target=fields("type"))
                for kind in ("resource", "containerResource")
            },
        ),
    },
}
"""By kind. An object of another kind is kept as it is: its cache reads it into a view at once."""


def keeping(kind: Any, kept: Mapping[str, Any]) -> Any:
    """A further kind, of whose objects only these fields are kept."""
    kind.kept_fields = kept
    return kind


def used(kind: Any, obj: Object) -> Object:
    """The fields of an object that the programs use, each of a bounded size."""
    kept = _KEPT.get(kind) or getattr(kind, "kept_fields", None)
    return obj if kept is None else _only(obj, kept)


def _only(value: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_only(item, names) for item in value[:MOST_ITEMS]]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, inner in names.items():
        if name not in value:
            continue
        found = value[name]
        if inner is _BY_SCHEMA or found is None:
            kept[name] = found
        elif inner:
            kept[name] = _only(found, inner)
        elif len(found if isinstance(found, str) else repr(found)) <= LONGEST:
            kept[name] = found
    return kept
