"""What auth tells Prometheus, beside the traffic and GitHub metrics that services share."""

from collections.abc import Callable
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

Outcome = Literal[
    "cached",  # answered from the cache
    "verified",  # GitHub was asked and vouched for the token
    "revalidated",  # GitHub was asked and said 304: nothing has changed
    "stale",  # GitHub can't be asked; good because it was verified within the last hour
    "refused",  # GitHub says that the token is nobody's
    "refused_foreign",  # the token is of another OAuth app, and only ours are let in
    "refused_cached",  # refused a moment ago, GitHub was not asked again
    "unavailable",  # GitHub can't be asked and nothing is known of the token
    "busy",  # as many tokens as may wait for GitHub are waiting, it was not asked
]
Login = Literal["ok", "bad_code", "bad_client", "unavailable", "busy"]


class AuthMetrics:
    """The counters; no label ever names a user or holds a token."""

    def __init__(self, registry: CollectorRegistry, cached_tokens: Callable[[], float]) -> None:
        self._verifications = Counter(
            "kotatsu_auth_verifications_total",
            "Verified tokens by outcome",
            ("outcome",),
            registry=registry,
        )
        for outcome in get_args(Outcome):
            self._verifications.labels(outcome)  # present from the start, so that rates work
        self._logins = Counter(
            "kotatsu_auth_logins_total",
            "Exchanged login codes by outcome",
            ("outcome",),
            registry=registry,
        )
        Gauge(
            "kotatsu_auth_cached_tokens", "Verified tokens in the cache", registry=registry
        ).set_function(cached_tokens)

    def verification(self, outcome: Outcome) -> None:
        """Count one checked token."""
        self._verifications.labels(outcome).inc()

    def login(self, outcome: Login) -> None:
        """Count one exchanged code."""
        self._logins.labels(outcome).inc()
