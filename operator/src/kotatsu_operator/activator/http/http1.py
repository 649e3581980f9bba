"""Where the requests of a spliced HTTP/1 connection begin, if that is unambiguous. Pure.

The last request that the activator has read gets `Connection: close`, so that the pod answers it
and closes (decision 13). Only requests with a Content-Length or without a body are tracked. After
anything else the bytes pass unchanged: no request may be detected where the pod sees none.
"""

import re
import string

from kotatsu_operator.activator.http.peek import (
    HEAD_END,
    HEAD_LIMIT,
    NOTHING,
    Kind,
    Peek,
    ask_to_close,
    asks_to_upgrade,
    is_plain,
    peek,
)

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


class Requests:
    """Tracks the requests that a client sends on one connection."""

    __slots__ = ("_body_left", "_head", "_is_last", "_is_lost", "_seen")

    def __init__(self) -> None:
        self._head = bytearray()
        self._seen = NOTHING
        self._body_left = 0
        self._is_lost = False
        self._is_last = False
        """Whether a request got `Connection: close`: only the rest of its body is still
        forwarded."""

    def begins_in(self, data: bytes) -> bool:
        return not (self._is_lost or self._is_last or self._head) and self._body_left < len(data)

    def follow(self, data: bytes) -> bytes:
        """Track the next bytes; returns the bytes to forward."""
        if self._is_lost:
            return data
        if self._is_last:
            data = data[: self._body_left]
            self._body_left -= len(data)
            return data
        # The common case first: one whole request without a body.
        if self._head or self._body_left or _body_length(data) != 0:
            self._follow(data)
        return data

    def ending(self, data: bytes) -> bytes:
        """Like `follow`, but add `Connection: close` to the last request that begins in them.

        It is the last one with a complete and plain head among the first `PIPELINED`. Without one
        the bytes do not change.
        """
        if not self.begins_in(data):
            return self.follow(data)
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
        before = data[:start] + ask_to_close(data[start:end])
        if length is None:
            self._is_lost = True
            return before + data[end:]
        self._is_last = True
        self._body_left = max(at - len(data), 0)
        return before + data[end:at]

    def _follow(self, data: bytes) -> None:
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
        """The end of a request head, or of tracking: compute the length of the body."""
        length = _body_length(bytes(self._head[: seen.head_end])) if seen.head_end else None
        self._is_lost = length is None
        self._body_left = length or 0
        self._head.clear()
        self._seen = NOTHING


def _head_at(data: bytes, start: int) -> bytes | None:
    """The complete request head at `start`; None if it cannot get `Connection: close`."""
    end = HEAD_END.search(data, start, start + HEAD_LIMIT + 1)
    if end is None:
        return None
    head = data[start : end.end()]
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
