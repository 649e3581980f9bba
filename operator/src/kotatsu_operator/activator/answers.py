"""HTTP/1: which requests of a connection are answered to their end. Pure.

llhttp, the parser of Node.js (by httptools), reads both directions beside the splice (decision 89).
It buffers nothing, its time is linear, and it skips a body of known length. No byte changes here.
"""

from collections import deque
from types import SimpleNamespace

from httptools import (
    HttpParserError,
    HttpParserUpgrade,
    HttpRequestParser,
    HttpResponseParser,
)

MOST_ASKED = 256
"""Requests of a connection that wait for their answers: no client pipelines as many."""

MOST_PARTS = 64
"""Parts in which one read is parsed, if a HEAD request waits."""

_END = b"\r\n\r\n"


class _NotUnderstoodError(Exception):
    """Ends the parsing of a connection."""


class Answers:
    """Pairs the answers of one connection with its requests, in order.

    Its public attributes may be read from any thread.
    """

    __slots__ = (
        "_is_bare", "_requests", "_responses", "_tail", "asked", "is_answering", "is_asking",
        "is_lost", "is_over",
    )  # fmt: skip

    def __init__(self) -> None:
        self.is_asking = False
        """Whether a request has begun and is not complete."""
        self.asked: deque[bool] = deque()
        """The requests that are not answered to their end, the oldest first: whether it is a HEAD
        request, whose answer has no body."""
        self.is_answering = False
        """Whether the answer to the oldest has begun. An interim answer (1xx) does not count."""
        self.is_lost = False
        """Whether the bytes are not understood, or are of another protocol by now."""
        self.is_over = False
        """Whether no answer follows: the pod has ended its half."""
        self._is_bare = False
        """Whether the answer under way ends with its head."""
        self._tail = b""
        """The last bytes of the pod while a HEAD request waits: the end of a head may come in two
        reads."""
        self._requests: HttpRequestParser | None = None
        """Made when it is needed."""
        self._responses: HttpResponseParser | None = self._new_responses()

    @property
    def is_awaited(self) -> bool:
        """Whether a request, complete or not, has no answer that has begun."""
        return len(self.asked) > self.is_answering

    def end(self) -> None:
        """The pod has ended its half, or the connection is closed."""
        self.is_over = True
        self._forget()

    def _lose(self) -> None:
        self.is_lost = True
        self._forget()

    def _forget(self) -> None:
        self.is_asking = self.is_answering = False
        self.asked.clear()
        self._requests = self._responses = None  # they refer to this object

    # --- requests ---

    def sent(self, data: bytes | bytearray, *, is_whole: bool = False) -> None:
        """Follow bytes of the client.

        With `is_whole` they are known to be one request without a body, and are not parsed again.
        """
        if self._responses is None:
            return
        if is_whole:
            self.asked.append(data.startswith(b"HEAD "))
            if self.is_asking or len(self.asked) > MOST_ASKED:
                self._lose()
            return
        if self._requests is None:
            self._requests = self._new_requests()
        rest: bytes | bytearray | memoryview = data
        while rest:
            try:
                self._requests.feed_data(rest)
                return
            except HttpParserUpgrade as upgrade:
                if self._requests.get_method() == b"CONNECT":
                    self._lose()
                    return
                # The answer decides: with another one than 101 the connection stays HTTP/1.
                rest = memoryview(rest)[upgrade.args[0] :]
            except HttpParserError:
                self._lose()
                return

    def _new_requests(self) -> HttpRequestParser:
        return HttpRequestParser(
            SimpleNamespace(
                on_message_begin=self._request_begins,
                on_headers_complete=self._request_is_known,
                on_message_complete=self._request_ends,
            )
        )

    def _request_begins(self) -> None:
        if len(self.asked) >= MOST_ASKED:
            raise _NotUnderstoodError
        self.is_asking = True
        self.asked.append(False)

    def _request_is_known(self) -> None:
        if self._requests is not None and self._requests.get_method() == b"HEAD":
            self.asked[-1] = True

    def _request_ends(self) -> None:
        self.is_asking = False

    # --- answers ---

    def received(self, data: bytes) -> None:
        """Follow bytes of the pod."""
        responses = self._responses
        if responses is None:
            return
        try:
            if True in self.asked:
                self._split(data)
            else:
                responses.feed_data(data)
        except (HttpParserError, HttpParserUpgrade, _NotUnderstoodError):
            self._lose()

    def _split(self, data: bytes) -> None:
        """Follow bytes that may have the answer to HEAD.

        llhttp would take what follows its head for the body. So it gets the bytes up to each place
        where a head may end, and behind that head another one goes on.
        """
        joined, at, start = self._tail + data, len(self._tail), 0
        self._tail = joined[1 - len(_END) :]
        for _ in range(MOST_PARTS):
            found = joined.find(_END, start)
            end = len(joined) if found < 0 else found + len(_END)
            if self._responses is not None:
                self._responses.feed_data(memoryview(joined)[at:end])
            if self._is_bare:
                self._is_bare = False
                self._answer_ends()
                self._responses = self._new_responses()
            if end == len(joined):
                return
            at = start = end
        raise _NotUnderstoodError

    def _new_responses(self) -> HttpResponseParser:
        return HttpResponseParser(
            SimpleNamespace(
                on_headers_complete=self._answer_is_known,
                on_message_complete=self._message_ends,
            )
        )

    def _answer_is_known(self) -> None:
        if not self.asked or self._responses is None:
            raise _NotUnderstoodError
        if self._responses.get_status_code() >= 200:
            self.is_answering, self._is_bare = True, self.asked[0]

    def _message_ends(self) -> None:
        if self.is_answering and not self._is_bare:
            self._answer_ends()

    def _answer_ends(self) -> None:
        self.is_answering = False
        self.asked.popleft()
