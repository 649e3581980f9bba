"""uvicorn's HTTP protocol with the bounds it lacks: on what one connection holds, and for how long.

uvicorn parses what has arrived, makes an object of each header, and queues each request behind the
one that is being answered: a megabyte that anybody may send becomes a hundred of memory. And a
connection that never sends its request, or never reads its answer, would stay open for good. Such
an answer is kept in memory, and one that is streamed counts as a request in flight: it would keep
its pool awake.
"""

import asyncio
import json
from collections import deque
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from kotatsu_common.limits import (
    BODY_BYTES,
    CONNECTIONS,
    HEAD_BYTES,
    HEAD_SECONDS,
    HEADER_COST,
    REQUEST_COST,
    TAKEN_WITHIN,
)

Refusal = tuple[int, str, str]
"""Status, title and detail."""
UNREADABLE: Refusal = (400, "Bad request", "The request is not HTTP/1.1.")
TOO_SLOW: Refusal = (408, "Too slow", "The request's headers took too long to arrive.")
BODY_TOO_LARGE: Refusal = (
    413,
    "The body is too large",
    "Wait for an answer before the next request.",
)
HEAD_TOO_LARGE: Refusal = (431, "Too large", "The request's headers are larger than 32 KiB.")
FULL: Refusal = (503, "Too busy", "Too many connections are open, and this one was silent.")


class _RefusedError(Exception):
    """Ends the parsing at once."""


class BoundedProtocol(HttpToolsProtocol):
    """Answers with a problem and closes, where uvicorn would wait and collect.

    Requests that came whole before are answered first. A client that sends many without waiting
    for answers repeats those that got none, as after any connection that closes (RFC 9112, 9.3.2).
    """

    head_seconds = HEAD_SECONDS
    taken_within = TAKEN_WITHIN
    most_connections: ClassVar[int] = CONNECTIONS
    _unparsed = 0
    _is_deaf = False
    _refusal = UNREADABLE
    _answered: RequestResponseCycle | None = None
    _timer: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, body_bytes: int = BODY_BYTES, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._body_bytes = body_bytes
        self._body = 0
        self._costs: deque[int] = deque()  # of each request that has begun and is not answered

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The client has connected; its request is awaited."""
        super().connection_made(transport)
        self.silent_since = self.loop.time()
        self._await_head()
        if len(self.connections) > self.most_connections:
            self._take_a_place()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone. uvicorn tells only the request that came last."""
        self._stop_waiting()
        self._stop_watching()
        self.pipeline.clear()
        if self._answered is not None and not self._answered.response_complete:
            self._answered.disconnected = True
            self._answered.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request; what is neither a head that ended nor a body adds up."""
        if self._is_deaf or self.transport.is_closing():
            return
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed + sum(self._costs) - self._latest() > HEAD_BYTES:
            self._refuse(HEAD_TOO_LARGE)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """What has arrived can't be read, or must not be."""
        self._refuse(self._refusal)

    def on_message_begin(self) -> None:
        """A request begins, maybe behind another one."""
        self._costs.append(0)
        self._body = 0
        self._hold_head(REQUEST_COST)
        super().on_message_begin()
        self._await_head()

    def on_url(self, url: bytes) -> None:
        """A part of the path."""
        self._hold_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        self._hold_head(len(name) + len(value) + HEADER_COST)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._unparsed = 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body. What is kept of one that is too large is enough for BodyLimit."""
        self._unparsed = 0
        if not self._is_answering():  # the rest of one that was refused
            return
        kept = body[: self._body_bytes + 1 - self._body]
        self._body += len(kept)
        self._hold(len(kept), HEAD_BYTES + self._body_bytes + 1, BODY_TOO_LARGE)
        super().on_body(kept)
        if len(kept) < len(body):
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        """The whole request is there."""
        self._unparsed = 0
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """A request is answered: the first that is not."""
        self._costs.popleft()
        self.silent_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client is slower than its answer."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._stop_watching()
        super().resume_writing()

    def _watch(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._taking = self.loop.call_later(self.taken_within, self._see_what_is_taken, left)

    def _see_what_is_taken(self, before: int) -> None:
        if self.transport.get_write_buffer_size() < before:
            self._watch()
        else:
            self.transport.abort()

    def _stop_watching(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _await_head(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.head_seconds, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self._is_answering():
            self._await_head()  # the next request's headers; the answer before it is not cut off
        else:
            self._refuse(TOO_SLOW)

    def _hold_head(self, size: int) -> None:
        self._hold(size, HEAD_BYTES, HEAD_TOO_LARGE)

    def _hold(self, size: int, most: int, refusal: Refusal) -> None:
        """Count what this connection holds; above its bound the rest is not even parsed."""
        if self._costs:  # else a trailer, behind the answer
            self._costs[-1] += size
        if sum(self._costs) > most:
            self._refusal = refusal
            raise _RefusedError

    def _latest(self) -> int:
        """The part of the request that arrives, whose bytes are not parsed or counted twice."""
        return self._costs[-1] if self._costs else 0

    def _take_a_place(self) -> None:
        """Close the connection that has been silent for the longest time.

        Clients send within milliseconds, so it is the one that is missed the least.
        """
        others = {c for c in self.connections if isinstance(c, BoundedProtocol)} - {self}
        if silent := [other for other in others if other.is_silent]:
            min(silent, key=lambda other: other.silent_since).give_way()

    @property
    def is_silent(self) -> bool:
        """Whether the client has sent no request that is not answered."""
        return not self._is_answering() and not self.transport.is_closing()

    def give_way(self) -> None:
        """Make room for another client. Between two requests there is nothing to answer."""
        if self.cycle is None or self._costs:
            self._refuse(FULL)
        else:
            self.transport.close()

    def _refuse(self, refusal: Refusal) -> None:
        if self._is_deaf or self.transport.is_closing():
            return
        self._is_deaf = True
        if self._is_answering() and not self.cycle.more_body:
            self.cycle.keep_alive = False  # of the requests that came whole, this is the last
            return
        # Nothing may be said in the middle of another answer.
        if not self._is_answering() or not (self.pipeline or self.cycle.response_started):
            self.transport.write(_problem(*refusal))
        self.transport.close()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete


def _problem(status: int, title: str, detail: str) -> bytes:
    told: dict[str, Any] = {"type": "about:blank", "title": title, "status": status}
    body = json.dumps(told | {"detail": detail}).encode()
    head = (
        f"HTTP/1.1 {status} {title}\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
