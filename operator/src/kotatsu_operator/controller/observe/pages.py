"""Reading metrics pages: bounded in time, size and number, and never led elsewhere."""

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
from kotatsu_operator.runtime.paced import Connector, Turns

PARALLEL = 256
"""So many pages of one namespace are read at once: 256 pods that never answer are waited for."""
TIMEOUT = 2.0
"""Seconds for a page, of which"""
CONNECT = 1.0
"""so many for the connection."""
LONGEST_PAGE = 2 * 2**20
"""A metrics page bigger than this is not read to its end: it is broken or hostile."""
_LONGEST_LINE = 4096
_MOST_LINES = 20_000
MOST_WANTED = 64 * 2**10
"""Of a pod's page, so many characters of lines that begin with a wanted name are read at most (and
of any page so many lines, each so long): reading them takes some milliseconds."""
_TURN = 0.002
"""Seconds of reading, of all pages together, after which the event loop has its turn."""

Samples = list[tuple[Mapping[str, str], float]]
"""Labels and value of each sample of one metric."""


@dataclass(frozen=True)
class Silence:
    """Why a pod did not say what it is doing, in words that follow its name."""

    why: str
    waited: bool = field(default=False, compare=False)
    """Whether all the time there is was waited for an answer."""


@dataclass(frozen=True)
class Page:
    """A page that was read: samples by name, and how far ahead of ours its pod's clock is."""

    samples: Mapping[str, Samples]
    ahead: timedelta


class _UnreadableError(Exception):
    """The page is not one; the message follows the pod's name."""


