"""HTTP/1: a connection's first bytes, where requests begin, and the activator's own answers. Pure.

Only request heads are parsed: to recognize probes, to answer 503, and to set `Connection: close`.
"""

import json
import re
import string
from dataclasses import dataclass
from enum import Enum

HEAD_LIMIT = 64 * 1024
"""Bytes. A longer request head passes unchanged and unparsed."""

_PREFACE = b"PRI * HTTP/2.0\r\n"
_METHOD = re.compile(rb"[A-Z]{1,20}(?: |$)")
_REQUEST_LINE = re.compile(rb"([A-Z]{1,20}) ([^? \r\n][^ \r\n]{0,65535}) HTTP/1\.[01]\r?\n")
HEAD_END = re.compile(rb"\r?\n\r?\n")
# Unambiguous, with possessive quantifiers: they never backtrack.
_LINE = rb"[A-Z]{1,20}+ [^\0-\x20\x7f]++ HTTP/1\.[01]\r\n"
_FIELD = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++:[^\0\r\n]*+\r\n"
_PLAIN = re.compile(_LINE + rb"(?:" + _FIELD + rb")*+\r\n")


class Kind(Enum):
    """The protocol of a connection."""

    UNKNOWN = "unknown"
    """Not enough bytes to decide."""
    HTTP1 = "http1"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Peek:
    """The result of parsing the first bytes."""

    kind: Kind
    path: str = ""
    """Path without its query; empty until the request line is complete."""
    head_end: int = 0
    """Length of the complete request head; 0 until it is complete."""
    is_head: bool = False
    """Whether it is a HEAD request, whose answer has no body."""

    @property
    def is_final(self) -> bool:
        """Whether more bytes cannot change the result."""
        return self.kind is Kind.OTHER or self.head_end > 0


NOTHING = Peek(Kind.UNKNOWN)
_OTHER = Peek(Kind.OTHER)


def peek(data: bytes | bytearray, before: Peek = NOTHING, known: int = 0) -> Peek:
    """Parse the first bytes of a connection.

    `before` is the result for the first `known` bytes, which are not parsed again: single bytes
    cost as little as one large read.
    """
    if before.is_final:
        return before
    if before.path:
        # Up to three bytes of the end may have come before.
        return _to_the_end(data, before, max(known - 3, 0))
    if data and data.startswith(_PREFACE[: len(data)]):
        return NOTHING if len(data) < len(_PREFACE) else _OTHER
    if not _METHOD.match(data[:21]):
        return _OTHER if data else NOTHING
    if data.find(b"\n", max(known - 1, 0), HEAD_LIMIT + 1) < 0:
        return _OTHER if len(data) > HEAD_LIMIT else NOTHING
    line = _REQUEST_LINE.match(data, 0, HEAD_LIMIT + 1)
    if line is None:
        return _OTHER
    path = bytes(line[2]).split(b"?", 1)[0].decode("latin-1")
    seen = Peek(Kind.HTTP1, path, is_head=line[1] == b"HEAD")
    # The head may end right after the request line: search from that line's break.
    end = line.end() - 1
    return _to_the_end(data, seen, end - (data[end - 1 : end] == b"\r"))


def _to_the_end(data: bytes | bytearray, seen: Peek, start: int) -> Peek:
    end = HEAD_END.search(data, start, HEAD_LIMIT + 1)
    if end is not None:
        return Peek(Kind.HTTP1, seen.path, end.end(), seen.is_head)
    if len(data) > HEAD_LIMIT:
        return Peek(Kind.OTHER, seen.path, is_head=seen.is_head)
    return seen


def is_plain(head: bytes) -> bool:
    """Whether all servers parse this request head alike: each line is a header and ends in CRLF.

    Servers disagree about a folded line, a bare LF or CR, a NUL, and a space before the colon.
    """
    return _PLAIN.fullmatch(head) is not None


_HEADER = re.compile(rb"\r\n([!-9;-~]+):([^\r\n]*)(?=\r\n)")
_VALUE_LIMIT = 1024
"""Bytes of a header's value that are parsed."""


