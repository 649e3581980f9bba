"""Reads metrics pages, bounded in time, size and number, without following redirects."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Generic, TypeVar

from kotatsu_operator.controller.response import (
    Method,
    NoConnectionError,
    ResponseError,
    Turn,
    request,
)
from kotatsu_operator.core import exposition
from kotatsu_operator.core.exposition import LONGEST_LINE, LONGEST_PAGE, Samples, Silence
from kotatsu_operator.kube.views import PodView
from kotatsu_operator.runtime.loop import TURN
from kotatsu_operator.runtime.turns import Turns

PARALLEL = 64
"""Pages of one namespace that are read at once. Further pages wait, for instance behind 64 pods
that never respond."""
MOST = 4
"""Times as many pages that are read at once in all. Each has buffers of some 100 KiB."""
TIMEOUT = 2.0
"""Seconds for a page, including the connection."""
CONNECT = 1.0
"""Seconds for the connection."""
MOST_WANTED = 64 * 2**10
"""Characters at most in the lines of a pod's page that begin with a wanted name. Each line and the
number of lines are limited too, for any page. Reading that much takes some milliseconds."""


@dataclass(frozen=True)
class Page:
    """A page: samples by metric name, and how far the pod's clock is ahead of the operator's."""

    samples: Mapping[str, Samples]
    ahead: timedelta


class _UnreadableError(Exception):
    """The response is not a metrics page; the message follows the pod's name."""

    def __init__(self, message: str, *, lacks: bool = True, status: int = 0) -> None:
        super().__init__(message)
        self.lacks, self.status = lacks, status


class _TooLongError(Exception):
    """The response has more than LONGEST_PAGE."""


