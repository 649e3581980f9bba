"""Event streams that begin before their pod: who asks for one, and what its client gets. Pure.

A proxy ends a request after a minute without a byte. A comment is a byte that no client of a
`text/event-stream` shows; once it is sent, the status is 200, and an error can only be an event.
"""

import json
import re
from contextlib import suppress
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from kotatsu_operator.activator.head import HEAD_LIMIT, asks_to_upgrade, headers, is_plain

_EVENTS, _JSON = b"text/event-stream", b"application/json"

MOST_JSON = 16 * 2**20
"""Bytes of a request with JSON that are read: each costs some nanoseconds, in which all wait."""

MOST_MARKS = 100_000
"""Quotes and brackets of such a request, for the same reason. A chat of a megabyte has a third."""

ERROR_KEPT = 16 * 1024
"""Bytes of an error's body that are kept for the event."""

SHOWN = 500
"""Characters of the message that an event has for an answer without an `error` of its own."""

_BEGIN = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    # nginx would keep the comments until it has a few kilobytes.
    b"X-Accel-Buffering: no\r\nConnection: close\r\n"
)

_READ = {b"content-type", b"content-encoding", b"content-length", b"transfer-encoding"}
"""The headers of an answer that are looked at."""

_REQUEST = re.compile(rb"(?:GET|POST) [^ ]+ HTTP/1\.([01])\r\n")
_ENCODINGS = re.compile(rb"(?<=\naccept-encoding:)[^\r]*", re.IGNORECASE)
_BREAKS = bytes.maketrans(b"\r\n", b"  ")
_COMMENT = b": waiting for a pod\n\n"


def body_to_read(head: bytes) -> int | None:
    """The bytes of a request's body that say whether it asks for a stream; None if it does not.

    It may ask if its Accept names `text/event-stream`, or if it has JSON. `head` is complete.
    """
    if not (is_plain(head) and _REQUEST.match(head)) or asks_to_upgrade(head):
        return None
    sent = headers(head)
    length = _length(sent)
    if b"expect" in sent or length is None:
        return None
    if _kind(sent) == _JSON and 0 < length <= MOST_JSON:
        return length
    return 0 if _accepts(sent) else None


def asks(head: bytes, body: bytes) -> bool:
    """Whether the request asks for a stream. Of JSON this is a top-level `"stream": true`."""
    sent = headers(head)
    length = _length(sent) or 0
    if len(body) > length:
        return False  # another request follows, which a stream would leave without an answer
    return _accepts(sent) or (len(body) == length and _has_stream(body))


_QUOTE, _OPENING, _CLOSING = b'"', b"[{", b"]}"
_MARK = re.compile(rb'"[^"]*+"?|[\[]|[\]]|[{]|[}]')
_STREAM = re.compile(rb'"stream"[ \t\r\n]*+:[ \t\r\n]*+(true[ \t\r\n]*+[,}])?')


def _has_stream(body: bytes) -> bool:
    """Whether JSON is an object with `"stream": true`.

    The body may be most of the memory for all connections, and would take many times as much as
    objects. So only the depth of its brackets is followed.
    """
    if b'"stream"' not in body or not body.lstrip(b" \t\r\n").startswith(b"{"):
        return False
    body = body.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    if sum(body.count(mark) for mark in _QUOTE + _OPENING + _CLOSING) > MOST_MARKS:
        return False
    depth, asks_for_it = 0, False
    for mark in _MARK.finditer(body):
        first = body[mark.start()]
        if first in _OPENING:
            depth += 1
        elif first in _CLOSING:
            depth -= 1
        elif depth == 1 and (found := _STREAM.match(body, mark.start())):
            asks_for_it = found[1] is not None
    return asks_for_it and depth == 0


def _length(sent: dict[bytes, bytes]) -> int | None:
    """The bytes of a request's body; None if its head does not say it."""
    given = sent.get(b"content-length", b"0")
    is_known = given.isdigit() and len(given) < 16 and b"transfer-encoding" not in sent
    return int(given) if is_known else None


def _kind(sent: dict[bytes, bytes]) -> bytes:
    """The media type of a message, without parameters."""
    return sent.get(b"content-type", b"").split(b";")[0].strip().lower()


def _accepts(sent: dict[bytes, bytes]) -> bool:
    return _EVENTS in sent.get(b"accept", b"").lower()


def plain_answer(head: bytes) -> bytes:
    """The request head, as long as before, that asks for an answer without compression."""
    return _ENCODINGS.sub(lambda found: b" " * len(found[0]), head)


