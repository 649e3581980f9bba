"""The health server: /livez, /readyz and /metrics, in a thread of its own.

A probe must get an answer while the event loop is busy with ten thousand connections. /livez
reports whether the event loop still runs. The metric of failed API calls is here too.
"""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics
from prometheus_client.exposition import ThreadingWSGIServer

from kotatsu_operator.runtime.metrics_page import MetricsPage

log = logging.getLogger(__name__)

MOST = 64
"""Concurrent connections; the kubelet, Prometheus and the operator need three."""

_NO_FILES_FOR = 0.2
"""Seconds until the next accept after no file descriptor was available."""

Check = Callable[[], str]
"""Returns an empty string if the check passes, else a sentence with the reason."""


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
    *,
    asked: Callable[[str], None] = lambda _: None,
    named: Collection[str] = (),
) -> WSGIServer:
    """Serve the three pages until the process ends (or `.shutdown()`).

    `asked` is called with the query string of each request for /metrics, before any value of the
    `named` metrics is read for it (see MetricsPage). The client library's `_created` series are
    disabled: they are a third of a page and unused.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]
    metrics = MetricsPage(registry, named)
    pages = {"/livez": checks.live, "/healthz": checks.live, "/readyz": checks.ready}

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            query = environ.get("QUERY_STRING", "")
            asked(query)
            wanted = (environ.get(f"HTTP_{name}", "") for name in ("ACCEPT", "ACCEPT_ENCODING"))
            page = metrics.page(query, *wanted)
            start_response("200 OK", page.headers)
            return [page.body]
        check = pages.get(path)
        why = "page not found; there are /livez, /readyz and /metrics" if check is None else check()
        status = (
            "404 Not Found" if check is None else "503 Service Unavailable" if why else "200 OK"
        )
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        remark = checks.remark() if path == "/readyz" and not why else ""
        return [line.encode() + b"\n" for line in (why or "ok", remark) if line]

    server = make_server(host, port, app, server_class=_Server, handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, name="admin", daemon=True).start()
    return server


class ApiMetrics:
    """Counts failed calls to the API server in `kotatsu_api_errors`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._errors = Counter(
            "kotatsu_api_errors",
            "Failed calls to the Kubernetes API by status code, or unreachable; without conflicts.",
            ("reason",),
            registry=registry,
        )
        self._errors.labels("unreachable")  # exists from the start, so that rate() works

    def error(self, reason: str) -> None:
        self._errors.labels(reason).inc()
