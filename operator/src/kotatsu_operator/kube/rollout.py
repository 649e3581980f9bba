"""What a Deployment says of its pod template: which one it is, and how far it has come."""

import hashlib
import json

from kotatsu_operator.kube.resources import Object


def template_hash(deployment: Object) -> str:
    """Identifies the pod template, annotations and all; empty without one.

    A `kubectl rollout restart` is an annotation, and counts: it is how a new ConfigMap, a new
    Secret or a newer image behind the same tag comes into force.
    """
    template = deployment["spec"].get("template")
    if template is None:
        return ""
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def ready_of_template(deployment: Object) -> int:
    """Ready pods of the template in force; 0 while the rollout still has pods of another one.

    Only a status that speaks of this very generation tells, since the template is part of it.
    """
    status = deployment.get("status") or {}
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return 0
    if status.get("updatedReplicas", 0) < status.get("replicas", 0):
        return 0
    return int(status.get("readyReplicas", 0))
