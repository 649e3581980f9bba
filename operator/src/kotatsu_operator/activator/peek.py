"""What the first bytes of a connection say: HTTP/1 or anything else. Pure.

Only as much of HTTP/1 is read as the activator needs: the path (is it a probe that must not wake
the pool?) and the Connection header (the first answer should end the connection, so that the
client's next one goes straight to a pod). Whatever does not look like HTTP/1 passes untouched.
"""

import re
from dataclasses import dataclass
from enum import Enum

HEAD_LIMIT = 64 * 1024
"""A request head longer than this is passed on as it is, unread."""

_PREFACE = b"PRI * HTTP/2.0\r\n"
_METHOD = re.compile(rb"[A-Z]{1,20}(?: |$)")
_REQUEST_LINE = re.compile(rb"([A-Z]{1,20}) ([^? \r\n][^ \r\n]{0,65535}) HTTP/1\.[01]\r?\n")
_HEAD_END = re.compile(rb"\r?\n\r?\n")


class Kind(Enum):
    """What a connection speaks."""

    UNKNOWN = "unknown"
    """Too few bytes to tell."""
    HTTP1 = "http1"
    OTHER = "other"


@dataclass(frozen=True)
class Peek:
    """What is known after some bytes."""

    kind: Kind
    path: str = ""
    """Path without its query; empty while the request line is not complete."""
    head_end: int = 0
    """Length of the complete request head; 0 while it is not complete."""
    is_head: bool = False
    """Whether it is a HEAD request, whose answer has no body."""


def peek(data: bytes) -> Peek:
    """Look at the first bytes of a connection."""
    if _PREFACE.startswith(data[: len(_PREFACE)]) and data:
        return Peek(Kind.UNKNOWN if len(data) < len(_PREFACE) else Kind.OTHER)
    if not _METHOD.match(data[:21]):
        return Peek(Kind.UNKNOWN if not data else Kind.OTHER)
    line = _REQUEST_LINE.match(data)
    if line is None:
        ended = b"\n" in data or len(data) > HEAD_LIMIT
        return Peek(Kind.OTHER if ended else Kind.UNKNOWN)
    path = line[2].split(b"?", 1)[0].decode("latin-1")
    # The head may end right after the request line, so the search begins at that line's break.
    end = _HEAD_END.search(
        data, line.end() - 2 if data[line.end() - 2 : line.end()] == b"\r\n" else line.end() - 1
    )
    if end is None:
        kind = Kind.OTHER if len(data) > HEAD_LIMIT else Kind.HTTP1
        return Peek(kind, path, is_head=line[1] == b"HEAD")
    return Peek(Kind.HTTP1, path, end.end(), line[1] == b"HEAD")


_UPGRADE = re.compile(rb"\nconnection:[^\n]*\bupgrade\b", re.IGNORECASE)


def asks_to_upgrade(head: bytes) -> bool:
    """Whether the request asks to switch protocols (WebSocket, h2c): what follows is not HTTP/1."""
    return _UPGRADE.search(head) is not None


def ask_to_close(head: bytes) -> bytes:
    """The request head with `Connection: close`, unless it asks to switch protocols.

    An Upgrade (WebSocket, h2c) needs its Connection header; other options named there are kept. A
    head with a folded line stays as it is: without the line before it, it would belong to another.
    """
    request, *lines = head.split(b"\n")
    options: list[bytes] = []
    kept: list[bytes] = []
    for line in lines:
        if line.startswith((b" ", b"\t")):
            return head
        name, _, value = line.partition(b":")
        if name.lower() != b"connection":
            kept.append(line)
            continue
        options += [option.strip() for option in value.strip().split(b",") if option.strip()]
    lowered = [option.lower() for option in options]
    if b"upgrade" in lowered:
        return head
    wanted = [o for o in options if o.lower() not in (b"keep-alive", b"close")] + [b"close"]
    end = b"\r" if request.endswith(b"\r") else b""
    return b"\n".join([request, b"Connection: " + b", ".join(wanted) + end, *kept])
