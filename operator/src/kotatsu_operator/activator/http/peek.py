"""The first bytes of a connection, and `Connection: close` for a request. Pure.

Only HTTP/1 request heads are parsed: to recognize probes, to answer 503, and to set the header.
"""

import re
from dataclasses import dataclass
from enum import Enum

HEAD_LIMIT = 64 * 1024
"""Bytes. A longer request head passes unchanged and unparsed."""

_PREFACE = b"PRI * HTTP/2.0\r\n"
_METHOD = re.compile(rb"[A-Z]{1,20}(?: |$)")
_REQUEST_LINE = re.compile(rb"([A-Z]{1,20}) ([^? \r\n][^ \r\n]{0,65535}) HTTP/1\.[01]\r?\n")
HEAD_END = re.compile(rb"\r?\n\r?\n")
# Unambiguous, with possessive quantifiers: it never backtracks.
_PLAIN = re.compile(
    rb"[A-Z]{1,20}+ [^\0-\x20\x7f]++ HTTP/1\.[01]\r\n"
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[^\0\r\n]*+\r\n)*+\r\n"
)


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
