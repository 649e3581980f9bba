"""One client connection: held with its first bytes, then spliced to a pod.

Protocols and callbacks instead of streams and tasks: ten thousand held connections must be cheap.
Backpressure works both ways, and all buffers are bounded. Bytes that were written to a pod are
never written again: the pod may have processed the request.
"""

import asyncio
import time
from typing import Protocol

from kotatsu_operator.activator.cache.ports import UNKNOWN, Port
from kotatsu_operator.activator.http.peek import NOTHING, Kind, Requests, asks_to_upgrade, peek
from kotatsu_operator.activator.proxy import sockets
from kotatsu_operator.activator.proxy.registry import Moved, State, Traffic
from kotatsu_operator.activator.proxy.upstream import Side, Upstream

BODY_KEPT = 16 * 1024
"""Bytes beyond its request head that a held connection may send before reading pauses."""

ANSWERED_FOR = 5.0
"""Seconds for which an answered client may still send: if the connection closed at once, the client
might never read the answer."""

SILENT_FOR = 60.0
"""Seconds that a connection may stay open without its first byte."""

FIRST_LINE_WITHIN = 10.0
"""Seconds from the first byte until the request line is complete, or the bytes are not HTTP/1. A
client that takes longer is closed: slow drips are a typical attack."""


class Owner(Protocol):
    """The owner of a client connection (its pool), which is called on events."""

    moved: Moved
    """The pool's byte counts."""
    idle_timeout: float
    """Seconds for which a quiet connection is in use."""

    def came(self, client: "Client") -> None:
        """Called once, when the connection is accepted."""

    def arrived(self, client: "Client") -> None:
        """Called once, when the first request line, or anything but HTTP/1, has been read."""

    def completed(self, client: "Client") -> None:
        """Called with each read from the one that completes the request head, before a pod."""

    def keeps(self, client: "Client", number: int) -> None:
        """Called when the number of its buffered bytes has changed."""

    def wrote(self, client: "Client") -> None:
        """Called when a side was written to, once until the client has settled."""

    def evicted(self, client: "Client") -> None:
        """Called when the memory for its buffered bytes is exhausted; ends the connection."""

    def left(self, client: "Client") -> None:
        """Called once, when the connection has ended; `client.upstream` is set if it had a pod."""

    def may_resume(self, client: "Client") -> bool:
        """Called when the client of a quiet connection sends again; if False, `resume` follows."""

    def is_ending(self, client: "Client") -> bool:
        """Called when a request begins: whether it should be the last of its connection."""


