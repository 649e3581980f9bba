"""What Prometheus (and the operator) sees of an activator."""

import threading
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.registry import Collector

from .activity import Moved

_LABELS = ("namespace", "name")
_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 45, 60, 120)


class ActivatorMetrics:
    """The activator's series, per pool where that makes sense."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.moved = Moved()
        """For whoever moves bytes to add to; counted at each scrape."""
        registry.register(_BeforeScrape(self._count_moved))
        self._held = Gauge(
            "kotatsu_activator_held", "Connections waiting for a pod.", _LABELS, registry=registry
        )
        self._spliced = Gauge(
            "kotatsu_activator_spliced",
            "Connections joined to a pod right now.",
            _LABELS,
            registry=registry,
        )
        self._active = Gauge(
            "kotatsu_activator_active",
            "Connections joined to a pod that are in use: bytes move, or an answer is due.",
            _LABELS,
            registry=registry,
        )
        self._last_activity = Gauge(
            "kotatsu_activator_last_activity_timestamp_seconds",
            "When a byte last passed between a client and a pod; 0 before that.",
            _LABELS,
            registry=registry,
        )
        self._wakes = Histogram(
            "kotatsu_activator_wake_duration_seconds",
            "From raising the scale until a pod answers.",
            _LABELS,
            buckets=_BUCKETS,
            registry=registry,
        )
        self._waits = Histogram(
            "kotatsu_activator_wait_seconds",
            "How long a connection was held before it was joined to a pod.",
            _LABELS,
            buckets=(0.01, 0.05, *_BUCKETS),
            registry=registry,
        )
        self._refused = Counter(
            "kotatsu_activator_refused",
            "Connections turned away, by reason (full, timeout, budget: with 503; room: closed).",
            (*_LABELS, "reason"),
            registry=registry,
        )
        self._bytes = Counter(
            "kotatsu_activator_splice_bytes",
            "Bytes passed through, by direction (up: to the pods).",
            ("direction",),
            registry=registry,
        )
        self._up, self._down = self._bytes.labels("up"), self._bytes.labels("down")
        self._counted = Moved()
        self._counting = threading.Lock()  # two may scrape at once

    def follow(
        self,
        namespace: str,
        name: str,
        *,
        held: Callable[[], float],
        spliced: Callable[[], float],
        active: Callable[[], float],
        last_activity: Callable[[], float],
    ) -> None:
        """Ask for a pool's connections at each scrape: thousands may come and go between two."""
        self._held.labels(namespace, name).set_function(held)
        self._spliced.labels(namespace, name).set_function(spliced)
        self._active.labels(namespace, name).set_function(active)
        self._last_activity.labels(namespace, name).set_function(last_activity)

    def woke(self, namespace: str, name: str, seconds: float) -> None:
        """Count a wake."""
        self._wakes.labels(namespace, name).observe(seconds)

    def waited(self, namespace: str, name: str, seconds: float) -> None:
        """Count a connection that has got its pod."""
        self._waits.labels(namespace, name).observe(seconds)

    def refused(self, namespace: str, name: str, reason: str) -> None:
        """Count a connection that was turned away."""
        self._refused.labels(namespace, name, reason).inc()

    def _count_moved(self) -> None:
        with self._counting:
            now = Moved(self.moved.up, self.moved.down)
            self._up.inc(now.up - self._counted.up)
            self._down.inc(now.down - self._counted.down)
            self._counted = now

    def forget(self, namespace: str, name: str) -> None:
        """Drop the series of a deleted pool."""
        for metric in (
            self._held,
            self._spliced,
            self._active,
            self._last_activity,
            self._wakes,
            self._waits,
            self._refused,
        ):
            metric.remove_by_labels({"namespace": namespace, "name": name})


class _BeforeScrape(Collector):
    """Brings counters up to date that are too busy to be counted one by one."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        self._act()
        return ()
