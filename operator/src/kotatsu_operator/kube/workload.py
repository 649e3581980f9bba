"""A workload and its autoscaler, read into values with only what decisions depend on.

A Deployment, a StatefulSet, or any other object with `spec.replicas` and a label selector.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kotatsu_operator.core.budget.prices import Requests, pod_requests, requesting
from kotatsu_operator.core.formats import count, table
from kotatsu_operator.core.objects import (
    Write,
    deletes_claims,
    foreign_write,
    pod_labels,
    why_not_created,
    workload_selector,
)
from kotatsu_operator.core.pool.spec import BUILT_IN
from kotatsu_operator.kube.objects import Key, Object, key_of


def template_hash(workload: Object) -> str:
    """A hash of the pod template, also of annotations: a restart counts as a change."""
    template = table(workload.get("spec")).get("template")
    if template is None:
        return ""
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def ready_of_template(workload: Object, kind: str = "Deployment") -> int | None:
    """Ready pods of the current template; 0 while the rollout still has pods of another one.

    None if the status of a further kind does not count the pods.
    """
    status, seen = table(workload.get("status")), 0
    written = status.get("observedGeneration")
    # Argo Rollouts write it as text, and leave out counts of 0.
    counts = kind in BUILT_IN or isinstance(written, str)
    if not counts and not status.keys() & {"updatedReplicas", "readyReplicas"}:
        return None
    if isinstance(written, int) or (isinstance(written, str) and _NUMBER.fullmatch(written)):
        seen = int(written)
    if seen < workload["metadata"].get("generation", 0):
        return 0
    if count(status.get("updatedReplicas")) < count(status.get("replicas")):
        return 0
    return count(status.get("readyReplicas"))


_NUMBER = re.compile(r"[0-9]{1,18}")


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
    pod: Mapping[str, Any] = field(default_factory=dict)
    """The parts of the template's PodSpec that the requests depend on; empty without a template."""
    write: Write | None = None
    """The write of another manager that owns the replicas; None if there is none."""
    rejected: str = ""
    """Why its pods cannot be created; empty if they can, or its status does not say it."""
    deletes_claims: bool = False
    """Whether a StatefulSet deletes the volume claims of the pods that it scales down."""

    @cached_property
    def requests(self) -> Requests:
        """The resource requests of one pod of the template (base units)."""
        return pod_requests(self.pod)


def workload_view(obj: Object, kind: str = "Deployment") -> WorkloadView:
    spec = table(obj.get("spec"))
    template = table(table(spec.get("template")).get("spec"))
    return WorkloadView(
        key=key_of(obj),
        replicas=count(spec.get("replicas", 1)),
        selector=workload_selector(obj),
        labels=pod_labels(obj),
        template=template_hash(obj),
        updated=ready_of_template(obj, kind),
        pod=requesting(template),
        write=foreign_write(obj),
        rejected=why_not_created(table(obj.get("status"))),
        deletes_claims=deletes_claims(obj),
    )
