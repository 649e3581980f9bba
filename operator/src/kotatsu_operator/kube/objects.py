"""The Kubernetes kinds and their names; `fields` has what is kept of their objects.

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

from kotatsu_operator.core.formats import table
from kotatsu_operator.core.objects import owners
from kotatsu_operator.core.pool.spec import ScaledKind
from kotatsu_operator.kube import fields

Object = dict[str, Any]


def keeping(kind: Any, kept: type[fields.Part]) -> Any:
    """A kind of whose objects the client keeps only these fields."""
    kind.kept = kept
    return kind


Namespace: Any = keeping(
    create_global_resource("", "v1", "Namespace", "namespaces"), fields.Namespace
)
"""The only kind here that is in no namespace: the scope of its watch is empty."""

WarmPool: Any = keeping(
    create_namespaced_resource("kotatsu.dev", "v1beta1", "WarmPool", "warmpools"), fields.WarmPool
)
keeping(WarmPool.Status, fields.WarmPool)
WarmPoolHistory: Any = create_namespaced_resource(
    "kotatsu.dev", "v1beta1", "WarmPoolHistory", "warmpoolhistories"
)
WarmPoolSet: Any = create_global_resource("kotatsu.dev", "v1beta1", "WarmPoolSet", "warmpoolsets")
Deployment: Any = keeping(
    create_namespaced_resource("apps", "v1", "Deployment", "deployments"), fields.Workload
)
StatefulSet: Any = keeping(
    create_namespaced_resource("apps", "v1", "StatefulSet", "statefulsets"), fields.Workload
)
Pod: Any = keeping(create_namespaced_resource("", "v1", "Pod", "pods"), fields.Pod)

_POD = ResourceDef("", "v1", "Pod")
PodResize: Any = type(
    "PodResize",
    (NamespacedResourceG, Generic),
    {"_api_info": ApiInfo(_POD, "pods", ["patch"], parent=_POD, action="resize")},
)
keeping(PodResize, fields.Pod)
"""The subresource that changes the resources of a running pod."""
Service: Any = keeping(create_namespaced_resource("", "v1", "Service", "services"), fields.Service)
EndpointSlice: Any = keeping(
    create_namespaced_resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    fields.EndpointSlice,
)
HorizontalPodAutoscaler: Any = keeping(
    create_namespaced_resource(
        "autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"
    ),
    fields.HorizontalPodAutoscaler,
)
NetworkPolicy: Any = keeping(
    create_namespaced_resource("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    fields.NetworkPolicy,
)
Revision: Any = create_namespaced_resource("serving.knative.dev", "v1", "Revision", "revisions")
"""Of Knative; `features.knative` says which of its fields are kept."""
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
    made = create_namespaced_resource(group, version, kind.kind, kind.plural)
    return keeping(made, fields.Workload)


Key = tuple[str, str]
"""(namespace, name)."""


def key_of(obj: Object) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def named(obj: Object) -> Object:
    """The metadata of an object with nothing but its name."""
    meta = obj["metadata"]
    return {name: meta[name] for name in ("namespace", "name") if name in meta}


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
    target = table(autoscaler["spec"].get("scaleTargetRef"))
    workload = ref(target.get("kind", ""), target.get("name", ""))
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
