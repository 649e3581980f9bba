"""uvicorn's HTTP protocol with the bounds it lacks: on a request's head and an unread answer.

Without them a hundred megabytes of header lines, which anybody may send, make two gigabytes of
memory; and a connection that never sends its request, or never reads its answer, stays open for
good. Such an answer is kept in memory, and one that is streamed counts as a request in flight: it
would keep its pool awake.
"""

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 65_536
"""Of a request line and its headers; also of trailers and of the extensions of chunks."""
HEAD_SECONDS = 20.0
"""From the connection, or from the first byte of a later request, to the end of its headers."""

TAKEN_WITHIN = 60.0
"""Seconds in which a client may take nothing of what is left of its answer."""


class BoundedProtocol(HttpToolsProtocol):
    """Answers 431 or 408 and closes, where uvicorn would wait and collect."""

    head_bytes = HEAD_BYTES
    head_seconds = HEAD_SECONDS
    taken_within = TAKEN_WITHIN
    _unparsed = 0
    _timer: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The client has connected; its request is awaited."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request; what is neither a head that ended nor a body adds up."""
        if self.transport.is_closing():
            return
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > self.head_bytes:
            self._refuse(431, "Too large", "The request's headers are larger than 64 KiB.")

    def on_message_begin(self) -> None:
        """A request begins, maybe behind another one."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._unparsed = 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body, whose size is for BodyLimit to judge."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole request is there."""
        self._unparsed = 0
        super().on_message_complete()

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
            self._refuse(408, "Too slow", "The request's headers took too long to arrive.")

    def _refuse(self, status: int, title: str, detail: str) -> None:
        if self.transport.is_closing():
            return
        # Nothing may be said in the middle of another answer.
        if not self._is_answering():
            self.transport.write(_problem(status, title, detail))
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
