"""One client connection: held with its first bytes, then spliced to a pod, byte for byte.

Protocols and callbacks instead of streams and tasks: ten thousand held connections must be cheap,
and a request costs what its two reads and two writes cost and little more. Backpressure goes both
ways; nothing is ever buffered without bound, and nothing that was written to a pod is ever written
again (a request may have been acted on).
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol, cast

from kotatsu_operator.activator.cache.ports import UNKNOWN, Port
from kotatsu_operator.activator.http.http1 import Requests
from kotatsu_operator.activator.http.peek import NOTHING, Kind, asks_to_upgrade, peek
from kotatsu_operator.activator.proxy import closing as farewell
from kotatsu_operator.activator.proxy import sockets
from kotatsu_operator.activator.proxy.activity import ANSWER_WITHIN, Moved, Traffic
from kotatsu_operator.activator.proxy.upstream import Upstream

BODY_KEPT = 16 * 1024
"""Bytes beyond its request head that a held connection may send before it is read no further."""

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

    moved: Moved
    """Where bytes are counted."""

    def came(self, client: "Client") -> None:
        """Called once, as the connection has been accepted."""

    def arrived(self, client: "Client") -> None:
        """Called once, when the first request line (or anything not HTTP/1) has been read."""

    def keeps(self, client: "Client", number: int) -> None:
        """Called when the bytes that are kept for it have changed."""

    def wrote(self, client: "Client") -> None:
        """Called when a side was written to, once until the client has settled."""

    def evicted(self, client: "Client") -> None:
        """Called when there is no memory left for what is kept for it; ends it."""

    def left(self, client: "Client") -> None:
        """Called once, when the connection is over; `client.upstream` tells how far it got."""

    def may_resume(self, client: "Client") -> bool:
        """Asked when the client of a quiet connection speaks again; if not, `resume` comes."""

    def is_ending(self, client: "Client") -> bool:
        """Asked as a request begins: whether it had better be the last of its connection."""


class Client(asyncio.Protocol):
    """The side that faces the client."""

    __slots__ = (
        "_announced", "_answered", "_buffer", "_held_back", "_is_settled", "_moved", "_paused",
        "_progress", "_requests", "deadline", "has_finished", "is_full", "is_probe", "on_head",
        "owner", "port", "seen", "since", "ticket", "traffic", "transport", "upstream",
    )  # fmt: skip

    def __init__(self, owner: Owner, port: Port = UNKNOWN) -> None:
        self.owner = owner
        self.port = port
        """The port of the Service that it came in on, as it was then."""
        self.transport: asyncio.Transport | None = None
        self.upstream: Upstream | None = None
        self.seen = NOTHING
        self.deadline: asyncio.TimerHandle | None = None
        self.since = 0.0
        self.ticket = 0
        self.traffic = Traffic()
        self.is_probe = False
        """Whether it came for a path that wakes nobody, and keeps nobody awake."""
        self.on_head: Callable[[], None] | None = None
        self.has_finished = False
        """Whether the client has said that it will send nothing more."""
        self._buffer = bytearray()
        self._moved = owner.moved
        self._announced = False
        self._answered = False
        self._paused = False
        self._requests: Requests | None = None
        """Follows the requests of an HTTP/1 connection that stays open for many."""
        self._held_back = False
        """Whether what the client has said since the splice waits for an announcement."""
        self.is_full = False
        """Whether the client takes no more for now."""
        self._is_settled = True
        """Whether all that was written to a side has been taken, as far as that was looked at."""
        self._progress = (0, 0.0)
        """What it had yet to take when that was last looked at, and when it was given the last."""

    # --- what the event loop calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected; until its first byte nothing happens."""
        self.transport = cast(asyncio.Transport, transport)
        # Its protocol is paused as soon as the kernel does not take everything.
        self.transport.set_write_buffer_limits(0)
        self._close_after(SILENT_FOR)
        self.owner.came(self)

    def data_received(self, data: bytes) -> None:
        """Splice, or keep and look."""
        upstream = self.upstream
        if upstream is None:
            self._look(data)
            return
        now = time.monotonic()
        if self._held_back or not (self.traffic.is_busy(now) or self.owner.may_resume(self)):
            self._held_back = True
            self._pause()
            self._keep(data)
            return
        self._send(upstream, data, now)

    def _send(self, upstream: Upstream, data: bytes, now: float, *, ends: bool = False) -> None:
        requests = self._requests
        if requests is not None:
            if requests.begins_in(data) and (ends or self.owner.is_ending(self)):
                data = requests.ending(data)
            else:
                data = requests.follow(data)
            if not data:
                self._close_when_quiet()
                return
        self.traffic.up_at = now
        self._moved.up += len(data)
        upstream.write(data)
        self._wrote()

    def _close_when_quiet(self) -> None:
        """The client has sent more than its last request: that goes to no pod, and gets no answer.

        A pod that does not close, though it was asked to, would let the client wait for ever.
        """
        if self.deadline is None:
            self.deadline = asyncio.get_running_loop().call_later(
                ANSWERED_FOR, self._close_if_quiet
            )

    def _close_if_quiet(self) -> None:
        self.deadline = None
        traffic = self.traffic
        quiet_for = time.monotonic() - traffic.down_at
        if traffic.down_at > traffic.up_at and quiet_for >= ANSWERED_FOR:
            self.close()
        else:
            self._close_when_quiet()

    def _look(self, data: bytes) -> None:
        """Keep what a client says that has no pod yet, and see what it wants."""
        if self._answered:
            return
        known = len(self._buffer)
        self._keep(data)
        if self._answered or not self.is_open:
            return  # it was too much
        self.seen = peek(self._buffer, self.seen, known)
        if not self._announced and (self.seen.kind is Kind.OTHER or self.seen.path):
            self._announced = True
            self._forget_deadline()
            self.owner.arrived(self)
        elif not known:
            self._close_after(FIRST_LINE_WITHIN)
        if self.on_head is not None and self.is_complete:
            waiting, self.on_head = self.on_head, None
            waiting()
        if self.is_complete and len(self._buffer) > self.seen.head_end + BODY_KEPT:
            self._pause()
            self.weigh()

    def _keep(self, data: bytes) -> None:
        self._buffer += data
        self.weigh()

    def _let_go(self) -> bytes:
        kept, self._buffer = bytes(self._buffer), bytearray()
        return kept

    def _wrote(self) -> None:
        if self._is_settled:
            self._is_settled = False
            self.owner.wrote(self)

    def weigh(self) -> int:
        """Count the bytes that are kept for it; returns those that the two sides have yet to take.

        Of a side that is not read, what the kernel may take of it is among them.
        """
        kept = 0
        if self.transport is not None and (self.upstream is not None or self._paused):
            kept += farewell.weight(self.transport, has_finished=self.has_finished)
        if self.upstream is not None:
            kept += self.upstream.weight
        self.owner.keeps(self, kept + len(self._buffer))
        return kept

    def settle(self) -> bool:
        """Count again what was written; whether it has been taken."""
        self._is_settled = not self.weigh()
        return self._is_settled

    def evict(self) -> None:
        """Let go of what is kept: there is no more memory."""
        self.owner.evicted(self)

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

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the hold, or end the other side, in the way that this one has ended."""
        self._forget_deadline()
        self.transport = None
        self._let_go()
        self.on_head = None
        if self.upstream is not None:
            if exc is None or self.has_finished:
                self.upstream.close()
            else:
                self.upstream.reset()
        self.weigh()
        self.owner.left(self)

    def pause_writing(self) -> None:
        """The client reads slowly: stop reading from the pod."""
        self.is_full = True
        if self.upstream is not None:
            self.upstream.pause_reading()
            self.weigh()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.is_full = False
        if self.upstream is not None:
            self.upstream.resume_reading()
            self.weigh()

    # --- what the pool calls ---

    @property
    def is_open(self) -> bool:
        """Whether the client is still there."""
        return self.transport is not None and not self.transport.is_closing()

    @property
    def is_complete(self) -> bool:
        """Whether what must be read before splicing has been read."""
        return self.seen.is_final

    def answer(self, data: bytes) -> None:
        """Answer without a pod and close; what the client still sends is read and dropped."""
        if self.transport is None or self.transport.is_closing():
            return
        if not data or self.seen.kind is not Kind.HTTP1:
            self.transport.close()
            return
        self._answered = True
        self._let_go()
        if self.seen.is_head:
            data = data[: data.index(b"\r\n\r\n") + 4]  # its answer has no body
        self.transport.write(data)
        self.finish()
        self._close_after(ANSWERED_FOR)
        self._go_on()
        self.weigh()

    def splice(self, upstream: Upstream, *, asks_to_close: bool = True) -> None:
        """Send what was kept to the pod and join the two sides.

        With `asks_to_close` an HTTP/1 answer ends the connection: the next one has a better way.
        """
        self._forget_deadline()
        self.upstream = upstream
        first = self._let_go()
        if self.seen.kind is Kind.HTTP1:
            self._requests = Requests()
            if not asks_to_upgrade(first[: self.seen.head_end]):
                self.traffic.patience = ANSWER_WITHIN
        if self.transport is not None:
            sockets.bound(self.transport.get_extra_info("socket"), sockets.UNREAD_CLIENT)
        # Resumed before the write, which may pause it again.
        self._go_on()
        self._send(upstream, first, time.monotonic(), ends=asks_to_close)
        upstream.join()
        self.weigh()

    def resume(self) -> None:
        """Pass on what was held back since the splice."""
        self._held_back = False
        if self.upstream is None or self.transport is None:
            return
        kept = self._let_go()
        self._go_on()
        self._send(self.upstream, kept, time.monotonic())
        self.weigh()
        if self.has_finished:
            self.upstream.finish()

    def write(self, data: bytes) -> None:
        """Pass bytes from the pod on."""
        self.traffic.down_at = time.monotonic()
        if self.transport is not None:
            self._moved.down += len(data)
            self.transport.write(data)
            self._wrote()

    def finish(self) -> None:
        """The pod has said all: pass that on."""
        if self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()

    def close(self) -> None:
        """End the connection once everything written has been sent."""
        if self.transport is not None:
            farewell.close(self.transport)

    def reset(self) -> None:
        """Break the connection off: its pod was cut off."""
        if self.transport is not None:
            farewell.reset(self.transport)

    def abort(self) -> None:
        """End the connection at once."""
        if self.transport is not None:
            self.transport.abort()

    def look_after(self) -> None:
        """See, once in a while, whether this still makes sense: who is not read is not heard going.

        Given up are a client that has taken nothing since the last look and whose pod has gone, and
        one that was reset while its pod reads nothing.
        """
        if self.transport is None or self.upstream is None:
            return
        if self.is_full:
            before = self._progress
            self._progress = (farewell.left(self.transport), self.traffic.down_at)
            if self._progress == before and self.upstream.is_over:
                self.abort()
        elif self.upstream.is_full and sockets.is_broken(self.transport.get_extra_info("socket")):
            self.abort()

    def pause_reading(self) -> None:
        """The pod reads slowly: stop reading from the client."""
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """The pod has caught up."""
        transport = self.transport
        if transport is None or self._held_back or self.has_finished or transport.is_closing():
            return
        transport.resume_reading()

    def _go_on(self) -> None:
        """Read again what was paused for want of a pod, or of an announcement."""
        if self._paused:
            self._paused = False
            self.resume_reading()
