"""Finds the gauge of requests in flight on the metrics pages of a pod, as the operator does."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isfinite

from kotatsu_demo_mode.api import Api
from kotatsu_demo_mode.errors import DemoModeError
from kotatsu_demo_mode.objects import Object, name_of
from kotatsu_operator.core import exposition
from kotatsu_operator.core.objects import container_ports
from kotatsu_operator.core.pool.proposal import gauge_pages
from kotatsu_operator.core.pool.spec import InFlightMetric

from .found import Case, Found, Page, target_port
from .reader import pod_page


@dataclass(frozen=True)
class Gauge:
    """A gauge of requests in flight, as it was read."""

    port: str
    path: str
    name: str
    value: int
    """The least of what was read: a gauge that counts the scrape itself is never 0."""


def read_pages(api: Api, case: Case) -> Found:
    """Read the metrics pages of one Ready pod; only that of the pool's spec, if it names one."""
    found, wanted = case.found, case.metric
    pods = found.ready_pods
    if why := found.why_no_pod:
        return replace(found, pages_unread=why)
    tried = [] if wanted is None else [(wanted.port, wanted.path)]
    tried = tried or gauge_pages(container_ports(found.pod_spec), found.annotations)
    pages: list[Page] = []
    for port, path in tried:
        page, forbidden = _page(api, found, pods[0], Page(port, path))
        if forbidden:
            return replace(found, pages_unread=forbidden)
        pages.append(page)
        if isinstance(gauge_of(case, page), Gauge):
            # Once more: a gauge that counts the request for the page is above 0 both times.
            again, _ = _page(api, found, pods[0], Page(port, path))
            return replace(found, pages=[again, page] if again.text else [page])
    return replace(found, pages=pages)


def _page(api: Api, found: Found, pod: Object, page: Page) -> tuple[Page, str]:
    """A page, and why no page of the cluster may be read."""
    number = found.number_of(page.port)
    if number is None:
        return replace(page, why=f"has no port {page.port}"), ""
    path = pod_page(found.namespace, pod, number, page.path)
    try:
        status, text = api.page(path, exposition.LONGEST_PAGE + 1)
    except DemoModeError as error:
        return replace(page, why=f"could not be read: {error}"), ""
    is_refusal = '"kind":"Status"' in text[:500].replace(" ", "") and "pods/proxy" in text
    if status == 403 and is_refusal:
        return page, "you may not get pods/proxy"
    if status != 200:
        return replace(page, why=f"answers {status} for {page.path} on port {number}"), ""
    if len(text.encode()) > exposition.LONGEST_PAGE:
        return replace(page, why=exposition.too_long(page.path, number).why), ""
    return replace(page, text=text), ""


def gauge_of(case: Case, page: Page) -> Gauge | exposition.Silence | None:
    """The gauge on a page; why a known one is of no use there; None without one."""
    wanted = InFlightMetric.name if case.metric is None else case.metric.name
    is_default = wanted == InFlightMetric.name
    samples: dict[str, exposition.Samples] = {}
    try:
        for sample in exposition.samples_of(
            page.text, (wanted, *exposition.GAUGE_NAMES) if is_default else (wanted,)
        ):
            if sample is not None:
                samples.setdefault(sample[0], []).append(sample[1:])
    except ValueError:
        return None
    name, value = wanted, exposition.count_of(samples.get(wanted, ()))
    if wanted not in samples:
        if not is_default:
            return None
        served = [case.found.number_of(target_port(port)) for port in case.tcp_ports]
        numbers = [number for number in served if number is not None]
        known = exposition.find_gauge(samples, case.found.number_of(page.port), numbers)
        if not isinstance(known, int):
            return known
        name, value = next(name for name in exposition.GAUGE_NAMES if name in samples), known
    return None if value is None else Gauge(page.port, page.path, name, value)


def lacks_gauge(case: Case) -> bool:
    """Whether a pod was asked, and shows no gauge."""
    return bool(case.found.pages) and not case.found.pages_unread and gauge_in(case) is None


def gauge_in(case: Case) -> Gauge | None:
    """The gauge of the pages, with the least value that was read."""
    read = [gauge_of(case, page) for page in case.found.pages]
    found = [gauge for gauge in read if isinstance(gauge, Gauge)]
    return min(found, key=lambda gauge: gauge.value, default=None)


_MAXIMUM = "http_server_requests_seconds_max"
"""Micrometer's longest request of the last minutes."""
_BUCKETS = "_seconds_bucket"
_NAME = re.compile(r"[a-zA-Z0-9_:]+", re.ASCII)
_NOT_OF_PASSED_REQUESTS = ("active", "client")
_LONGEST_NAME = 200


def _is_of_requests(name: str) -> bool:
    """Whether this names a histogram of requests that the pod has served, before the unit."""
    others = any(part in name for part in _NOT_OF_PASSED_REQUESTS)
    return "request" in name and not others and _NAME.fullmatch(name) is not None


def longest_request(case: Case) -> float:
    """The seconds that a request of the pod took at least, by its pages; 0 if they do not say it.

    Of a histogram in seconds it is the lower end of the last bucket that has a request.
    """
    took = (seconds for page in case.found.pages for seconds in _durations(page.text))
    return max(took, default=0.0)


def _durations(text: str) -> Iterator[float]:
    """What each series of a page says; nothing after a line that cannot be read."""
    names, at = set[str](), text.find(f"{_BUCKETS}{{")
    while at >= 0:
        names.add(text[text.rfind("\n", max(0, at - _LONGEST_NAME), at) + 1 : at])
        at = text.find(f"{_BUCKETS}{{", at + 1)
    wanted = sorted(f"{name}{_BUCKETS}" for name in names if _is_of_requests(name))
    series: dict[tuple[object, ...], list[tuple[float, float]]] = {}
    try:
        for sample in exposition.samples_of(text, (_MAXIMUM, *wanted)):
            if sample is None:
                continue
            name, labels, value = sample
            if name == _MAXIMUM and isfinite(value):
                yield value
            elif "le" in labels:
                of = (name, *sorted((k, v) for k, v in labels.items() if k != "le"))
                series.setdefault(of, []).append((float(labels["le"]), value))
    except ValueError:
        return
    for buckets in series.values():
        edge = total = 0.0
        for upper, value in sorted(buckets):
            if value > total:
                yield edge
            edge, total = upper, value


def may_appear(case: Case) -> bool:
    """Whether a page is of a program whose gauge appears with the first request."""
    return any(
        f"\n{name}" in f"\n{p.text}" for p in case.found.pages for name in exposition.FROM_THE_START
    )


def pod_of(found: Found) -> str:
    """The pod that was asked, in words."""
    return f"pod {name_of(found.ready_pods[0])}"


def silences(case: Case) -> Iterator[str]:
    """Why pages give no gauge, in words that follow the pod's name; known gauges come first."""
    for page in case.found.pages:
        known = gauge_of(case, page)
        if isinstance(known, exposition.Silence):
            yield known.why
    yield from (page.why for page in case.found.pages if page.why)
