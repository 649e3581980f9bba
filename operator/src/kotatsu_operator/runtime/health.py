"""The pages beside the work: /livez, /readyz and /metrics, in a thread of their own.

A thread, since a probe must be answered while the event loop is busy with ten thousand connections;
whether the loop still turns is what /livez asks.
"""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, disable_created_metrics, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

log = logging.getLogger(__name__)

MOST = 64
"""Clients at a time: kubelet, Prometheus and the operator are three."""

_NO_FILES_FOR = 0.2
"""Seconds until it is tried again, when no file could be opened for a connection."""

Check = Callable[[], str]
"""Returns an empty string when all is well, else a sentence."""


@dataclass(frozen=True)
class Checks:
    """What a program says of itself."""

    live: Check
    ready: Check
    remark: Check = lambda: ""
    """What is not well although the program is ready: one more line of /readyz."""


class _Quiet(WSGIRequestHandler):
    """Probes and scrapes are not worth a line in the log."""

    timeout = 10.0
    """Seconds that a client may be silent: each one has a thread."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


class _Server(ThreadingWSGIServer):
    """Answers each client in a thread, at most `MOST` at a time: the oldest makes room.

    Anybody who reaches the pod may connect, and each connection costs a thread and an open file of
    a process that has others to open. A probe is answered within milliseconds, so the oldest of so
    many is none.
    """

    request_queue_size = 2 * MOST

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._open: dict[socket.socket, None] = {}
        self._opening = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin to answer a client."""
        with self._opening:
            self._open[request] = None
            oldest = next(iter(self._open)) if len(self._open) > MOST else None
            if oldest is not None:
                del self._open[oldest]
        if oldest is not None:
            with contextlib.suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)  # its thread reads the end, and goes
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """A client has its answer, or gets none."""
        with self._opening:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A client that goes, or says nothing, is no error of ours."""
        log.debug("the admin page of %s", client_address, exc_info=True)

    def get_request(self) -> Any:
        """Wait a moment where nobody can be accepted: the client is still there to be seen."""
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
) -> WSGIServer:
    """Serve the three pages until the process ends (or `.shutdown()`).

    `asked` is called with the query of each question for /metrics, before any value is read.

    The library's `_created` series, a third of a page, are left out: nobody asks for them.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]
    metrics = make_wsgi_app(registry)
    pages = {"/livez": checks.live, "/healthz": checks.live, "/readyz": checks.ready}

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            asked(environ.get("QUERY_STRING", ""))
            page: Iterable[bytes] = metrics(environ, start_response)
            return page
        check = pages.get(path)
        why = "no such page: there are /livez, /readyz and /metrics" if check is None else check()
        status = (
            "404 Not Found" if check is None else "503 Service Unavailable" if why else "200 OK"
        )
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        remark = checks.remark() if path == "/readyz" and not why else ""
        return [line.encode() + b"\n" for line in (why or "ok", remark) if line]

    server = make_server(host, port, app, server_class=_Server, handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, name="admin", daemon=True).start()
    return server
