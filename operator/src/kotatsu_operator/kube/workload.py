"""A workload and its autoscaler, read into values with only what decisions depend on.

A Deployment, a StatefulSet, or any other object with `spec.replicas` and a label selector.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from kotatsu_operator.core.budget.prices import pod_requests
from kotatsu_operator.core.formats import count
from kotatsu_operator.core.pool.decision import Autoscaler, Write
from kotatsu_operator.core.protocol import ACTIVATOR, OPERATOR
from kotatsu_operator.kube.objects import Key, Object, key_of, owners, selector_view


def template_hash(workload: Object) -> str:
    """A hash of the pod template, also of annotations: a restart counts as a change."""
    template = workload["spec"].get("template")
    if template is None:
        return ""
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def ready_of_template(workload: Object) -> int | None:
    """Ready pods of the current template; 0 while the rollout still has pods of another one.

    The template belongs to a generation, so a status of an older generation counts as 0. None if
    the status does not count the pods, as of a kind that has other fields, or of a new workload.
    """
    status, seen = workload.get("status") or {}, 0
    if "updatedReplicas" not in status and "readyReplicas" not in status:
        return None if workload["spec"].get("replicas", 1) else 0
    written = status.get("observedGeneration")
    if isinstance(written, int) or (isinstance(written, str) and _NUMBER.fullmatch(written)):
        seen = int(written)  # Argo Rollouts write it as text
    if seen < workload["metadata"].get("generation", 0):
        return 0
    if count(status.get("updatedReplicas")) < count(status.get("replicas")):
        return 0
    return count(status.get("readyReplicas"))


_NUMBER = re.compile(r"[0-9]{1,18}")


_FRIENDS = frozenset({OPERATOR, ACTIVATOR, "kube-controller-manager"})
"""Kotatsu's own managers, and that of the HPA controller, which may scale the target too."""


def foreign_write(workload: Object) -> Write | None:
    """The write of `replicas` by another manager that owns the field; None if there is none."""
    found = [o for o in owners(workload, "replicas") if o.manager not in _FRIENDS]
    if not found:
        return None
    # A manager that applies will apply again, so it comes first; among equals the newest does.
    owner = max(found, key=lambda o: (o.applies, str(o.at)))
    return Write(owner.manager, owner.at, applied=owner.applies)


@dataclass(frozen=True)
class WorkloadView:
    """The relevant fields of a workload. Equal views lead to the same decision."""

    key: Key
    replicas: int
    """spec.replicas."""
    selector: Mapping[str, Any]
    """The label selector of its pods (matchLabels and matchExpressions); empty if it names none."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the pod template."""
    template: str = ""
    """The hash of the pod template."""
    updated: int | None = 0
    """Ready pods of that template; 0 while the rollout still has pods of another one. None if its
    status does not count pods."""
    requests: Mapping[str, Decimal] = field(default_factory=dict)
    """The resource requests of one pod of the template (base units)."""
    write: Write | None = None
    """The write of another manager that owns the replicas; None if there is none."""
    deletes_claims: bool = False
    """Whether a StatefulSet deletes the volume claims of the pods that it scales down."""


def workload_view(obj: Object) -> WorkloadView:
    """Read a workload."""
    spec = obj["spec"]
    template = spec.get("template") or {}
    selector = workload_selector(obj)
    labels = (template.get("metadata") or {}).get("labels") or {}
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    return WorkloadView(
        key=key_of(obj),
        replicas=count(spec.get("replicas", 1)),
        selector=selector,
        # Without a template of its own, its pods have at least the labels that it selects.
        labels=labels or selector.get("matchLabels") or {},
        template=template_hash(obj),
        updated=ready_of_template(obj),
        requests=pod_requests(template.get("spec") or {}),
        write=foreign_write(obj),
        deletes_claims=retention.get("whenScaled") == "Delete",
    )


def workload_selector(obj: Object) -> Mapping[str, Any]:
    """The label selector of a workload's pods; empty if it names none.

    `spec.selector`, or the text in its status that its scale shows (`a=b,c=d`).
    """
    given = obj["spec"].get("selector")
    if isinstance(given, Mapping) and given.keys() & {"matchLabels", "matchExpressions"}:
        return selector_view(given)
    status = obj.get("status") or {}
    shown = status.get("selector") or status.get("labelSelector")
    terms = [_EQUAL.fullmatch(term) for term in shown.split(",")] if isinstance(shown, str) else []
    labels = {term[1]: term[2] for term in terms if term is not None}
    return {"matchLabels": labels} if labels and len(labels) == len(terms) else {}


_EQUAL = re.compile(r"\s*([A-Za-z0-9._/-]{1,317})\s*==?\s*([A-Za-z0-9._-]{0,63})\s*")
"""One term of a selector in text form that asks for a value."""


_MANAGED_BY = "app.kubernetes.io/managed-by"
_KEDA = "keda-operator"
_SCALED_OBJECT = "ScaledObject"

KEDA_PAUSE = "autoscaling.keda.sh/paused=true"
"""The annotation by which KEDA leaves a workload as it is, and deletes its autoscaler."""


def keda_object(autoscaler: Object) -> str:
    """The ScaledObject of KEDA that owns an autoscaler; empty if none does."""
    owners_of = autoscaler["metadata"].get("ownerReferences") or ()
    named = [owner["name"] for owner in owners_of if owner.get("kind") == _SCALED_OBJECT]
    return str(named[0]) if named else ""


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
