"""docs/metrics.md, made from the registries that the programs themselves fill."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from kotatsu_auth.metrics import AuthMetrics
from kotatsu_common.github import GitHubMetrics
from kotatsu_common.traffic import Traffic
from kotatsu_feed.metrics import FeedMetrics
from kotatsu_operator.activator.metrics import ActivatorMetrics
from kotatsu_operator.leader import leader_metric
from kotatsu_operator.metrics import ApiMetrics, PoolMetrics
from kotatsu_voice.metrics import VoiceMetrics

_INTRODUCTION = """\
# Metrics

Made from the code by `make monitoring`. All names begin with `kotatsu_` and use base units;
counters end in `_total`. `namespace` and `name` are the pool's: scrape with `honor_labels: true`,
as the chart's PodMonitor does and [monitoring.md](monitoring.md) shows. No label ever holds a path,
a user or a token.
"""


def _registries() -> Mapping[str, CollectorRegistry]:
    operator, activator, every, auth, feed, voice = (CollectorRegistry() for _ in range(6))
    PoolMetrics(operator)
    leader_metric(operator)
    ActivatorMetrics(activator)
    for registry in (operator, activator):
        ApiMetrics(registry)
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
    found = [vars(c) | {"_type": c._type} for c in known if isinstance(c, MetricWrapperBase)]  # noqa: SLF001
    return [
        Metric(
            name=m["_name"] + ("_total" if m["_type"] == "counter" else ""),
            kind=m["_type"],
            labels=tuple(m["_labelnames"]),
            text=m["_documentation"].rstrip("."),
        )
        for m in sorted(found, key=lambda m: str(m["_name"]))
    ]


def names() -> set[str]:
    """Every series name that one of the programs exports."""
    return {
        name
        for registry in _registries().values()
        for metric in metrics(registry)
        for name in metric.series
    }


def reference() -> str:
    """The page."""
    parts = [_INTRODUCTION]
    for title, registry in _registries().items():
        parts.append(f"## {title}\n\n| metric | type | labels | |\n|---|---|---|---|")
        parts += [
            f"| `{m.name}` | {m.kind} | {', '.join(m.labels)} | {m.text} |"
            for m in metrics(registry)
        ]
        parts.append("")
    return "\n".join(parts)
