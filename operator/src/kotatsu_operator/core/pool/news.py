"""What a plan says of a pool: its next warm-up, its next transition, and texts of events.

Apart from `decision`, whose values take 10 ms of a start: the kubectl plugin plans too.
"""

from dataclasses import dataclass
from datetime import datetime


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
