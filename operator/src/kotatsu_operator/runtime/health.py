"""The health server: /livez, /readyz and /metrics, in a thread of its own; of activators, /looks.

A probe must get an answer while the event loop is busy with ten thousand connections. /livez
reports whether the event loop still runs. The metric of failed API calls is here too.
"""

import contextlib
import gzip
import logging
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import ThreadingWSGIServer, choose_encoder
from prometheus_client.registry import Collector

from kotatsu_operator.core.protocol import LOOKS

log = logging.getLogger(__name__)

MOST = 64
"""Concurrent connections; the kubelet, Prometheus and the operator need three."""

_NO_FILES_FOR = 0.2
"""Seconds until the next accept after no file descriptor was available."""

Check = Callable[[], str]
"""Returns an empty string if the check passes, else a sentence with the reason."""


@dataclass(frozen=True)
class Named:
    """Metrics of which there is a page of their own: see MetricsPage."""

    metrics: Collection[str] = ()
    asked: Callable[[Iterable[str]], None] = lambda _: None
    """Called with the pools of each look, by namespace/name, before a metric is read for it."""
    part: Callable[[Iterable[str]], Collector] | None = None
    """These metrics of some pools, by namespace/name. With it, there is the page LOOKS."""


@dataclass(frozen=True)
class Checks:
    """The health checks of a process."""

    live: Check
    ready: Check
    remark: Check = lambda: ""
    """A problem that does not make the process unready: one more line of /readyz."""


class _Quiet(WSGIRequestHandler):
    """Handles a request without a log line: probes and scrapes are frequent."""

    timeout = 10.0
    """Seconds that a client may be silent. Each client occupies a thread."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


class _Server(ThreadingWSGIServer):
    """Answers each client in a thread; above `MOST` connections, closes the oldest.

    A probe gets its answer within milliseconds, so the oldest of so many connections is not a
    probe.
    """

    request_queue_size = 2 * MOST

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._open: dict[socket.socket, None] = {}
        self._opening = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._opening:
            self._open[request] = None
            oldest = next(iter(self._open)) if len(self._open) > MOST else None
            if oldest is not None:
                del self._open[oldest]
        if oldest is not None:
            with contextlib.suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)  # its thread reads the end and exits
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._opening:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Log at debug level: a client that disconnects or stays silent is not an error."""
        log.debug("the admin page of %s", client_address, exc_info=True)

    def get_request(self) -> Any:
        try:
            return super().get_request()
        except OSError:
            time.sleep(_NO_FILES_FOR)
            raise


def start_admin(
    host: str,
    port: int,
    registry: CollectorRegistry,
    checks: Checks,
    named: Named | None = None,
) -> WSGIServer:
    """Serve the pages until the process ends (or `.shutdown()`).

    The client library's `_created` series are disabled: they are a third of a page and unused.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]
    named = Named() if named is None else named
    metrics = MetricsPage(registry, named)
    pages = {"/livez": checks.live, "/healthz": checks.live, "/readyz": checks.ready}

    def look(method: str, pools: list[str], *wanted: str) -> Page:
        if method != "POST" or not pools:
            status = "400 Bad Request" if method == "POST" else "405 Method Not Allowed"
            why = f"a look at pools is POST {LOOKS}?pool=NAMESPACE/NAME; to read, GET /metrics"
            return _text(status, why, headers=[("Allow", "POST")])
        named.asked(pools)
        return metrics.looked_at(pools, *wanted)

    def health(path: str) -> Page:
        check = pages.get(path)
        if check is None:
            why = "page not found; there are /livez, /readyz and /metrics"
            return _text("404 Not Found", why)
        if why := check():
            return _text("503 Service Unavailable", why)
        return _text("200 OK", "ok", checks.remark() if path == "/readyz" else "")

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path, query = environ.get("PATH_INFO", ""), environ.get("QUERY_STRING", "")
        wanted = (environ.get(f"HTTP_{name}", "") for name in ("ACCEPT", "ACCEPT_ENCODING"))
        if path == LOOKS and named.part is not None:
            page = look(environ["REQUEST_METHOD"], parse_qs(query).get("pool", []), *wanted)
        elif path == "/metrics":
            # An operator of before version 0.1 looks so: to be removed in version 0.2.
            named.asked(parse_qs(query).get("looks", ()))
            page = metrics.page(query, *wanted)
        else:
            page = health(path)
        start_response(page.status, page.headers)
        return [page.body]

    server = make_server(host, port, app, server_class=_Server, handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, name="admin", daemon=True).start()
    return server


class TooLarge(Collector):
    """Shows the namespaces that are too large, with the kind of most of their bytes."""

    def __init__(self, registry: CollectorRegistry, full: Mapping[str, str]) -> None:
        self._full = full
        registry.register(self)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return self.collect()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "kotatsu_api_namespace_too_large",
            "1 while the objects of the namespace need too much memory, most of it for this kind.",
            labels=("namespace", "kind"),
        )
        for labels in list(self._full.items()):
            family.add_metric(labels, 1)
        yield family


class ApiMetrics:
    """Counts failed calls to the API server, and watches of it that had to be restarted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._errors = Counter(
            "kotatsu_api_errors",
            "Failed calls to the Kubernetes API by status code, or unreachable; without conflicts.",
            ("reason",),
            registry=registry,
        )
        self._errors.labels("unreachable")  # exists from the start, so that rate() works
        self._restarts = Counter(
            "kotatsu_api_watch_restarts",
            "Watches of a kind that had stopped, or did not show what the API server has.",
            ("kind",),
            registry=registry,
        )

    def error(self, reason: str) -> None:
        self._errors.labels(reason).inc()

    def restart(self, kind: str, times: int) -> None:
        self._restarts.labels(kind).inc(times)


