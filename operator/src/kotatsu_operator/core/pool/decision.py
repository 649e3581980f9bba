"""The decision for one pool."""

from dataclasses import dataclass, field
from datetime import datetime

from kotatsu_operator.core.pool.memory import Memory, Outcome


@dataclass(frozen=True)
class Claim:
    """The next warm-up of one pool: the replicas to start, and the latest time to start them."""

    by: datetime
    """The opening minus the pool's own lead."""
    replicas: int


@dataclass(frozen=True)
class Note:
    """The text of an event, for example of a phase transition."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class Transition:
    """The next transition of the schedule."""

    at: datetime
    window: str
    kind: str
    """prewarm, open or close."""


@dataclass(frozen=True)
class Decision:
    """The actions for now, the memory for the next decision, and the time of the next one."""

    memory: Memory
    replicas: int | None
    """The scale of the target; None: do not change it."""
    recheck: datetime
    recheck_between_beats: datetime | None = None
    """`recheck` for an awake pool, which is reconciled every few seconds anyway: without the
    openings whose replicas are all Ready."""
    floor: int = 0
    window: str = ""
    """The open window, or the window that the pool pre-warms for."""
    next: Transition | None = None
    sleep: bool = False
    """True if the pool may take steps 4 to 6 of the way down now."""
    force: bool = False
    """True if requests in flight must not delay the sleep any longer (drain timeout)."""
    only_down: bool = False
    """True for a rejected pool: its scale must not be raised."""
    minimum: int | None = None
    """The HPA's minReplicas; None without an HPA."""
    notes: tuple[Note, ...] = field(default=())
    outcomes: tuple[Outcome, ...] = ()
    """The outcomes of openings since the last decision."""
    grows: bool = False
    """Whether capacity may be added; else it is only kept or given up."""
    claim: Claim | None = None
    """The next warm-up, for which other pools must leave capacity."""
    override: tuple[str, datetime] | None = None
    """Mode and effective end of the override in effect."""
