"""Reads metrics pages in the Prometheus text format, within bounds of size and time.

Requests in flight are found by the name in spec.inFlightMetric, or by the well-known names of
gauges.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from math import isfinite

LONGEST_PAGE = 2 * 2**20
"""Bytes of a metrics page at most: a larger page is broken or hostile."""
LONGEST_LINE = 4096
"""Characters of a wanted line at most."""
_MOST_LINES = 20_000

Samples = list[tuple[Mapping[str, str], float]]
"""The labels and value of each sample of one metric."""

Sample = tuple[str, Mapping[str, str], float]
"""Name, labels and value."""


@dataclass(frozen=True)
class Silence:
    """Why a pod's demand is unknown, in words that follow the pod's name."""

    why: str
    waited: bool = field(default=False, compare=False)
    """Whether the pod used up the whole timeout."""
    lacks: bool = field(default=False, compare=False)
    """Whether the answer shows that there is no such page or metric. An overloaded pod does not
    answer so: it is slow, or answers with a 5xx."""
    status: int = field(default=0, compare=False)
    """The HTTP status of an answer without a page."""


def too_long(path: str, port: int) -> Silence:
    """The answer of a pod whose page has more than LONGEST_PAGE."""
    why = f"sends more than 2 MiB for {path} on port {port}, too much to be read"
    return Silence(f"{why} (name a smaller page in spec.inFlightMetric)", lacks=True)


def samples_of(
    text: str, names: tuple[str, ...], most: int = LONGEST_PAGE
) -> Iterator[Sample | None]:
    """The samples of some metrics; None for a line whose metric name is only a prefix match.

    Raises ValueError for an unreadable line of these metrics, and for more than `most` characters.

    This searches the text for the names and skips everything else. So the time is linear in the
    length of the page and of each of these lines. The Prometheus client's parser is quadratic in
    the length of a line.
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
            if lines > _MOST_LINES or most < 0 or end - at > LONGEST_LINE:
                raise ValueError("too long")
            yield _sample(name, text[begin:end])
            at = text.find("\n" + name, end)


_LABEL = re.compile(
    r"""(?<=[{,])[ \t]*+([a-zA-Z_][a-zA-Z0-9_]*+)[ \t]*+=[ \t]*+"""
    r""""([^"\\]*+(?:\\.[^"\\]*+)*+)"[ \t]*+"""
)


def _sample(name: str, rest: str) -> Sample | None:
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


_MOST = 2**53
"""Requests of a page: more are no count, and the sum of many pages must stay a number."""

_LATEST = 1e11
"""Seconds: a time after the year 5138 is none, and must not get beyond the last year."""


def count_of(samples: Iterable[tuple[Mapping[str, str], float]]) -> int | None:
    """The sum of the samples, without NaN.

    0 without samples; None if the sum is infinite or all samples are NaN.
    """
    given = list(samples)
    counted = numbers(given)
    total = sum(counted)
    if not isfinite(total) or (given and not counted):
        return None
    return min(max(0, round(total)), _MOST)


def unix_time(seconds: float) -> datetime | None:
    """A Unix time in seconds; None if it cannot be one (0, or milliseconds)."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if 0 < seconds < _LATEST else None
    except (OverflowError, OSError, ValueError):
        return None


# --- gauges of requests in flight that are found without a field ---
#
# A gauge is here only if it counts the requests of the app itself. Many gauges count the request
# for the metrics page too, if the app serves that page: they would never be 0. So those are found
# only on a port that the Service does not use, where an exporter or a management server answers.


@dataclass(frozen=True)
class Gauge:
    """Metrics whose sum is the requests in flight."""

    names: tuple[str, ...]
    without: Mapping[str, str] = field(default_factory=dict)
    """Samples with one of these labels do not count."""
    own: int = 0
    """Requests of the exporter itself, which are always in the sum."""
    counts_page: bool = False
    """Whether it counts the request for the page if the app itself serves the page."""


GAUGES = (
    # Envoy. Its admin server, which has the page, counts its requests under a prefix of its own.
    Gauge(
        ("envoy_http_downstream_rq_active",), without={"envoy_http_conn_manager_prefix": "admin"}
    ),
    # nginx, by nginx-prometheus-exporter: stub_status is written while the exporter reads it.
    Gauge(("nginx_connections_reading", "nginx_connections_writing"), own=1),
    # vLLM: generations, not HTTP requests.
    Gauge(("vllm:num_requests_running", "vllm:num_requests_waiting")),
    # OpenTelemetry, http.server.active_requests in old and new semantic conventions.
    Gauge(("http_server_active_requests",), counts_page=True),
    # Spring Boot: Micrometer's long task timer http.server.requests.active. Since Micrometer 1.13
    # (Boot 3.3) it is a summary, whose count is the requests in flight, or with a histogram a
    # gcount. A page has one of the names.
    Gauge(
        (
            "http_server_requests_active_seconds_count",
            "http_server_requests_active_seconds_gcount",
            "http_server_requests_active_seconds_active_count",
        ),
        counts_page=True,
    ),
    # prometheus-fastapi-instrumentator, with should_instrument_requests_inprogress.
    Gauge(("http_requests_inprogress",), counts_page=True),
    # starlette_exporter.
    Gauge(("starlette_requests_in_progress",), counts_page=True),
    # Docker's registry (distribution): its debug server has the page, and is not counted.
    Gauge(("registry_http_in_flight_requests",)),
)

GAUGE_NAMES = tuple(chain.from_iterable(gauge.names for gauge in GAUGES))

FROM_THE_START = ("application_ready_time_seconds", "target_info", "python_info")
"""Metrics on the pages of Spring Boot, OpenTelemetry and Python's client before the first request.
Their gauges appear with the first request, so a page with these and no gauge means 0, if other pods
of the template have shown the gauge."""


def find_gauge(
    samples: Mapping[str, Samples], port: int | None, served: Collection[int]
) -> int | Silence | None:
    """The requests in flight by the first known gauge of a page on `port`; None without one.

    `served` are the ports that the Service leads to.
    """
    for gauge in GAUGES:
        if not any(name in samples for name in gauge.names):
            continue
        if gauge.counts_page and port in served:
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
