"""Objects of Knative Serving, read into the values that decisions use."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightkube.generic_resource import create_namespaced_resource

from kotatsu_operator.core.formats import conditions_of, is_true
from kotatsu_operator.core.report.record import MIN_SCALE
from kotatsu_operator.features.knative import fields
from kotatsu_operator.features.knative.fields import ACTIVATION_SCALE, MAX_SCALE, OLD_SPELLING
from kotatsu_operator.features.knative.min_scale import (
    NO_DEFAULTS,
    Defaults,
    RejectedPatch,
    Revision,
    scale_number,
)
from kotatsu_operator.kube import objects
from kotatsu_operator.kube.objects import Key, Object, keeping, key_of, version_of

AUTOSCALER_CONFIG = "config-autoscaler"
"""The ConfigMap with Knative's cluster-wide defaults."""

KnativeService: Any = keeping(
    create_namespaced_resource("serving.knative.dev", "v1", "Service", "services"),
    fields.KnativeService,
)
KnativeRevision: Any = keeping(objects.Revision, fields.Revision)


@dataclass
class KnativeCache:
    """The latest version of every Knative Service and Revision."""

    why_absent: str = ""
    """A sentence while Knative Serving is not installed or not watched; else empty."""
    synced: bool = False
    """Whether all objects have been listed once."""
    services: dict[Key, Object] = field(default_factory=dict)
    revisions: dict[Key, Object] = field(default_factory=dict)
    defaults: Defaults = NO_DEFAULTS
    why_no_defaults: str = ""
    """A sentence while Knative's ConfigMap cannot be read; then its built-in defaults are used."""
    refused: dict[Key, RejectedPatch] = field(default_factory=dict)
    """By Revision, the writes that the API server has rejected. A new process tries again."""

    @property
    def is_unknown(self) -> bool:
        """Whether it is still unknown if Knative Serving exists and which objects there are."""
        return not self.synced and not self.why_absent

    def refused_in(self, namespace: str) -> dict[str, RejectedPatch]:
        return {key[1]: known for key, known in self.refused.items() if key[0] == namespace}

    def revisions_in(self, namespace: str) -> dict[str, Revision]:
        return {
            key[1]: revision_view(obj) for key, obj in self.revisions.items() if key[0] == namespace
        }


def keep_newer(store: dict[Key, Object], obj: Object) -> bool:
    """Store an object unless the stored one is as new; return whether it did."""
    known = store.get(key_of(obj))
    is_same = known is not None and known["metadata"].get("uid") == obj["metadata"].get("uid")
    if known is not None and is_same and version_of(obj) <= version_of(known):
        return False
    store[key_of(obj)] = obj
    return True


def revision_view(obj: Object) -> Revision:
    meta, status = obj["metadata"], obj.get("status") or {}
    annotations = meta.get("annotations") or {}
    return Revision(
        name=meta["name"],
        version=meta["resourceVersion"],
        min_scale=annotations.get(MIN_SCALE),
        other_min_scale=scale_number(annotations.get(OLD_SPELLING[MIN_SCALE])),
        max_scale=scale_number(
            annotations.get(MAX_SCALE, annotations.get(OLD_SPELLING[MAX_SCALE]))
        ),
        activation_scale=scale_number(annotations.get(ACTIVATION_SCALE)),
        ready=is_true(ready_condition(obj)),
        trouble=said_by(ready_condition(obj)),
        actual=int(status.get("actualReplicas", 0)),
        desired=int(status.get("desiredReplicas", 0)),
        uid=meta.get("uid", ""),
    )


def ready_condition(obj: Object) -> Mapping[str, Any]:
    """The condition Ready of a Knative object; empty if there is none yet."""
    return conditions_of(obj.get("status") or {}).get("Ready", {})


def said_by(condition: Mapping[str, Any]) -> str:
    """The reason and message of a condition."""
    return f"{condition.get('reason', '')}: {condition.get('message', '')}".strip(": ")


def defaults_of(config: Object) -> Defaults:
    data = config.get("data") or {}
    return Defaults(
        scale_number(data.get("min-scale")) or 0, scale_number(data.get("max-scale")) or 0
    )


def traffic_of(service: Object) -> dict[str, int]:
    """Percentage of the requests by Revision, from the Service's status; without mere tags."""
    found: dict[str, int] = {}
    for entry in (service.get("status") or {}).get("traffic") or ():
        name, percent = entry.get("revisionName", ""), int(entry.get("percent") or 0)
        if name and percent > 0:
            found[name] = found.get(name, 0) + percent
    return found
