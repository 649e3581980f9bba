"""The metrics of notifications, by receiver."""

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge


class Outcome(StrEnum):
    """What became of an attempt or of a notification."""

    SENT = "sent"
    RETRIED = "retried"
    """An attempt failed, and another one follows."""
    FAILED = "failed"
    """The receiver rejected it, or did not accept it for an hour."""
    DROPPED = "dropped"
    """Too many waited for the receiver."""


class NotifyMetrics:
    """Counts notifications. The label is the receiver's name, which is no secret."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._count = Counter(
            "kotatsu_notifications",
            "Notifications by receiver and outcome: sent; failed (rejected, or not accepted for "
            "an hour); dropped (too many waited). And retried: failed attempts that are repeated.",
            ("receiver", "outcome"),
            registry=registry,
        )
        self._valid = Gauge(
            "kotatsu_notification_receivers_valid",
            "0 while the file of notification receivers cannot be read or is invalid.",
            registry=registry,
        )
        self._valid.set(1)

    def begin(self, receiver: str) -> None:
        """Make the series of a receiver, so that rate() works from the start."""
        for outcome in Outcome:
            self._count.labels(receiver, outcome.value)

    def end(self, receiver: str) -> None:
        """Remove the series of a receiver that is configured no more."""
        for outcome in Outcome:
            self._count.remove(receiver, outcome.value)

    def count(self, receiver: str, outcome: Outcome) -> None:
        """Count one attempt or notification."""
        self._count.labels(receiver, outcome.value).inc()

    def valid(self, *, is_valid: bool) -> None:
        """Report whether the file is valid."""
        self._valid.set(is_valid)
