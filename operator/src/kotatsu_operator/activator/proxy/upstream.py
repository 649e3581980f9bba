"""The pod's side of a spliced connection."""

import asyncio
from typing import TYPE_CHECKING, cast

from kotatsu_operator.activator.proxy import closing, sockets

if TYPE_CHECKING:
    from kotatsu_operator.activator.proxy.splice import Client


LINGER = 60.0
"""Seconds that a client may keep its half of a connection open after the pod has ended its own: a
client's pool of idle connections may never detect that."""


class Upstream(asyncio.Protocol):
    """The side that faces the pod."""

    __slots__ = (
        "_client", "_early", "_is_joined", "_linger", "_transport", "has_finished", "is_full",
    )  # fmt: skip

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._transport: asyncio.Transport | None = None
        self._is_joined = False
        self._early = b""
        """Bytes from the pod before it was joined to its client."""
        self.has_finished = False
        self.is_full = False
        """Whether the pod's write buffer is full."""
        self._linger: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The pod has accepted the connection."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(0)
        sockets.prepare(transport.get_extra_info("socket"))
        sockets.bound(transport.get_extra_info("socket"), sockets.UNREAD_POD)

    def data_received(self, data: bytes) -> None:
        """Bytes from the pod."""
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
        self._transport = None
        if self._linger is not None:
            self._linger.cancel()
        if self._is_joined:
            if exc is None or self.has_finished:
                self._client.close()
            else:
                self._client.reset()
            self._client.weigh()

    def pause_writing(self) -> None:
        """The pod reads slowly: stop reading from the client."""
        self.is_full = True
        self._client.pause_reading()
        self._client.weigh()

    def resume_writing(self) -> None:
        """The pod reads again."""
        self.is_full = False
        self._client.resume_reading()
        self._client.weigh()

    @property
    def weight(self) -> int:
        """Bytes of memory that the connection uses."""
        if self._transport is None:
            return 0
        return closing.weight(self._transport, has_finished=self.has_finished)

    @property
    def is_there(self) -> bool:
        """Whether the pod can be joined: it has not closed without sending a byte.

        Nothing was written to such a pod, so the request may go to another one.
        """
        return self._transport is not None and bool(self._early or not self.has_finished)

    @property
    def is_over(self) -> bool:
        """Whether the pod sends no more, even if its last bytes are not read yet."""
        transport = self._transport
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
        """Send bytes to the pod."""
        if self._transport is not None:
            self._transport.write(data)

    def finish(self) -> None:
        """The client has ended its half of the connection."""
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def close(self) -> None:
        """Close the connection to the pod once all written bytes are sent."""
        if self._transport is not None:
            closing.close(self._transport)

    def reset(self) -> None:
        """Reset the connection to the pod: its client was cut off."""
        if self._transport is not None:
            closing.reset(self._transport)

    def abort(self) -> None:
        """Close the connection to the pod at once."""
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        """The client reads slowly: stop reading from the pod."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """The client reads again."""
        transport = self._transport
        if transport is not None and not self.has_finished and not transport.is_closing():
            transport.resume_reading()