class Client(Side):
    """The side that faces the client."""

    __slots__ = (
        "_announced", "_answered", "_buffer", "_held_back", "_is_settled", "_moved", "_paused",
        "_progress", "_requests", "announcement", "deadline", "is_probe", "owner", "pod", "port",
        "seen", "since", "state", "traffic", "upstream",
    )  # fmt: skip

    def __init__(self, owner: Owner, port: Port = UNKNOWN) -> None:
        super().__init__()
        self.owner = owner
        self.port = port
        """The Service's port that the client connected to, as it was at that time."""
        self.state = State.SILENT
        """Set by the registry that it is in."""
        self.upstream: Upstream | None = None
        self.pod = ""
        """The uid of the pod that it is joined to."""
        self.seen = NOTHING
        self.deadline: asyncio.TimerHandle | None = None
        self.since = 0.0
        """When it was held, in loop time."""
        self.announcement = 0
        """The number of the announcement that it waits for."""
        self.traffic = Traffic()
        self.is_probe = False
        """Whether its path is one of `ignorePaths`, which neither wake a pool nor keep it awake."""
        self._buffer = bytearray()
        self._moved = owner.moved
        self._announced = False
        self._answered = False
        self._paused = False
        self._requests: Requests | None = None
        """Tracks the requests of an HTTP/1 connection that stays open for many."""
        self._held_back = False
        """Whether bytes of the client wait for an announcement after the splice."""
        self._is_settled = True
        """Whether all written bytes had been read by the other side at the last check."""
        self._progress = (0, 0.0)
        """The bytes that the client had not read at the last check, and the time of the last byte
        to it."""

    @property
    def other(self) -> Upstream | None:
        return self.upstream

    # --- calls from the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._close_after(SILENT_FOR)
        self.owner.came(self)

    def data_received(self, data: bytes) -> None:
        """Forward the bytes, or buffer and parse them."""
        upstream = self.upstream
        if upstream is None:
            self._look(data)
            return
        traffic, now = self.traffic, time.monotonic()
        is_quiet = not traffic.in_use(now, self.owner.idle_timeout)
        is_quiet = is_quiet and not traffic.is_keepalive(len(data))
        traffic.sent(len(data), now)  # first: the next scrape must see it in use
        if self._held_back or (is_quiet and not self.owner.may_resume(self)):
            self._held_back = True
            self._pause()
            self._keep(data)
            return
        self._send(upstream, data)

    def _send(self, upstream: Upstream, data: bytes, *, ends: bool = False) -> None:
        requests = self._requests
        if requests is not None:
            begins = requests.begins_in(data)
            if begins and asks_to_upgrade(data):
                self.traffic.is_http1 = False
            if begins and (ends or self.owner.is_ending(self)):
                data = requests.ending(data)
            else:
                data = requests.follow(data)
            if not data:
                self._close_when_quiet()
                return
        self._moved.up += len(data)
        upstream.write(data)
        self._wrote()

    def _close_when_quiet(self) -> None:
        """Close if the pod does not, although it was asked to: later bytes get no answer."""
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
        """Buffer the bytes of a client without a pod, and parse them."""
        if self._answered:
            return
        known = len(self._buffer)
        self._keep(data)
        if self._answered or not self.is_open:
            return  # evicted
        self.seen = peek(self._buffer, self.seen, known)
        if not self._announced and (self.seen.kind is Kind.OTHER or self.seen.path):
            self._announced = True
            self._forget_deadline()
            self.owner.arrived(self)
        elif not known:
            self._close_after(FIRST_LINE_WITHIN)
        if self.is_complete:
            self.owner.completed(self)
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
        """Count its buffered bytes; returns the bytes that the two sides have not read.

        For a side that is not read this includes the kernel's receive buffer.
        """
        kept = 0
        if self.transport is not None and (self.upstream is not None or self._paused):
            kept += self.weight
        if self.upstream is not None:
            kept += self.upstream.weight
        self.owner.keeps(self, kept + len(self._buffer))
        return kept

    def settle(self) -> bool:
        """Count the written bytes again; returns whether the other sides have read them."""
        self._is_settled = not self.weigh()
        return self._is_settled

    def evict(self) -> None:
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
        """Forward a half-close if spliced; before that, it ends the connection."""
        if self.upstream is None:
            return False
        self.has_finished = True
        if not self._held_back:
            self.upstream.finish()
        return not self.upstream.has_finished

    def connection_lost(self, exc: Exception | None) -> None:
        """End the hold, or the other side in the same way as this one: close or reset."""
        self._forget_deadline()
        self._let_go()
        super().connection_lost(exc)
        self.owner.left(self)

    # --- calls from the pool ---

    @property
    def is_open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    @property
    def is_complete(self) -> bool:
        """Whether all bytes that are needed before the splice have been read."""
        return self.seen.is_final

    @property
    def head(self) -> bytes:
        """The complete request head of a client without a pod; empty if there is none."""
        return bytes(self._buffer[: self.seen.head_end])

    def answer(self, data: bytes) -> None:
        """Answer without a pod and close; further bytes of the client are read and dropped."""
        if self.transport is None or self.transport.is_closing():
            return
        if not data or self.seen.kind is not Kind.HTTP1:
            self.transport.close()
            return
        self._answered = True
        self._let_go()
        if self.seen.is_head:
            data = data[: data.index(b"\r\n\r\n") + 4]  # the answer to HEAD has no body
        self.transport.write(data)
        self.finish()
        self._close_after(ANSWERED_FOR)
        self._go_on()
        self.weigh()

    def splice(self, upstream: Upstream, *, asks_to_close: bool = True) -> None:
        """Send the buffered bytes to the pod and join the two sides.

        With `asks_to_close` an HTTP/1 answer ends the connection: the next one can go to a pod
        directly.
        """
        self._forget_deadline()
        self.upstream = upstream
        first = self._let_go()
        if self.seen.kind is Kind.HTTP1:
            self._requests = Requests()
            self.traffic.is_http1 = True
        self.traffic.sent(len(first), time.monotonic())
        if self.transport is not None:
            sockets.bound(self.transport.get_extra_info("socket"), sockets.UNREAD_CLIENT)
        # Before the write, which may pause reading again.
        self._go_on()
        self._send(upstream, first, ends=asks_to_close)
        upstream.join()
        self.weigh()

    def resume(self) -> None:
        """Forward the bytes that waited for an announcement."""
        self._held_back = False
        if self.upstream is None or self.transport is None:
            return
        kept = self._let_go()
        self._go_on()
        self._send(self.upstream, kept)
        self.weigh()
        if self.has_finished:
            self.upstream.finish()

    def write(self, data: bytes) -> None:
        self.traffic.received(data, time.monotonic())
        if self.transport is not None:
            self._moved.down += len(data)
            self.transport.write(data)
            self._wrote()

    def look_after(self) -> None:
        """Abort a stalled connection; call it periodically.

        A paused transport cannot detect a disconnect. Stalled are a client that has read nothing
        since the last check and whose pod has ended, and a client that was reset while its pod does
        not read.
        """
        if self.transport is None or self.upstream is None:
            return
        if self.is_full:
            before = self._progress
            self._progress = (sockets.left(self.transport), self.traffic.down_at)
            if self._progress == before and self.upstream.is_over:
                self.abort()
        elif self.upstream.is_full and sockets.is_broken(self.transport.get_extra_info("socket")):
            self.abort()

    def resume_reading(self) -> None:
        """The pod reads again: read from the client, unless its bytes wait."""
        if not self._held_back:
            super().resume_reading()

    def _go_on(self) -> None:
        """Resume reading that was paused to wait for a pod or an announcement."""
        if self._paused:
            self._paused = False
            self.resume_reading()
