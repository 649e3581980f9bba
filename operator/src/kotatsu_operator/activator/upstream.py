"""The pod's side of a spliced connection."""

import asyncio
from typing import TYPE_CHECKING, cast

from .keepalive import keep_alive

if TYPE_CHECKING:
    from .splice import Client

LINGER = 60.0
"""Seconds a client may keep its half of a connection open after the pod has finished: a pool
of idle connections may never look at it again."""


class Upstream(asyncio.Protocol):
    """The side that faces the pod."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._transport: asyncio.Transport | None = None
        self.has_finished = False
        self._linger: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The pod has accepted."""
        self._transport = cast(asyncio.Transport, transport)
        keep_alive(transport)

    def data_received(self, data: bytes) -> None:
        """Bytes from the pod."""
        self._client.write(data)

    def eof_received(self) -> bool:
        """The pod has finished its side; a client that does not follow is not waited for long."""
        self.has_finished = True
        self._client.finish()
        if self._client.has_finished:
            self._client.close()
            return False
        self._linger = asyncio.get_running_loop().call_later(LINGER, self.close)
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The pod has gone: so does the client."""
        self._transport = None
        if self._linger is not None:
            self._linger.cancel()
        self._client.close()

    def pause_writing(self) -> None:
        """The pod reads slowly."""
        self._client.pause_reading()

    def resume_writing(self) -> None:
        """The pod has caught up."""
        self._client.resume_reading()

    def write(self, data: bytes) -> None:
        """Send bytes to the pod."""
        if self._transport is not None:
            self._transport.write(data)

    def finish(self) -> None:
        """The client has said all."""
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def close(self) -> None:
        """End the connection to the pod."""
        if self._transport is not None:
            self._transport.close()

    def pause_reading(self) -> None:
        """The client reads slowly."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """The client has caught up."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
