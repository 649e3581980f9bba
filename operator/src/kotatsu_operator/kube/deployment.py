"""A Deployment as the operator sees it: only what is decided on, so that the rest is no news."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from kotatsu_operator.core.budget.prices import pod_requests
from kotatsu_operator.core.pool.observation import Write
from kotatsu_operator.kube.managed_fields import foreign_write
from kotatsu_operator.kube.objects import Key, key_of, selector_view
from kotatsu_operator.kube.resources import Object
from kotatsu_operator.kube.rollout import ready_of_template, template_hash


@dataclass(frozen=True)
class DeploymentView:
    """What matters of a Deployment. Two that are equal call for the same decision."""

    key: Key
    replicas: int
    """spec.replicas."""
    selector: Mapping[str, Any]
    """What its pods are selected by (matchLabels and matchExpressions)."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the pod template."""
    template: str = ""
    """Identifies the pod template."""
    updated: int = 0
    """Ready pods of that template, once there is no pod of another one."""
    requests: Mapping[str, Decimal] = field(default_factory=dict)
    """What one pod of the template requests (base units)."""
    write: Write | None = None
    """Who else owns the replicas."""


def deployment_view(obj: Object) -> DeploymentView:
    """Read a Deployment."""
    spec = obj["spec"]
    template = spec.get("template") or {}
    return DeploymentView(
        key=key_of(obj),
        replicas=int(spec.get("replicas", 1)),
        selector=selector_view(spec["selector"]),
        labels=(template.get("metadata") or {}).get("labels") or {},
        template=template_hash(obj),
        updated=ready_of_template(obj),
        requests=pod_requests(template.get("spec") or {}),
        write=foreign_write(obj),
    )
