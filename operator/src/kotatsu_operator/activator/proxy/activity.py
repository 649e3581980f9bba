"""When an open connection is in use, judged by its bytes alone. Pure.

What passes is not understood: it may be HTTP/2, a WebSocket or TLS. So a connection is busy while
bytes move, and while the client has spoken last and waits for an answer. The wait is bounded: the
last word of a quiet WebSocket may well be the client's, and keeps no pod warm for ever.
"""

from dataclasses import dataclass
from math import inf

MOVING_FOR = 2.0
"""Seconds after a byte for which a connection counts as busy: the operator looks as often."""

ANSWER_WITHIN = 600.0
"""Seconds an HTTP/1 request may take until its answer begins, and still counts."""

REPLY_WITHIN = 30.0
"""Seconds anything else may stay unanswered and still count: its last word need not be a question
(an acknowledgement of HTTP/2, a pong)."""


@dataclass(slots=True)
class Traffic:
    """When bytes last passed a connection, in seconds of any clock that only goes forward."""

    up_at: float = -inf
    """Towards the pod."""
    down_at: float = -inf
    patience: float = REPLY_WITHIN
    """Seconds for which what the client has said last may stay unanswered."""

    @property
    def last(self) -> float:
        """When a byte last passed."""
        return max(self.up_at, self.down_at)

    def is_busy(self, now: float) -> bool:
        """Whether a pod is at work for this connection, as far as its bytes tell."""
        if now - self.down_at < MOVING_FOR or now - self.up_at < MOVING_FOR:
            return True
        return self.up_at > self.down_at and now - self.up_at < self.patience


@dataclass(slots=True)
class Moved:
    """Bytes of a pool's connections so far: `up` to the pods, `down` from them."""

    up: int = 0
    down: int = 0
