"""The metrics of an activator, for Prometheus and the operator."""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.registry import Collector

from kotatsu_operator.activator.proxy.activity import Moved

Reason = Literal["full", "timeout", "budget", "room"]
Direction = Literal["up", "down"]

_LABELS = ("namespace", "name")
_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 45, 60, 120)


class ActivatorMetrics:
    """The activator's series, per pool where that applies."""

    def __init__(self, registry: CollectorRegistry) -> None:
        registry.register(_BeforeScrape(self._count_moved))

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"kotatsu_activator_{name}", text, _LABELS, registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(
                f"kotatsu_activator_{name}", text, (*_LABELS, *labels), registry=registry
            )

        def histogram(name: str, text: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(
                f"kotatsu_activator_{name}", text, _LABELS, buckets=buckets, registry=registry
            )

        self._held = gauge("held", "Connections that wait for a pod.")
        self._spliced = gauge("spliced", "Connections joined to a pod.")
        self._active = gauge(
            "active", "Joined connections in use: bytes move, or an answer is due."
        )
        self._last_activity = gauge(
            "last_activity_timestamp_seconds",
            "When a byte was last forwarded between a client and a pod; 0 before the first.",
        )
        self._wakes = counter("wakes", "Wakes: how often the scale was raised from 0.")
        self._durations = histogram(
            "wake_duration_seconds",
            "Time from the raise of the scale until a pod answers.",
            _BUCKETS,
        )
        self._waits = histogram(
            "wait_seconds",
            "Time for which a connection was held before it was joined to a pod.",
            (0.01, 0.05, *_BUCKETS),
        )
        self._refused = counter(
            "refused",
            "Rejected connections by reason (full, timeout, budget: answered 503; room: closed).",
            "reason",
        )
        self._bytes = counter(
            "splice_bytes", "Forwarded bytes by direction (up: to the pods).", "direction"
        )
        self._of_a_pool = (
            self._held, self._spliced, self._active, self._last_activity, self._wakes,
            self._durations, self._waits, self._refused, self._bytes,
        )  # fmt: skip
        self._moved: dict[tuple[str, str], tuple[Moved, Moved]] = {}
        """By pool: the bytes moved, and the part already added to the counter."""
        self._counting = threading.Lock()  # scrapes may run at the same time

    def know(self, namespace: str, name: str) -> None:
        """Create a pool's counters at 0: `increase` needs a first sample."""
        for metric in (self._held, self._spliced, self._wakes):
            metric.labels(namespace, name)
        for reason in get_args(Reason):
            self._refused.labels(namespace, name, reason)

    def moved(self, namespace: str, name: str) -> Moved:
        """The byte counts of a pool, for its connections to add to; read at each scrape."""
        made = Moved()
        with self._counting:
            self._moved[namespace, name] = (made, Moved())
        return made

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
        """Create the series that a pool has from its first connection.

        The callbacks are evaluated at each scrape: thousands of connections may come and go in
        between.
        """
        self._held.labels(namespace, name).set_function(held)
        self._spliced.labels(namespace, name).set_function(spliced)
        self._active.labels(namespace, name).set_function(active)
        self._last_activity.labels(namespace, name).set_function(last_activity)
        self._durations.labels(namespace, name)
        self._waits.labels(namespace, name)
        for direction in get_args(Direction):
            self._bytes.labels(namespace, name, direction)

    def raised(self, namespace: str, name: str) -> None:
        """Count a wake: the scale was raised from 0."""
        self._wakes.labels(namespace, name).inc()

    def woke(self, namespace: str, name: str, seconds: float) -> None:
        """Record the duration of a wake, in seconds, when a pod answers."""
        self._durations.labels(namespace, name).observe(seconds)

    def waited(self, namespace: str, name: str, seconds: float) -> None:
        """Record the time that a connection was held, in seconds, when it is joined to a pod."""
        self._waits.labels(namespace, name).observe(seconds)

    def refused(self, namespace: str, name: str, reason: Reason) -> None:
        """Count a rejected connection."""
        self._refused.labels(namespace, name, reason).inc()

    def _count_moved(self) -> None:
        with self._counting:
            for pool, (moved, counted) in self._moved.items():
                up, down = moved.up, moved.down
                self._bytes.labels(*pool, "up").inc(up - counted.up)
                self._bytes.labels(*pool, "down").inc(down - counted.down)
                counted.up, counted.down = up, down

    def forget(self, namespace: str, name: str) -> None:
        """Remove the series of a deleted pool."""
        for metric in self._of_a_pool:
            metric.remove_by_labels({"namespace": namespace, "name": name})
        with self._counting:
            self._moved.pop((namespace, name), None)


class _BeforeScrape(Collector):
    """Updates counters at each scrape that change too often to update each time."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        self._act()
        return ()
