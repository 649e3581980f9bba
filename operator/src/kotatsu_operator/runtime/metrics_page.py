"""The metrics page: rendered by one thread at a time, and shared by all who ask for it.

Rendering holds the interpreter, so threads that render at the same time take turns from the event
loop, and with it from the clients of every pool.
"""

import gzip
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from urllib.parse import parse_qs

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

SHARED_FOR = 1.0
"""Seconds for which the page with all metrics is given to all."""

REST = 3.0
"""After a rendering nothing is rendered for this many times as long: pages take at most a quarter
of the process's time."""

_OPEN_METRICS = "application/openmetrics-text"


@dataclass(frozen=True)
class Page:
    """A page as it is sent."""

    headers: list[tuple[str, str]]
    body: bytes


@dataclass(frozen=True)
class _Variant:
    """What tells pages apart. There are few, whatever clients ask for."""

    is_named: bool
    is_open_metrics: bool
    is_packed: bool


class MetricsPage:
    """The metrics of a registry.

    `named` are metrics of which there is a page of their own: the query `name[]` asks for it, with
    any name. Its values are read after the request has come, because what the caller decides
    depends on them. All who wait for it share it.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        named: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._registry, self._named = registry, frozenset(named)
        self._clock, self._sleep = clock, sleep
        self._turn = threading.Lock()
        self._free_at = 0.0
        self._pages: dict[_Variant, tuple[float, Page]] = {}
        """The latest pages, with the times at which their rendering began."""

    def page(self, query: str, accept: str = "", encoding: str = "") -> Page:
        """The page for a query and the values of two headers. May be called from any thread."""
        asked_at = self._clock()
        names = parse_qs(query).get("name[]", ())
        variant = _Variant(
            is_named=not self._named.isdisjoint(names),
            is_open_metrics=_OPEN_METRICS in accept,
            is_packed="gzip" in encoding,
        )
        enough = asked_at if variant.is_named else asked_at - SHARED_FOR
        with self._turn:
            began, page = self._pages.get(variant, (enough - 1, None))
            if page is None or began < enough:
                self._sleep(max(0.0, self._free_at - self._clock()))
                began = self._clock()
                page = self._rendered(variant)
                self._pages[variant] = (began, page)
                ended = self._clock()
                self._free_at = ended + REST * (ended - began)
            return page

    def _rendered(self, variant: _Variant) -> Page:
        encode, kind = choose_encoder(_OPEN_METRICS if variant.is_open_metrics else "")
        whole = self._registry
        registry = whole.restricted_registry(self._named) if variant.is_named else whole
        body, headers = encode(registry), [("Content-Type", kind)]
        if variant.is_packed:
            body = gzip.compress(body, compresslevel=1)
            headers.append(("Content-Encoding", "gzip"))
        return Page(headers, body)
