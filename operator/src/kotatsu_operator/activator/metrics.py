"""What Prometheus (and the operator) sees of an activator."""

from collections.abc import Callable
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

Reason = Literal["full", "timeout", "budget"]
Direction = Literal["up", "down"]

_LABELS = ("namespace", "name")
_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 45, 60, 120)


class ActivatorMetrics:
    """The activator's series, per pool where that makes sense."""

    def __init__(self, registry: CollectorRegistry) -> None:
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
        self._wakes = Counter(
            "kotatsu_activator_wakes",
            "Times the scale was raised from 0; those that got a pod are in the wake duration.",
            _LABELS,
            registry=registry,
        )
        self._durations = Histogram(
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
            "Connections answered with 503, by reason (full, timeout, budget).",
            (*_LABELS, "reason"),
            registry=registry,
        )
        self._bytes = Counter(
            "kotatsu_activator_splice_bytes",
            "Bytes passed through, by direction (up: to the pods).",
            (*_LABELS, "direction"),
            registry=registry,
        )

    def know(self, namespace: str, name: str) -> None:
        """Begin a pool's counters at 0: whoever counts an increase needs to have seen that."""
        for metric in (self._held, self._spliced, self._wakes):
            metric.labels(namespace, name)
        for reason in get_args(Reason):
            self._refused.labels(namespace, name, reason)

    def follow(
        self,
        namespace: str,
        name: str,
        active: Callable[[], float],
        last_activity: Callable[[], float],
    ) -> None:
        """Begin what a pool has from its first connection on.

        Its activity is asked for at each scrape: it changes by the mere passing of time.
        """
        self._active.labels(namespace, name).set_function(active)
        self._last_activity.labels(namespace, name).set_function(last_activity)
        self._durations.labels(namespace, name)
        self._waits.labels(namespace, name)
        for direction in get_args(Direction):
            self._bytes.labels(namespace, name, direction)

    def show(self, namespace: str, name: str, held: int, spliced: int) -> None:
        """Show how many connections a pool has here."""
        self._held.labels(namespace, name).set(held)
        self._spliced.labels(namespace, name).set(spliced)

    def raised(self, namespace: str, name: str) -> None:
        """Count a wake that has begun."""
        self._wakes.labels(namespace, name).inc()

    def woke(self, namespace: str, name: str, seconds: float) -> None:
        """Count a wake that has got its pod."""
        self._durations.labels(namespace, name).observe(seconds)

    def waited(self, namespace: str, name: str, seconds: float) -> None:
        """Count a connection that has got its pod."""
        self._waits.labels(namespace, name).observe(seconds)

    def refused(self, namespace: str, name: str, reason: Reason) -> None:
        """Count a connection that was turned away."""
        self._refused.labels(namespace, name, reason).inc()

    def moved(self, namespace: str, name: str, upwards: int, downwards: int) -> None:
        """Count bytes."""
        if upwards:
            self._bytes.labels(namespace, name, "up").inc(upwards)
        if downwards:
            self._bytes.labels(namespace, name, "down").inc(downwards)

    def forget(self, namespace: str, name: str) -> None:
        """Drop the series of a deleted pool."""
        for metric in (
            self._held,
            self._spliced,
            self._active,
            self._last_activity,
            self._wakes,
            self._durations,
            self._waits,
            self._refused,
            self._bytes,
        ):
            metric.remove_by_labels({"namespace": namespace, "name": name})
