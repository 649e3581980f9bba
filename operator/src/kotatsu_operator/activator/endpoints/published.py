"""What an activator has published of one pool in one address family: a slice and its listeners."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kotatsu_operator.activator.cache.pool import Pool
from kotatsu_operator.activator.cache.ports import Port, successors
from kotatsu_operator.activator.proxy.sockets import prepare
from kotatsu_operator.kube.objects import Object, version_of

DELETED_REST = 60.0
"""Seconds that the slice of a deleted pool waits for its target's own pods to answer."""


@dataclass
class Listener:
    """A listening socket for one port of a Service."""

    port: Port
    number: int = 0
    """The port number that the activator listens on."""
    server: asyncio.Server | None = None


@dataclass
class Published:
    """The slice and the listeners behind its ports."""

    address: str | None
    """The address to listen on."""
    new_client: Callable[[Port], asyncio.BaseProtocol]
    """Creates the protocol for a connection to a port of the Service."""
    there: Object | None = None
    """The slice as last read, written or watched."""
    listeners: list[Listener] = field(default_factory=list)
    watched: bool = False
    """Whether the watch has shown the slice."""
    emptied_at: float | None = None
    deleted_since: float | None = None
    native_since: float | None = None
    """Since when a native endpoint has been ready, in loop time."""

    @property
    def serves(self) -> bool:
        return bool(self.there and self.there.get("endpoints"))

    def catch_up(self, seen: Object | None) -> None:
        """Detect changes of the slice by other clients, so that it is published again."""
        if seen is None and self.watched:
            self.there = None
        elif seen is not None and self.there is not None:
            self.there = max(self.there, seen, key=version_of)
        self.watched = seen is not None

    def native_for(self, ready: int, now: float) -> float:
        if ready == 0:
            self.native_since = None
            return 0.0
        self.native_since = self.native_since or now
        return now - self.native_since

    def is_abandoned(self, pool: Pool, now: float) -> bool:
        """Whether a deleted pool needs no slice: after DELETED_REST seconds, or if it has none."""
        if not pool.deleted:
            self.deleted_since = None
            return False
        self.deleted_since = self.deleted_since or now
        return not self.serves or now - self.deleted_since >= DELETED_REST

    # --- listeners ---

    async def follow(self, ports: Sequence[Port]) -> None:
        """Listen for each port of the Service; an edited port keeps its listener."""
        known = successors([listener.port for listener in self.listeners], ports)
        for listener in self.listeners:
            listener.port = known.get(listener.port, listener.port)
        for port in ports:
            if port not in known.values():
                await self.listen(port)

    async def listen(self, port: Port, number: int = 0) -> None:
        """Listen for one port, on a number that is free or on this one.

        Raises OSError, OverflowError or ValueError for a number that cannot be bound.
        """
        listener = Listener(port)
        listener.server = await asyncio.get_running_loop().create_server(
            lambda: self.new_client(listener.port), self.address, number, backlog=4096
        )
        for made in listener.server.sockets:
            prepare(made)
        listener.number = listener.server.sockets[0].getsockname()[1]
        self.listeners.append(listener)

    def close(self) -> None:
        for listener in self.listeners:
            if listener.server is not None:
                listener.server.close()
        self.listeners.clear()
