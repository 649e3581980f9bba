"""A Deployment and its autoscaler, read into values with only what decisions depend on."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from kotatsu_operator.core.budget.prices import pod_requests
from kotatsu_operator.core.pool.observation import Autoscaler, Write
from kotatsu_operator.core.protocol import ACTIVATOR, OPERATOR
from kotatsu_operator.kube.objects import Key, Object, key_of, owners, selector_view


def template_hash(deployment: Object) -> str:
    """A hash of the pod template, also of annotations: a restart counts as a change."""
    template = deployment["spec"].get("template")
    if template is None:
        return ""
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def ready_of_template(deployment: Object) -> int:
    """Ready pods of the current template; 0 while the rollout still has pods of another one."""
    status = deployment.get("status") or {}
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return 0
    if status.get("updatedReplicas", 0) < status.get("replicas", 0):
        return 0
    return int(status.get("readyReplicas", 0))


_FRIENDS = frozenset({OPERATOR, ACTIVATOR, "kube-controller-manager"})
"""Kotatsu's own managers, and that of the HPA controller, which may scale the target too."""


def foreign_write(deployment: Object) -> Write | None:
    """The write of `replicas` by another manager that owns the field; None if there is none."""
    found = [o for o in owners(deployment, "replicas") if o.manager not in _FRIENDS]
    if not found:
        return None
    # A manager that applies will apply again, so it comes first; among equals the newest does.
    owner = max(found, key=lambda o: (o.applies, str(o.at)))
    return Write(owner.manager, owner.at, applied=owner.applies)


@dataclass(frozen=True)
class DeploymentView:
    """The relevant fields of a Deployment. Equal views lead to the same decision."""

    key: Key
    replicas: int
    """spec.replicas."""
    selector: Mapping[str, Any]
    """The label selector of its pods (matchLabels and matchExpressions)."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the pod template."""
    template: str = ""
    """The hash of the pod template."""
    updated: int = 0
    """Ready pods of that template; 0 while the rollout still has pods of another one."""
    requests: Mapping[str, Decimal] = field(default_factory=dict)
    """The resource requests of one pod of the template (base units)."""
    write: Write | None = None
    """The write of another manager that owns the replicas; None if there is none."""


def deployment_view(obj: Object) -> DeploymentView:
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


_MANAGED_BY = "app.kubernetes.io/managed-by"
_KEDA = "keda-operator"


def foreign_owner(autoscaler: Object) -> str:
    """The program that owns an autoscaler; empty if people manage it."""
    meta = autoscaler["metadata"]
    for owner in meta.get("ownerReferences") or ():
        if owner.get("controller"):
            return f"{owner['kind']} {owner['name']}"
    if (meta.get("labels") or {}).get(_MANAGED_BY) == _KEDA:
        return "KEDA"
    return ""


def read_autoscaler(autoscaler: Object) -> Autoscaler:
    """Read a HorizontalPodAutoscaler (`minReplicas` defaults to 1)."""
    spec = autoscaler["spec"]
    return Autoscaler(
        name=autoscaler["metadata"]["name"],
        min_replicas=spec.get("minReplicas", 1),
        max_replicas=spec["maxReplicas"],
        ours=any(o.manager == OPERATOR for o in owners(autoscaler, "minReplicas")),
        version=autoscaler["metadata"]["resourceVersion"],
    )
