"""Where the requests of a spliced HTTP/1 connection begin, as far as that is plain. Pure.

A connection that stays open for many requests has to end somewhere when its pod goes. Closed
between two requests, it would cut off the one that is on its way at that moment. So the last
request that the activator has read is asked to be the last: the pod answers it and closes. What the
client sends after it reaches no pod, so a request without an answer was never acted on.

Only the plainest bodies are followed: those with a Content-Length, or none. Anything else (chunked,
an upgrade, contradicting headers, a head that not everybody reads alike) is lost track of for good,
and passes as it is: a request that begins where the pod sees none must not be believed in.
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
"""Requests that are followed in one read. Clients that pipeline send fewer at once; a read full of
tiny requests would stop all other connections while it is parsed."""

_FRAMING = re.compile(
    rb"\n(?:content-length|transfer-encoding|expect|upgrade:|connection:[^\n]*upgrade)"
)
# Some servers hand headers on as variables, in which a dash is an underscore: to some of them
# Content_Length is a length.
_FOLDED = bytes.maketrans(
    string.ascii_uppercase.encode() + b"_", string.ascii_lowercase.encode() + b"-"
)
_LENGTH = re.compile(rb"\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r")


class Requests:
    """Follows what a client sends on one connection."""

    __slots__ = ("_body_left", "_head", "_is_last", "_is_lost", "_seen")

    def __init__(self) -> None:
        self._head = bytearray()
        self._seen = NOTHING
        self._body_left = 0
        self._is_lost = False
        self._is_last = False
        """Whether a request was asked to be the last: only the rest of its body still passes."""

    def begins_in(self, data: bytes) -> bool:
        """Whether a request begins in these bytes, which come next."""
        return not (self._is_lost or self._is_last or self._head) and self._body_left < len(data)

    def follow(self, data: bytes) -> bytes:
        """Take note of the bytes that come next; returns those to pass on."""
        if self._is_lost:
            return data
        if self._is_last:
            data = data[: self._body_left]
            self._body_left -= len(data)
            return data
        # What nearly every chunk is comes first: one whole request without a body.
        if self._head or self._body_left or _body_length(data) != 0:
            self._follow(data)
        return data

    def ending(self, data: bytes) -> bytes:
        """Like `follow`, but the last request that begins in these bytes is asked to be the last.

        That is the last one whose head is complete and plain, of the first `PIPELINED`. Where there
        is none, nothing changes: the request after it will do.
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
        """A head is complete (or none): its body follows."""
        length = _body_length(bytes(self._head[: seen.head_end])) if seen.head_end else None
        self._is_lost = length is None
        self._body_left = length or 0
        self._head.clear()
        self._seen = NOTHING


def _head_at(data: bytes, start: int) -> bytes | None:
    """The complete head there, if it can be asked to be the last one."""
    end = HEAD_END.search(data, start, start + HEAD_LIMIT + 1)
    if end is None:
        return None
    head = data[start : end.end()]
    if peek(head).kind is not Kind.HTTP1 or not is_plain(head) or asks_to_upgrade(head):
        return None
    return head


def _body_length(head: bytes) -> int | None:
    """Bytes of the body after a request head; None when it is not plain where the body ends."""
    if not is_plain(head) or head.startswith(b"CONNECT "):
        return None
    folded = head.translate(_FOLDED)
    if _FRAMING.search(folded) is None:
        return 0
    length = _LENGTH.search(head.lower())
    if length is None or _FRAMING.findall(folded) != [b"\ncontent-length"]:
        return None
    return int(length[1])
