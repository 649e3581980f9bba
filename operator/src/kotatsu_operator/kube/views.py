"""Kubernetes objects read into values, with only what decisions depend on."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import msgspec

from kotatsu_operator.core import protocol
from kotatsu_operator.core.budget.ledger import BilledPod
from kotatsu_operator.core.budget.prices import Requests, pod_requests, requesting
from kotatsu_operator.core.formats import conditions_of, count, instant, is_true, table, text
from kotatsu_operator.core.objects import (
    Disk,
    Write,
    container_ports,
    controller_of,
    deletes_claims,
    disk_of,
    foreign_write,
    is_resizable,
    is_sidecar,
    owner_in,
    pod_labels,
    port_number,
    resize_pending,
    why_not_created,
    why_not_started,
    why_unschedulable,
    workload_selector,
)
from kotatsu_operator.core.pool.decision import NOT_STARTED, PodStart, Starting
from kotatsu_operator.core.pool.lowering import Candidate, Removal
from kotatsu_operator.core.pool.spec import BUILT_IN
from kotatsu_operator.core.scope import opts_out
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import NotFoundError
from kotatsu_operator.kube.objects import Key, Object, Pod, key_of, version_of


@dataclass(frozen=True, slots=True)
class ContainerView:
    """The fields of a container or sidecar that decide whether its pod is ready."""

    ready: bool
    """As the kubelet reports it."""
    running: bool
    started: bool
    """Whether its startup probe has passed, as the kubelet reports; True without a probe."""
    startup: Mapping[str, Any] | None
    """Its startup probe."""
    readiness: Mapping[str, Any] | None
    """Its readiness probe."""
    ports: Mapping[str, int]


@dataclass(frozen=True)
class PodView:
    """The relevant fields of a pod."""

    key: Key
    uid: str
    packed: bytes
    """Its labels as JSON: as Python objects they take up to ten times as much."""
    ip: str
    node: str
    ready: bool
    running: bool
    terminating: bool
    has_served: bool
    """Whether it is or was Ready: it may still have requests when it is not Ready now."""
    scheduled_at: datetime | None
    ports: Mapping[str, int]
    containers: tuple[ContainerView, ...]
    """With sidecars; without init containers that end before the containers start."""
    gates_open: bool
    """Whether the conditions of all its readiness gates are True."""
    lost: bool = False
    """Whether its endpoints lead nowhere, or will soon: it is terminating, or see `_is_lost`."""
    start: PodStart = NOT_STARTED
    """The times of its start."""
    billed: BilledPod | None = None
    """The pod for the ledger; None before it is scheduled, or if its end is unknown."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """Its PodSpec, as far as it is kept."""
    is_resizable: bool = True
    """Whether its node can resize it."""
    resize_pending: str = ""
    """Why the kubelet has not begun with a resize, with its message; empty if none waits."""
    is_over: bool = False
    """Whether it has finished: Succeeded or Failed."""
    owner: tuple[str, str] = ("", "")
    """Kind and uid of the object whose controller made it; empty for none."""
    cost: str = ""
    """Its deletion cost; empty without the annotation."""
    version: int = field(default=0, compare=False)
    """Its resourceVersion as a number."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels, made anew with each call."""
        found: Mapping[str, str] = msgspec.json.decode(self.packed)
        return found

    @property
    def is_replica(self) -> bool:
        """Whether its controller counts it as one."""
        return not (self.terminating or self.is_over)

    @property
    def is_marked(self) -> bool:
        """Whether it goes with the next step down."""
        return self.is_replica and self.cost == protocol.MARK

    def port(self, wanted: str | int) -> int | None:
        return port_number(self.ports, wanted)


