"""What feed tells Prometheus, beside the traffic and GitHub metrics that services share."""

from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter

from kotatsu_feed.food import Source

Outcome = Literal["fed", "replayed", "no_food"]


class FeedMetrics:
    """The counters; no label ever names a user."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._feedings = Counter(
            "kotatsu_feed_feedings_total",
            "Requests to feed by outcome: done, repeated with the same key, or out of food",
            ("outcome",),
            registry=registry,
        )
        self._food = Counter(
            "kotatsu_feed_food_lookups_total",
            "Lookups of today's food by source of the count",
            ("source",),
            registry=registry,
        )
        # Present from the start, so that rates work.
        for outcome in get_args(Outcome):
            self._feedings.labels(outcome)
        for source in get_args(Source):
            self._food.labels(source)

    def feeding(self, outcome: Outcome) -> None:
        """Count one wish to feed."""
        self._feedings.labels(outcome).inc()

    def food(self, source: Source) -> None:
        """Count one look at the food."""
        self._food.labels(source).inc()
