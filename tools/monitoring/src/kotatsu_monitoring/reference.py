"""docs/reference/metrics.md, made from the registries that the programs themselves fill."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from kotatsu_auth.metrics import AuthMetrics
from kotatsu_common.github import GitHubMetrics
from kotatsu_common.traffic import Traffic
from kotatsu_feed.metrics import FeedMetrics
from kotatsu_operator.activator.metrics import ActivatorMetrics
from kotatsu_operator.controller.elector import leader_metric
from kotatsu_operator.controller.report import NamespaceMetric, PoolMetrics
from kotatsu_operator.features.calendars.feature import calendar_metrics
from kotatsu_operator.features.notices.feature import notify_metrics
from kotatsu_operator.features.sets.feature import set_metric
from kotatsu_operator.runtime.health import ApiMetrics, TooLarge
from kotatsu_voice.metrics import VoiceMetrics

_INTRODUCTION = """\
All names begin with `kotatsu_` and use base units; counters end in `_total`. No label holds a path,
a user or a token.

`namespace` and `name` are those of the pool. The chart's monitors do not set `honorLabels`, because
any pod may claim any label. Instead they restore `namespace` by relabeling: for the operator, and
for activators that namespaces share. The series of any other activator stay in its namespace. Of
activators only series called `kotatsu_activator_…` and `kotatsu_api_…` are kept. A pod with such
labels in the release's namespace is believed, so no tenant may create pods there.
"""


def _registries() -> Mapping[str, CollectorRegistry]:
    operator, activator, every, auth, feed, voice = (CollectorRegistry() for _ in range(6))
    PoolMetrics(operator)
    NamespaceMetric(operator, lambda: ())
    calendar_metrics(operator)
    leader_metric(operator)
    notify_metrics(operator)
    set_metric(operator)
    ActivatorMetrics(activator)
    for registry in (operator, activator):
        ApiMetrics(registry)
        TooLarge(registry, {})
    Traffic(every)
    AuthMetrics(auth, lambda: 0.0)
    GitHubMetrics(auth, "kotatsu_auth")
    FeedMetrics(feed)
    GitHubMetrics(feed, "kotatsu_feed")
    VoiceMetrics(voice)
    return {
        "Operator": operator,
        "Activator": activator,
        "Every service": every,
        "auth": auth,
        "feed": feed,
        "voice": voice,
    }


@dataclass(frozen=True)
class Metric:
    """A metric as a program defines it, whether it has a value yet or not."""

    name: str
    """With `_total` for a counter."""
    kind: str
    labels: tuple[str, ...]
    text: str

    @property
    def series(self) -> tuple[str, ...]:
        """The names under which Prometheus has it."""
        if self.kind == "histogram":
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (self.name,)


def metrics(registry: CollectorRegistry) -> list[Metric]:
    """The metrics of a registry, by name.

    What has labels and no value yet is not among what the library's public ways tell.
    """
    known: Mapping[Any, Iterable[str]] = registry._collector_to_names  # noqa: SLF001
    found = [metric for collector in known for metric in _defined_by(collector)]
    return sorted(found, key=lambda m: m.name)


def _defined_by(collector: Any) -> Iterator[Metric]:
    if isinstance(collector, MetricWrapperBase):
        raw = vars(collector)
        defined = [(raw["_name"], collector._type, raw["_labelnames"], raw["_documentation"])]  # noqa: SLF001
    else:
        defined = [
            (m.name, m.type, m._labelnames, m.documentation)  # noqa: SLF001
            for m in collector.describe()
        ]
    for name, kind, labels, text in defined:
        total = "_total" if kind == "counter" else ""
        yield Metric(f"{name}{total}", str(kind), tuple(labels), text.rstrip("."))


def names() -> set[str]:
    """Every series name that one of the programs exports."""
    return {
        name
        for registry in _registries().values()
        for metric in metrics(registry)
        for name in metric.series
    }


def reference() -> str:
    """docs/reference/metrics.md below its head, which `make pages` writes."""
    parts = [_INTRODUCTION]
    for title, registry in _registries().items():
        parts.append(f"## {title}\n\n| metric | type | labels | |\n|---|---|---|---|")
        parts += [
            f"| `{m.name}` | {m.kind} | {', '.join(m.labels)} | {m.text} |"
            for m in metrics(registry)
        ]
        parts.append("")
    return "\n".join(parts)
