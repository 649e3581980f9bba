"""What the first bytes of a connection say, and how a pod is asked to close after answering. Pure.

Only HTTP/1 is looked into, and only as far as the request head: to leave probes alone, to be able
to answer 503, and to set `Connection: close` (so that the client's next connection can go straight
to a pod). Whatever does not look like HTTP/1 passes untouched.
"""

import re
from dataclasses import dataclass
from enum import Enum

HEAD_LIMIT = 64 * 1024
"""A request head longer than this is passed on as it is, unread."""

_PREFACE = b"PRI * HTTP/2.0\r\n"
_METHOD = re.compile(rb"[A-Z]{1,20}(?: |$)")
_REQUEST_LINE = re.compile(rb"([A-Z]{1,20}) ([^? \r\n][^ \r\n]{0,65535}) HTTP/1\.[01]\r?\n")
HEAD_END = re.compile(rb"\r?\n\r?\n")
# Nothing in it can be matched in two ways, so it never needs to go back.
_PLAIN = re.compile(
    rb"[A-Z]{1,20}+ [^\0-\x20\x7f]++ HTTP/1\.[01]\r\n"
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[^\0\r\n]*+\r\n)*+\r\n"
)


class Kind(Enum):
    """What a connection speaks."""

    UNKNOWN = "unknown"
    """Too few bytes to tell."""
    HTTP1 = "http1"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Peek:
    """What is known after some bytes."""

    kind: Kind
    path: str = ""
    """Path without its query; empty while the request line is not complete."""
    head_end: int = 0
    """Length of the complete request head; 0 while it is not complete."""
    is_head: bool = False
    """Whether it is a HEAD request, whose answer has no body."""

    @property
    def is_final(self) -> bool:
        """Whether more bytes would tell nothing more."""
        return self.kind is Kind.OTHER or self.head_end > 0


NOTHING = Peek(Kind.UNKNOWN)
_OTHER = Peek(Kind.OTHER)


def peek(data: bytes | bytearray, before: Peek = NOTHING, known: int = 0) -> Peek:
    """Look at the first bytes of a connection.

    With what was seen in the first `known` of them nothing is read twice: bytes that come one by
    one cost as little as those that come together. What `before` has found out stays as it is.
    """
    if before.is_final:
        return before
    if before.path:
        # Of an end that has begun, up to three bytes were there before.
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
    # The head may end right after the request line, so the search begins at that line's break.
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
    """Whether everybody reads this request head alike: each line ends in CRLF and is a header.

    Of a line that is folded, a bare LF or CR, a NUL, a space before the colon, some servers make
    one thing and some another.
    """
    return _PLAIN.fullmatch(head) is not None


_UPGRADE = re.compile(rb"\nconnection:[^\n]*\bupgrade\b", re.IGNORECASE)


def asks_to_upgrade(head: bytes) -> bool:
    """Whether the request asks to switch protocols (WebSocket, h2c): what follows is not HTTP/1."""
    return _UPGRADE.search(head) is not None


def ask_to_close(head: bytes) -> bytes:
    """The request head with `Connection: close`; every other byte stays.

    Left alone is a request that asks to switch protocols (WebSocket, h2c), which needs its
    Connection header, and a head that is not plain: what one server takes for a header is part of
    another one's value. Other options of the Connection header are kept.
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
