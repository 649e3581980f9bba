"""Where the requests of a spliced HTTP/1 connection begin, as far as that is plain. Pure.

A connection that stays open for many requests has to end somewhere when its pod goes. Closed
between two requests, it would cut off the one that is on its way at that moment. So the next
request is asked to be the last: the pod answers it and closes, and nobody is cut off.

Only the plainest bodies are followed: those with a Content-Length, or none. Anything else (chunked,
an upgrade, contradicting headers, a head that not everybody reads alike) is lost track of for good,
and passes as it is: a request that begins where the pod sees none must not be believed in.
"""

import re
import string

from .peek import NOTHING, Kind, Peek, ask_to_close, is_plain, peek

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

    __slots__ = ("_body_left", "_head", "_is_lost", "_seen")

    def __init__(self) -> None:
        self._head = bytearray()
        self._seen = NOTHING
        self._body_left = 0
        self._is_lost = False

    @property
    def is_between(self) -> bool:
        """Whether the next byte begins a request."""
        return not (self._is_lost or self._head or self._body_left)

    def follow(self, data: bytes) -> None:
        """Take note of bytes that pass as they are."""
        # What nearly every chunk is comes first: one whole request without a body.
        if self._head or self._body_left or self._is_lost or _body_length(data) != 0:
            self._follow(data)

    def ending(self, data: bytes) -> bytes:
        """The bytes to pass on; where they begin with a request, it is asked to be the last.

        Not when another one follows it in the same bytes, which would go unanswered.
        """
        begins = self.is_between
        requests = self._follow(data)
        if not begins or requests != 1 or self._is_lost:
            return data
        first = peek(data)
        if first.kind is not Kind.HTTP1 or not first.head_end:
            return data  # its head comes in pieces: the one after it will do
        return ask_to_close(data[: first.head_end]) + data[first.head_end :]

    def _follow(self, data: bytes) -> int:
        """Count the requests that begin in these bytes."""
        begun = 0
        while data and not self._is_lost:
            if self._body_left:
                skipped = min(self._body_left, len(data))
                self._body_left -= skipped
                data = data[skipped:]
                continue
            begun += not self._head
            known = len(self._head)
            self._head += data
            self._seen = seen = peek(self._head, self._seen, known)
            data = data[seen.head_end - known :] if seen.head_end else b""
            if seen.is_final:
                self._enter(seen)
        return begun

    def _enter(self, seen: Peek) -> None:
        """A head is complete (or none): its body follows."""
        length = _body_length(bytes(self._head[: seen.head_end])) if seen.head_end else None
        self._is_lost = length is None
        self._body_left = length or 0
        self._head.clear()
        self._seen = NOTHING


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
