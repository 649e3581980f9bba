"""The client connections of one pool, each in one state."""

from enum import Enum, auto
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
        """The connections in a state, the one that has been there for longest first."""
        return list(self._by_state[state])

    def count(self, state: State) -> int:
        """The number of connections in a state."""
        return len(self._by_state[state])

    def first(self, state: State) -> "Client | None":
        """The connection that has been in a state for longest; None without one."""
        return next(iter(self._by_state[state]), None)

    def move(self, client: "Client", state: State) -> None:
        """Add a connection, or change its state."""
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
        """The connection has ended."""
        for clients in (self._by_state[client.state], self.held, self.joined):
            clients.pop(client, None)
        client.state = State.ENDING
