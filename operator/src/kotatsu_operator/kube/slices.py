"""EndpointSlices read into values, and the pod that published one."""

from dataclasses import dataclass

from kotatsu_operator.core.protocol import (
    EPOCH_ANNOTATION,
    FAMILIES_ANNOTATION,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    SERVICE_LABEL,
    pool_of_slice,
)
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import NotFoundError
from kotatsu_operator.kube.objects import Key, Object, Pod, key_of
from kotatsu_operator.kube.pod import PodView, pod_view


@dataclass(frozen=True)
class SliceView:
    """The relevant fields of an EndpointSlice that an activator published."""

    key: Key
    service: str
    pool: str
    pod_uid: str
    pod_name: str
    epoch: int
    ready: bool
    family: str
    families: tuple[str, ...]
    """The address families in which the activator publishes the Service; default: `family`."""


def is_ours(obj: Object) -> bool:
    labels = obj["metadata"].get("labels") or {}
    return bool(labels.get(MANAGED_BY_LABEL) == MANAGED_BY)


def _epoch(text: str) -> int:
    """An epoch; 0, which acknowledges nothing, if the text is not a number after a manual edit."""
    return int(text) if text.isdecimal() and len(text) < 19 else 0


def slice_view(obj: Object) -> SliceView:
    """Read an activator's EndpointSlice; an emptied slice (without endpoints) is not ready."""
    meta = obj["metadata"]
    owner = (meta.get("ownerReferences") or [{}])[0]
    endpoints = obj.get("endpoints") or ()
    annotations, family = meta.get("annotations") or {}, obj.get("addressType", "")
    return SliceView(
        key=key_of(obj),
        service=meta["labels"].get(SERVICE_LABEL, ""),
        pool=pool_of_slice(obj),
        pod_uid=owner.get("uid", ""),
        pod_name=owner.get("name", ""),
        epoch=_epoch(annotations.get(EPOCH_ANNOTATION, "0")),
        ready=any((e.get("conditions") or {}).get("ready", True) for e in endpoints),
        family=family,
        families=tuple(str(annotations.get(FAMILIES_ANNOTATION, family)).split(",")),
    )


@dataclass(frozen=True, slots=True)
class ForeignSlice:
    """An EndpointSlice with endpoints that no activator published."""

    service: Key
    manager: str
    """The controller that manages it, from its label; empty without the label."""


def foreign_slice(obj: Object) -> ForeignSlice | None:
    """Read an EndpointSlice of another controller; None if it adds no endpoint to a Service."""
    meta = obj["metadata"]
    labels = meta.get("labels") or {}
    if not obj.get("endpoints") or SERVICE_LABEL not in labels:
        return None
    service = meta.get("namespace", ""), labels[SERVICE_LABEL]
    return ForeignSlice(service, labels.get(MANAGED_BY_LABEL, ""))


async def owner_of(kube: Kube, of: SliceView) -> PodView | None:
    """The activator pod that published a slice; None if it is gone or the slice names no pod.

    Raises the errors of `Unreachable`.
    """
    if not of.pod_name:
        return None  # edited by hand: it has no owner
    try:
        pod = pod_view(await kube.get(Pod, of.key[0], of.pod_name))
    except NotFoundError:
        return None
    return pod if pod.uid == of.pod_uid else None