class Stream:
    """What a client gets that has the head of its answer already.

    The events of a pod's stream follow as they come. JSON becomes one event, and of an answer
    without a body there is none. Any other one, and each that is not a success (2xx), becomes an
    event with an `error` as the OpenAI API has it. Then the stream ends: with the last chunk, or
    for HTTP/1.0, which nginx speaks by default, with the connection.
    """

    def __init__(self, head: bytes) -> None:
        request = _REQUEST.match(head)
        self._has_chunks = request is None or request[1] == b"1"
        self.has_answer = False
        """Whether the pod's answer has begun: no comment may follow."""
        self.is_over = False
        """Whether the client has got the end."""
        self._parser = HttpResponseParser(self)
        self._sent: dict[bytes, bytes] = {}
        self._unread = 0
        """Bytes since the last part of a body, or the end of a head."""
        self._shape = b""
        """`stream`, `json` or empty: how the body under way is passed on."""
        self._has_body = False
        self._last = b"\n\n"
        self._error = bytearray()
        self._out: list[bytes] = []

    @property
    def begin(self) -> bytes:
        """The head of the answer."""
        return _BEGIN + (b"Transfer-Encoding: chunked\r\n\r\n" if self._has_chunks else b"\r\n")

    @property
    def comment(self) -> bytes:
        """What no client shows."""
        return self._part(_COMMENT)

    def _part(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._has_chunks else data

    def received(self, data: bytes) -> bytes:
        """What the client gets for bytes of an answer, also of the activator's own."""
        if not self.is_over:
            self._unread += len(data)
            try:
                self._parser.feed_data(data)
                is_understood = self._unread <= HEAD_LIMIT
            except (HttpParserError, HttpParserUpgrade):
                is_understood = False
            if not is_understood and not self.is_over:  # what follows the end does not matter
                self._fail(502, "the answer of the app is not understood")
        return self._taken()

    def ended(self, *, is_cut: bool = False) -> bytes:
        """What the client gets once the pod has ended its half, or was cut off."""
        if not self.is_over:
            has_length = {b"content-length", b"transfer-encoding"} & self._sent.keys()
            if self.has_answer and not has_length and not is_cut:
                self.on_message_complete()
            else:
                self._fail(502, "the app ended before its answer was complete")
        return self._taken()

    def _taken(self) -> bytes:
        out, self._out = b"".join(self._out), []
        return out

    # --- what the parser finds ---

    def on_message_begin(self) -> None:
        self._sent = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        if (read := name.lower()) in _READ and value.strip().lower() != b"identity":
            self._sent[read] = value

    def on_headers_complete(self) -> None:
        self._unread = 0
        status = self._parser.get_status_code()
        if status < 200 or self.is_over:
            return
        self.has_answer = True
        if status < 300 and b"content-encoding" not in self._sent:
            self._shape = {_EVENTS: b"stream", _JSON: b"json"}.get(_kind(self._sent), b"")

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        if self.is_over:
            return
        is_first, self._has_body = not self._has_body, True
        if not self._shape:
            if b"content-encoding" not in self._sent:
                self._error += body[: ERROR_KEPT - len(self._error)]
            return
        if self._shape == b"json":
            body = (b"data: " if is_first else b"") + body.translate(_BREAKS)
        self._last = (self._last + body)[-2:]
        self._out.append(self._part(body))

    def on_message_complete(self) -> None:
        if not self.has_answer or self.is_over:
            return
        status = self._parser.get_status_code()
        if self._shape or (status < 300 and not self._has_body):
            self._end(b"\n\n" if self._shape == b"json" and self._has_body else b"")
        else:
            self._fail(status, f"the app answered {status}, which is no stream")

    def _fail(self, status: int, why: str) -> None:
        begun = b"" if self._last in (b"\n\n", b"\r\n") else b"\n\n"
        said = json.dumps({"error": error(status, why, bytes(self._error))})
        self._end(b"%bdata: %b\n\n" % (begun, said.encode()))

    def _end(self, last: bytes) -> None:
        self.is_over = self.has_answer = True
        if last:
            self._out.append(self._part(last))
        self._out.append(self._part(b""))


def error(status: int, why: str, body: bytes) -> dict[str, Any]:
    """The `error` for an answer: its own if it has one, otherwise what it says, or `why`."""
    said: Any = body.decode("utf-8", "replace").strip()
    with suppress(ValueError, RecursionError):
        said = json.loads(body)
    if isinstance(said, dict):
        if isinstance(said.get("error"), dict):
            return dict(said["error"])
        said = said.get("detail") or said.get("message") or why
    elif said:
        said = f"{why}: {said}"
    message = str(said or why)[:SHOWN]
    return {"message": message, "type": "server_error", "param": None, "code": status}
