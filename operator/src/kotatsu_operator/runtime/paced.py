"""HTTP answers of strangers, parsed a little at a time: between two pieces the event loop turns.

A pod may send eight megabytes before the loop turns once, and what they are made of is its choice:
interim answers (102) or chunks of one byte cost hundreds of times what a page costs. A timeout does
not help against that, since it is the loop that would notice it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import aiohttp
from aiohttp.client_proto import ResponseHandler

TURN = 0.002
"""Seconds of such work in one turn of the event loop, that of all answers together."""

PIECE = 8 * 1024
"""Bytes that are parsed in one go: of the most costly answers known, some milliseconds."""

INTERIM = 16
"""So many answers may be there before the first is read: one, and interim ones before it."""

Step = Callable[[], bool]
"""A piece of work; returns whether there is more of it."""


class Turns:
    """Does the work of many, a piece each in turn, and for `TURN` at most between two turns.

    Each namespace has a piece done in turn, so much work of one delays that of another by as many
    pieces as there are namespaces.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._waiting: dict[str, deque[Step]] = {}
        """By namespace; the first is next."""
        self._is_running = False

    def add(self, namespace: str, step: Step) -> None:
        """Call this until there is no more of it."""
        self._waiting.setdefault(namespace, deque()).append(step)
        if not self._is_running:
            self._is_running = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        until = self._clock() + TURN
        while self._waiting:
            namespace = next(iter(self._waiting))
            steps = self._waiting[namespace] = self._waiting.pop(namespace)  # the last from now on
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
    """Hands what has come to the parser in pieces; an answer longer than `most` bytes is ended."""

    def __init__(
        self, add: Callable[[Step], None], most: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(loop)
        self._add, self._most = add, most
        self._pieces = bytearray()
        self._is_waiting = False
        self._end: Callable[[], None] | None = None
        """What has become of the connection, to be told after the pieces."""
        self._came = 0

    @property
    def should_close(self) -> bool:
        """Whether the connection is good for no other question."""
        return bool(self._pieces) or super().should_close

    def set_response_params(self, **params: object) -> None:
        """A question is asked."""
        self._came = 0
        super().set_response_params(**params)  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """Bytes have come; without any the parser goes on with what it has."""
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
        """The pod has gone; what it has said before is read first."""
        self._end = partial(super().connection_lost, exc)
        if not self._is_waiting:
            self._end()

    def _step(self) -> bool:
        transport = self.transport
        if transport is None or self._came > self._most or len(self._buffer) > INTERIM:
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

    def _refuse(self, transport: asyncio.Transport) -> None:
        if self._payload is not None:
            # First: of an answer without a length the end of the connection is the end.
            self._payload.set_exception(aiohttp.ClientPayloadError("the answer has no end"))
        transport.abort()


class Connector(aiohttp.TCPConnector):
    """Connections to the pods of a namespace; an answer is at most `most` bytes long.

    All answers, of all namespaces, share the `turns` of one loop.
    """

    def __init__(self, turns: Turns, namespace: str, most: int) -> None:
        super().__init__(limit=0, keepalive_timeout=30)
        add = partial(turns.add, namespace)
        make = partial(_Handler, add, most, loop=asyncio.get_running_loop())
        self._factory = make  # type: ignore[assignment]
