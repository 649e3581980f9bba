"""Calls that the API server refused, for operator and activator alike."""

from prometheus_client import CollectorRegistry, Counter


class ApiMetrics:
    """What the Kubernetes API refused, for operator and activator alike."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._errors = Counter(
            "kotatsu_api_errors",
            "Calls that the Kubernetes API refused (by status code) or did not answer "
            "(unreachable); conflicts are not among them.",
            ("reason",),
            registry=registry,
        )
        self._errors.labels("unreachable")  # there from the start, so that rates work

    def error(self, reason: str) -> None:
        """Count one."""
        self._errors.labels(reason).inc()
