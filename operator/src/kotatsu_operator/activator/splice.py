"""One client connection: held with its first bytes, then spliced to a pod, byte for byte.

Protocols and callbacks instead of streams and tasks: ten thousand held connections must be cheap.
Backpressure goes both ways; nothing is ever buffered without bound, and nothing that was written to
a pod is ever written again (a request may have been acted on).
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol, cast

from .activity import ANSWER_WITHIN, Traffic
from .http1 import Requests
from .keepalive import keep_alive
from .peek import HEAD_LIMIT, Kind, Peek, ask_to_close, asks_to_upgrade, peek
from .upstream import Upstream

BUFFER_LIMIT = 2 * HEAD_LIMIT
"""Bytes kept of a held connection before reading from it is paused."""

ANSWERED_FOR = 5.0
"""Seconds for which an answered client may go on sending: closed under it at once, it might never
read the answer."""

SILENT_FOR = 60.0
"""Seconds a connection may stay without its first byte."""

FIRST_LINE_WITHIN = 10.0
"""Seconds from the first byte of a connection until it is plain what it wants: its request line, or
that it is not HTTP/1. Whoever drips bytes for longer means no good."""


class Owner(Protocol):
    """Whom a client connection tells what happens to it (the pool it came for)."""

    def came(self, client: "Client") -> None:
        """Called once, as the connection has been accepted."""

    def arrived(self, client: "Client") -> None:
        """Called once, when the first request line (or anything not HTTP/1) has been read."""

    def left(self, client: "Client") -> None:
        """Called once, when the connection is over; `client.upstream` tells how far it got."""

    def moved(self, upwards: int, downwards: int) -> None:
        """Called as bytes pass through."""

    def may_resume(self, client: "Client") -> bool:
        """Asked when the client of a quiet connection speaks again; if not, `resume` comes."""

    def is_ending(self, client: "Client") -> bool:
        """Asked before more is passed on: whether the next request had better be the last."""


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
        self.traffic = Traffic()
        self.is_probe = False
        """Whether it came for a path that wakes nobody, and keeps nobody awake."""
        self.on_head: Callable[[], None] | None = None
        self._buffer = bytearray()
        self.has_finished = False
        """Whether the client has said that it will send nothing more."""
        self._announced = False
        self._answered = False
        self._paused = False
        self._requests: Requests | None = None
        """Follows the requests of an HTTP/1 connection that stays open for many."""
        self._held_back = False
        """Whether what the client has said since the splice waits for an announcement."""

    # --- what the event loop calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected; until its first byte nothing happens."""
        self.transport = cast(asyncio.Transport, transport)
        keep_alive(transport)
        self._close_after(SILENT_FOR)
        self.owner.came(self)

    def data_received(self, data: bytes) -> None:
        """Splice, or keep and look."""
        if self.upstream is not None:
            self._pass_on(data)
            return
        if self._answered:
            return
        if not self._buffer:
            self._close_after(FIRST_LINE_WITHIN)
        self._buffer += data
        if self.seen.kind is not Kind.OTHER and not self.seen.head_end:
            self.seen = peek(bytes(self._buffer[: HEAD_LIMIT + 1]))
        if not self._announced and (self.seen.kind is Kind.OTHER or self.seen.path):
            self._announced = True
            self._forget_deadline()
            self.owner.arrived(self)
        if self.on_head is not None and self.is_complete:
            waiting, self.on_head = self.on_head, None
            waiting()
        if len(self._buffer) > BUFFER_LIMIT:
            self._pause()

    def _pass_on(self, data: bytes) -> None:
        assert self.upstream is not None  # noqa: S101  (it is spliced)
        now = time.monotonic()
        if not self._held_back and not self.traffic.is_busy(now):
            self._held_back = not self.owner.may_resume(self)
        if self._held_back:
            self._buffer += data
            self._pause()
            return
        self._send(self.upstream, data)

    def _send(self, upstream: Upstream, data: bytes) -> None:
        self.traffic.up_at = time.monotonic()
        if self._requests is not None:
            data = self._requests.passing(data, is_last=self.owner.is_ending(self))
        self.owner.moved(len(data), 0)
        upstream.write(data)

    def _pause(self) -> None:
        if self.transport is not None and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def _close_after(self, seconds: float) -> None:
        self._forget_deadline()
        self.deadline = asyncio.get_running_loop().call_later(seconds, self.close)

    def _forget_deadline(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def eof_received(self) -> bool:
        """Pass a half-close on once spliced; before that the client is taken to be gone."""
        if self.upstream is None:
            return False
        self.has_finished = True
        if not self._held_back:
            self.upstream.finish()
        return not self.upstream.has_finished

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Release the hold, or end the other side."""
        self._forget_deadline()
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
        if self.seen.is_head:
            data = data[: data.index(b"\r\n\r\n") + 4]  # its answer has no body
        self.transport.write(data)
        self.finish()
        self._close_after(ANSWERED_FOR)
        self.resume_reading()

    def splice(self, upstream: Upstream, *, asks_to_close: bool = True) -> None:
        """Send what was kept to the pod and join the two sides.

        With `asks_to_close` an HTTP/1 answer ends the connection: the next one has a better way.
        """
        self._forget_deadline()
        self.upstream = upstream
        first = bytes(self._buffer)
        self._buffer = bytearray()
        if self.seen.kind is Kind.HTTP1:
            end = self.seen.head_end
            if not asks_to_upgrade(first[:end]):
                self.traffic.patience = ANSWER_WITHIN
            if asks_to_close:
                first = ask_to_close(first[:end]) + first[end:]
            else:
                self._requests = Requests()
        # Resumed before the write, which may pause it again.
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resume_reading()
        self._send(upstream, first)

    def resume(self) -> None:
        """Pass on what was held back since the splice."""
        self._held_back = False
        if self.upstream is None or self.transport is None:
            return
        kept, self._buffer = bytes(self._buffer), bytearray()
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        self._send(self.upstream, kept)
        if self.has_finished:
            self.upstream.finish()

    def write(self, data: bytes) -> None:
        """Pass bytes from the pod on."""
        self.traffic.down_at = time.monotonic()
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
        if self.transport is not None and not self.transport.is_closing() and not self._held_back:
            self.transport.resume_reading()
