"""docs/metrics.md, made from the registries that the programs themselves fill."""

from collections.abc import Iterable, Iterator, Mapping
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


def metrics(registry: CollectorRegistry) -> Iterator[MetricWrapperBase]:
    """The metrics of a registry, each once, in the order of their names."""
    known: Mapping[Any, Iterable[str]] = registry._collector_to_names  # noqa: SLF001
    yield from sorted(
        (c for c in known if isinstance(c, MetricWrapperBase)),
        key=lambda c: c._name,  # noqa: SLF001
    )


def names() -> set[str]:
    """Every series name that one of the programs exports."""
    found: set[str] = set()
    for registry in _registries().values():
        for metric in metrics(registry):
            name, kind = metric._name, str(metric._type)  # noqa: SLF001
            suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
            found |= {f"{name}{suffix}" for suffix in suffixes.get(kind, ("",))}
    return found


def reference() -> str:
    """The page."""
    parts = [_INTRODUCTION]
    for title, registry in _registries().items():
        parts.append(f"## {title}\n\n| metric | type | labels | |\n|---|---|---|---|")
        for metric in metrics(registry):
            kind = metric._type  # noqa: SLF001
            name = metric._name + ("_total" if kind == "counter" else "")  # noqa: SLF001
            labels = ", ".join(metric._labelnames)  # noqa: SLF001
            text = metric._documentation.rstrip(".")  # noqa: SLF001
            parts.append(f"| `{name}` | {kind} | {labels} | {text} |")
        parts.append("")
    return "\n".join(parts)
