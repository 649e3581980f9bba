"""Finds the gauge of requests in flight on the metrics pages of a pod."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kotatsu_demo_mode.api import Api
from kotatsu_demo_mode.errors import DemoModeError
from kotatsu_demo_mode.pools import Object
from kotatsu_operator.core.exposition import LONGEST_PAGE, Samples, count_of, samples_of
from kotatsu_operator.core.formats import tables
from kotatsu_operator.core.objects import port_number
from kotatsu_operator.core.pool.spec import Metrics

from .found import Found, Page, name_of
from .reader import pod_page

NAMES = (
    Metrics.in_flight,
    "http_server_active_requests",
    "http_requests_inprogress",
    "http_server_requests_active_seconds_active_count",
    "envoy_http_downstream_rq_active",
)
"""Gauges of requests in flight: ours, those of OpenTelemetry and of common frameworks."""

_PATHS = (Metrics.path, "/actuator/prometheus")
_PORTS = ("http", "metrics", "http-metrics", "prometheus", "management")
_MOST_PAGES = 8
_PORT, _PATH = "prometheus.io/port", "prometheus.io/path"


@dataclass(frozen=True)
class Gauge:
    """A gauge of requests in flight, as it was read."""

    port: str
    path: str
    name: str
    value: int
    """The least of what was read: a gauge that counts the scrape itself is never 0."""


def candidates(found: Found) -> list[tuple[str, str]]:
    """The ports and paths that may have a metrics page, the most likely first."""
    annotations = found.annotations
    ports = [annotations[_PORT]] if _PORT in annotations else []
    named = [port for c in found.containers for port in tables(c.get("ports"))]
    names = [str(port.get("name") or port.get("containerPort")) for port in named]
    ports += [name for name in _PORTS if name in names] + names
    paths = ([annotations[_PATH]] if _PATH in annotations else []) + list(_PATHS)
    pairs = [(port, path) for path in paths if path.startswith("/") for port in ports]
    return list(dict.fromkeys(pairs))[:_MOST_PAGES]


def read_pages(api: Api, found: Found, wanted: Metrics | None) -> Found:
    """Read the metrics pages of one Ready pod; only the page of `wanted`, if it is given."""
    pods = found.ready_pods
    if found.pods.unread:
        return replace(found, pages_unread=found.pods.unread)
    if not pods:
        return replace(found, pages_unread="no pod is Ready")
    pod = pods[0]
    tried = candidates(found) if wanted is None else [(wanted.port, wanted.path)]
    pages: list[Page] = []
    for port, path in tried:
        page, forbidden = _page(api, found, pod, Page(port, path))
        if forbidden:
            return replace(found, pages_unread=forbidden)
        pages.append(page)
        gauge = gauge_of(page, NAMES if wanted is None else (wanted.in_flight,))
        if gauge is not None:
            # Once more: a gauge that is 0 only between two scrapes would never let a pool sleep.
            again, _ = _page(api, found, pod, Page(port, path))
            return replace(found, pages=[again, page] if again.text else [page])
    return replace(found, pages=pages)


def _page(api: Api, found: Found, pod: Object, page: Page) -> tuple[Page, str]:
    """A page, and why no page of the cluster may be read."""
    ports = {
        str(port.get("name") or port.get("containerPort")): int(port["containerPort"])
        for container in found.containers
        for port in tables(container.get("ports"))
    }
    number = port_number(ports, page.port)
    if number is None or not 0 < number < 2**16:
        return replace(page, why=f"has no port {page.port}"), ""
    path = pod_page(found.namespace, pod, number, page.path)
    try:
        status, text = api.page(path, LONGEST_PAGE)
    except DemoModeError as error:
        return replace(page, why=f"could not be asked: {error}"), ""
    is_refusal = '"kind":"Status"' in text[:500].replace(" ", "") and "pods/proxy" in text
    if status == 403 and is_refusal:
        return page, "you may not get pods/proxy"
    if status != 200:
        return replace(page, why=f"answers {status} for {page.path} on port {number}"), ""
    return replace(page, text=text), ""


def gauge_of(page: Page, names: Sequence[str]) -> Gauge | None:
    """The first of these gauges that a page has."""
    samples: dict[str, Samples] = {}
    try:
        for sample in samples_of(page.text, tuple(names)):
            if sample is not None:
                samples.setdefault(sample[0], []).append(sample[1:])
    except ValueError:
        return None
    for name in names:
        value = count_of(samples.get(name, ()))
        if name in samples and value is not None:
            return Gauge(page.port, page.path, name, value)
    return None


def gauge_in(pages: Sequence[Page], names: Sequence[str]) -> Gauge | None:
    """The gauge of the pages, with the least value that was read."""
    read = [gauge for page in pages if (gauge := gauge_of(page, names)) is not None]
    return min(read, key=lambda gauge: gauge.value, default=None)


def pod_of(found: Found) -> str:
    """The pod that was asked, in words."""
    return f"pod {name_of(found.ready_pods[0])}"


def told(pages: Sequence[Page]) -> Iterator[str]:
    """Why pages were not read."""
    return (page.why for page in pages if page.why)
