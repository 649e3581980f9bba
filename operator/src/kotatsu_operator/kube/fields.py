"""The fields that are kept of what is listed and watched: those that the programs use.

An object can have 1.5 MB, most of it in fields that no decision depends on. With them an account
that may write to one namespace could fill the memory of the operator of all.
"""

from collections.abc import Mapping
from typing import Any

from kotatsu_operator.core.decide.knative import MIN_SCALE
from kotatsu_operator.core.protocol import (
    BY_ANNOTATION,
    REASON_ANNOTATION,
    REHEARSAL_ANNOTATION,
)
from kotatsu_operator.kube.knative import (
    ACTIVATION_SCALE,
    MAX_SCALE,
    OLD_SPELLING,
    SERVICE_LABEL,
)
from kotatsu_operator.kube.objects import (
    HorizontalPodAutoscaler,
    KnativeRevision,
    KnativeService,
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


def _fields(*names: str, **parts: Any) -> dict[str, Any]:
    return {**dict.fromkeys(names, _BOUNDED), **parts}


_META = _fields("namespace", "name", "uid", "resourceVersion")


def _owned(field: str) -> dict[str, Any]:
    """The owners of an object, and the managers of one field of its spec."""
    return _fields(
        ownerReferences=_fields("kind", "name", "controller"),
        managedFields=_fields(
            *("manager", "operation", "time"), fieldsV1={"f:spec": {f"f:{field}": _BOUNDED}}
        ),
    )


_CONTAINERS = _fields(
    *("name", "startupProbe", "readinessProbe", "resources", "restartPolicy", "resizePolicy"),
    ports=_fields("name", "containerPort"),
)
_CONTAINER_STATUSES = _fields(
    *("name", "ready", "started", "state", "lastState", "allocatedResources", "resources")
)
_CONDITIONS = _fields("type", "status", "reason", "message", "lastTransitionTime")

_KEPT: Mapping[Any, Mapping[str, Any]] = {
    WarmPool: {
        "metadata": _META
        | _fields(
            *("generation", "creationTimestamp", "deletionTimestamp"),
            annotations=_fields(BY_ANNOTATION, REASON_ANNOTATION, REHEARSAL_ANNOTATION),
        ),
        "spec": _BY_SCHEMA,
        "status": _BY_SCHEMA,
    },
    Pod: {
        "metadata": _META | _fields("labels", "deletionTimestamp"),
        "spec": _fields(
            *("nodeName", "overhead", "resources"),
            readinessGates=_fields("conditionType"),
            containers=_CONTAINERS,
            initContainers=_CONTAINERS,
        ),
        "status": _fields(
            *("phase", "podIP", "startTime"),
            conditions=_CONDITIONS,
            containerStatuses=_CONTAINER_STATUSES,
            initContainerStatuses=_CONTAINER_STATUSES,
        ),
    },
    Service: {
        "metadata": _META | _owned("selector"),
        "spec": _fields(
            *("type", "clusterIP", "ipFamilies", "selector"),
            ports=_fields("name", "port", "targetPort", "protocol", "appProtocol"),
        ),
    },
    HorizontalPodAutoscaler: {
        "metadata": _META | _fields("labels") | _owned("minReplicas"),
        "spec": _fields(
            *("minReplicas", "maxReplicas"),
            scaleTargetRef=_fields("kind", "name"),
            metrics={
                kind: _fields("name", "container", target=_fields("type"))
                for kind in ("resource", "containerResource")
            },
        ),
    },
    KnativeService: {
        "metadata": _META,
        "spec": {
            "template": {
                "spec": _fields("overhead", "resources", containers=_CONTAINERS),
            },
        },
        "status": {
            "conditions": _CONDITIONS,
            "traffic": _fields("revisionName", "percent"),
        },
    },
    KnativeRevision: {
        "metadata": _META
        | {
            "labels": _fields(SERVICE_LABEL),
            "annotations": _fields(
                *(MIN_SCALE, MAX_SCALE, ACTIVATION_SCALE), *OLD_SPELLING.values()
            ),
        },
        "status": _fields("actualReplicas", "desiredReplicas", conditions=_CONDITIONS),
    },
}
"""By kind. An object of another kind is kept as it is: its cache reads it into a view at once."""


def used(kind: Any, obj: Object) -> Object:
    """The fields of an object that the programs use, each of a bounded size."""
    fields = _KEPT.get(kind)
    return obj if fields is None else _only(obj, fields)


def _only(value: Any, fields: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_only(item, fields) for item in value[:MOST_ITEMS]]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, inner in fields.items():
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