def pod_view(obj: Object) -> PodView:
    """Read a Pod; finished pods (Succeeded, Failed) are neither running nor ready."""
    meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    conditions = conditions_of(status)
    scheduled = conditions.get("PodScheduled", {})
    running = status.get("phase") == "Running"
    # A sidecar is an init container that keeps running; its requests and ports count too.
    sidecars = [c for c in spec.get("initContainers") or () if is_sidecar(c)]
    kinds = ("containerStatuses", "initContainerStatuses")
    by_name = {c.get("name", ""): c for kind in kinds for c in status.get(kind) or ()}
    containers = tuple(
        _container_view(c, by_name.get(c.get("name", "")))
        for c in [*(spec.get("containers") or ()), *sidecars]
    )
    gates = [gate["conditionType"] for gate in spec.get("readinessGates") or ()]
    over = status.get("phase") in ("Succeeded", "Failed")
    began = instant(scheduled.get("lastTransitionTime")) if is_true(scheduled) else None
    ended = _ended(status) if over else None
    billed = None
    if began is not None and (ended is not None or not over):
        billed = BilledPod(began, pod_requests(spec, status), meta["uid"], ended)
    return PodView(
        key=key_of(obj),
        uid=meta["uid"],
        packed=msgspec.json.encode(meta.get("labels") or {}),
        ip=status.get("podIP", ""),
        node=spec.get("nodeName", ""),
        ready=running and is_true(conditions.get("Ready")),
        running=running,
        terminating="deletionTimestamp" in meta,
        has_served=running and _has_been_ready(status, conditions.get("Ready", {})),
        scheduled_at=None if over else began,
        ports=container_ports(spec),
        containers=containers,
        gates_open=all(is_true(conditions.get(gate)) for gate in gates),
        lost="deletionTimestamp" in meta or _is_lost(status, conditions.get("Ready", {})),
        start=_start_of(spec, status, conditions, began),
        billed=billed,
        spec=spec,
        is_resizable=is_resizable(status),
        resize_pending=resize_pending(status)[1],
        is_over=over,
        owner=owner_in(meta),
        cost=text(table(meta.get("annotations")).get(protocol.COST)),
        version=version_of(obj),
    )


def _container_view(container: Object, status: Object | None) -> ContainerView:
    """Read a container and its status. Without a status it counts as running, like its pod."""
    startup = container.get("startupProbe")
    status = status or {}
    return ContainerView(
        ready=bool(status.get("ready")),
        running=not status or "running" in (status.get("state") or {}),
        started=startup is None or bool(status.get("started")),
        startup=startup,
        readiness=container.get("readinessProbe"),
        ports=container_ports({"containers": [container]}),
    )


def _start_of(
    spec: Mapping[str, Any],
    status: Mapping[str, Any],
    conditions: Mapping[str, Mapping[str, Any]],
    scheduled_at: datetime | None,
) -> PodStart:
    def since(kind: str) -> datetime | None:
        found = conditions.get(kind, {})
        return instant(found.get("lastTransitionTime")) if is_true(found) else None

    began = [_first_ran(c) for c in status.get("containerStatuses") or ()]
    known = [at for at in began if at is not None]
    is_complete = bool(known) and len(known) == len(spec.get("containers") or ())
    return PodStart(
        scheduled_at,
        since("PodReadyToStartContainers"),
        max(known) if is_complete else None,
        since("Ready"),
        why_unschedulable(status),
        why_not_started(status),
    )


def _first_ran(container: Mapping[str, Any]) -> datetime | None:
    """When a container ran first; of one that was restarted, the earliest time that is known."""
    states = (container.get("state") or {}, container.get("lastState") or {})
    runs = [table(state.get(kind)) for state in states for kind in ("running", "terminated")]
    times = [instant(run.get("startedAt")) for run in runs]
    return min((at for at in times if at is not None), default=None)


_SAME_MOMENT = timedelta(seconds=1)
"""The kubelet writes a pod's start and its first conditions together, in whole seconds."""


def _has_been_ready(status: Mapping[str, Any], ready: Mapping[str, Any]) -> bool:
    """Whether a pod is or was Ready: it starts not Ready, so a later change came from Ready."""
    started, changed = instant(status.get("startTime")), instant(ready.get("lastTransitionTime"))
    if is_true(ready):
        return True
    return started is not None and changed is not None and changed - started > _SAME_MOMENT


def _is_lost(status: Mapping[str, Any], ready: Mapping[str, Any]) -> bool:
    """Whether a pod that is not terminating has ended, has crashed, or was Ready and is not.

    The pods of a lost node show the last case. A starting pod is not lost: an activator publishes
    its slices before it is Ready.
    """
    if status.get("phase") in ("Succeeded", "Failed"):
        return True
    if is_true(ready):
        return False
    if ready.get("status") == "Unknown" or _has_been_ready(status, ready):
        return True
    return any(_has_crashed(c) for c in status.get("containerStatuses") or ())


