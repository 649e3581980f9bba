"""What a WarmPool for a workload says that nobody wrote: its Service, and where its gauge may be.

The plugin's `check` and `create` choose by it, and so do WarmPoolSets. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kotatsu_operator.core.formats import table
from kotatsu_operator.core.objects import Object, serves
from kotatsu_operator.core.pool.spec import InFlightMetric

_PATHS = (InFlightMetric.path, "/actuator/prometheus", "/stats/prometheus")
_PORTS = ("http", "metrics", "http-metrics", "prometheus", "management")
_MOST_PAGES = 8
_PORT, _PATH = "prometheus.io/port", "prometheus.io/path"


def waking(labels: Mapping[str, str], services: Iterable[Object]) -> list[str]:
    """The Services that select pods with these labels and can wake them: all but headless ones."""
    return sorted(
        str(table(service.get("metadata")).get("name"))
        for service in services
        if (selector := table(service.get("spec")).get("selector"))
        and serves(selector, labels)
        and table(service.get("spec")).get("clusterIP") != "None"
    )


def choose(workload: str, labels: Mapping[str, str], services: Sequence[Object]) -> str:
    """The Service of a workload: one that selects its pods and can wake them, first by its name.

    Without one: a Service of the workload's name, whatever is to be said of it.
    """
    chosen = waking(labels, services)
    if workload in chosen or not chosen:
        return workload
    for service in services:
        is_named = table(service.get("metadata")).get("name") == workload
        if is_named and not table(service.get("spec")).get("selector"):
            return workload  # for route Activator
    return chosen[0]


def gauge_pages(ports: Mapping[str, int], annotations: Mapping[str, str]) -> list[tuple[str, str]]:
    """The ports and paths of a pod that may have a metrics page, the most likely first.

    `ports` are those of its containers by name; `annotations` those of the pod template.
    """
    asked = [annotations[_PORT]] if _PORT in annotations else []
    names = list(ports)
    asked += [name for name in _PORTS if name in names] + names
    paths = ([annotations[_PATH]] if _PATH in annotations else []) + list(_PATHS)
    pairs = [(port, path) for path in paths if path.startswith("/") for port in asked]
    return list(dict.fromkeys(pairs))[:_MOST_PAGES]


def metric_field(port: str, path: str) -> dict[str, Any]:
    """The field `inFlightMetric` of a gauge: what differs from its defaults."""
    found: dict[str, Any] = {}
    if port != InFlightMetric.port:
        found["port"] = int(port) if port.isdigit() else port
    if path != InFlightMetric.path:
        found["path"] = path
    return found
