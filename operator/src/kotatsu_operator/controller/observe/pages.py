"""Reads metrics pages, bounded in time, size and number, without following redirects."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from math import isfinite

import aiohttp

from kotatsu_operator.kube.pod import PodView
from kotatsu_operator.runtime.loop import TURN
from kotatsu_operator.runtime.paced import Connector, Turns

PARALLEL = 256
"""Pages of one namespace that are read at once. Further pages wait, for instance behind 256 pods
that never respond."""
TIMEOUT = 2.0
"""Seconds for a page, including the connection."""
CONNECT = 1.0
"""Seconds for the connection."""
LONGEST_PAGE = 2 * 2**20
"""Bytes of a metrics page at most: a larger page is broken or hostile."""
_LONGEST_LINE = 4096
_MOST_LINES = 20_000
MOST_WANTED = 64 * 2**10
"""Characters at most in the lines of a pod's page that begin with a wanted name. Each line and the
number of lines are limited too, for any page. Reading that much takes some milliseconds."""

Samples = list[tuple[Mapping[str, str], float]]
"""The labels and value of each sample of one metric."""


@dataclass(frozen=True)
class Silence:
    """Why a pod's demand is unknown, in words that follow the pod's name."""

    why: str
    waited: bool = field(default=False, compare=False)
    """Whether the pod used up the whole timeout."""
    lacks: bool = field(default=False, compare=False)
    """Whether the answer shows that there is no such page or metric. An overloaded pod does not
    answer so: it is slow, or answers with a 5xx."""


@dataclass(frozen=True)
class Page:
    """A page: samples by metric name, and how far the pod's clock is ahead of the operator's."""

    samples: Mapping[str, Samples]
    ahead: timedelta


class _UnreadableError(Exception):
    """The response is not a metrics page; the message follows the pod's name."""

    def __init__(self, message: str, *, lacks: bool = True) -> None:
        super().__init__(message)
        self.lacks = lacks