def headers(head: bytes) -> dict[bytes, bytes]:
    """The headers of a plain request head by lower-case name; of a repeated one the first."""
    found: dict[bytes, bytes] = {}
    for line in _HEADER.finditer(head):
        found.setdefault(line[1].lower(), line[2].strip(b" \t")[:_VALUE_LIMIT])
    return found


_UPGRADE = re.compile(rb"\nconnection:[^\n]*\bupgrade\b", re.IGNORECASE)


def asks_to_upgrade(head: bytes) -> bool:
    """Whether the request asks to switch protocols (WebSocket, h2c), so that HTTP/1 ends."""
    return _UPGRADE.search(head) is not None


def ask_to_close(head: bytes) -> bytes:
    """The request head with `Connection: close`; all other bytes and options stay.

    A head that is not plain does not change, nor does a request to switch protocols (WebSocket,
    h2c).
    """
    if not is_plain(head):
        return head
    request, *lines = head.split(b"\r\n")
    options: list[bytes] = []
    kept: list[bytes] = []
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() != b"connection":
            kept.append(line)
            continue
        options += [option.strip() for option in value.split(b",") if option.strip()]
    if b"upgrade" in [option.lower() for option in options]:
        return head
    wanted = [o for o in options if o.lower() not in (b"keep-alive", b"close")] + [b"close"]
    return b"\r\n".join([request, b"Connection: " + b", ".join(wanted), *kept])


PIPELINED = 16
"""Requests to track per read. Clients that pipeline send fewer at once, and parsing a read full of
tiny requests would delay all other connections."""

_FRAMING = re.compile(
    rb"\n(?:content-length|transfer-encoding|expect|upgrade:|connection:[^\n]*upgrade)"
)
# Some servers pass headers as variables, in which a dash becomes an underscore: to some of them
# Content_Length is a length.
_FOLDED = bytes.maketrans(
    string.ascii_uppercase.encode() + b"_", string.ascii_lowercase.encode() + b"-"
)
_LENGTH = re.compile(rb"\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r")
# Plain heads without any header that `_FRAMING` finds: most requests, in one pass. The letter is
# looked at first because it rules out most headers; to do so regardless of case takes longer.
_BODILESS = re.compile(
    rb"(?!CONNECT )" + _LINE + rb"(?:(?!(?=[CETUcetu])"
    rb"(?i:content|expect|transfer|upgrade|connection:[^\r\n]*upgrade))" + _FIELD + rb")*+\r\n"
)


