"""One client connection: held with its first bytes, then spliced to a pod, byte for byte.

Protocols and callbacks instead of streams and tasks: ten thousand held connections must be cheap.
Backpressure goes both ways; nothing is ever buffered without bound, and nothing that was written to
a pod is ever written again (a request may have been acted on).
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from .peek import HEAD_LIMIT, Kind, Peek, ask_to_close, peek

BUFFER_LIMIT = 2 * HEAD_LIMIT
"""Bytes kept of a held connection before reading from it is paused."""

LINGER = 60.0
"""Seconds a client may keep its half of a connection open after the pod has finished: a pool
of idle connections may never look at it again."""


ANSWERED_FOR = 5.0
"""Seconds for which an answered client may go on sending: closed under it at once, it might never
read the answer."""


class Owner(Protocol):
    """Whom a client connection tells what happens to it (the pool it came for)."""

    def arrived(self, client: "Client") -> None:
        """Called once, when the first request line (or anything not HTTP/1) has been read."""

    def left(self, client: "Client") -> None:
        """Called once, when the connection is over; `client.upstream` tells how far it got."""

    def moved(self, upwards: int, downwards: int) -> None:
        """Called as bytes pass through."""


class Client(asyncio.Protocol):
    """The side that faces the client."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.transport: asyncio.Transport | None = None
        self.upstream: Upstream | None = None
        self.seen = Peek(Kind.UNKNOWN)
        self.deadline: asyncio.TimerHandle | None = None
        self.since = 0.0
        self.ticket = 0
        self.on_head: Callable[[], None] | None = None
        self._buffer = bytearray()
        self.has_finished = False
        """Whether the client has said that it will send nothing more."""
        self._announced = False
        self._answered = False
        self._paused = False

    # --- what the event loop calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected; until its first byte nothing happens."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Splice, or keep and look."""
        if self.upstream is not None:
            self.owner.moved(len(data), 0)
            self.upstream.write(data)
            return
        if self._answered:
            return
        self._buffer += data
        if self.seen.kind is not Kind.OTHER and not self.seen.head_end:
            self.seen = peek(bytes(self._buffer[: HEAD_LIMIT + 1]))
        if not self._announced and (self.seen.kind is Kind.OTHER or self.seen.path):
            self._announced = True
            self.owner.arrived(self)
        if self.on_head is not None and self.is_complete:
            waiting, self.on_head = self.on_head, None
            waiting()
        if len(self._buffer) > BUFFER_LIMIT and self.transport is not None and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """Pass a half-close on once spliced; before that the client is taken to be gone."""
        if self.upstream is None:
            return False
        self.has_finished = True
        self.upstream.finish()
        return not self.upstream.has_finished

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Release the hold, or end the other side."""
        if self.deadline is not None:
            self.deadline.cancel()
        self.transport = None
        self._buffer.clear()
        self.on_head = None
        if self.upstream is not None:
            self.upstream.close()
        self.owner.left(self)

    def pause_writing(self) -> None:
        """The client reads slowly: stop reading from the pod."""
        if self.upstream is not None:
            self.upstream.pause_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self.upstream is not None:
            self.upstream.resume_reading()

    # --- what the pool calls ---

    @property
    def is_open(self) -> bool:
        """Whether the client is still there."""
        return self.transport is not None and not self.transport.is_closing()

    @property
    def is_complete(self) -> bool:
        """Whether what must be read before splicing has been read."""
        return self.seen.kind is Kind.OTHER or self.seen.head_end > 0

    def answer(self, data: bytes) -> None:
        """Answer without a pod and close; what the client still sends is read and dropped."""
        if self.transport is None or self.transport.is_closing():
            return
        if not data or self.seen.kind is not Kind.HTTP1:
            self.transport.close()
            return
        self._answered = True
        self._buffer.clear()
        self.transport.write(data)
        self.finish()
        if self.deadline is not None:
            self.deadline.cancel()
        self.deadline = asyncio.get_running_loop().call_later(ANSWERED_FOR, self.close)
        self.resume_reading()

    def splice(self, upstream: "Upstream") -> None:
        """Send what was kept to the pod and join the two sides."""
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None
        self.upstream = upstream
        first = bytes(self._buffer)
        self._buffer = bytearray()
        if self.seen.kind is Kind.HTTP1:
            end = self.seen.head_end
            first = ask_to_close(first[:end]) + first[end:]
        self.owner.moved(len(first), 0)
        # Resumed before the write, which may pause it again.
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resume_reading()
        upstream.write(first)

    def write(self, data: bytes) -> None:
        """Pass bytes from the pod on."""
        if self.transport is not None:
            self.owner.moved(0, len(data))
            self.transport.write(data)

    def finish(self) -> None:
        """The pod has said all: pass that on."""
        if self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()

    def close(self) -> None:
        """End the connection once everything written has been sent."""
        if self.transport is not None:
            self.transport.close()

    def pause_reading(self) -> None:
        """The pod reads slowly: stop reading from the client."""
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """The pod has caught up."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()


class Upstream(asyncio.Protocol):
    """The side that faces the pod."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._transport: asyncio.Transport | None = None
        self.has_finished = False
        self._linger: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The pod has accepted."""
        self._transport = cast(asyncio.Transport, transport)

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
