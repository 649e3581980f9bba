"""The client connections of one pool: their states, and their use."""

from dataclasses import dataclass, field
from enum import Enum, auto
from math import inf
from typing import Generic, Protocol, TypeVar

from kotatsu_operator.activator.answers import Answers


class State(Enum):
    """Where a connection is on its way from its client to a pod."""

    SILENT = auto()
    """Accepted, without a complete request line so far."""
    LISTENING = auto()
    """Accepted, without a byte so far: its client waits for the server's first bytes."""
    GREETED = auto()
    """As before; a connection to a pod is being opened for it."""
    HELD = auto()
    """Its request line is complete, its request head is not."""
    ANNOUNCING = auto()
    """Its announcement is not written yet."""
    QUEUED = auto()
    """It only needs a pod."""
    CONNECTING = auto()
    """A connection to a pod is being opened for it."""
    JOINED = auto()
    """Joined to a pod."""
    RESUMING = auto()
    """Joined to a pod; its next bytes wait for an announcement (route Activator)."""
    ENDING = auto()
    """Answered or evicted; the connection is about to end."""


_HELD = frozenset({State.HELD, State.ANNOUNCING, State.QUEUED, State.CONNECTING})
_JOINED = frozenset({State.JOINED, State.RESUMING})


class _Placed(Protocol):
    state: State


C = TypeVar("C", bound=_Placed)


class Registry(Generic[C]):
    """The connections of a pool by state, those of each state in the order in which they got it."""

    def __init__(self) -> None:
        self._by_state: dict[State, dict[C, None]] = {state: {} for state in State}
        self.held: dict[C, None] = {}
        """Connections that wait for a pod, in order of arrival."""
        self.joined: dict[C, None] = {}
        """Connections joined to a pod. Other threads may copy it and `held`: a connection is in
        the new one before it leaves the old one."""

    def of(self, state: State) -> list[C]:
        return list(self._by_state[state])

    def count(self, state: State) -> int:
        return len(self._by_state[state])

    def first(self, state: State) -> C | None:
        return next(iter(self._by_state[state]), None)

    def move(self, client: C, state: State) -> None:
        self._by_state[client.state].pop(client, None)
        self._by_state[state][client] = None
        client.state = state
        if state in _HELD:
            self.held.setdefault(client)
        if state in _JOINED:
            self.joined.setdefault(client)
        else:
            self.joined.pop(client, None)
        if state not in _HELD:
            self.held.pop(client, None)

    def remove(self, client: C) -> None:
        for clients in (self._by_state[client.state], self.held, self.joined):
            clients.pop(client, None)
        client.state = State.ENDING


BUSY_FOR = 2.0
"""Seconds after a byte for which a connection counts as busy; the operator scrapes as often."""

ASK, REPLY = 34, 128
"""Bytes from the client and from the pod that a keepalive has at most: two HTTP/2 PINGs, and the
answer to `SELECT 1`. A gRPC call that waits has 50 bytes or more from its client (decision 59)."""

BEAT = 256
"""Bytes from either side that a keepalive of a regular interval has at most: of an app, of SSH, or
under TLS."""

JITTER, LEAST_JITTER = 0.1, 0.5
"""By how much the intervals of a beat may differ, as a share and in seconds."""

MOST_BEATS = 16
"""Sizes of exchanges whose intervals are remembered for a connection."""


