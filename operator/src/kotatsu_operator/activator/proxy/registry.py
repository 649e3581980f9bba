"""The client connections of one pool: their states, the timeout of held ones, and their use."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kotatsu_operator.activator.proxy.client import Client


class State(Enum):
    """Where a connection is on its way from its client to a pod."""

    SILENT = auto()
    """Accepted, without a complete request line so far."""
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
    """Joined to a pod; its next bytes wait for an announcement (route Always)."""
    ENDING = auto()
    """Answered or evicted; the connection is about to end."""


_HELD = frozenset({State.HELD, State.ANNOUNCING, State.QUEUED, State.CONNECTING})
_JOINED = frozenset({State.JOINED, State.RESUMING})


class Registry:
    """The connections of a pool by state, those of each state in the order in which they got it."""

    def __init__(self) -> None:
        self._by_state: dict[State, dict[Client, None]] = {state: {} for state in State}
        self.held: dict[Client, None] = {}
        """Connections that wait for a pod, in order of arrival."""
        self.joined: dict[Client, None] = {}
        """Connections joined to a pod. Other threads may copy it and `held`: a connection is in
        the new one before it leaves the old one."""

    def of(self, state: State) -> "list[Client]":
        return list(self._by_state[state])

    def count(self, state: State) -> int:
        return len(self._by_state[state])

    def first(self, state: State) -> "Client | None":
        return next(iter(self._by_state[state]), None)

    def move(self, client: "Client", state: State) -> None:
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

    def remove(self, client: "Client") -> None:
        for clients in (self._by_state[client.state], self.held, self.joined):
            clients.pop(client, None)
        client.state = State.ENDING


_AT_ONCE = 0.01
"""Seconds: connections whose timeouts are this close together time out together."""


class HoldTimer:
    """Calls `on_timeout` for each held connection that has waited for `timeout()` seconds.

    `held` are in order of arrival; a changed timeout applies to those that already wait.
    """

    def __init__(
        self,
        held: "Iterable[Client]",
        timeout: Callable[[], float],
        on_timeout: "Callable[[Client], None]",
    ) -> None:
        self._held, self._timeout, self._on_timeout = held, timeout, on_timeout
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Time the first held connection; later ones time out after it."""
        if self._timer is None:
            self.check()

    def check(self) -> None:
        """Call `on_timeout` for connections past the timeout, and schedule the next check."""
        self.close()
        loop = asyncio.get_running_loop()
        now, timeout = loop.time(), self._timeout()
        late = []
        for client in self._held:
            left = client.since + timeout - now
            if left > 0:
                self._timer = loop.call_later(max(left, _AT_ONCE), self.check)
                break
            late.append(client)
        for client in late:
            self._on_timeout(client)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


MOVING_FOR = 2.0
"""Seconds after a byte for which a connection counts as busy; the operator scrapes as often."""

ANSWER_WITHIN = 600.0
"""Seconds for which an HTTP/1 request without an answer counts as busy."""

REPLY_WITHIN = 30.0
"""Seconds for which other unanswered bytes count as busy: they need not be a request (an HTTP/2
acknowledgement, a pong)."""


@dataclass(slots=True)
class Traffic:
    """When bytes last passed a connection, in seconds of a monotonic clock.

    Its use is judged by these alone (decision 12): it is busy while bytes move, and for a limited
    time while the client has sent last. On a quiet WebSocket the last bytes may be the client's.
    """

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
