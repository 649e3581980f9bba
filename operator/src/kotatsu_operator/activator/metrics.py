"""The metrics of an activator, for Prometheus and the operator."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from kotatsu_operator.activator.registry import Forwarded
from kotatsu_operator.core.protocol import (
    ACTIVE,
    HELD,
    LAST_ACTIVITY,
    LAST_WAKE,
    LAST_WAKE_TOOK,
    TIMED_OUT,
)

Reason = Literal["full", "timeout", "budget", "room"]

_LABELS = ("namespace", "name")
_PREFIX = "kotatsu_activator_"
_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 45, 60, 120)


class ActivatorMetrics(Collector):
    """The activator's series, all with the namespace and name of a pool as their first labels."""

    def __init__(self, registry: CollectorRegistry) -> None:
        registry.register(self)
        self._all: list[Any] = []

        def made(kind: Any, name: str, text: str, *labels: str, **more: Sequence[float]) -> Any:
            labels = (*_LABELS, *labels)
            metric = kind(f"{_PREFIX}{name}", text, labels, registry=registry, **more)
            self._all.append(metric)
            return metric

        self._gauges: dict[str, Gauge] = {
            "held": made(Gauge, HELD.removeprefix(_PREFIX), "Connections that wait for a pod."),
            "spliced": made(Gauge, "spliced", "Connections joined to a pod."),
            "active": made(
                Gauge,
                ACTIVE.removeprefix(_PREFIX),
                "Joined connections that keep the pool awake; the quiet ones count as one.",
            ),
            "last_activity": made(
                Gauge,
                LAST_ACTIVITY.removeprefix(_PREFIX),
                "When a byte was last forwarded between a client and a pod; 0 before the first.",
            ),
        }
        self.wakes: Counter = made(
            Counter, "wakes", "Wakes: how often the scale was raised from 0."
        )
        self.durations: Histogram = made(
            Histogram,
            "wake_duration_seconds",
            "Time from the raise of the scale until a pod answers.",
            buckets=_BUCKETS,
        )
        self.waits: Histogram = made(
            Histogram,
            "wait_seconds",
            "Time for which a connection was held before it was joined to a pod.",
            buckets=(0.01, 0.05, *_BUCKETS),
        )
        self._refused: Counter = made(
            Counter,
            "refused",
            "Rejected connections by reason (full, timeout, budget: answered 503; room: closed).",
            "reason",
        )
        # Only pools with a timeout have it: reading all series of `refused` takes three times as
        # long, for each look at the demand.
        self._timed_out: Counter = made(
            Counter,
            TIMED_OUT.removeprefix(_PREFIX).removesuffix("_total"),
            "Rejected connections with the reason timeout, from the first one on.",
        )
        # The operator writes them into the pool's status.
        self._woke_at: Gauge = made(
            Gauge,
            LAST_WAKE.removeprefix(_PREFIX),
            "When the last wake began; none before one.",
        )
        self._woke_in: Gauge = made(
            Gauge,
            LAST_WAKE_TOOK.removeprefix(_PREFIX),
            "Time from the raise of the scale until a pod answered, in the last wake; none before.",
        )
        self._timeouts: dict[tuple[str, str], int] = defaultdict(int)
        self._wakes: dict[tuple[str, str], tuple[float, float | None]] = {}
        self._followed: dict[tuple[str, str], Mapping[str, Callable[[], float]]] = {}
        self._forwarded: dict[tuple[str, str], Forwarded] = {}

    def know(self, namespace: str, name: str) -> None:
        """Create a pool's counters at 0: `increase` needs a first sample."""
        for metric in (self._gauges["held"], self._gauges["spliced"], self.wakes):
            metric.labels(namespace, name)
        for reason in get_args(Reason):
            self._refused.labels(namespace, name, reason)

    def forwarded(self, namespace: str, name: str) -> Forwarded:
        """The byte counts of a pool, for its connections to add to; read at each scrape."""
        self._forwarded[namespace, name] = made = Forwarded()
        return made

    def follow(self, namespace: str, name: str, **gauges: Callable[[], float]) -> None:
        """Create the series that a pool has from its first connection.

        The gauges (held, spliced, active, last_activity) are evaluated at each scrape: thousands of
        connections may come and go in between.
        """
        self._followed[namespace, name] = gauges
        for gauge, read in gauges.items():
            self._gauges[gauge].labels(namespace, name).set_function(read)
        self.durations.labels(namespace, name)
        self.waits.labels(namespace, name)

    def raised(self, namespace: str, name: str, began: float) -> None:
        """Count a wake that has raised the scale, and note the Unix time at which it began."""
        self.wakes.labels(namespace, name).inc()
        self._woke_at.labels(namespace, name).set(began)
        self._woke_in.remove(namespace, name)  # of the wake before
        self._wakes[namespace, name] = began, None

    def woke(self, namespace: str, name: str, began: float, took: float) -> None:
        """Note that this wake has found a pod, after some seconds."""
        self.durations.labels(namespace, name).observe(took)
        self._woke_at.labels(namespace, name).set(began)
        self._woke_in.labels(namespace, name).set(took)
        self._wakes[namespace, name] = began, took

    def refused(self, namespace: str, name: str, reason: Reason) -> None:
        self._refused.labels(namespace, name, reason).inc()
        if reason == "timeout":
            self._timed_out.labels(namespace, name).inc()
            self._timeouts[namespace, name] += 1

    def forget(self, namespace: str, name: str) -> None:
        """Remove the series of a deleted pool."""
        for metric in self._all:
            metric.remove_by_labels({"namespace": namespace, "name": name})
        for kept in (self._forwarded, self._followed, self._timeouts, self._wakes):
            kept.pop((namespace, name), None)

    def part(self, pools: Iterable[str]) -> Collector:
        """What the operator reads (LOOKED_AT) of some pools, by namespace/name.

        A registry would go through the series of all pools.
        """
        keys = [(namespace, name) for namespace, _, name in (pool.partition("/") for pool in pools)]
        return _Part(
            {key: self._followed[key] for key in keys if key in self._followed},
            {key: self._timeouts[key] for key in keys if key in self._timeouts},
            {key: self._wakes[key] for key in keys if key in self._wakes},
        )

    def describe(self) -> Iterable[CounterMetricFamily]:
        """The metric that `collect` makes, without values."""
        yield CounterMetricFamily(
            f"{_PREFIX}splice_bytes",
            "Forwarded bytes by direction (up: to the pods).",
            labels=(*_LABELS, "direction"),
        )

    def collect(self) -> Iterable[Metric]:
        """The bytes forwarded, which change too often for a counter. Called from any thread."""
        for family in self.describe():
            for pool, forwarded in list(self._forwarded.items()):
                family.add_metric((*pool, "up"), forwarded.up)
                family.add_metric((*pool, "down"), forwarded.down)
            yield family


