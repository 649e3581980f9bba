"""Small values read out of Kubernetes objects, so that nobody digs through dicts elsewhere."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .core.cost import is_sidecar, pod_requests
from .core.edited import instant
from .core.ledger import BilledPod
from .kube import Object

POOL_LABEL = "kotatsu.dev/pool"
"""On an activator's slice: label and annotation. A label holds 63 characters and a pool's name may
have 253, so the label is for selecting (see `pool_label`) and the annotation names the pool."""

EPOCH_ANNOTATION = "kotatsu.dev/epoch"
FAMILIES_ANNOTATION = "kotatsu.dev/families"
"""On an activator's slice: the address families that this activator publishes the Service in."""

MANAGED_BY = "activator.kotatsu.dev"
SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
ACTIVATOR_LABELS = {"app.kubernetes.io/name": "kotatsu", "app.kubernetes.io/component": "activator"}

OPERATOR = "kotatsu-operator"
ACTIVATOR = "kotatsu-activator"
"""The field managers under which operator and activator write."""

Key = tuple[str, str]
"""(namespace, name)."""


def key_of(obj: Object) -> Key:
    """Namespace and name of an object."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def without_owners(obj: Object) -> Object:
    """An object without its managedFields: half of it, and nothing that is decided on."""
    meta = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {**obj, "metadata": meta}


_LABEL_MOST = 63
"""Characters that the API server admits in the value of a label."""


def pool_label(pool: str) -> str:
    """A pool's name as the value of a label; one that is too long is cut and ends in a hash."""
    if len(pool) <= _LABEL_MOST:
        return pool
    mark = hashlib.sha256(pool.encode()).hexdigest()[:10]
    return f"{pool[: _LABEL_MOST - 11].rstrip('-.')}-{mark}"


def pool_of_slice(obj: Object) -> str:
    """The name of the pool that an activator published a slice for; empty where none is named.

    A slice of an older activator has the label alone.
    """
    meta = obj["metadata"]
    annotations, labels = meta.get("annotations") or {}, meta.get("labels") or {}
    return str(annotations.get(POOL_LABEL) or labels.get(POOL_LABEL, ""))


def scales(autoscaler: Object) -> Key | None:
    """The Deployment that a HorizontalPodAutoscaler scales; None when it scales something else."""
    target = autoscaler["spec"]["scaleTargetRef"]
    if target.get("kind") != "Deployment":
        return None
    return autoscaler["metadata"].get("namespace", ""), target["name"]


def selector_view(selector: Mapping[str, Any]) -> Mapping[str, Any]:
    """A label selector whose values are looked up, not searched: it may name thousands of them."""
    terms = [
        term | {"values": frozenset(term.get("values") or ())}
        for term in selector.get("matchExpressions") or ()
    ]
    return {**selector, "matchExpressions": terms} if terms else selector


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector (matchLabels and matchExpressions) matches."""
    if any(labels.get(k) != v for k, v in (selector.get("matchLabels") or {}).items()):
        return False
    for term in selector.get("matchExpressions") or ():
        value, wanted = labels.get(term["key"]), term.get("values") or ()
        matches = {
            "In": value in wanted,
            "NotIn": value not in wanted,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[term["operator"]]
        if not matches:
            return False
    return True


_NUMBER = re.compile(r"[0-9]{1,9}")


def port_number(ports: Mapping[str, int], wanted: str | int) -> int | None:
    """The number of a port given by name or number; None for a name that is not there.

    A spec may name a port by any text: not all digits are numbers (²), and not all numbers short.
    """
    if isinstance(wanted, int) or _NUMBER.fullmatch(wanted):
        return int(wanted)
    return ports.get(wanted)


@dataclass(frozen=True, slots=True)
class ContainerView:
    """What matters of a container, or of a sidecar, for its pod to be ready."""

    ready: bool
    """The kubelet's word."""
    running: bool
    started: bool
    """Whether its startup probe has passed, by the kubelet's word; true without such a probe."""
    startup: Mapping[str, Any] | None
    """Its startup probe."""
    readiness: Mapping[str, Any] | None
    """Its readiness probe."""
    ports: Mapping[str, int]


@dataclass(frozen=True)
class PodView:
    """What matters of a pod."""

    key: Key
    uid: str
    labels: Mapping[str, str]
    ip: str
    node: str
    ready: bool
    running: bool
    terminating: bool
    has_served: bool
    """Whether it is Ready or once was: it may have requests even when it is not Ready now."""
    scheduled_at: datetime | None
    ports: Mapping[str, int]
    containers: tuple[ContainerView, ...]
    """With the sidecars; without the init containers that end before they start."""
    gates_open: bool
    """Whether the condition of each of its readiness gates is True."""
    lost: bool = False
    """Whether an endpoint at it leads nowhere, or will in a moment: see `_is_lost`."""
    billed: BilledPod | None = None
    """The pod as the ledger sees it; None before it was scheduled, or over since nobody knows when.
    """

    def port(self, wanted: str | int) -> int | None:
        """Number of a container port given by name or number."""
        return port_number(self.ports, wanted)