@dataclass(slots=True)
class Traffic:
    """When bytes last passed a connection, in seconds of a monotonic clock.

    The answers of HTTP/1 are followed (decision 89). Any other protocol is judged by its bytes
    alone (decision 59). An exchange is bytes without a pause of BUSY_FOR. A keepalive is
    a small exchange, asked and answered, of a size that this connection has had before: it does not
    count. One that is larger, but not large, must also be as regular as a beat.
    """

    up_at: float = -inf
    """Towards the pod."""
    down_at: float = -inf
    _last: float = -inf
    """The later one of the two."""
    answers: Answers | None = None
    """Of a connection that begins with HTTP/1."""
    is_held: bool = False
    """Whether bytes of the client wait here for an announcement."""
    untaken: int = 0
    """Bytes that the client has not taken, as last counted."""
    taken_at: float = -inf
    """When a client that reads slowly last took some."""
    _used_before: float = -inf
    """When the connection was in use before the current exchange."""
    _up: int = 0
    """Bytes of the current exchange."""
    _down: int = 0
    _began: float = -inf
    _is_asked: bool = False
    """Whether the client began the current exchange."""
    _is_over: bool = False
    """Whether the current exchange ended with an answer that took its time."""
    _sizes: int = 0
    """Bit n: a small exchange had n bytes in all."""
    _asks: int = 0
    """Bit n: a small exchange had n bytes from the client."""
    _beats: dict[tuple[int, int], tuple[float, float]] = field(default_factory=dict)
    """Of exchanges that may be beats, by their bytes: when the last one began, and how long after
    the one before."""

    def sent(self, size: int, now: float) -> None:
        """Bytes of the client, before they are forwarded."""
        if self._is_over or now - self._last >= BUSY_FOR:
            self._begin(now, is_asked=True)
        self._up += size
        self.up_at = self._last = now

    def received(self, size: int, now: float) -> None:
        """Bytes of the pod. Those for a client that has sent nothing are no use of the pool."""
        if now - self._last >= BUSY_FOR:
            if self.up_at == -inf:
                self.down_at = now
                return
            if self._is_asked and self.up_at > self.down_at:
                self._is_over = True
            else:
                self._begin(now, is_asked=False)
        self._down += size
        self.down_at = self._last = now

    def _begin(self, now: float, *, is_asked: bool) -> None:
        self._used_before = self.used_at
        if self._is_small:
            self._sizes |= 1 << (self._up + self._down)
            self._asks |= 1 << self._up
        elif self._may_beat:
            self._remember_beat()
        self._up = self._down = 0
        self._began, self._is_asked, self._is_over = now, is_asked, False

    @property
    def _is_small(self) -> bool:
        return 0 < self._up <= ASK and 0 < self._down <= REPLY and self._followed is None

    @property
    def _may_beat(self) -> bool:
        is_answered = 0 < self._up <= BEAT and 0 < self._down <= BEAT and not self._is_over
        return is_answered and self._followed is None

    def _remember_beat(self) -> None:
        size = self._up, self._down
        before, every = self._beats.pop(size, (-inf, inf))
        interval = self._began - before
        while len(self._beats) >= MOST_BEATS:
            del self._beats[next(iter(self._beats))]
        # One that was missed does not change the interval.
        self._beats[size] = self._began, every if _is_due(interval, 2 * every) else interval

    @property
    def _is_beat(self) -> bool:
        before, every = self._beats.get((self._up, self._down), (-inf, inf))
        return _is_in_time(self._began - before, every)

    @property
    def _is_keepalive(self) -> bool:
        if self._sizes and self._is_small and self._sizes >> (self._up + self._down) & 1:
            return True
        return bool(self._beats) and self._may_beat and self._is_beat

    @property
    def _followed(self) -> Answers | None:
        """The answers, while the bytes are HTTP/1 that is understood."""
        return None if self.answers is None or self.answers.is_lost else self.answers

    @property
    def used_at(self) -> float:
        """When the last byte passed that is not of a keepalive."""
        if self._is_keepalive:
            return max(self._used_before, self.taken_at)
        return max(self._last, self.taken_at)

    def took(self, untaken: int, now: float, *, is_full: bool) -> None:
        """Count the bytes again that the client has not taken; `is_full`: the pod waits for it."""
        if is_full and untaken < self.untaken and self.up_at > -inf:
            self.taken_at = now
        self.untaken = untaken

    def is_keepalive(self, size: int, now: float) -> bool:
        """Whether the next bytes of the client have the size of a keepalive, at its time."""
        if size <= ASK and self._asks >> size & 1:
            return True
        for (up, down), (at, every) in self._beats.items():
            if (up, down) == (self._up, self._down):
                at, every = self._began, self._began - at
            if up == size and _is_in_time(now - at, every):
                return True
        return False

    def is_busy(self, now: float, timeout: float) -> bool:
        """Whether it counts as a request: bytes move, or the client waits for an answer."""
        quiet = now - self.used_at
        return quiet < BUSY_FOR or (self._is_awaited and quiet < timeout)

    @property
    def _is_awaited(self) -> bool:
        answers = self._followed
        if answers is None or self.is_held:
            return self.is_held or self.up_at > self.down_at
        return answers.is_asking or answers.is_awaited

    def in_use(self, now: float, timeout: float) -> bool:
        """Whether it keeps its pool awake: for at most `timeout` seconds after the last byte.

        An HTTP/1 connection is idle once its client has taken all answers.
        """
        # The common case first: this is asked with every read. Only a keepalive is no use.
        if now - self._last < BUSY_FOR and not (self._sizes or self._beats):
            return True
        quiet = now - self.used_at
        if quiet < BUSY_FOR or quiet >= timeout:
            return quiet < BUSY_FOR
        answers = self._followed
        if answers is None or self.is_held or answers.is_asking:
            return True
        return bool(answers.asked or (self.untaken and not answers.is_over))


def _is_in_time(interval: float, every: float) -> bool:
    """Whether an exchange follows one of its size as that one followed the one before.

    Or twice as late: now and then a beat falls together with one of another kind.
    """
    return _is_due(interval, every) or _is_due(interval, 2 * every)


def _is_due(interval: float, every: float) -> bool:
    return abs(interval - every) <= max(JITTER * every, LEAST_JITTER) < inf


@dataclass(slots=True)
class Forwarded:
    """Bytes of a pool's connections so far: `up` to the pods, `down` from them."""

    up: int = 0
    down: int = 0