class Pages:
    """Reads metrics pages: many at once, but at most `parallel` of one namespace."""

    def __init__(
        self, parallel: int = PARALLEL, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._slots: dict[str, asyncio.Semaphore] = defaultdict(
            partial(asyncio.Semaphore, parallel)
        )
        self._turn = asyncio.Lock()
        self._next: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """The lock of each namespace: one of its pages at a time competes with other namespaces."""
        self._clock = clock
        self._turns = Turns()
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        """The HTTP session of each namespace."""

    async def aclose(self) -> None:
        while self._sessions:
            await self._sessions.popitem()[1].close()

    def _http(self, namespace: str) -> aiohttp.ClientSession:
        # Created on first use, because a session needs a running event loop.
        if namespace not in self._sessions:
            self._sessions[namespace] = aiohttp.ClientSession(
                connector=Connector(self._turns, namespace, 2 * LONGEST_PAGE),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity"},
                auto_decompress=False,
                trust_env=False,
            )
        return self._sessions[namespace]

    async def read(
        self,
        pod: PodView,
        wanted: str,
        path: str,
        names: tuple[str, ...],
        most: int = MOST_WANTED,
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
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        where = f"port {port}"
        try:
            async with self._slots[pod.key[0]]:
                text, ahead = await self._page(pod.key[0], f"http://{host}:{port}{path}")
            async with self._next[pod.key[0]]:
                return Page(await collect(samples_of(text, names, most), self._turn), ahead)
        except _UnreadableError as error:
            return Silence(f"{error} for {path} on {where}", lacks=error.lacks)
        except (TimeoutError, aiohttp.ServerTimeoutError):
            return Silence(f"does not respond on {where} within {TIMEOUT:g} s", waited=True)
        except aiohttp.ClientConnectorError:
            return Silence(f"refuses connections on {where}", lacks=True)
        except (aiohttp.ClientError, OSError) as error:
            why = f"closes the connection on {where} ({type(error).__name__})"
            return Silence(why, lacks=True)
        except ValueError:
            return Silence(f"has no readable metrics page {path} on {where}", lacks=True)

    async def _page(self, namespace: str, url: str) -> tuple[str, timedelta]:
        limit = aiohttp.ClientTimeout(total=TIMEOUT, sock_connect=CONNECT)
        http = self._http(namespace)
        async with http.get(url, timeout=limit, allow_redirects=False) as response:
            if response.status != HTTPStatus.OK:
                is_failing = response.status >= HTTPStatus.INTERNAL_SERVER_ERROR
                raise _UnreadableError(f"answers {response.status}", lacks=not is_failing)
            if response.headers.get("content-encoding", "identity") != "identity":
                raise _UnreadableError("sends a compressed page")
            ahead = clock_skew(response.headers.get("date"), self._clock())
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > LONGEST_PAGE:
                    raise _UnreadableError("sends more than 2 MiB")
        return body.decode(), ahead


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


_Sample = tuple[str, Mapping[str, str], float]
"""Name, labels and value."""


async def collect(samples: Iterator[_Sample | None], turn: asyncio.Lock) -> dict[str, Samples]:
    """Collect samples; let the event loop run every few milliseconds.

    Only one page is parsed at a time, by the holder of `turn`.
    """
    found: dict[str, Samples] = {}
    clock = asyncio.get_running_loop().time
    while True:
        async with turn:
            until = clock() + TURN
            for sample in samples:
                if sample is not None:
                    found.setdefault(sample[0], []).append(sample[1:])
                if clock() >= until:
                    break
            else:
                return found
            # With the lock held: else the next page would be parsed in the same turn of the loop.
            await asyncio.sleep(0)


def samples_of(
    text: str, names: tuple[str, ...], most: int = LONGEST_PAGE
) -> Iterator[_Sample | None]:
    """The samples of some metrics; None for a line whose metric name is only a prefix match.

    Raises ValueError for an unreadable line of these metrics, and for more than `most` characters.
    The time is linear in the length of the page; the Prometheus client's parser is quadratic in a
    line's.
    """
    text = "\n" + text
    lines = 0
    for name in dict.fromkeys(names):
        at = text.find("\n" + name)
        while at >= 0:
            begin = at + 1 + len(name)
            end = text.find("\n", begin)
            end = len(text) if end < 0 else end
            lines, most = lines + 1, most - (end - at)
            if lines > _MOST_LINES or most < 0 or end - at > _LONGEST_LINE:
                raise ValueError("too long")
            yield _sample(name, text[begin:end])
            at = text.find("\n" + name, end)


_LABEL = re.compile(
    r"""(?<=[{,])[ \t]*+([a-zA-Z_][a-zA-Z0-9_]*+)[ \t]*+=[ \t]*+"""
    r""""([^"\\]*+(?:\\.[^"\\]*+)*+)"[ \t]*+"""
)


def _sample(name: str, rest: str) -> _Sample | None:
    """Parse a line after the metric's name; None if the name is longer."""
    if rest[:1] not in ("", " ", "\t", "{", "\r"):
        return None
    labels: dict[str, str] = {}
    rest = rest.strip(" \t\r")
    if rest.startswith("{"):
        at = 1
        while (label := _LABEL.match(rest, at)) is not None:
            if label[1] in labels:
                raise ValueError(f"two labels {label[1]}")
            labels[label[1]] = _unescaped(label[2])
            at = label.end()
            if not rest.startswith(",", at):
                break
            at += 1
        rest = rest[at:].lstrip(" \t")
        if not rest.startswith("}"):
            raise ValueError("labels that do not end")
        rest = rest[1:]
    value = rest.split(maxsplit=1)  # a timestamp may follow
    if not value or "_" in value[0]:
        raise ValueError("no value")
    return name, labels, float(value[0])


def _unescaped(value: str) -> str:
    parts = value.split("\\\\")
    return "\\".join(part.replace('\\"', '"').replace("\\n", "\n") for part in parts)


def numbers(samples: Iterable[tuple[Mapping[str, str], float]]) -> list[float]:
    """The values that are not NaN."""
    return [value for _, value in samples if value == value]  # NaN is not equal to itself


def count_of(samples: Iterable[tuple[Mapping[str, str], float]]) -> int | None:
    """The sum of the samples, without NaN; None if it is infinite or all are NaN."""
    given = list(samples)
    counted = numbers(given)
    total = sum(counted)
    return max(0, round(total)) if isfinite(total) and (counted or not given) else None


def unix_time(seconds: float) -> datetime | None:
    """A Unix time in seconds; None if it cannot be one (0, or milliseconds)."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None
    except (OverflowError, OSError, ValueError):
        return None
