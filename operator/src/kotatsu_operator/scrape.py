"""Asking pods and activators what they are doing right now."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite

import httpx
from prometheus_client.parser import text_string_to_metric_families

from .core.spec import Metrics
from .views import Key, PodView

TIMEOUT = httpx.Timeout(2.0, connect=1.0)
ACTIVATOR_PORT = "metrics"
HELD = "kotatsu_activator_held"
_LIMIT = 2 * 2**20
"""A metrics page bigger than this is not read to its end: it is broken or hostile."""


@dataclass(frozen=True)
class PodAnswer:
    """What one pod said of itself."""

    in_flight: int
    last_request: datetime | None


class Scraper:
    """Reads metrics pages, many at once but never more than `parallel`."""

    def __init__(self, http: httpx.AsyncClient, parallel: int = 64) -> None:
        self._http = http
        self._slots = asyncio.Semaphore(parallel)

    async def pod(self, pod: PodView, metrics: Metrics) -> PodAnswer | None:
        """Requests in flight in a pod; None when it does not say."""
        port = pod.port(metrics.port)
        if port is None or not pod.ip:
            return None
        found = await self._read(
            pod.ip, port, metrics.path, (metrics.in_flight, metrics.last_request)
        )
        if found is None or metrics.in_flight not in found:
            return None
        in_flight = count_of(found[metrics.in_flight])
        if in_flight is None:
            return None
        last = max(_numbers(found.get(metrics.last_request, ())), default=0.0)
        return PodAnswer(in_flight, instant(last))

    async def held(self, activators: Iterable[PodView], pool: Key) -> int | None:
        """Requests that the activators hold for a pool; None when one does not answer."""
        answers = await asyncio.gather(*(self._held_by(pod, pool) for pod in activators))
        return None if None in answers else sum(a for a in answers if a is not None)

    async def _held_by(self, pod: PodView, pool: Key) -> int | None:
        port = pod.port(ACTIVATOR_PORT)
        found = None if port is None else await self._read(pod.ip, port, "/metrics", (HELD,))
        if found is None:
            return None
        return count_of(
            (labels, value)
            for labels, value in found.get(HELD, ())
            if (labels.get("namespace"), labels.get("name")) == pool
        )

    async def _read(
        self, ip: str, port: int, path: str, names: tuple[str, ...]
    ) -> dict[str, list[tuple[Mapping[str, str], float]]] | None:
        host = f"[{ip}]" if ":" in ip else ip
        try:
            async with self._slots, asyncio.timeout(TIMEOUT.read or 2.0):
                text = await self._page(f"http://{host}:{port}{path}")
            return None if text is None else parse_samples(text, names)
        except (httpx.HTTPError, TimeoutError, ValueError, OSError):
            return None

    async def _page(self, url: str) -> str | None:
        async with self._http.stream("GET", url, timeout=TIMEOUT) as response:
            if response.status_code != httpx.codes.OK:
                return None
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _LIMIT:
                    return None
        return body.decode()


def parse_samples(
    text: str, names: tuple[str, ...]
) -> dict[str, list[tuple[Mapping[str, str], float]]]:
    """The samples of a few metrics out of a page in the Prometheus text format.

    Only lines that begin with one of the names go to the parser: a page may be long.
    """
    lines = [line for line in text.splitlines() if line.startswith(names)]
    found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            if sample.name in names:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def _numbers(samples: Iterable[tuple[Mapping[str, str], float]]) -> list[float]:
    return [value for _, value in samples if value == value]  # a NaN is not equal to itself


def count_of(samples: Iterable[tuple[Mapping[str, str], float]]) -> int | None:
    """The sum of samples, ignoring NaN; 0 without any, None when it is infinite or all are NaN."""
    given = list(samples)
    numbers = _numbers(given)
    total = sum(numbers)
    return max(0, round(total)) if isfinite(total) and (numbers or not given) else None


def instant(seconds: float) -> datetime | None:
    """A Unix time; None when it cannot be one (0, or milliseconds)."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None
    except (OverflowError, OSError, ValueError):
        return None
