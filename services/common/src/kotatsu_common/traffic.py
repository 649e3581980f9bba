"""What the pods tell about their own load, and how they say goodbye.

The operator scrapes `kotatsu_requests_in_flight` and `kotatsu_last_request_timestamp_seconds` from
each pod to know whether it is idle: the two names are a contract. Probes and scrapes are no
traffic, or a pod would never be idle.
"""

import logging
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PROBE_PATHS = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
IN_FLIGHT = "kotatsu_requests_in_flight"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_LOGGED = 500
"""Characters of a path that are logged; ours are short."""
logger = logging.getLogger("kotatsu.access")


class Drain:
    """Whether this process is leaving: it still answers, but asks clients not to come back."""

    def __init__(self) -> None:
        self.draining = False

    def start(self) -> None:
        """Answer with `Connection: close` from now on. Safe in a signal handler."""
        self.draining = True


class Traffic:
    """The metrics of one app's requests, in its own registry."""

    def __init__(
        self,
        registry: CollectorRegistry,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.now = now
        self.clock = clock
        self.in_flight = Gauge(
            IN_FLIGHT,
            "Requests that have begun and are not completely answered",
            registry=registry,
        )
        self.last_request = Gauge(
            "kotatsu_last_request_timestamp_seconds",
            "Unix time when a request last began or ended; 0 before the first",
            registry=registry,
        )
        self.requests = Counter(
            "kotatsu_http_requests_total",
            "Answered requests by method and class of status",
            ("method", "status"),
            registry=registry,
        )
        self.duration = Histogram(
            "kotatsu_http_request_duration_seconds",
            "Time from the beginning of a request to the last byte of its answer",
            buckets=_BUCKETS,
            registry=registry,
        )

    def began(self) -> float:
        """Count a request in; returns the clock to hand to `ended`."""
        self.in_flight.inc()
        self.last_request.set(self.now())
        return self.clock()

    def ended(self, began: float, method: str, status: int | None) -> float:
        """Count a request out, whatever became of it; returns its seconds."""
        seconds = self.clock() - began
        self.in_flight.dec()
        self.last_request.set(self.now())
        label = f"{status // 100}xx" if status else "aborted"
        self.requests.labels(method if method in _METHODS else "other", label).inc()
        self.duration.observe(seconds)
        return seconds


class TrafficMiddleware:
    """Outermost middleware: counts every request but probes, and marks answers while draining.

    A request is in flight until the app has sent its last byte or the client is gone, so a stream
    counts for as long as it flows.
    """

    def __init__(self, app: ASGIApp, traffic: Traffic, drain: Drain) -> None:
        self.app = app
        self.traffic = traffic
        self.drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        status: int | None = None

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self.drain.draining and scope["http_version"] == "1.1":
                    message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        if scope["path"] in PROBE_PATHS:
            return await self.app(scope, receive, watch)
        began = self.traffic.began()
        try:
            await self.app(scope, receive, watch)
        except Exception:
            status = 500 if status is None else status
            raise
        finally:
            seconds = self.traffic.ended(began, scope["method"], status)
            access = {"status": status or 0, "seconds": round(seconds, 4)}
            logger.info("%s %s", scope["method"], scope["path"][:_LOGGED], extra=access)