def pod_view(obj: Object) -> PodView:
    """Read a Pod; finished pods (Succeeded, Failed) are neither running nor ready."""
    meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    running = status.get("phase") == "Running"
    # A sidecar is an init container that stays; it requests and serves like any other.
    sidecars = [c for c in spec.get("initContainers") or () if is_sidecar(c)]
    told = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    by_name = {c.get("name", ""): c for c in told}
    containers = tuple(
        _container_view(c, by_name.get(c.get("name", "")))
        for c in [*(spec.get("containers") or ()), *sidecars]
    )
    ports: dict[str, int] = {}
    for container in containers:
        for name, number in container.ports.items():
            ports.setdefault(name, number)
    gates = [gate["conditionType"] for gate in spec.get("readinessGates") or ()]
    over = status.get("phase") in ("Succeeded", "Failed")
    began = instant(scheduled["lastTransitionTime"]) if scheduled.get("status") == "True" else None
    ended = _ended(status) if over else None
    billed = None
    if began is not None and (ended is not None or not over):
        billed = BilledPod(began, pod_requests(spec), meta["uid"], ended)
    return PodView(
        key=key_of(obj),
        uid=meta["uid"],
        labels=meta.get("labels") or {},
        ip=status.get("podIP", ""),
        node=spec.get("nodeName", ""),
        ready=running and conditions.get("Ready", {}).get("status") == "True",
        running=running,
        terminating="deletionTimestamp" in meta,
        has_served=running and _has_been_ready(status, conditions.get("Ready", {})),
        scheduled_at=None if over else began,
        ports=ports,
        containers=containers,
        gates_open=all(conditions.get(gate, {}).get("status") == "True" for gate in gates),
        lost="deletionTimestamp" in meta or _is_lost(status, conditions.get("Ready", {})),
        billed=billed,
    )


def _container_view(container: Object, told: Object | None) -> ContainerView:
    """Read a container and its status. One without a status runs: its pod does, as is asked too."""
    startup = container.get("startupProbe")
    told = told or {}
    return ContainerView(
        ready=bool(told.get("ready")),
        running=not told or "running" in (told.get("state") or {}),
        started=startup is None or bool(told.get("started")),
        startup=startup,
        readiness=container.get("readinessProbe"),
        ports={
            port.get("name", str(port["containerPort"])): port["containerPort"]
            for port in container.get("ports") or ()
        },
    )


_SAME_MOMENT = timedelta(seconds=1)
"""The kubelet writes a pod's start and its first conditions in one go, cut to the second."""


def _has_been_ready(status: Mapping[str, Any], ready: Mapping[str, Any]) -> bool:
    """Whether a pod is Ready or was: it starts not Ready, and a later change came from Ready."""
    started, changed = instant(status.get("startTime")), instant(ready.get("lastTransitionTime"))
    if ready.get("status") == "True":
        return True
    return started is not None and changed is not None and changed - started > _SAME_MOMENT


def _is_lost(status: Mapping[str, Any], ready: Mapping[str, Any]) -> bool:
    """Whether a pod that stays has ended, has crashed, or was Ready and is not.

    A lost node shows as the last: what the pod's containers do is then only what was last heard. A
    pod that starts is not lost: an activator publishes its slices before it is Ready.
    """
    if status.get("phase") in ("Succeeded", "Failed"):
        return True
    if ready.get("status") == "True":
        return False
    if ready.get("status") == "Unknown" or _has_been_ready(status, ready):
        return True
    return any(_has_crashed(c) for c in status.get("containerStatuses") or ())


def _has_crashed(container: Mapping[str, Any]) -> bool:
    """Whether a container has ended and is not running again."""
    state, before = container.get("state") or {}, container.get("lastState") or {}
    return "running" not in state and ("terminated" in state or "terminated" in before)


def _ended(status: Mapping[str, Any]) -> datetime | None:
    """When the last container of a finished pod ended."""
    states = [c.get("state") or {} for c in status.get("containerStatuses") or ()]
    ends = [instant((state.get("terminated") or {}).get("finishedAt")) for state in states]
    return max((end for end in ends if end is not None), default=None)


@dataclass(frozen=True)
class SliceView:
    """What matters of an EndpointSlice that an activator published."""

    key: Key
    service: str
    pool: str
    pod_uid: str
    pod_name: str
    epoch: int
    ready: bool
    family: str
    families: tuple[str, ...]
    """Those that its activator publishes the Service in; this one where nothing else is said."""


def is_ours(obj: Object) -> bool:
    """Whether an EndpointSlice was published by an activator."""
    labels = obj["metadata"].get("labels") or {}
    return bool(labels.get(MANAGED_BY_LABEL) == MANAGED_BY)


def _epoch(text: str) -> int:
    """An epoch; whatever is not a number, since somebody has edited it, acknowledges nothing."""
    return int(text) if text.isdecimal() and len(text) < 19 else 0


def slice_view(obj: Object) -> SliceView:
    """Read an activator's EndpointSlice; without endpoints it is a tombstone and not ready."""
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
    """What keeps it, as it says itself; empty where it does not."""


def foreign_slice(obj: Object) -> ForeignSlice | None:
    """Read an EndpointSlice of another; None where it gives no Service an endpoint."""
    meta = obj["metadata"]
    labels = meta.get("labels") or {}
    if not obj.get("endpoints") or SERVICE_LABEL not in labels:
        return None
    service = meta.get("namespace", ""), labels[SERVICE_LABEL]
    return ForeignSlice(service, labels.get(MANAGED_BY_LABEL, ""))
