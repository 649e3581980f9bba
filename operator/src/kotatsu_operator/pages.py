"""Reading metrics pages: bounded in time, size and number, and never led elsewhere."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from math import isfinite

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from .views import PodView

TIMEOUT = 2.0
"""Seconds for a page, of which"""
CONNECT = 1.0
"""so many for the connection."""
_LIMIT = 2 * 2**20
"""A metrics page bigger than this is not read to its end: it is broken or hostile."""
_LONGEST_LINE = 4096
_MOST_LINES = 20_000
"""What is given to the parser, in characters and lines: it takes time with the square of a line's
length (2 MB of escaped quotes: 88 s), and nothing else happens meanwhile."""

Samples = list[tuple[Mapping[str, str], float]]
"""Labels and value of each sample of one metric."""


@dataclass(frozen=True)
class Silence:
    """Why a pod did not say what it is doing, in words that follow its name."""

    why: str


@dataclass(frozen=True)
class Page:
    """A page that was read: samples by name, and how far ahead of ours its pod's clock is."""

    samples: Mapping[str, Samples]
    ahead: timedelta


class _UnreadableError(Exception):
    """The page is not one; the message follows the pod's name."""


class Pages:
    """Reads metrics pages, many at once but never more than `parallel`.

    With aiohttp, which kopf brings along: a page costs it a twentieth of the CPU that the client of
    the services takes, and a thousand awake pools are asked fifty times a second.
    """

    def __init__(
        self, parallel: int = 64, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._slots = asyncio.Semaphore(parallel)
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def _http(self) -> aiohttp.ClientSession:
        # Made where there is a loop to make it on.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity"},
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    async def read(
        self, pod: PodView, wanted: str, path: str, names: tuple[str, ...]
    ) -> Page | Silence:
        """The samples of some metrics on the page `path` of the port named (or numbered) so."""
        port = pod.port(wanted)
        if port is None or not 0 < port < 2**16:
            return Silence(f"has no port {'numbered' if port else 'named'} {wanted}")
        if not pod.ip:
            return Silence("has no address yet")
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        where = f"port {port}"
        try:
            async with self._slots:
                text, ahead = await self._page(f"http://{host}:{port}{path}")
            return Page(parse_samples(text, names), ahead)
        except _UnreadableError as error:
            return Silence(f"{error} for {path} on {where}")
        except (TimeoutError, aiohttp.ServerTimeoutError):
            return Silence(f"does not answer on {where} within {TIMEOUT:g} s")
        except aiohttp.ClientConnectorError:
            return Silence(f"refuses connections on {where}")
        except (aiohttp.ClientError, OSError) as error:
            return Silence(f"breaks off on {where} ({type(error).__name__})")
        except ValueError:
            return Silence(f"answers for {path} on {where} with what is not a metrics page")

    async def _page(self, url: str) -> tuple[str, timedelta]:
        limit = aiohttp.ClientTimeout(total=TIMEOUT, sock_connect=CONNECT)
        async with self._http.get(url, timeout=limit, allow_redirects=False) as response:
            if response.status != HTTPStatus.OK:
                raise _UnreadableError(f"answers {response.status}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise _UnreadableError("sends a packed page")
            ahead = clock_skew(response.headers.get("date"), self._clock())
            body = b""
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > _LIMIT:
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

    Only lines that begin with one of the names go to the parser: a page may be long. ValueError for
    a page that would keep it busy.
    """
    lines = [line for line in text.splitlines() if line.startswith(names)]
    if len(lines) > _MOST_LINES or any(len(line) > _LONGEST_LINE for line in lines):
        raise ValueError("too long")
    found: dict[str, Samples] = {}
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            if sample.name in names:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


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
