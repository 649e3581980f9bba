"""Where the requests of a spliced HTTP/1 connection begin, as far as that is plain. Pure.

A connection that stays open for many requests has to end somewhere when its pod goes. Closed
between two requests, it would cut off the one that is on its way at that moment. So the next
request is asked to be the last: the pod answers it and closes, and nobody is cut off.

Only the plainest bodies are followed: those with a Content-Length, or none. Anything else (chunked,
an upgrade, contradicting headers) is lost track of for good, and passes as it is: a request that
begins where the pod sees none must not be believed in.
"""

import re

from .peek import HEAD_LIMIT, Kind, ask_to_close, asks_to_upgrade, peek

_LENGTH = re.compile(rb"\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r?(?=\n)", re.IGNORECASE)
_ANY_LENGTH = re.compile(rb"\ncontent-length", re.IGNORECASE)
_UNCLEAR = re.compile(rb"\n(?:transfer-encoding|expect|[ \t])", re.IGNORECASE)


class Requests:
    """Follows what a client sends on one connection."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._body_left = 0
        self._is_lost = False

    @property
    def is_between(self) -> bool:
        """Whether the next byte begins a request."""
        return not (self._is_lost or self._head or self._body_left)

    def passing(self, data: bytes, *, is_last: bool) -> bytes:
        """The bytes to pass on; a request that begins with them is asked to close if `is_last`."""
        begins = self.is_between
        seen = self._follow(data)
        if not (begins and is_last and seen == 1) or self._is_lost:
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
            seen = peek(bytes(self._head[: HEAD_LIMIT + 1]))
            if seen.head_end:
                self._body_left = self._length(bytes(self._head[: seen.head_end]))
                data = data[seen.head_end - known :]
                self._head.clear()
            else:
                self._is_lost = seen.kind is Kind.OTHER
                data = b""
        if self._is_lost:
            self._head.clear()
        return begun

    def _length(self, head: bytes) -> int:
        lengths = _LENGTH.findall(head)
        if (
            _UNCLEAR.search(head)
            or asks_to_upgrade(head)
            or head.startswith(b"CONNECT ")
            or len(lengths) > 1
            or len(lengths) != len(_ANY_LENGTH.findall(head))
        ):
            self._is_lost = True
            return 0
        return int(lengths[0]) if lengths else 0