def _has_crashed(container: Mapping[str, Any]) -> bool:
    state, before = container.get("state") or {}, container.get("lastState") or {}
    return "running" not in state and ("terminated" in state or "terminated" in before)


def _ended(status: Mapping[str, Any]) -> datetime | None:
    states = [c.get("state") or {} for c in status.get("containerStatuses") or ()]
    ends = [instant((state.get("terminated") or {}).get("finishedAt")) for state in states]
    return max((end for end in ends if end is not None), default=None)


def starting_pods(pods: Iterable[PodView], rejected: str = "") -> Starting:
    """Sum up the pods of a pool that is Warming: those that are Ready, and those that are not.

    `rejected` is why further pods cannot be created.
    """
    staying = [pod for pod in pods if not pod.terminating]
    times = [pod.start for pod in staying if pod.ready and pod.start.ready_at is not None]
    waits = [pod.start.no_node for pod in staying if not pod.ready and pod.start.no_node]
    last = max(times, key=lambda s: s.ready_at, default=None)  # type: ignore[arg-type,return-value]
    return Starting(last, len(waits), min(waits, default=""), failing_pod(staying) or rejected)


def failing_pod(pods: Iterable[PodView]) -> str:
    """A pod that cannot start, and why; empty if all have started or may yet."""
    found = [p for p in pods if p.start.failing and not p.ready and not p.terminating]
    one = min(found, key=lambda p: p.key, default=None)
    return "" if one is None else f"pod {one.key[1]} cannot start: {one.start.failing}"


def removal_of(pods: Iterable[PodView], kind: str, *, is_settled: bool) -> Removal:
    """The pods that a step down of a workload of this kind may end.

    The order is that of ReplicaSets (`ActivePodsWithRanks` in pkg/controller/controller_utils.go
    of Kubernetes), which is known if all pods are of one, or that of StatefulSets. `is_settled` is
    whether a Deployment has pods of one template alone.
    """
    active = [pod for pod in pods if pod.is_replica]
    owners, costs = {pod.owner for pod in active}, {pod.cost for pod in active}
    makers = [maker for maker, _ in owners]
    on_node = Counter(pod.node for pod in active)
    # Among equals those on crowded nodes, then the youngest.
    active.sort(key=lambda pod: (on_node[pod.node], pod.scheduled_at or _FUTURE, pod.key))
    active.reverse()
    if kind == "StatefulSet":
        ordinals = [_ordinal(pod.key[1]) for pod in active]
        ranks: list[tuple[int, ...]] = [(-(at or 0),) for at in ordinals]
        is_known = makers == [kind] and None not in ordinals
    else:
        ranks = [(bool(pod.node), pod.running, pod.ready) for pod in active]
        is_known = kind == "Deployment" and makers == ["ReplicaSet"] and is_settled
    candidates = (Candidate(p.key[1], r, p.is_marked) for p, r in zip(active, ranks, strict=True))
    # A cost that an owner has set stays.
    is_known = is_known and costs <= {"", protocol.MARK}
    return Removal(tuple(candidates), is_known, by_mark=kind != "StatefulSet")


_FUTURE = datetime.max.replace(tzinfo=UTC)


def _ordinal(name: str) -> int | None:
    """The ordinal of a StatefulSet's pod."""
    _, dash, number = name.rpartition("-")
    return int(number) if dash and number.isdecimal() and len(number) < 10 else None


# --- workloads: any object with `spec.replicas` and a label selector ---


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
    """The hash of the pod template, also of its annotations: a restart counts as a change."""
    updated: int | None = 0
    """Ready pods of that template; 0 while the rollout still has pods of another one. None if its
    status does not count pods."""
    pod: Mapping[str, Any] = field(default_factory=dict)
    """The parts of the template's PodSpec that the requests depend on; empty without a template."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """The ports of the template's containers, by name."""
    write: Write | None = None
    """The write of another manager that owns the replicas; None if there is none."""
    rejected: str = ""
    """Why its pods cannot be created; empty if they can, or its status does not say it."""
    deletes_claims: bool = False
    """Whether a StatefulSet deletes the volume claims of the pods that it scales down."""
    disk: Disk | None = None
    """The volume claims of its pods."""
    own_labels: Mapping[str, str] = field(default_factory=dict)
    """Its labels, which a WarmPoolSet selects by."""
    controller: str = ""
    """The object whose controller made it, as KIND NAME; empty for none."""
    opts_out: bool = False
    """Whether its owner wants no pool of a WarmPoolSet."""

    @property
    def selected_by(self) -> tuple[Any, ...]:
        """What it depends on whether, and how, a WarmPoolSet makes a pool for it."""
        return self.own_labels, self.labels, self.controller, self.opts_out, self.disk

    @cached_property
    def requests(self) -> Requests:
        """The resource requests of one pod of the template (base units)."""
        return pod_requests(self.pod)