class Requests:
    """Tracks the requests that a client sends on one connection, while that is unambiguous.

    The last request that was read gets `Connection: close`, so that the pod answers it and closes
    (decision 13). Only requests with a Content-Length or without a body are tracked. After anything
    else the bytes pass unchanged: no request may be detected where the pod sees none.
    """

    __slots__ = ("_body_left", "_head", "_is_lost", "_seen", "is_last", "is_whole")

    def __init__(self) -> None:
        self._head = bytearray()
        self._seen = NOTHING
        self._body_left = 0
        self._is_lost = False
        self.is_last = False
        """Whether a request got `Connection: close`: only the rest of its body is still
        forwarded."""
        self.is_whole = False
        """Whether the bytes that were followed last are one request without a body, as most are."""

    @property
    def kept(self) -> int:
        """The bytes of a request head that is not complete yet."""
        return len(self._head)

    def _begins_in(self, data: bytes | bytearray) -> bool:
        return not (self._is_lost or self.is_last or self._head) and self._body_left < len(data)

    def follow(self, data: bytes | bytearray) -> bytes | bytearray:
        """Track the next bytes; returns the bytes to forward."""
        self.is_whole = False
        if self._is_lost:
            return data
        if self.is_last:
            data = data[: self._body_left]
            self._body_left -= len(data)
            return data
        # The common case first.
        is_first = not (self._head or self._body_left)
        self.is_whole = is_first and _BODILESS.fullmatch(data) is not None
        if not self.is_whole:
            self._follow(data)
        return data

    def ending(self, data: bytes | bytearray) -> bytes | bytearray:
        """Like `follow`, but add `Connection: close` to the last request that begins in them.

        It is the last one with a complete and plain head among the first `PIPELINED`. Without one
        the bytes do not change.
        """
        if not self._begins_in(data):
            return self.follow(data)
        self.is_whole = False
        at, last = self._body_left, None
        length: int | None = 0
        for _ in range(PIPELINED):
            head = _head_at(data, at)
            if head is None:
                break
            last, length = (at, at + len(head)), _body_length(head)
            if length is None:
                break
            at += len(head) + length
            if at >= len(data):
                break
        if last is None:
            return self.follow(data)
        start, end = last
        self._is_lost, self.is_last = length is None, length is not None
        self._body_left = 0 if length is None else max(at - len(data), 0)
        rest = memoryview(data)[end : None if length is None else at]  # may be most of the memory
        return b"".join((data[:start], ask_to_close(bytes(data[start:end])), rest))

    def _follow(self, data: bytes | bytearray) -> None:
        at = begun = 0
        while at < len(data) and not self._is_lost:
            if self._body_left:
                skipped = min(self._body_left, len(data) - at)
                self._body_left -= skipped
                at += skipped
                continue
            begun += not self._head
            if begun > PIPELINED:
                self._is_lost = True
                return
            known = len(self._head)
            end = HEAD_END.search(data, at, at + HEAD_LIMIT + 1)
            self._head += data[at : end.end() if end else at + HEAD_LIMIT + 1]
            self._seen = seen = peek(self._head, self._seen, known)
            at += (seen.head_end or len(self._head)) - known
            if seen.is_final:
                self._enter(seen)

    def _enter(self, seen: Peek) -> None:
        length = _body_length(bytes(self._head[: seen.head_end])) if seen.head_end else None
        self._is_lost = length is None
        self._body_left = length or 0
        self._head.clear()
        self._seen = NOTHING


def _head_at(data: bytes | bytearray, start: int) -> bytes | None:
    """The complete request head at `start`; None if it cannot get `Connection: close`."""
    end = HEAD_END.search(data, start, start + HEAD_LIMIT + 1)
    if end is None:
        return None
    head = bytes(data[start : end.end()])
    if peek(head).kind is not Kind.HTTP1 or not is_plain(head) or asks_to_upgrade(head):
        return None
    return head


def _body_length(head: bytes) -> int | None:
    """The bytes of the body after a request head; None if its length is ambiguous."""
    if not is_plain(head) or head.startswith(b"CONNECT "):
        return None
    folded = head.translate(_FOLDED)
    if _FRAMING.search(folded) is None:
        return 0
    length = _LENGTH.search(head.lower())
    if length is None or _FRAMING.findall(folded) != [b"\ncontent-length"]:
        return None
    return int(length[1])


# --- answers ---


def response(status: str, body: bytes, *headers: str) -> bytes:
    """A whole HTTP/1 response, after which the connection ends."""
    lines = (
        f"HTTP/1.1 {status}",
        *headers,
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


PROBE_OK = response("200 OK", b"# asleep\n", "Content-Type: text/plain; charset=utf-8")
"""The answer to a probe or scrape of a sleeping pool, which is healthy. (With a 503, a load
balancer would remove the backend. To Prometheus this is a page without metrics, not a target that
is down.)"""


def budget_spent(pool: str, limit: str, poolset: str = "") -> str:
    """Why a pool is not woken: its limit, such as `3000 JPY a month`, is reached.

    Of a pool that a WarmPoolSet has made, the limit is in that `poolset`.
    """
    of, where = f"the budget of the WarmPool {pool}", "spec.budget.limit"
    if poolset:
        of = f"the budget that the WarmPoolSet {poolset} sets for the WarmPool {pool}"
        where = "the limit in the set"
    return f"{of} is spent ({limit}): it sleeps until the period ends or {where} is raised"


def refusal(detail: str, retry_after: int) -> bytes:
    """A 503 with Retry-After (seconds) and a problem document with the reason."""
    body = json.dumps(
        {"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": detail}
    ).encode()
    return response(
        "503 Service Unavailable",
        body,
        "Content-Type: application/problem+json",
        f"Retry-After: {retry_after}",
    )