class _Part(Collector):
    """The metrics that the operator reads, of some pools."""

    def __init__(
        self,
        gauges: Mapping[tuple[str, str], Mapping[str, Callable[[], float]]],
        timeouts: Mapping[tuple[str, str], int],
        wakes: Mapping[tuple[str, str], tuple[float, float | None]],
    ) -> None:
        self._gauges, self._timeouts, self._wakes = gauges, timeouts, wakes

    def collect(self) -> Iterable[Metric]:
        """Read them. Called from any thread."""
        named = {"held": HELD, "active": ACTIVE, "last_activity": LAST_ACTIVITY}
        for gauge, metric in named.items():
            family = GaugeMetricFamily(metric, "See the page of all pools.", labels=_LABELS)
            for pool, gauges in self._gauges.items():
                family.add_metric(pool, gauges[gauge]())
            yield family
        for index, metric in enumerate((LAST_WAKE, LAST_WAKE_TOOK)):
            family = GaugeMetricFamily(metric, "See the page of all pools.", labels=_LABELS)
            for pool, wake in self._wakes.items():
                if (value := wake[index]) is not None:
                    family.add_metric(pool, value)
            yield family
        late = CounterMetricFamily(TIMED_OUT, "See the page of all pools.", labels=_LABELS)
        for pool, count in self._timeouts.items():
            late.add_metric(pool, count)
        yield late
