"""Whether an open connection is in use, by its bytes alone (decision 12). Pure.

A connection is busy while bytes move, and while the client has sent last and waits for an answer,
for a limited time: on a quiet WebSocket the last bytes may be the client's.
"""

from dataclasses import dataclass
from math import inf

MOVING_FOR = 2.0
"""Seconds after a byte for which a connection counts as busy; the operator scrapes as often."""

ANSWER_WITHIN = 600.0
"""Seconds for which an HTTP/1 request without an answer counts as busy."""

REPLY_WITHIN = 30.0
"""Seconds for which other unanswered bytes count as busy: they need not be a request (an HTTP/2
acknowledgement, a pong)."""


@dataclass(slots=True)
class Traffic:
    """When bytes last passed a connection, in seconds of a monotonic clock."""

    up_at: float = -inf
    """Towards the pod."""
    down_at: float = -inf
    patience: float = REPLY_WITHIN
    """Seconds for which the client's last bytes count as busy without an answer."""

    @property
    def last(self) -> float:
        return max(self.up_at, self.down_at)

    def is_busy(self, now: float) -> bool:
        """Whether the pod is working for this connection, judging by its bytes."""
        if now - self.down_at < MOVING_FOR or now - self.up_at < MOVING_FOR:
            return True
        return self.up_at > self.down_at and now - self.up_at < self.patience


@dataclass(slots=True)
class Moved:
    """Bytes of a pool's connections so far: `up` to the pods, `down` from them."""

    up: int = 0
    down: int = 0
