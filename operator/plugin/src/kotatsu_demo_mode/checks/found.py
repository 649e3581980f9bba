"""What was read of a cluster, and what the checks find in it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import Any

from kotatsu_demo_mode.objects import NONE, Object, Objects, name_of, spec_of
from kotatsu_demo_mode.pools import Pool
from kotatsu_operator.core.decide.refusal import Refusal
from kotatsu_operator.core.formats import (
    conditions_of,
    count,
    instant,
    is_true,
    table,
    tables,
    text,
)
from kotatsu_operator.core.objects import (
    Disk,
    container_ports,
    disk_of,
    is_sidecar,
    pod_labels,
    port_number,
)
from kotatsu_operator.core.pool.spec import InFlightMetric, Target


@dataclass(frozen=True)
class Page:
    """A metrics page that was tried."""

    port: str
    """As in the pool's spec: the name of the container port, or its number."""
    path: str
    text: str = ""
    why: str = ""
    """Why there is no page, in words that follow the pod's name."""


@dataclass(frozen=True)
class Found:
    """The objects around one workload. Lists that nothing was read of are empty."""

    namespace: str
    target: Target
    workload: Object | None
    """None if it does not exist."""
    unread: str = ""
    """Why the workload could not be read."""
    services: Objects = NONE
    slices: Objects = NONE
    autoscalers: Objects = NONE
    scaled_objects: Objects = NONE
    disruption_budgets: Objects = NONE
    quotas: Objects = NONE
    limit_ranges: Objects = NONE
    claims: Objects = NONE
    """The volume claims that the pod template names."""
    pools: Objects = NONE
    pods: Objects = NONE
    """A sample of the workload's pods."""
    nodes: Objects = NONE
    """The nodes of the first of those pods."""
    activators: Objects = NONE
    """The activators' pods that serve the namespace."""
    served_by: str = ""
    """The set of those activators; empty if it is unknown."""
    own: Objects = NONE
    """The Namespace."""
    home: Objects = NONE
    """The Namespace of those activators."""
    policies: Objects = NONE
    """The NetworkPolicies of the namespace."""
    operators: Objects = NONE
    """The operators' Deployments, of all namespaces that may be read."""
    operator: Mapping[str, Any] = field(default_factory=dict)
    """The one of them that serves the namespace; empty if none is known."""
    crd: Objects = NONE
    """The CRD of WarmPools."""
    has_api: bool = True
    """Whether the cluster has the CRD of WarmPools."""
    pages: Sequence[Page] = ()
    pages_unread: str = ""
    """Why no metrics page was read."""
    greetings: Mapping[int, bytes | None] = field(default_factory=dict)
    """What a pod says on a port to a client that says nothing, by the port's number; None if
    nothing listens there."""
    greetings_unread: str = ""
    """Why that is not known of a port."""

    @property
    def label(self) -> str:
        """The workload in words."""
        return f"{self.target.kind} {self.target.name}"

    @property
    def template(self) -> Mapping[str, Any]:
        """The pod template; empty without one."""
        return table(table((self.workload or {}).get("spec")).get("template"))

    @property
    def pod_spec(self) -> Mapping[str, Any]:
        return table(self.template.get("spec"))

    @property
    def disk(self) -> Disk | None:
        """The volume claims of its pods, with what was read of them; None without any."""
        disk = disk_of(self.workload or {})
        modes = [m for c in self.claims.items for m in spec_of(c).get("accessModes") or ()]
        if disk is None or disk.is_own or not modes:
            return disk
        return replace(disk, for_one=not all(_is_shared(c) for c in self.claims.items))

    @property
    def labels(self) -> Mapping[str, str]:
        return {} if self.workload is None else pod_labels(self.workload)

    @property
    def annotations(self) -> Mapping[str, str]:
        return {
            str(k): str(v)
            for k, v in table(table(self.template.get("metadata")).get("annotations")).items()
        }

    @property
    def containers(self) -> list[Mapping[str, Any]]:
        """The containers that run as long as the pod, sidecars last."""
        sidecars = [c for c in tables(self.pod_spec.get("initContainers")) if is_sidecar(c)]
        return [*tables(self.pod_spec.get("containers")), *sidecars]

    def number_of(self, port: str) -> int | None:
        """The number of a container port that is named, or has this number; None without one."""
        number = port_number(container_ports(self.pod_spec), port)
        return number if number is not None and 0 < number < 2**16 else None

    @property
    def ready_pods(self) -> list[Object]:
        return [pod for pod in self.pods.items if is_ready(pod)]

    @property
    def why_no_pod(self) -> str:
        """Why no pod can be asked, and what to do; empty if one is Ready."""
        if self.pods.unread or self.ready_pods:
            return self.pods.unread
        starting = [p for p in self.pods.items if "deletionTimestamp" not in table(p["metadata"])]
        if starting:
            return f"pod {name_of(starting[0])} is not Ready yet; repeat when it is"
        start = f"kubectl scale {self.target.kind.lower()} {self.target.name} --replicas=1"
        return f"no pod is Ready; start one, for example `{start} -n {self.namespace}`, and repeat"


def _is_shared(claim: Object) -> bool:
    """Whether pods of several nodes may have a volume claim."""
    modes = spec_of(claim).get("accessModes") or ()
    return any(str(mode).endswith("Many") for mode in modes)


