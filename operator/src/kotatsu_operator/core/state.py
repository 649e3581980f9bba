"""The values a decision is made of: what is seen, what is remembered, what is decided."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from .autoscaler import Autoscaler, Original
from .contest import Contest, Write
from .pacing import Claim


class Phase(StrEnum):
    """Where a pool is between asleep and warm.

    Sleeping is the short stretch after the scale has been set to 0, while pods finish and go.
    """

    ASLEEP = "Asleep"
    WARMING = "Warming"
    WARM = "Warm"
    DRAINING = "Draining"
    SLEEPING = "Sleeping"

    @property
    def is_asleep(self) -> bool:
        """Whether the scale is 0, or was just set to it; else the pool is awake or on its way."""
        return self in (Phase.ASLEEP, Phase.SLEEPING)


class Reason(StrEnum):
    """Why a pool is where it is."""

    WINDOW = "Window"
    REQUEST = "Request"
    DEMAND = "Demand"
    OVERRIDE = "Override"
    IDLE = "Idle"
    SUSPENDED = "Suspended"
    BUDGET = "Budget"


class Route(StrEnum):
    """Who answers the Service's new connections: the pods alone, or also the activator."""

    NATIVE = "Native"
    ACTIVATOR = "Activator"


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


@dataclass(frozen=True)
class Opening:
    """How punctual the last window was: every floor replica Ready at `ready_at`, or not yet."""

    window: str
    at: datetime
    ready_at: datetime | None = None
    cold: bool = False
    """True when the window opened before everything was Ready (and somebody was told)."""
    replicas: int = 0
    """How many replicas that is."""
    excused: bool = False
    """True when an edit asked for it too late to be prepared."""

    @property
    def early(self) -> timedelta | None:
        """How long before the opening everything was Ready; negative when late."""
        return None if self.ready_at is None else self.at - self.ready_at


class Outcome(StrEnum):
    """What became of an opening. Each is counted as ready or cold, some later as late too."""

    READY = "ready"
    """Every replica was Ready before it opened."""
    COLD = "cold"
    """It opened before that."""
    LATE = "late"
    """It had opened cold, and every replica is Ready now."""


@dataclass(frozen=True)
class Tally:
    """How many openings a pool has had, by outcome."""

    ready: int = 0
    cold: int = 0
    late: int = 0

    def plus(self, outcome: Outcome) -> "Tally":
        """One more of an outcome."""
        return replace(self, **{outcome.value: getattr(self, outcome.value) + 1})


@dataclass(frozen=True)
class WarmUp:
    """One observed warm-up: `replicas` pods Ready after `seconds`."""

    seconds: float
    replicas: int
    template: str = ""
    """Identifies the pod template that was started."""


Series = tuple[tuple[datetime, int], ...]
"""Values with their times, oldest first."""


@dataclass(frozen=True)
class Trend:
    """Replicas that demand has asked for lately, and what was recommended of that."""

    asked: Series = ()
    sustained: Series = ()


@dataclass(frozen=True)
class Memory:
    """What must be remembered between decisions; most of it lives in the WarmPool's status."""

    phase: Phase = Phase.ASLEEP
    reason: Reason = Reason.IDLE
    since: datetime | None = None
    """When the phase began; None for a pool never decided on."""
    route: Route = Route.NATIVE
    epoch: int = 0
    """Counts the changes of route towards the activator."""
    acknowledged_at: datetime | None = None
    """When this epoch's acknowledgement was complete (steps 2 and 3 of the way down)."""
    last_active: datetime | None = None
    unknown_since: datetime | None = None
    raised_at: datetime | None = None
    """When a warm-up that has not finished yet began."""
    warm_ups: tuple[WarmUp, ...] = ()
    trend: Trend = Trend()
    override_key: str = ""
    override_seen: datetime | None = None
    override_done: bool = False
    """True once an Asleep override has put the pool to sleep: later requests wake it again."""
    lowered: bool = False
    """While Sleeping: true once this process has lowered the scale, so that whoever is there again
    was raised by somebody. Not kept in the status: a new process can't know."""
    opening: Opening | None = None
    lead: timedelta = timedelta()
    """The pre-warm lead in force; it does not shrink while a window is being warmed for."""
    ahead: timedelta = timedelta()
    """How much earlier than its lead the window being warmed for was begun; it does not shrink."""
    windows: Tally = Tally()
    ticket: datetime | None = None
    """The newest announcement that a decision has taken into account."""
    ticket_seen: datetime | None = None
    """When it was first seen, by the operator's clock."""
    template: str = ""
    proven: bool = False
    """Whether as many pods of that template as were asked for have been Ready once."""
    original: Original | None = None
    """The minReplicas of the target's HorizontalPodAutoscaler without this pool."""
    contest: Contest | None = None


def changed(memory: Memory, **values: Any) -> Memory:
    """The memory with these values; the same object when it has them already, as in most looks."""
    for name, value in values.items():
        if getattr(memory, name) != value:
            return replace(memory, **values)
    return memory


@dataclass(frozen=True)
class Note:
    """Something worth an event: a transition, in words."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class Transition:
    """The next thing the schedule does."""

    at: datetime
    window: str
    kind: str
    """prewarm, open or close."""


@dataclass(frozen=True)
class Decision:
    """What to do now, what to remember, and when to look again."""

    memory: Memory
    replicas: int | None
    """What the target's scale should be; None: leave it as it is."""
    recheck: datetime
    recheck_between_beats: datetime | None = None
    """The same for a pool that is looked at every few seconds anyway: an opening for which all is
    there already can wait for that."""
    floor: int = 0
    window: str = ""
    """The open window, or the one being warmed for."""
    next: Transition | None = None
    sleep: bool = False
    """True when the pool may take steps 4 to 6 of the way down now."""
    force: bool = False
    """True when requests in flight must not hold the pool up any longer (drain timeout)."""
    minimum: int | None = None
    """What the autoscaler's minReplicas should be; None without an autoscaler."""
    notes: tuple[Note, ...] = field(default=())
    outcomes: tuple[Outcome, ...] = ()
    """What has become of openings since the last decision."""
    claim: Claim | None = None
    """The next warm-up that others have to make room for."""
    override: tuple[str, datetime] | None = None
    """Mode and real end of the override in force."""
