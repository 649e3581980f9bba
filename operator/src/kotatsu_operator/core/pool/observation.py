"""What the cluster shows of one pool."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Write:
    """One manager's write of replicas."""

    by: str
    at: datetime | None
    applied: bool = False
    """By server-side apply."""


@dataclass(frozen=True)
class Autoscaler:
    """What an HPA says now."""

    name: str
    min_replicas: int
    max_replicas: int
    ours: bool = False
    """Whether minReplicas was last written by the operator."""
    version: str = ""
    """The version that was read, to write it back with."""


@dataclass(frozen=True)
class Demand:
    """Requests being served and held right now; `known` is False when a pod could not be asked."""

    in_flight: int = 0
    held: int = 0
    last_request: datetime | None = None
    """When a pod last began or finished a request."""
    ticket: datetime | None = None
    """The newest request that an activator announced in the pool's status, by the activator's own
    clock: it tells one announcement from the next, and no time."""
    known: bool = True
    silent: str = ""
    """Who did not tell, and why; empty when everybody did."""

    @property
    def concurrency(self) -> int:
        """Requests in the pods plus requests waiting for one."""
        return self.in_flight + self.held


@dataclass(frozen=True)
class Observation:
    """What the cluster shows of one pool."""

    replicas: int
    """spec.replicas of the target's scale."""
    ready: int
    """Pods that are Ready and not terminating."""
    pods: int
    """Pods that exist, from scheduled until gone, terminating ones included."""
    acknowledged: int | None = None
    """The lowest route epoch every Ready activator has published; None without such activators."""
    demand: Demand = Demand()
    edited: bool = False
    """Whether the spec has changed since the last decision."""
    ahead: timedelta = timedelta()
    """How much earlier than its own lead it is the pool's turn to start pods (see pacing)."""
    template: str = ""
    """Identifies the target's pod template."""
    updated: int = 0
    """Ready pods of that template, once the target has no pod of another one."""
    autoscaler: Autoscaler | None = None
    write: Write | None = None
    """Who else owns the target's replicas."""
    catching_up: timedelta = timedelta()
    """For how long kube-proxy and controllers may yet lag behind an outage of the API server."""
    running: int | None = None
    """Ready pods of a Knative Service, however its traffic is split; None: the same as `ready`."""
    most: int | None = None
    """The highest floor that a Knative Service can have; None: there is no limit."""

    def within(self, floor: int) -> int:
        """As much of a floor as can be had: the target's own limits may be lower."""
        most = self.autoscaler.max_replicas if self.autoscaler is not None else self.most
        return floor if most is None else min(floor, most)
