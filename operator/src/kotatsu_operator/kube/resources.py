"""The Kubernetes kinds that the programs read and write."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from lightkube.generic_resource import create_namespaced_resource

from kotatsu_operator.core.pool.kinds import ScaledKind

Object = dict[str, Any]


WarmPool: Any = create_namespaced_resource("kotatsu.dev", "v1alpha1", "WarmPool", "warmpools")
Deployment: Any = create_namespaced_resource("apps", "v1", "Deployment", "deployments")
StatefulSet: Any = create_namespaced_resource("apps", "v1", "StatefulSet", "statefulsets")
Pod: Any = create_namespaced_resource("", "v1", "Pod", "pods")
Service: Any = create_namespaced_resource("", "v1", "Service", "services")
EndpointSlice: Any = create_namespaced_resource(
    "discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"
)
HorizontalPodAutoscaler: Any = create_namespaced_resource(
    "autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"
)
Event: Any = create_namespaced_resource("", "v1", "Event", "events")
KnativeService: Any = create_namespaced_resource("serving.knative.dev", "v1", "Service", "services")
KnativeRevision: Any = create_namespaced_resource(
    "serving.knative.dev", "v1", "Revision", "revisions"
)
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