class Pages:
    """Reads metrics pages, many at once but never more than `parallel` of one namespace.

    With aiohttp, which kopf brings along: a page costs it a twentieth of the CPU that the client of
    the services takes, and a thousand awake pools are asked fifty times a second.
    """

    def __init__(
        self, parallel: int = PARALLEL, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._slots: dict[str, asyncio.Semaphore] = defaultdict(
            partial(asyncio.Semaphore, parallel)
        )
        self._turn = asyncio.Lock()
        self._next: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Held by the one page of a namespace that takes turns with those of other namespaces."""
        self._clock = clock
        self._turns = Turns()
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        """By namespace."""

    async def aclose(self) -> None:
        """Close the connections."""
        while self._sessions:
            await self._sessions.popitem()[1].close()

    def _http(self, namespace: str) -> aiohttp.ClientSession:
        # Made where there is a loop to make it on.
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
        """The samples of some metrics on the page `path` of the port named (or numbered) so.

        A page with more than `most` characters of lines that begin like one of theirs is none.
        """
        port = pod.port(wanted)
        if port is None or not 0 < port < 2**16:
            return Silence(f"has no port {'numbered' if port else 'named'} {wanted}")
        if not pod.ip:
            return Silence("has no address yet")
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        where = f"port {port}"
        try:
            async with self._slots[pod.key[0]]:
                text, ahead = await self._page(pod.key[0], f"http://{host}:{port}{path}")
            async with self._next[pod.key[0]]:
                return Page(await _in_turns(_samples(text, names, most), self._turn), ahead)
        except _UnreadableError as error:
            return Silence(f"{error} for {path} on {where}")
        except (TimeoutError, aiohttp.ServerTimeoutError):
            return Silence(f"does not answer on {where} within {TIMEOUT:g} s", waited=True)
        except aiohttp.ClientConnectorError:
            return Silence(f"refuses connections on {where}")
        except (aiohttp.ClientError, OSError) as error:
            return Silence(f"breaks off on {where} ({type(error).__name__})")
        except ValueError:
            return Silence(f"answers for {path} on {where} with what is not a metrics page")

    async def _page(self, namespace: str, url: str) -> tuple[str, timedelta]:
        limit = aiohttp.ClientTimeout(total=TIMEOUT, sock_connect=CONNECT)
        http = self._http(namespace)
        async with http.get(url, timeout=limit, allow_redirects=False) as response:
            if response.status != HTTPStatus.OK:
                raise _UnreadableError(f"answers {response.status}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise _UnreadableError("sends a packed page")
            ahead = clock_skew(response.headers.get("date"), self._clock())
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > LONGEST_PAGE:
                    raise _UnreadableError("sends more than 2 MiB")
        return body.decode(), ahead


_SKEW = timedelta(seconds=3)
"""A Date header is cut to the second, kept for another by many servers, and a moment old: a
difference up to this is none."""
_NO_CLOCK = timedelta(days=3660)
"""A clock so far off is none; nothing can be reckoned with it."""


def clock_skew(date: str | None, now: datetime) -> timedelta:
    """How far the clock behind a Date header is ahead of ours (behind: negative).

    Zero without a header, or when the difference is one that any answer has.
    """
    try:
        there = parsedate_to_datetime(date) if date is not None else now
        ahead = (there if there.tzinfo is not None else there.replace(tzinfo=UTC)) - now
    except (ValueError, OverflowError):
        return timedelta()  # a year that no clock has, or nothing of the kind
    return ahead if _SKEW < abs(ahead) < _NO_CLOCK else timedelta()


def parse_samples(text: str, names: tuple[str, ...]) -> dict[str, Samples]:
    """The samples of a few metrics out of a page in the Prometheus text format.

    ValueError for a line of theirs that cannot be read, and for a page that is too long.
    """
    found: dict[str, Samples] = {}
    for name, labels, value in filter(None, _samples(text, names, LONGEST_PAGE)):
        found.setdefault(name, []).append((labels, value))
    return found


_Sample = tuple[str, Mapping[str, str], float]
"""Name, labels, value."""


async def _in_turns(samples: Iterator[_Sample | None], turn: asyncio.Lock) -> dict[str, Samples]:
    """Gather samples; the event loop has its turn every few milliseconds.

    However many pages there are: only one is read at a time, by whoever has the `turn`.
    """
    found: dict[str, Samples] = {}
    clock = asyncio.get_running_loop().time
    while True:
        async with turn:
            until = clock() + _TURN
            for sample in samples:
                if sample is not None:
                    found.setdefault(sample[0], []).append(sample[1:])
                if clock() >= until:
                    break
            else:
                return found
            # Within the turn, or the next page would be read in the same turn of the loop.
            await asyncio.sleep(0)


def _samples(text: str, names: tuple[str, ...], most: int) -> Iterator[_Sample | None]:
    """The samples of some metrics; None for a line that only begins like one of theirs.

    The text is searched for the names, and nothing else in it is looked at. So the work grows with
    the length of the page and of each of these lines, and no faster; that of the Prometheus
    client's parser grows with the square of a line.
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
    """What a line says after a metric's name; None if the name goes on."""
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
    value = rest.split(maxsplit=1)  # a time may follow
    if not value or "_" in value[0]:
        raise ValueError("no value")
    return name, labels, float(value[0])


def _unescaped(value: str) -> str:
    parts = value.split("\\\\")
    return "\\".join(part.replace('\\"', '"').replace("\\n", "\n") for part in parts)


def numbers(samples: Iterable[tuple[Mapping[str, str], float]]) -> list[float]:
    """The values that are numbers."""
    return [value for _, value in samples if value == value]  # a NaN is not equal to itself


def count_of(samples: Iterable[tuple[Mapping[str, str], float]]) -> int | None:
    """The sum of samples, ignoring NaN; 0 without any, None when it is infinite or all are NaN."""
    given = list(samples)
    counted = numbers(given)
    total = sum(counted)
    return max(0, round(total)) if isfinite(total) and (counted or not given) else None


def unix_time(seconds: float) -> datetime | None:
    """A Unix time; None when it cannot be one (0, or milliseconds)."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None
    except (OverflowError, OSError, ValueError):
        return None