def workload_view(obj: Object, kind: str = "Deployment") -> WorkloadView:
    spec = table(obj.get("spec"))
    template, meta = table(spec.get("template")), table(obj.get("metadata"))
    labels, own = pod_labels(obj), table(meta.get("labels"))
    return WorkloadView(
        key=key_of(obj),
        replicas=count(spec.get("replicas", 1)),
        selector=workload_selector(obj),
        labels=labels,
        template=text(template.get("mark")),
        updated=ready_of_template(obj, kind),
        pod=requesting(table(template.get("spec"))),
        ports=container_ports(table(template.get("spec"))),
        write=foreign_write(obj),
        rejected=why_not_created(table(obj.get("status"))),
        deletes_claims=deletes_claims(obj),
        disk=disk_of(obj),
        own_labels=labels if own == labels else own,
        controller=controller_of(meta),
        opts_out=opts_out(table(meta.get("annotations"))),
    )


# --- EndpointSlices, and the pod that published one ---


@dataclass(frozen=True)
class SliceView:
    """The relevant fields of an EndpointSlice that an activator published."""

    key: Key
    service: str
    pool: str
    pod_namespace: str
    pod_name: str
    pod_uid: str
    set: str
    """The set of its activator (see `protocol.set_of_pod`)."""
    epoch: int
    ready: bool
    family: str
    families: tuple[str, ...]
    """The address families in which the activator publishes the Service; default: `family`."""


def is_ours(obj: Object) -> bool:
    labels = obj["metadata"].get("labels") or {}
    return bool(labels.get(protocol.MANAGED_BY_LABEL) == protocol.MANAGED_BY)


def _epoch(text: str) -> int:
    """An epoch; 0, which acknowledges nothing, if the text is not a number after a manual edit."""
    return int(text) if text.isdecimal() and len(text) < 19 else 0


def slice_view(obj: Object) -> SliceView:
    """Read an activator's EndpointSlice; an emptied slice (without endpoints) is not ready."""
    meta = obj["metadata"]
    endpoints = obj.get("endpoints") or ()
    annotations, family = meta.get("annotations") or {}, obj.get("addressType", "")
    namespace, pod, uid = protocol.publisher_of_slice(obj)
    return SliceView(
        key=key_of(obj),
        service=meta["labels"].get(protocol.SERVICE_LABEL, ""),
        pool=protocol.pool_of_slice(obj),
        pod_namespace=namespace,
        pod_name=pod,
        pod_uid=uid,
        set=annotations.get(protocol.SET_ANNOTATION, ""),
        epoch=_epoch(annotations.get(protocol.EPOCH_ANNOTATION, "0")),
        ready=any((e.get("conditions") or {}).get("ready", True) for e in endpoints),
        family=family,
        families=tuple(str(annotations.get(protocol.FAMILIES_ANNOTATION, family)).split(",")),
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
    if not obj.get("endpoints") or protocol.SERVICE_LABEL not in labels:
        return None
    service = meta.get("namespace", ""), labels[protocol.SERVICE_LABEL]
    return ForeignSlice(service, labels.get(protocol.MANAGED_BY_LABEL, ""))


async def owner_of(kube: Kube, of: SliceView) -> PodView | None:
    """The activator pod that published a slice; None if it is gone or the slice names no pod.

    Raises the errors of `Unreachable`.
    """
    if not of.pod_name:
        return None  # edited by hand
    try:
        pod = pod_view(await kube.get(Pod, of.pod_namespace, of.pod_name))
    except NotFoundError:
        return None
    return pod if pod.uid == of.pod_uid else None