class Pages:
    """Reads metrics pages: many at once, but at most `parallel` of one namespace.

    They are parsed one after the other, some milliseconds of all in a turn of the event loop.
    """

    def __init__(
        self, parallel: int = PARALLEL, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._clock = clock
        self._reading, self._parsing = Turns(MOST * parallel, parallel), Turns(1)
        self._parsed = 0.0
        """Seconds of parsing since the event loop was last given the time for others."""

    async def read(
        self,
        pod: PodView,
        wanted: str,
        path: str,
        names: tuple[str, ...],
        most: int = MOST_WANTED,
        method: Method = "GET",
    ) -> Page | Silence:
        """The samples of some metrics on the page `path` of a port, given by name or number.

        Returns Silence if the page cannot be read, or if the lines that begin with one of the names
        have more than `most` characters.
        """
        port = pod.port(wanted)
        if port is None or not 0 < port < 2**16:
            named = "numbered" if port else "named"
            return Silence(f"has no port {named} {wanted}", lacks=True)
        if not pod.ip:
            return Silence("has no address yet")
        where = f"port {port}"
        turn = partial(self._turn, pod.key[0])
        try:
            async with self._reading.of(pod.key[0]):
                address = method, pod.ip, port, path
                text, ahead = await self._page(turn, address, _Lines(names, most))
            return Page(await collect(exposition.samples_of(text, names, most), turn), ahead)
        except _UnreadableError as error:
            why = f"{error} for {path} on {where}"
            return Silence(why, lacks=error.lacks, status=error.status)
        except _TooLongError:
            return exposition.too_long(path, port)
        except TimeoutError:
            return Silence(f"does not respond on {where} within {TIMEOUT:g} s", waited=True)
        except NoConnectionError as error:
            # Without a route to the pod, its node may be lost: that shows nothing of its page.
            is_refused = isinstance(error.__cause__, ConnectionRefusedError)
            return Silence(f"refuses connections on {where}", lacks=is_refused)
        except (ResponseError, OSError) as error:
            why = f"closes the connection on {where} ({type(error).__name__})"
            return Silence(why, lacks=True)
        except ValueError:
            return Silence(f"has no readable metrics page {path} on {where}", lacks=True)

    @asynccontextmanager
    async def _turn(self, namespace: str) -> AsyncIterator[None]:
        clock = asyncio.get_running_loop().time
        async with self._parsing.of(namespace):
            began = clock()
            try:
                yield
            finally:
                self._parsed += clock() - began
                if self._parsed >= TURN:
                    self._parsed = 0.0
                    # With the turn held, or the next page would be parsed before all others run.
                    await asyncio.sleep(0)

    async def _page(
        self, turn: Turn, address: tuple[Method, str, int, str], lines: "_Lines"
    ) -> tuple[str, timedelta]:
        """The wanted lines of a page."""
        async with (
            asyncio.timeout(TIMEOUT),
            request(*address, connect=CONNECT, turn=turn) as (status, headers, pieces),
        ):
            if status != HTTPStatus.OK:
                is_failing = status >= HTTPStatus.INTERNAL_SERVER_ERROR
                raise _UnreadableError(f"answers {status}", lacks=not is_failing, status=status)
            if headers.get("content-encoding", "identity") != "identity":
                raise _UnreadableError("sends a compressed page")
            ahead, length = clock_skew(headers.get("date"), self._clock()), 0
            async for piece in pieces:
                length += len(piece)
                if length > LONGEST_PAGE:
                    raise _TooLongError
                async with turn():
                    lines.take(piece)
        return lines.text(), ahead


class _Lines:
    """The lines of a page that begin with a wanted name.

    The others are dropped as they come, so that many long pages fit into memory.
    """

    def __init__(self, names: tuple[str, ...], most: int) -> None:
        self._wanted, self._most = _beginning_with(names), most
        self._kept, self._length, self._rest = list[bytes](), 0, b"\n"

    def take(self, piece: bytes) -> None:
        data = self._rest + piece
        end = data.rfind(b"\n")
        # The beginning of a line that is too long is too long as well.
        self._rest = data[end : end + 2 * LONGEST_LINE]
        for line in self._wanted.findall(data, 0, end):
            if self._length > self._most:
                return  # they are refused when they are read
            self._kept.append(line)
            self._length += len(line)

    def text(self) -> str:
        """Raises ValueError if it is not UTF-8."""
        self.take(b"\n")
        return b"".join(self._kept).decode()


@lru_cache(64)
def _beginning_with(names: tuple[str, ...]) -> re.Pattern[bytes]:
    # A line with the newline before it: with ^ it would take six times as long.
    return re.compile(b"\n(?:%b)[^\n]*" % b"|".join(re.escape(name.encode()) for name in names))


_SKEW = timedelta(seconds=3)
"""Differences up to this are ignored: a Date header has whole seconds, many servers cache it for a
second, and it is a moment old."""
_NO_CLOCK = timedelta(days=3660)
"""A clock that is off by more than this is ignored."""


def clock_skew(date: str | None, now: datetime) -> timedelta:
    """How far the clock of a Date header is ahead of `now`; negative if it is behind.

    Zero without a header, or for a difference within `_SKEW` or beyond `_NO_CLOCK`.
    """
    try:
        there = parsedate_to_datetime(date) if date is not None else now
        ahead = (there if there.tzinfo is not None else there.replace(tzinfo=UTC)) - now
    except (ValueError, OverflowError):
        return timedelta()  # not a date, or an impossible year
    return ahead if _SKEW < abs(ahead) < _NO_CLOCK else timedelta()


async def collect(samples: Iterator[exposition.Sample | None], turn: Turn) -> dict[str, Samples]:
    """Collect samples, some milliseconds in each `turn`."""
    found: dict[str, Samples] = {}
    clock = asyncio.get_running_loop().time
    while True:
        async with turn():
            until = clock() + TURN
            for sample in samples:
                if sample is not None:
                    found.setdefault(sample[0], []).append(sample[1:])
                if clock() >= until:
                    break
            else:
                return found


T = TypeVar("T")


class Coalesced(Generic[T]):
    """Calls `ask` once for all callers that wait.

    Each caller gets the result of an `ask` that started after its own call. Calls of `ask` run one
    after the other, at least `every` seconds from start to start. `ask` must end in bounded time;
    every caller that waits for it raises its error.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], every: float = 0.0) -> None:
        self._ask, self._every = ask, every
        self._coming: asyncio.Task[T] | None = None
        self._under_way: asyncio.Task[T] | None = None
        self._free_at = 0.0

    async def __call__(self) -> T:
        if self._coming is None:
            self._coming = asyncio.create_task(self._in_turn(self._under_way))
            # Each caller raises the error; asyncio need not log it if all were cancelled.
            self._coming.add_done_callback(lambda task: task.cancelled() or task.exception())
        # A cancelled caller must not cancel the call for the others.
        return await asyncio.shield(self._coming)

    async def _in_turn(self, before: asyncio.Task[T] | None) -> T:
        if before is not None:
            await asyncio.wait({before})
        loop = asyncio.get_running_loop()
        if (pause := self._free_at - loop.time()) > 0:
            await asyncio.sleep(pause)
        self._under_way, self._coming = self._coming, None
        self._free_at = loop.time() + self._every
        return await self._ask()