def is_ready(pod: Object) -> bool:
    """Whether a pod is Ready and not terminating."""
    ready = conditions_of(table(pod.get("status"))).get("Ready", {})
    return is_true(ready) and "deletionTimestamp" not in table(pod.get("metadata"))


def start_of(found: Found) -> timedelta | None:
    """The longest time from scheduled to Ready of the pods that have not restarted."""
    took = []
    for pod in found.ready_pods:
        status = table(pod.get("status"))
        conditions = conditions_of(status)
        begin = instant(conditions.get("PodScheduled", {}).get("lastTransitionTime"))
        end = instant(conditions.get("Ready", {}).get("lastTransitionTime"))
        restarted = any(c.get("restartCount") for c in status.get("containerStatuses") or ())
        if begin is not None and end is not None and end >= begin and not restarted:
            took.append(end - begin)
    return max(took, default=None)


def grace_of(found: Found) -> int:
    """Seconds from SIGTERM until a pod is killed."""
    return count(found.pod_spec.get("terminationGracePeriodSeconds"), 30)


def ending_of(found: Found) -> timedelta:
    """How long a wake waits at most for the end of the last pod.

    The next pod of a StatefulSet has the same name.
    """
    return timedelta(seconds=grace_of(found) if found.target.kind == "StatefulSet" else 0)


def age_of(pool: Object) -> tuple[str, str]:
    """What orders pools by age: when one was made, and its name."""
    return str(table(pool.get("metadata")).get("creationTimestamp", "")), name_of(pool)


def points_to(ref: Mapping[str, Any], target: Target) -> bool:
    """Whether a reference is to a workload; one without a kind is to a Deployment."""
    return (ref.get("kind", "Deployment"), ref.get("name")) == (target.kind, target.name)


@dataclass(frozen=True)
class Case:
    """What is judged: the objects, and the pool that they are judged for."""

    found: Found
    pool: Pool
    """The pool that exists, or the one that would be made."""
    is_new: bool
    """Whether the pool does not exist yet."""
    replicas: int
    """The most pods that are wanted at once."""
    service: Object | None = None
    """The pool's Service; None if it does not exist or could not be read."""
    others: Sequence[str] = field(default_factory=tuple)
    """Other Services that select the pods."""

    @property
    def metric(self) -> InFlightMetric | None:
        """Where the pool's manifest says that the gauge is; None if it leaves that open.

        The API server fills in the defaults, so they say nothing.
        """
        given = self.pool.spec.in_flight_metric
        return None if self.is_new or given == InFlightMetric() else given

    @property
    def has_clients(self) -> bool:
        """Whether pods get requests."""
        if self.service is None:
            return bool(self.found.services.unread)
        return not self.why_worker

    @property
    def why_worker(self) -> str:
        """Why no client reaches its pods; empty if one does, or that is not known."""
        if self.service is None:
            is_known = not (self.found.services.unread or self.others)
            return "no Service selects its pods" if is_known else ""
        heard = self.found.greetings
        numbers = {self.found.number_of(target_port(port)) for port in self.tcp_ports}
        deaf = [n for n in numbers if n is not None and heard.get(n, b"") is None]
        if not deaf or len(deaf) < len(numbers):
            return ""
        ports = ", ".join(map(str, sorted(deaf)))
        return f"nothing listens on port {ports} of pod {name_of(self.found.ready_pods[0])}"

    @property
    def server(self) -> Mapping[str, Any]:
        """The container that the Service's first TCP port leads to; the first one by default."""
        containers = self.found.containers
        for port in self.tcp_ports:
            for container in containers:
                if target_port(port) in ports_of(container):
                    return container
        return containers[0] if containers else {}

    @property
    def tcp_ports(self) -> list[Mapping[str, Any]]:
        ports = tables(spec_of(self.service or {}).get("ports"))
        return [p for p in ports if p.get("protocol", "TCP") == "TCP"]


def target_port(port: Mapping[str, Any]) -> str:
    """The container port that a Service's port leads to: its name or number."""
    return str(port.get("targetPort") or port.get("port") or "")


def ports_of(container: Mapping[str, Any]) -> Iterator[str]:
    """The names and numbers of a container's ports."""
    for port in tables(container.get("ports")):
        yield from {str(port.get("containerPort")), text(port.get("name"))} - {""}


# --- findings ---


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"
    """Works; good to know."""
    UNKNOWN = "unknown"
    """Could not be read, mostly for lack of a permission."""
    WARNING = "warning"
    """Works, but requests may fail, or windows may open without their pods."""
    REFUSED = "refused"
    """Does not work."""


@dataclass(frozen=True)
class Finding:
    """One line of the answer. `check` and `reason` are stable names."""

    level: Level
    reason: str
    message: str
    check: str = ""
    """The name of the check, which `judge` sets."""


ok = partial(Finding, Level.OK, "OK")
unknown = partial(Finding, Level.UNKNOWN, "NotChecked")
note, warning = partial(Finding, Level.NOTE), partial(Finding, Level.WARNING)


def refused(why: Refusal) -> Finding:
    return Finding(Level.REFUSED, why.reason, why.message)


def verdict(findings: Iterable[Finding]) -> Level:
    """The worst of the findings: refused, warning or ok."""
    levels = {finding.level for finding in findings}
    return next((bad for bad in (Level.REFUSED, Level.WARNING) if bad in levels), Level.OK)
