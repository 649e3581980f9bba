"""The Kubernetes kinds, their names, and the fields that are kept of their objects.

`core.objects` has what the plugin reads too.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from lightkube.core.resource import ApiInfo, NamespacedResourceG, ResourceDef
from lightkube.generic_resource import (
    Generic,
    create_global_resource,
    create_namespaced_resource,
)

from kotatsu_operator.core.objects import owners
from kotatsu_operator.core.pool.spec import ScaledKind
from kotatsu_operator.core.protocol import (
    BY_ANNOTATION,
    REASON_ANNOTATION,
    REHEARSAL_ANNOTATION,
    SHARED_ANNOTATION,
)

Object = dict[str, Any]

Namespace: Any = create_global_resource("", "v1", "Namespace", "namespaces")
"""The only kind here that is in no namespace: the scope of its watch is empty."""

WarmPool: Any = create_namespaced_resource("kotatsu.dev", "v1beta1", "WarmPool", "warmpools")
WarmPoolHistory: Any = create_namespaced_resource(
    "kotatsu.dev", "v1beta1", "WarmPoolHistory", "warmpoolhistories"
)
Deployment: Any = create_namespaced_resource("apps", "v1", "Deployment", "deployments")
StatefulSet: Any = create_namespaced_resource("apps", "v1", "StatefulSet", "statefulsets")
Pod: Any = create_namespaced_resource("", "v1", "Pod", "pods")

_POD = ResourceDef("", "v1", "Pod")
PodResize: Any = type(
    "PodResize",
    (NamespacedResourceG, Generic),
    {"_api_info": ApiInfo(_POD, "pods", ["patch"], parent=_POD, action="resize")},
)
"""The subresource that changes the resources of a running pod."""
Service: Any = create_namespaced_resource("", "v1", "Service", "services")
EndpointSlice: Any = create_namespaced_resource(
    "discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"
)
HorizontalPodAutoscaler: Any = create_namespaced_resource(
    "autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"
)
NetworkPolicy: Any = create_namespaced_resource(
    "networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"
)
Event: Any = create_namespaced_resource("", "v1", "Event", "events")
ConfigMap: Any = create_namespaced_resource("", "v1", "ConfigMap", "configmaps")
Lease: Any = create_namespaced_resource("coordination.k8s.io", "v1", "Lease", "leases")

KINDS: Mapping[str, Any] = {
    "WarmPool": WarmPool,
    "Deployment": Deployment,
    "StatefulSet": StatefulSet,
    "Pod": Pod,
    "Service": Service,
    "EndpointSlice": EndpointSlice,
}


@cache
def resource_of(kind: ScaledKind) -> Any:
    """The client's class for a kind of workload."""
    group, version = kind.api_version.split("/")
    return create_namespaced_resource(group, version, kind.kind, kind.plural)


Key = tuple[str, str]
"""(namespace, name)."""


def key_of(obj: Object) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def ref(kind: str, name: str) -> str:
    """A workload's name among all kinds: `name` of a Deployment, `Kind/name` of any other kind."""
    return name if kind == "Deployment" else f"{kind}/{name}"


def parts(workload: str) -> tuple[str, str]:
    """The kind and name of a `ref`."""
    kind, slash, name = workload.partition("/")
    return (kind, name) if slash else ("Deployment", workload)


def version_of(obj: Mapping[str, Any]) -> int:
    """The resourceVersion as a number: it only grows. 0 if there is none."""
    try:
        return int(obj["metadata"]["resourceVersion"])
    except (KeyError, ValueError):
        return 0


def scales(autoscaler: Object) -> Key:
    """The namespace and `ref` of the workload that a HorizontalPodAutoscaler scales."""
    target = autoscaler["spec"]["scaleTargetRef"]
    workload = ref(target.get("kind", ""), target["name"])
    return autoscaler["metadata"].get("namespace", ""), workload


def scaling_of(autoscaler: Object) -> tuple[Any, ...]:
    """The fields of a HorizontalPodAutoscaler that decisions depend on; its status is not one."""
    meta = autoscaler["metadata"]
    owned = owners(autoscaler, "minReplicas")
    return autoscaler["spec"], meta.get("labels"), meta.get("ownerReferences"), owned


def target_ports(service: Object | None) -> list[str | int]:
    """The target ports of a Service, by name or number; none without a Service."""
    ports = ((service or {}).get("spec") or {}).get("ports") or ()
    return [port.get("targetPort") or port["port"] for port in ports]


# --- the fields that are kept of what is listed and watched: those that the programs use ---
#
# An object can have 1.5 MB, most of it in fields that no decision depends on. With them an account
# that may write to one namespace could fill the memory of the operator of all.


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
    Namespace: {
        "metadata": META
        | fields("labels", "deletionTimestamp", annotations=fields(SHARED_ANNOTATION)),
    },
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
    EndpointSlice: {
        "metadata": META
        | fields(
            *("labels", "annotations", "finalizers", "deletionTimestamp"),
            ownerReferences=fields("apiVersion", "kind", "name", "uid"),
        ),
        **fields(
            "addressType",
            endpoints=fields("addresses", "conditions", "nodeName", "targetRef"),
            ports=fields("name", "port", "protocol", "appProtocol"),
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
