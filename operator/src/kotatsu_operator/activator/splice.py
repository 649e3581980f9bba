"""One client connection: held with its first bytes, then spliced to a pod.

Protocols and callbacks instead of streams and tasks: ten thousand held connections must be cheap.
Backpressure works both ways, and all buffers are bounded. Bytes that were written to a pod are
never written again: the pod may have processed the request.
"""

import asyncio
import time
from math import inf
from typing import Protocol

from kotatsu_operator.activator import sockets
from kotatsu_operator.activator.answers import Answers
from kotatsu_operator.activator.head import NOTHING, Kind, Requests, peek
from kotatsu_operator.activator.pool import UNKNOWN, Port
from kotatsu_operator.activator.registry import Forwarded, State, Traffic
from kotatsu_operator.activator.side import Side

ANSWERED_FOR = 5.0
"""Seconds for which an answered client may still send: if the connection closed at once, the client
might never read the answer."""

SILENT_FOR = 60.0
"""Seconds that a connection may stay open without its first byte."""

FIRST_LINE_WITHIN = 10.0
"""Seconds from the first byte until the request line is complete, or the bytes are not HTTP/1. A
client that takes longer is closed: slow drips are a typical attack."""

LINGER = 60.0
"""Seconds that a client may keep its half of a connection open after the pod has ended its own: a
client's pool of idle connections may never detect that."""


class Upstream(Side):
    """The side that faces the pod."""

    __slots__ = ("_client", "_early", "_is_joined", "_linger")

    def __init__(self, client: "Client") -> None:
        super().__init__(client)
        self._client = client
        self._is_joined = False
        self._early = b""
        """Bytes from the pod before it was joined to its client."""
        self._linger: asyncio.TimerHandle | None = None

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
        self._client.answers_end()
        self._client.finish()
        if self._client.has_finished:
            self._client.close()
            return False
        self._linger = asyncio.get_running_loop().call_later(LINGER, self.close)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._linger is not None:
            self._linger.cancel()
        if self._is_joined:
            self._client.answers_end(is_cut=exc is not None and not self.has_finished)
            super().connection_lost(exc)
        self.transport = None

    @property
    def is_there(self) -> bool:
        """Whether the pod can be joined; nothing was written to one that has closed at once."""
        return self.transport is not None and bool(self._early or not self.has_finished)

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

    def write(self, data: bytes | bytearray) -> None:
        if self.transport is not None:
            self.transport.write(data)


class Stream(Protocol):
    """What stands for the answer that a client has begun to read before there was a pod."""

    has_answer: bool
    is_over: bool

    @property
    def comment(self) -> bytes: ...
    def received(self, data: bytes) -> bytes: ...
    def ended(self, *, is_cut: bool = False) -> bytes: ...


class Owner(Protocol):
    """The connections of a pool, as each of its clients calls them."""

    namespace: str
    forwarded: Forwarded
    idle_timeout: float

    def came(self, client: "Client") -> None: ...
    def began(self, client: "Client") -> None: ...
    def arrived(self, client: "Client") -> None: ...
    def completed(self, client: "Client") -> None: ...
    def may_resume(self, client: "Client") -> bool: ...
    def is_ending(self, client: "Client") -> bool: ...
    def wrote(self, client: "Client") -> None: ...
    def weighed(self, client: "Client", number: int) -> None: ...
    def evicted(self, client: "Client") -> None: ...
    def left(self, client: "Client") -> None: ...


