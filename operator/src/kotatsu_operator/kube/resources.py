"""The Kubernetes kinds that the programs read and write."""

from collections.abc import Mapping
from typing import Any

from lightkube.generic_resource import create_namespaced_resource

Object = dict[str, Any]


WarmPool: Any = create_namespaced_resource("kotatsu.dev", "v1alpha1", "WarmPool", "warmpools")
Deployment: Any = create_namespaced_resource("apps", "v1", "Deployment", "deployments")
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
PodTemplate: Any = create_namespaced_resource("", "v1", "PodTemplate", "podtemplates")
CapacityBuffer: Any = create_namespaced_resource(
    "autoscaling.x-k8s.io", "v1beta1", "CapacityBuffer", "capacitybuffers"
)
ConfigMap: Any = create_namespaced_resource("", "v1", "ConfigMap", "configmaps")
Lease: Any = create_namespaced_resource("coordination.k8s.io", "v1", "Lease", "leases")

KINDS: Mapping[str, Any] = {
    "WarmPool": WarmPool,
    "Deployment": Deployment,
    "Pod": Pod,
    "Service": Service,
    "EndpointSlice": EndpointSlice,
}
