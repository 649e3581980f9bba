"""The metric of failed calls to the API server, used by the operator and the activator."""

from prometheus_client import CollectorRegistry, Counter


class ApiMetrics:
    """Counts failed calls to the API server in `kotatsu_api_errors`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._errors = Counter(
            "kotatsu_api_errors",
            "Failed calls to the Kubernetes API by status code, or unreachable; without conflicts.",
            ("reason",),
            registry=registry,
        )
        self._errors.labels("unreachable")  # exists from the start, so that rate() works

    def error(self, reason: str) -> None:
        """Count one failed call; `reason` is the status code or `unreachable`."""
        self._errors.labels(reason).inc()
