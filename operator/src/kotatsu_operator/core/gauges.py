"""Gauges of requests in flight that are found without a field, by their well-known names. Pure.

A gauge is here only if it counts the requests of the app itself. Many gauges count the request for
the metrics page too, if the app serves that page: they would never be 0. So those are found only on
a port that the Service does not use, where an exporter or a management server answers.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import chain

from kotatsu_operator.core.exposition import Samples, Silence, count_of


@dataclass(frozen=True)
class Gauge:
    """Metrics whose sum is the requests in flight."""

    names: tuple[str, ...]
    without: Mapping[str, str] = field(default_factory=dict)
    """Samples with one of these labels do not count."""
    own: int = 0
    """Requests of the exporter itself, which are always in the sum."""
    apart: bool = False
    """Whether it counts the request for the page if the app itself serves the page."""


KNOWN = (
    # Envoy. Its admin server, which has the page, counts its requests under a prefix of its own.
    Gauge(
        ("envoy_http_downstream_rq_active",), without={"envoy_http_conn_manager_prefix": "admin"}
    ),
    # nginx, by nginx-prometheus-exporter: stub_status is written while the exporter reads it.
    Gauge(("nginx_connections_reading", "nginx_connections_writing"), own=1),
    # vLLM: generations, not HTTP requests.
    Gauge(("vllm:num_requests_running", "vllm:num_requests_waiting")),
    # OpenTelemetry, http.server.active_requests (ASP.NET Core, Python, Java, Quarkus).
    Gauge(("http_server_active_requests",), apart=True),
    # Micrometer with Spring Boot: long task timer http.server.requests.active. The second name is
    # that of Micrometer 1.13 and later.
    Gauge(("http_server_requests_active_seconds_active_count",), apart=True),
    Gauge(("http_server_requests_active_seconds_gcount",), apart=True),
    # prometheus-fastapi-instrumentator, with should_instrument_requests_inprogress.
    Gauge(("http_requests_inprogress",), apart=True),
)

NAMES = tuple(chain.from_iterable(gauge.names for gauge in KNOWN))


def find(
    samples: Mapping[str, Samples], port: int | None, served: Collection[int]
) -> int | Silence | None:
    """The requests in flight by the first known gauge of a page on `port`; None without one.

    `served` are the ports that the Service leads to.
    """
    for gauge in KNOWN:
        if not any(name in samples for name in gauge.names):
            continue
        if gauge.apart and port in served:
            why = f"has the gauge {gauge.names[0]} on port {port}, which the Service uses too"
            return Silence(f"{why}: there it counts the request for the page itself", lacks=True)
        found = count_of(_counting(gauge, samples))
        if found is None:
            return Silence(f"reports no finite number for {gauge.names[0]}")
        return max(0, found - gauge.own)
    return None


def _counting(gauge: Gauge, samples: Mapping[str, Samples]) -> Samples:
    return [
        (labels, value)
        for name in gauge.names
        for labels, value in samples.get(name, ())
        if not any(labels.get(label) == out for label, out in gauge.without.items())
    ]
