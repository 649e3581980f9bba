"""What has been seen of Knative Serving, read into the values that are decided on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kotatsu_operator.core.decide.knative import (
    NO_DEFAULTS,
    Defaults,
    Refused,
    Revision,
    SavedMinScale,
    scale_number,
)
from kotatsu_operator.kube.client import version_of
from kotatsu_operator.kube.objects import Key, key_of
from kotatsu_operator.kube.resources import Object

SERVICE_LABEL = "serving.knative.dev/service"
"""On each Revision and each pod: the Knative Service it belongs to."""

MIN_SCALE = "autoscaling.knative.dev/min-scale"
MAX_SCALE = "autoscaling.knative.dev/max-scale"
ACTIVATION_SCALE = "autoscaling.knative.dev/activation-scale"

AUTOSCALER_CONFIG = "config-autoscaler"
"""Knative's ConfigMap with the defaults of the whole cluster."""

_OLD_SPELLING = {
    MIN_SCALE: "autoscaling.knative.dev/minScale",
    MAX_SCALE: "autoscaling.knative.dev/maxScale",
}
"""Knative reads these too; the newer spelling wins where both are there."""


@dataclass
class KnativeCache:
    """The latest version of every Knative Service and Revision, if there are such things."""

    why_absent: str = ""
    """A sentence when Knative Serving is not there, or is not looked for."""
    synced: bool = False
    """Whether everything has been listed once."""
    services: dict[Key, Object] = field(default_factory=dict)
    revisions: dict[Key, Object] = field(default_factory=dict)
    defaults: Defaults = NO_DEFAULTS
    why_no_defaults: str = ""
    """A sentence while Knative's defaults cannot be read; those of Knative itself stand in."""
    refused: dict[Key, Refused] = field(default_factory=dict)
    """By Revision: what the API server has refused to write. A new process tries again."""

    @property
    def is_unknown(self) -> bool:
        """Whether it has not turned out yet if Knative Serving is there, and what there is."""
        return not self.synced and not self.why_absent

    def keep_service(self, obj: Object) -> bool:
        """Remember a Knative Service unless a newer version is known already."""
        return _keep(self.services, obj)

    def keep_revision(self, obj: Object) -> bool:
        """Remember a Revision unless a newer version is known already."""
        return _keep(self.revisions, obj)

    def refused_in(self, namespace: str) -> dict[str, Refused]:
        """What the API server has refused in a namespace, by Revision."""
        return {key[1]: known for key, known in self.refused.items() if key[0] == namespace}

    def revisions_in(self, namespace: str) -> dict[str, Revision]:
        """The Revisions of a namespace, by name."""
        return {
            key[1]: revision_view(obj) for key, obj in self.revisions.items() if key[0] == namespace
        }


def _keep(store: dict[Key, Object], obj: Object) -> bool:
    known = store.get(key_of(obj))
    is_same = known is not None and known["metadata"].get("uid") == obj["metadata"].get("uid")
    if known is not None and is_same and version_of(obj) <= version_of(known):
        return False
    store[key_of(obj)] = obj
    return True


def revision_view(obj: Object) -> Revision:
    """Read a Revision."""
    meta, status = obj["metadata"], obj.get("status") or {}
    annotations = meta.get("annotations") or {}
    return Revision(
        name=meta["name"],
        version=meta["resourceVersion"],
        min_scale=annotations.get(MIN_SCALE),
        other_min_scale=scale_number(annotations.get(_OLD_SPELLING[MIN_SCALE])),
        max_scale=scale_number(
            annotations.get(MAX_SCALE, annotations.get(_OLD_SPELLING[MAX_SCALE]))
        ),
        activation_scale=scale_number(annotations.get(ACTIVATION_SCALE)),
        ready=ready_condition(obj).get("status") == "True",
        trouble=said_by(ready_condition(obj)),
        actual=int(status.get("actualReplicas", 0)),
        desired=int(status.get("desiredReplicas", 0)),
        uid=meta.get("uid", ""),
    )


def ready_condition(obj: Object) -> Mapping[str, Any]:
    """The condition Ready of a Knative object; empty before there is one."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c.get("type") == "Ready"), {})


def said_by(condition: Mapping[str, Any]) -> str:
    """Reason and message of a condition."""
    return f"{condition.get('reason', '')}: {condition.get('message', '')}".strip(": ")


def defaults_of(config: Object) -> Defaults:
    """Read Knative's ConfigMap config-autoscaler."""
    data = config.get("data") or {}
    return Defaults(
        scale_number(data.get("min-scale")) or 0, scale_number(data.get("max-scale")) or 0
    )


def traffic_of(service: Object) -> dict[str, int]:
    """Percentage of the requests by Revision, as in the Service's status; never a mere tag."""
    found: dict[str, int] = {}
    for entry in (service.get("status") or {}).get("traffic") or ():
        name, percent = entry.get("revisionName", ""), int(entry.get("percent") or 0)
        if name and percent > 0:
            found[name] = found.get(name, 0) + percent
    return found


def read_kept(status: Mapping[str, Any]) -> tuple[SavedMinScale, ...]:
    """What a WarmPool's status remembers of its target's Revisions."""
    revisions = (status.get("knative") or {}).get("revisions") or ()
    return tuple(
        SavedMinScale(r["name"], r.get("minScale"), tuple(r.get("written") or ()), r.get("uid", ""))
        for r in revisions
    )


def kept_status(kept: Sequence[SavedMinScale]) -> dict[str, Any] | None:
    """The part of the status that remembers them; None when there is nothing to remember."""
    if not kept:
        return None
    return {"revisions": [_kept_revision(k) for k in kept]}


def _kept_revision(kept: SavedMinScale) -> dict[str, Any]:
    made: dict[str, Any] = {"name": kept.name, "written": list(kept.written)}
    if kept.min_scale is not None:
        made["minScale"] = kept.min_scale
    if kept.uid:
        made["uid"] = kept.uid
    return made
