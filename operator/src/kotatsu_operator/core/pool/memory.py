"""What is remembered of a pool between two decisions; most of it lives in its status."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

MANY = 3
"""So many writes of one manager, each within MEMORY of the one before, are no coincidence."""


@dataclass(frozen=True)
class Contest:
    """What is remembered of the writes of others; it lives in the status."""

    by: str
    write_at: datetime | None
    """The API server's time of the newest write: it tells one write from the next."""
    seen_at: datetime
    """When that write was first seen, by the operator's clock."""
    count: int = 1
    applied: bool = False

    @property
    def holds(self) -> bool:
        """Whether it is a contest and not just a write."""
        return self.applied or self.count >= MANY


@dataclass(frozen=True)
class Original:
    """What minReplicas is without the pool; it lives in the status."""

    name: str
    min_replicas: int


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
