"""The metrics of an activator, for Prometheus and the operator."""

from collections import Counter as Count
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, get_args

from prometheus_client import CollectorRegistry, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from kotatsu_operator.activator.registry import Forwarded
from kotatsu_operator.core.protocol import (
    ACTIVE,
    HELD,
    LAST_ACTIVITY,
    LAST_WAKE,
    LAST_WAKE_TOOK,
    MARKED,
    TIMED_OUT,
)

Reason = Literal["full", "timeout", "budget", "room"]
Key = tuple[str, str]
"""(namespace, name) of a pool."""
Gauges = Mapping[str, Callable[[], Any]]
"""held, spliced, active and last_activity of a pool, as they are when called, and `marked`: the
connections in use to each marked pod, by its name."""

_LABELS = ("namespace", "name")
_PREFIX = "kotatsu_activator_"
_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 45, 60, 120)


class ActivatorMetrics(Collector):
    """The activator's series, all with the namespace and name of a pool as their first labels.

    But for the histograms, a pool has numbers, and its series are made at each scrape: those of
    prometheus_client take 500 bytes each, for each of 10,000 sleeping pools.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.durations = Histogram(
            f"{_PREFIX}wake_duration_seconds",
            "Time from the raise of the scale until a pod answers.",
            _LABELS,
            registry=registry,
            buckets=_BUCKETS,
        )
        self.waits = Histogram(
            f"{_PREFIX}wait_seconds",
            "Time for which a connection was held before it was joined to a pod.",
            _LABELS,
            registry=registry,
            buckets=(0.01, 0.05, *_BUCKETS),
        )
        self._known: dict[Key, None] = {}
        """The pools whose counters exist, in order."""
        self._raised: Count[Key] = Count()
        self._refused: Count[tuple[Key, Reason]] = Count()
        self._wakes: dict[Key, tuple[float, float | None]] = {}
        """When the last wake of a pool began, and how long it took."""
        self._followed: dict[Key, Gauges] = {}
        self._forwarded: dict[Key, Forwarded] = {}
        registry.register(self)

    def know(self, namespace: str, name: str) -> None:
        """Create a pool's counters at 0: `increase` needs a first sample."""
        self._known[namespace, name] = None

    def forwarded(self, namespace: str, name: str) -> Forwarded:
        """The byte counts of a pool, for its connections to add to; read at each scrape."""
        self._forwarded[namespace, name] = made = Forwarded()
        return made

    def follow(self, namespace: str, name: str, **gauges: Callable[[], Any]) -> None:
        """Create the series that a pool has from its first connection.

        The gauges are evaluated at each scrape: thousands of connections come and go in between.
        """
        self._followed[namespace, name] = gauges
        self.durations.labels(namespace, name)
        self.waits.labels(namespace, name)

    def raised(self, namespace: str, name: str, began: float) -> None:
        """Count a wake that has raised the scale, and note the Unix time at which it began."""
        self._raised[namespace, name] += 1
        self._wakes[namespace, name] = began, None

    def woke(self, namespace: str, name: str, began: float, took: float) -> None:
        """Note that this wake has found a pod, after some seconds."""
        self.durations.labels(namespace, name).observe(took)
        self._wakes[namespace, name] = began, took

    def refused(self, namespace: str, name: str, reason: Reason) -> None:
        self._refused[(namespace, name), reason] += 1

    def forget(self, namespace: str, name: str) -> None:
        """Remove the series of a deleted pool."""
        for metric in (self.durations, self.waits):
            metric.remove_by_labels({"namespace": namespace, "name": name})
        for kept in (self._known, self._raised, self._forwarded, self._followed, self._wakes):
            kept.pop((namespace, name), None)
        for reason in get_args(Reason):
            self._refused.pop(((namespace, name), reason), None)

    def part(self, pools: Iterable[str]) -> Collector:
        """What the operator reads (LOOKED_AT) of some pools, by namespace/name.

        A registry would go through the series of all pools.
        """
        keys = [(namespace, name) for namespace, _, name in (pool.partition("/") for pool in pools)]
        return _Part(self, keys)

    def describe(self) -> Iterable[Metric]:
        """The metrics that `collect` makes, without values."""
        yield from self._counts([])
        yield from self.looked_at([])

    def collect(self) -> Iterable[Metric]:
        """Make the series of all pools. Called from any thread."""
        keys = list({**self._known, **self._followed})
        yield from self._counts(keys)
        yield from self.looked_at(keys)

    def _counts(self, keys: list[Key]) -> Iterator[Metric]:
        """What is counted of pools, from 0 on."""
        spliced = GaugeMetricFamily(
            f"{_PREFIX}spliced", "Connections joined to a pod.", labels=_LABELS
        )
        wakes = CounterMetricFamily(
            f"{_PREFIX}wakes", "Wakes: how often the scale was raised from 0.", labels=_LABELS
        )
        refused = CounterMetricFamily(
            f"{_PREFIX}refused",
            "Rejected connections by reason (full, timeout, budget: answered 503; room: closed).",
            labels=(*_LABELS, "reason"),
        )
        for key in keys:
            spliced.add_metric(key, self._value(key, "spliced"))
            wakes.add_metric(key, self._raised[key])
            for reason in get_args(Reason):
                refused.add_metric((*key, reason), self._refused[key, reason])
        moved = CounterMetricFamily(
            f"{_PREFIX}splice_bytes",
            "Forwarded bytes by direction (up: to the pods).",
            labels=(*_LABELS, "direction"),
        )
        for key in keys:
            if (forwarded := self._forwarded.get(key)) is not None:
                moved.add_metric((*key, "up"), forwarded.up)
                moved.add_metric((*key, "down"), forwarded.down)
        yield from (spliced, wakes, refused, moved)

    def looked_at(self, keys: list[Key]) -> Iterator[Metric]:
        """What the operator reads too. Called from any thread."""
        held = GaugeMetricFamily(HELD, "Connections that wait for a pod.", labels=_LABELS)
        active = GaugeMetricFamily(
            ACTIVE,
            "Joined connections that keep the pool awake; the quiet ones count as one.",
            labels=_LABELS,
        )
        last = GaugeMetricFamily(
            LAST_ACTIVITY,
            "When a byte was last forwarded between a client and a pod; 0 before the first.",
            labels=_LABELS,
        )
        woke_at = GaugeMetricFamily(
            LAST_WAKE, "When the last wake began; none before one.", labels=_LABELS
        )
        woke_in = GaugeMetricFamily(
            LAST_WAKE_TOOK,
            "Time from the raise of the scale until a pod answered, in the last wake; none before.",
            labels=_LABELS,
        )
        # Only pools with a timeout have it: reading all series of `refused` takes three times as
        # long, for each look at the demand.
        late = CounterMetricFamily(
            TIMED_OUT.removesuffix("_total"),
            "Rejected connections with the reason timeout, from the first one on.",
            labels=_LABELS,
        )
        marked = GaugeMetricFamily(
            MARKED,
            "Connections in use to a pod that goes with the next step down; none for others.",
            labels=(*_LABELS, "pod"),
        )
        for key in keys:
            held.add_metric(key, self._value(key, "held"))
            if key in self._followed:
                active.add_metric(key, self._value(key, "active"))
                last.add_metric(key, self._value(key, "last_activity"))
                for pod, number in self._followed[key]["marked"]().items():
                    marked.add_metric((*key, pod), number)
            began, took = self._wakes.get(key, (None, None))
            if began is not None:
                woke_at.add_metric(key, began)
            if took is not None:
                woke_in.add_metric(key, took)
            if timeouts := self._refused[key, "timeout"]:
                late.add_metric(key, timeouts)
        yield from (held, active, last, woke_at, woke_in, late, marked)

    def _value(self, key: Key, gauge: str) -> float:
        """A gauge of a pool; 0 before its first connection."""
        gauges = self._followed.get(key)
        return 0.0 if gauges is None else float(gauges[gauge]())


class _Part(Collector):
    """The metrics that the operator reads, of some pools."""

    def __init__(self, metrics: ActivatorMetrics, keys: list[Key]) -> None:
        self._metrics, self._keys = metrics, keys

    def collect(self) -> Iterator[Metric]:
        return self._metrics.looked_at(self._keys)
