"""What has been seen of Knative Serving, read into the values that are decided on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kotatsu_operator.core.knative import Kept, Revision, scale_number
from kotatsu_operator.kube import Object, version_of
from kotatsu_operator.views import Key, key_of

SERVICE_LABEL = "serving.knative.dev/service"
"""On each Revision and each pod: the Knative Service it belongs to."""

MIN_SCALE = "autoscaling.knative.dev/min-scale"
MAX_SCALE = "autoscaling.knative.dev/max-scale"

_OLD_SPELLING = {
    MIN_SCALE: "autoscaling.knative.dev/minScale",
    MAX_SCALE: "autoscaling.knative.dev/maxScale",
}
"""Knative reads these too; the newer spelling wins where both are there."""


@dataclass
class KnativeWorld:
    """The latest version of every Knative Service and Revision, if there are such things."""

    why_absent: str = ""
    """A sentence when Knative Serving is not there, or is not looked for."""
    synced: bool = False
    """Whether everything has been listed once."""
    services: dict[Key, Object] = field(default_factory=dict)
    revisions: dict[Key, Object] = field(default_factory=dict)

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
        ready=ready_condition(obj).get("status") == "True",
        actual=int(status.get("actualReplicas", 0)),
        desired=int(status.get("desiredReplicas", 0)),
    )


def ready_condition(obj: Object) -> Mapping[str, Any]:
    """The condition Ready of a Knative object; empty before there is one."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c.get("type") == "Ready"), {})


def traffic_of(service: Object) -> dict[str, int]:
    """Percentage of the requests by Revision, as in the Service's status; never a mere tag."""
    found: dict[str, int] = {}
    for entry in (service.get("status") or {}).get("traffic") or ():
        name, percent = entry.get("revisionName", ""), int(entry.get("percent") or 0)
        if name and percent > 0:
            found[name] = found.get(name, 0) + percent
    return found


def read_kept(status: Mapping[str, Any]) -> tuple[Kept, ...]:
    """What a WarmPool's status remembers of its target's Revisions."""
    revisions = (status.get("knative") or {}).get("revisions") or ()
    return tuple(Kept(r["name"], r.get("minScale")) for r in revisions)


def kept_status(kept: Sequence[Kept]) -> dict[str, Any] | None:
    """The part of the status that remembers them; None when there is nothing to remember."""
    if not kept:
        return None
    return {
        "revisions": [
            {"name": k.name} | ({} if k.min_scale is None else {"minScale": k.min_scale})
            for k in kept
        ]
    }
