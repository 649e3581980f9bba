"""A Deployment's pod template: its hash, and how many of its pods are Ready."""

import hashlib
import json

from kotatsu_operator.kube.resources import Object


def template_hash(deployment: Object) -> str:
    """A hash of the pod template with its annotations; empty without a template.

    A `kubectl rollout restart` changes an annotation and counts as a change: it applies a new
    ConfigMap, a new Secret or a newer image behind the same tag.
    """
    template = deployment["spec"].get("template")
    if template is None:
        return ""
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def ready_of_template(deployment: Object) -> int:
    """Ready pods of the current template; 0 while the rollout still has pods of another one.

    The template belongs to a generation, so a status of an older generation counts as 0.
    """
    status = deployment.get("status") or {}
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return 0
    if status.get("updatedReplicas", 0) < status.get("replicas", 0):
        return 0
    return int(status.get("readyReplicas", 0))
