"""The kinds of workloads with a scale subresource that pools can have as targets."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ScaledKind:
    """A kind of workload with a scale subresource, whose replicas are at spec.replicas."""

    api_version: str
    kind: str
    plural: str
    """Its name in request paths and in RBAC rules."""


Scaled = Mapping[str, ScaledKind]
"""Kinds with a scale subresource, by kind."""

BUILT_IN: Scaled = {
    "Deployment": ScaledKind("apps/v1", "Deployment", "deployments"),
    "StatefulSet": ScaledKind("apps/v1", "StatefulSet", "statefulsets"),
}
"""Every cluster has these, and the chart's Roles permit them."""

KNATIVE = "Service"
"""The kind of a Knative Service, the only target without a scale."""
