"""The HTTP client for servers that are not trusted: it parses their responses in small pieces.

Interim responses (102) or chunks of one byte cost hundreds of times as much as a metrics page, and
a pod can send eight megabytes before the event loop runs again, also to notice a timeout.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import aiohttp
from aiohttp.client_proto import ResponseHandler

from kotatsu_operator.runtime.loop import TURN

PIECE = 8 * 1024
"""Bytes parsed at once. For the most expensive responses known this takes some milliseconds."""

FRAMING = 32 * 1024
"""Bytes that a response may need besides its body, and an eighth of the body more: its head and the
frames of its chunks. Parsing costs about a microsecond for each chunk, so chunks of one byte may
cost some milliseconds in all. A page with a chunk for each line is within the bound."""

INTERIM = 16
"""Responses that may be parsed before the first is read: one, and interim responses before it."""

Step = Callable[[], bool]
"""A piece of work; returns whether more work is left."""


class Turns:
    """Runs the work of all namespaces in pieces, for at most `TURN` in one turn of the event loop.

    Namespaces take turns, one piece each, so much work of one delays another little.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._waiting: dict[str, deque[Step]] = {}
        """The work of each namespace; the first namespace is next."""
        self._is_running = False

    def add(self, namespace: str, step: Step) -> None:
        """Call `step` in this namespace's turns until it returns False."""
        self._waiting.setdefault(namespace, deque()).append(step)
        if not self._is_running:
            self._is_running = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        until = self._clock() + TURN
        while self._waiting:
            namespace = next(iter(self._waiting))
            steps = self._waiting[namespace] = self._waiting.pop(namespace)  # moves to the end
            step = steps.popleft()
            if step():
                steps.append(step)
            if not steps:
                del self._waiting[namespace]
            if self._clock() >= until:
                break
        self._is_running = bool(self._waiting)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._run)


class _Handler(ResponseHandler):
    """Parses received bytes in pieces; aborts a response of more than `most` bytes or `FRAMING`."""

    def __init__(
        self, add: Callable[[Step], None], most: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(loop)
        self._add, self._most = add, most
        self._pieces = bytearray()
        self._is_waiting = False
        self._end: Callable[[], None] | None = None
        """Handles the end of the connection; called after the last piece."""
        self._came = 0

    @property
    def should_close(self) -> bool:
        return bool(self._pieces) or super().should_close

    def set_response_params(self, **params: object) -> None:
        """Begin a request: reset the count of received bytes."""
        self._came = 0
        super().set_response_params(**params)  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """Queue received bytes; without bytes, the parser continues with its own buffer."""
        if not data:
            super().data_received(data)
            return
        self._came += len(data)
        self._pieces += data
        if self._is_waiting or self.transport is None:
            return
        self._is_waiting = True
        self.transport.pause_reading()
        self._add(self._step)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Handle the end of the connection after all received bytes are parsed."""
        self._end = partial(super().connection_lost, exc)
        if not self._is_waiting:
            self._end()

    def _step(self) -> bool:
        transport = self.transport
        if transport is None or self._is_too_much:
            self._pieces.clear()
            if transport is not None:
                self._refuse(transport)
        elif self._pieces and not self._reading_paused:
            piece = bytes(self._pieces[:PIECE])
            del self._pieces[:PIECE]
            super().data_received(piece)
        if self._pieces:
            return True
        self._is_waiting = False
        if self._end is not None:
            self._end()
        elif transport is not None and not transport.is_closing() and not self._reading_paused:
            transport.resume_reading()
        return False

    @property
    def _is_too_much(self) -> bool:
        body = 0 if self._payload is None else self._payload.total_bytes
        framing = self._came - len(self._pieces) - body
        return (
            self._came > self._most or len(self._buffer) > INTERIM or framing > FRAMING + body // 8
        )

    def _refuse(self, transport: asyncio.Transport) -> None:
        if self._payload is not None:
            # First, because without a length the end of the connection is the end of the response.
            self._payload.set_exception(aiohttp.ClientPayloadError("the answer has no end"))
        transport.abort()


class _Connector(aiohttp.TCPConnector):
    """Connections whose responses are parsed in turns."""

    def __init__(self, turns: Turns, namespace: str, most: int) -> None:
        super().__init__(limit=0, keepalive_timeout=30)
        add = partial(turns.add, namespace)
        make = partial(_Handler, add, most, loop=asyncio.get_running_loop())
        self._factory = make  # type: ignore[assignment]


def client(
    turns: Turns, namespace: str, most: int, *, trust_env: bool = False
) -> aiohttp.ClientSession:
    """A client for the servers of one namespace; a response has at most `most` bytes, as sent.

    All clients of one event loop share `turns`. Responses are not unpacked, and cookies are not
    kept. A request says itself that it follows no redirect.
    """
    return aiohttp.ClientSession(
        connector=_Connector(turns, namespace, most),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=trust_env,
    )