# --- the metrics page: rendered by one thread at a time, and shared by all who ask for it ---
#
# Rendering holds the interpreter, so threads that render at the same time take turns from the event
# loop, and with it from the clients of every pool.


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
    status: str = "200 OK"


def _text(status: str, *lines: str, headers: Iterable[tuple[str, str]] = ()) -> Page:
    body = "".join(f"{line}\n" for line in lines if line).encode()
    return Page([("Content-Type", "text/plain; charset=utf-8"), *headers], body, status)


_Variant = tuple[bool, bool, bool]
"""Whether a page has the named metrics alone, is of OpenMetrics, and is packed."""


class _Turns:
    """One thread renders at a time; after each rendering there is a rest of REST times as long."""

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._clock, self._sleep = clock, sleep
        self.lock = threading.Lock()
        self._free_at = 0.0

    @contextlib.contextmanager
    def rendering(self) -> Iterator[float]:
        """Wait for the end of the rest; yields the time at which the rendering begins."""
        self._sleep(max(0.0, self._free_at - self._clock()))
        began = self._clock()
        yield began
        ended = self._clock()
        self._free_at = ended + REST * (ended - began)


class MetricsPage:
    """The metrics of a registry.

    Of the `named` metrics there is a page of their own: the query `name[]` asks for it, with any
    name. Its values are read after the request has come, because what the caller decides
    depends on them. All who wait for it share it.

    With `pool` in such a query, the page has these pools alone. It costs as much as they do, and
    waits for no other page.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        named: Named,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._registry, self._named, self._part = registry, frozenset(named.metrics), named.part
        self._clock = clock
        self._whole, self._parts = _Turns(clock, sleep), _Turns(clock, sleep)
        self._pages: dict[_Variant, tuple[float, Page]] = {}
        """The latest pages, with the times at which their rendering began."""

    def page(self, query: str, accept: str = "", encoding: str = "") -> Page:
        """The page for a query and the values of two headers. May be called from any thread."""
        asked_at = self._clock()
        asked = parse_qs(query)
        is_named = not self._named.isdisjoint(asked.get("name[]", ()))
        variant = is_named, _OPEN_METRICS in accept, "gzip" in encoding
        if is_named and self._part is not None and "pool" in asked:
            return self.looked_at(asked["pool"], accept, encoding)
        enough = asked_at if is_named else asked_at - SHARED_FOR
        with self._whole.lock:
            began, page = self._pages.get(variant, (enough - 1, None))
            if page is None or began < enough:
                whole = self._registry
                registry = whole.restricted_registry(self._named) if is_named else whole
                with self._whole.rendering() as began:
                    page = self._rendered(variant, registry)
                self._pages[variant] = (began, page)
            return page

    def looked_at(self, pools: Iterable[str], accept: str = "", encoding: str = "") -> Page:
        """The named metrics of some pools, read after this call. Needs `part`."""
        assert self._part is not None  # noqa: S101  (the callers have checked it)
        variant = True, _OPEN_METRICS in accept, "gzip" in encoding
        with self._parts.lock, self._parts.rendering():
            return self._rendered(variant, self._part(dict.fromkeys(pools)))

    def _rendered(self, variant: _Variant, given: Collector) -> Page:
        _, is_open_metrics, is_packed = variant
        encode, kind = choose_encoder(_OPEN_METRICS if is_open_metrics else "")
        body, headers = encode(given), [("Content-Type", kind)]
        if is_packed:
            body = gzip.compress(body, compresslevel=1)
            headers.append(("Content-Encoding", "gzip"))
        return Page(headers, body)
