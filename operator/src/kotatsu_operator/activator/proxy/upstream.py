"""The pod's side of a spliced connection, and what it has in common with the client's side."""

import asyncio
from abc import abstractmethod
from typing import TYPE_CHECKING, cast

from kotatsu_operator.activator.proxy import sockets

if TYPE_CHECKING:
    from kotatsu_operator.activator.proxy.client import Client


class Side(asyncio.Protocol):
    """One side of a spliced connection: a transport that may not be there yet, or not any more."""

    __slots__ = ("has_finished", "is_full", "transport")

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.has_finished = False
        """Whether this side has ended its half of the connection."""
        self.is_full = False
        """Whether this side's write buffer is full."""

    @property
    @abstractmethod
    def other(self) -> "Side | None":
        """The side that this one is joined to."""

    @abstractmethod
    def weigh(self) -> int:
        """Count the bytes that the two sides have not read; returns their number."""

    # --- calls from the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pause writing as soon as the kernel does not accept all bytes."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(0)

    def pause_writing(self) -> None:
        """This side reads slowly: stop reading from the other one."""
        self.is_full = True
        if self.other is not None:
            self.other.pause_reading()
        self.weigh()

    def resume_writing(self) -> None:
        self.is_full = False
        if self.other is not None:
            self.other.resume_reading()
        self.weigh()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other side in the same way as this one: close or reset."""
        self.transport = None
        if self.other is not None:
            if exc is None or self.has_finished:
                self.other.close()
            else:
                self.other.reset()
        self.weigh()

    # --- calls from the other side ---

    @property
    def weight(self) -> int:
        if self.transport is None:
            return 0
        return sockets.weight(self.transport, has_finished=self.has_finished)

    def finish(self) -> None:
        """The other side has ended its half of the connection: forward that."""
        if self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()

    def close(self) -> None:
        if self.transport is not None:
            sockets.close(self.transport)

    def reset(self) -> None:
        """Reset the connection: the other side was cut off."""
        if self.transport is not None:
            sockets.reset(self.transport)

    def abort(self) -> None:
        """Reset the connection at once, whatever the other side has not read."""
        if self.transport is not None:
            sockets.abort(self.transport)

    def pause_reading(self) -> None:
        """The other side reads slowly: stop reading from this one."""
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        transport = self.transport
        if transport is not None and not self.has_finished and not transport.is_closing():
            transport.resume_reading()


LINGER = 60.0
"""Seconds that a client may keep its half of a connection open after the pod has ended its own: a
client's pool of idle connections may never detect that."""


class Upstream(Side):
    """The side that faces the pod."""

    __slots__ = ("_client", "_early", "_is_joined", "_linger")

    def __init__(self, client: "Client") -> None:
        super().__init__()
        self._client = client
        self._is_joined = False
        self._early = b""
        """Bytes from the pod before it was joined to its client."""
        self._linger: asyncio.TimerHandle | None = None

    @property
    def other(self) -> "Client":
        return self._client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        sockets.prepare(transport.get_extra_info("socket"))
        sockets.bound(transport.get_extra_info("socket"), sockets.UNREAD_POD)

    def data_received(self, data: bytes) -> None:
        if self._is_joined:
            self._client.write(data)
        else:
            self._early += data
            self.pause_reading()  # until it is joined: one read is enough

    def eof_received(self) -> bool:
        """The pod has ended its half; the client must end its own within LINGER seconds."""
        self.has_finished = True
        if not self._is_joined:
            return True
        self._client.finish()
        if self._client.has_finished:
            self._client.close()
            return False
        self._linger = asyncio.get_running_loop().call_later(LINGER, self.close)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The pod's connection has ended: close the client, or reset it after a reset."""
        if self._linger is not None:
            self._linger.cancel()
        if self._is_joined:
            super().connection_lost(exc)
        self.transport = None

    def weigh(self) -> int:
        return self._client.weigh()

    @property
    def is_there(self) -> bool:
        """Whether the pod can be joined; nothing was written to one that has closed at once."""
        return self.transport is not None and bool(self._early or not self.has_finished)

    @property
    def is_over(self) -> bool:
        """Whether the pod sends no more, even if its last bytes are not read yet."""
        transport = self.transport
        return transport is None or sockets.has_finished(transport.get_extra_info("socket"))

    def join(self) -> None:
        """Forward bytes to the client from now on, beginning with those that came early."""
        self._is_joined = True
        early, self._early = self._early, b""
        if early:
            self._client.write(early)
            if not self._client.is_full:
                self.resume_reading()
        if self.has_finished and not self.eof_received():
            self.close()

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)