class Client(Side):
    """The side that faces the client."""

    __slots__ = (
        "_announced", "_answered", "_buffer", "_forwarded", "_held_back", "_is_settled",
        "_requests", "announcement", "deadline", "is_probe", "owner", "pod", "port", "seen",
        "since", "state", "stream", "traffic", "upstream",
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
        """Whether its path is in `healthCheckPaths`: it neither wakes a pool nor keeps it so."""
        self.stream: Stream | None = None
        """What a feature has begun to answer; the pod's answer goes through it."""
        self._buffer = bytearray()
        self._forwarded = owner.forwarded
        self._announced = False
        self._answered = False
        self._requests: Requests | None = None
        """Tracks the requests of an HTTP/1 connection that stays open for many."""
        self._held_back = False
        """Whether bytes of the client wait for an announcement after the splice."""
        self._is_settled = True
        """Whether all written bytes had been read by the other side at the last check."""

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
        is_quiet = is_quiet and not traffic.is_keepalive(len(data), now)
        traffic.sent(len(data), now)  # first: the next scrape must see it in use
        if self._held_back or (is_quiet and not self.owner.may_resume(self)):
            self._held_back = traffic.is_held = True
            self._buffer += data
            self.weigh()
            return
        self._send(upstream, data)

    def _send(self, upstream: Upstream, data: bytes | bytearray, *, ends: bool = False) -> None:
        requests = self._requests
        if requests is not None:
            if ends or self.owner.is_ending(self):
                data = requests.ending(data)
            else:
                data = requests.follow(data)
            if not data:
                if self.deadline is None:
                    self._close_when_quiet()
                return
            if self.traffic.answers is not None:
                self.traffic.answers.sent(data, is_whole=requests.is_whole)
        self._forwarded.up += len(data)
        upstream.write(data)
        if self._is_settled:
            self._unsettle()

    def _close_when_quiet(self) -> None:
        """Close if the pod does not, although it was asked to: later bytes get no answer."""
        traffic, now = self.traffic, time.monotonic()
        is_idle = not traffic.in_use(now, self.owner.idle_timeout)
        if is_idle and now - traffic.down_at >= ANSWERED_FOR:
            self.close()
        else:
            loop = asyncio.get_running_loop()
            self.deadline = loop.call_later(ANSWERED_FOR, self._close_when_quiet)

    def _look(self, data: bytes) -> None:
        """Buffer the bytes of a client without a pod, and parse them."""
        if self._answered:
            return
        if self.state is State.CONNECTING:
            self.pause_reading()  # until it is joined, or its pod refuses: one read is enough
        known = len(self._buffer)
        self._buffer += data
        self.weigh()
        if self._answered or not self.is_open:
            return  # evicted
        self.seen = peek(self._buffer, self.seen, known)
        if not self._announced and (self.seen.kind is Kind.OTHER or self.seen.path):
            self._announced = True
            self._forget_deadline()
            self.owner.arrived(self)
        elif not known:
            self._close_after(FIRST_LINE_WITHIN)
            self.owner.began(self)
        if self.seen.is_final:
            self.owner.completed(self)

    def _unsettle(self) -> None:
        self._is_settled = False
        self.owner.wrote(self)

    def weigh(self) -> int:
        """Count its buffered bytes; returns the bytes that the two sides have not read.

        For a side that is not read this includes the kernel's receive buffer.
        """
        kept, upstream = 0, self.upstream
        if upstream is not None:
            kept += sockets.weight(self.transport, has_finished=self.has_finished)
            kept += sockets.weight(upstream.transport, has_finished=upstream.has_finished)
        begun = 0 if self._requests is None else self._requests.kept
        self.owner.weighed(self, kept + len(self._buffer) + begun)
        return kept

    def settle(self) -> bool:
        """Count the written bytes again; returns whether the other sides have read them."""
        self._is_settled = not self.weigh()
        self._count_untaken()
        return self._is_settled

    def _count_untaken(self) -> None:
        untaken, transport = 0, self.transport
        if not self._is_settled and transport is not None and not transport.is_closing():
            untaken = sockets.untaken(transport)
        self.traffic.took(untaken, time.monotonic(), is_full=self.is_full)

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
            self._pass_end(self.upstream)
        return not self.upstream.has_finished

    def _pass_end(self, upstream: Upstream) -> None:
        """Forward the client's half-close, once the answer to its last request has begun.

        A server that reads the end before that may drop the request. One that waits for it, which
        no request of HTTP/1 asks for, gets it by `look_after`.
        """
        answers = self.traffic.answers
        if answers is None or answers.is_asking or not answers.is_awaited:
            upstream.finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        self._buffer = bytearray()
        self.answers_end()
        super().connection_lost(exc)
        self.owner.left(self)

    # --- calls from the pool ---

    @property
    def patience(self) -> float:
        """Of an answer: the time for which the pool would stay awake for it."""
        allowed = self.owner.idle_timeout if self.upstream is not None else 0.0
        return max(sockets.PATIENCE, allowed) if allowed < inf else sockets.PATIENCE

    @property
    def is_open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    @property
    def is_there(self) -> bool:
        """Whether it is open, and has not ended its half either, whatever was read of that."""
        return self.is_open and not sockets.has_finished(self.transport)

    @property
    def head(self) -> bytes:
        """The complete request head of a client without a pod; empty if there is none."""
        return bytes(self._buffer[: self.seen.head_end])

    @property
    def body(self) -> bytes:
        """What a client without a pod has sent behind its request head. This copies it."""
        return bytes(memoryview(self._buffer)[self.seen.head_end :])

    @property
    def body_size(self) -> int:
        return len(self._buffer) - self.seen.head_end

    @property
    def waits(self) -> bool:
        """Whether it is open, without an answer and without a pod."""
        return self.is_open and self.upstream is None and not self._answered

    def begin(self, stream: Stream, head: bytes) -> None:
        """Answer by a stream from now on. The request head becomes `head`, which is as long."""
        self.stream = stream
        self._buffer[: self.seen.head_end] = head

    def say(self, data: bytes) -> None:
        """Write to the client what no pod has said."""
        if self.transport is not None and self.is_open:
            self.transport.write(data)

    def answer(self, data: bytes) -> None:
        """Answer without a pod and close; further bytes of the client are read and dropped."""
        if self.transport is None or self.transport.is_closing():
            return
        if not data or self.seen.kind is not Kind.HTTP1:
            self.transport.close()
            return
        self._answered = True
        self._buffer = bytearray()
        if self.stream is not None:
            data = self.stream.received(data)
        if self.seen.is_head:
            data = data[: data.index(b"\r\n\r\n") + 4]  # the answer to HEAD has no body
        self.transport.write(data)
        self.finish()
        self._close_after(ANSWERED_FOR)
        self.weigh()

    def splice(self, upstream: Upstream, *, asks_to_close: bool = True) -> None:
        """Send the buffered bytes to the pod and join the two sides.

        With `asks_to_close` an HTTP/1 answer ends the connection: the next one can go to a pod
        directly. So does that of a stream, which has said so already.
        """
        self._forget_deadline()
        self.upstream = self.other = upstream
        if self.seen.kind is Kind.HTTP1:
            self._requests = Requests()
            self.traffic.answers = Answers()
        if self._buffer:
            self.traffic.sent(len(self._buffer), time.monotonic())
        if self.transport is not None:
            sockets.bound(self.transport.get_extra_info("socket"), sockets.UNREAD_CLIENT)
        self._flush(upstream, ends=asks_to_close or self.stream is not None)
        if not upstream.is_full:
            self.resume_reading()
        # Any request may follow a probe that cannot be the last one.
        self.is_probe = self.is_probe and self._requests is not None and self._requests.is_last
        upstream.join()
        self.weigh()

    def resume(self) -> None:
        """Forward the bytes that waited for an announcement."""
        self._held_back = self.traffic.is_held = False
        if self.upstream is not None:
            self._flush(self.upstream)
            self.weigh()
            if self.has_finished:
                self._pass_end(self.upstream)

    def _flush(self, upstream: Upstream, *, ends: bool = False) -> None:
        # Handed over, not copied: it may be as large as all that an activator may keep.
        kept, self._buffer = self._buffer, bytearray()
        self._send(upstream, kept, ends=ends)

    def write(self, data: bytes) -> None:
        traffic = self.traffic
        traffic.received(len(data), time.monotonic())
        if traffic.answers is not None:
            traffic.answers.received(data)
        if self.stream is not None:
            data = self.stream.received(data)
        if self.transport is not None:
            self._forwarded.down += len(data)
            self.transport.write(data)
            if self._is_settled:
                self._unsettle()
            if self.stream is not None and self.stream.is_over:
                self.close()
            if self.has_finished and self.upstream is not None:
                self._pass_end(self.upstream)

    def answers_end(self, *, is_cut: bool = False) -> None:
        """The pod has ended its half, or was cut off: nothing is in progress any more."""
        if self.traffic.answers is not None:
            self.traffic.answers.end()
        if self.stream is not None:
            self.say(self.stream.ended(is_cut=is_cut))

    def reset(self) -> None:
        """The pod was cut off; of a stream, the end says so."""
        if self.stream is not None:
            self.close()
        else:
            super().reset()

    def look_after(self) -> None:
        """Abort a stalled connection; call it periodically.

        A half-close that waits for an answer is forwarded once the connection is not in use.

        A paused transport cannot detect a disconnect, nor one that has ended. Stalled are a client
        that reads nothing and whose pod has ended, and a client that was reset while its pod does
        not read, or after its own half had ended.
        """
        if self.transport is None or self.upstream is None:
            return
        is_over = self.has_finished and not self._held_back
        if is_over and not self.traffic.in_use(time.monotonic(), self.owner.idle_timeout):
            self.upstream.finish()
        if self.is_full:
            last = max(self.traffic.used_at, self.traffic.down_at)
            is_late = time.monotonic() - last >= self.patience
            if is_late and sockets.has_finished(self.upstream.transport):
                self.abort()
        elif (self.upstream.is_full or self.has_finished) and sockets.is_broken(
            self.transport.get_extra_info("socket")
        ):
            # First: its pod must not see an end like that of a whole upload.
            self.upstream.abort()
            self.abort()
