"""What is decided for one pool."""

from dataclasses import dataclass, field
from datetime import datetime

from kotatsu_operator.core.pool.memory import Memory, Outcome


@dataclass(frozen=True)
class Claim:
    """One pool's coming warm-up: so many pods to start, and by when at the latest."""

    by: datetime
    """The opening less the pool's own lead."""
    replicas: int


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
