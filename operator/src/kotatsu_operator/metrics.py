"""What Prometheus sees of the operator."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from .core.cost import Ledger
from .core.state import Decision, Observation, Outcome, Phase
from .views import Key

_LABELS = ("namespace", "name")


class PoolMetrics:
    """One set of series per pool."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *more: str) -> Gauge:
            made = Gauge(name, text, (*_LABELS, *more), registry=registry)
            self._all.append(made)
            return made

        self._all: list[Gauge | Counter] = []
        self.desired = gauge("kotatsu_pool_replicas_desired", "Replicas the pool wants.")
        self.ready = gauge("kotatsu_pool_replicas_ready", "Ready replicas of the pool.")
        self.phase = gauge("kotatsu_pool_phase", "1 for the phase the pool is in.", "phase")
        self.window = gauge("kotatsu_pool_window_active", "1 while a window is open or warmed for.")
        self.next = gauge(
            "kotatsu_pool_next_transition_timestamp_seconds", "When the schedule acts next."
        )
        self.lead = gauge(
            "kotatsu_pool_prewarm_lead_seconds", "How early pods start before a window opens."
        )
        self.early = gauge(
            "kotatsu_pool_window_ready_early_seconds",
            "How long before the newest opening every replica was Ready; negative when late.",
        )
        self.requests = gauge("kotatsu_pool_requests", "Requests in flight and held.")
        self.accrued = gauge("kotatsu_cost_accrued", "Spent in this period, in its currency.")
        self.rate = gauge("kotatsu_cost_rate_per_hour", "Cost per hour of the pods there are now.")
        self.decisions = Counter("kotatsu_decisions", "Decisions made.", _LABELS, registry=registry)
        self.windows = Counter(
            "kotatsu_pool_windows",
            "Openings: every replica Ready before it (ready), not so (cold), and then after it "
            "(late).",
            (*_LABELS, "outcome"),
            registry=registry,
        )
        self._all += [self.decisions, self.windows]
        self.decision_seconds = Histogram(
            "kotatsu_decision_seconds",
            "From when a pool was due until what was decided on it was carried out.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=registry,
        )

    def show(self, key: Key, seen: Observation, decision: Decision, ledger: Ledger) -> None:
        """Show one decision."""
        desired = seen.replicas if decision.replicas is None else decision.replicas
        self.decisions.labels(*key).inc()
        self.desired.labels(*key).set(desired)
        self.ready.labels(*key).set(seen.ready)
        for phase in Phase:
            self.phase.labels(*key, phase.value).set(phase is decision.memory.phase)
        self.window.labels(*key).set(bool(decision.window))
        if decision.next is None:
            self.next.remove_by_labels({"namespace": key[0], "name": key[1]})
        else:
            self.next.labels(*key).set(decision.next.at.timestamp())
        self.lead.labels(*key).set(decision.memory.lead.total_seconds())
        for outcome in Outcome:
            self.windows.labels(*key, outcome.value).inc(decision.outcomes.count(outcome))
        opening = decision.memory.opening
        if opening is not None and opening.early is not None:
            self.early.labels(*key).set(opening.early.total_seconds())
        self.requests.labels(*key).set(seen.demand.concurrency)
        self.accrued.labels(*key).set(float(ledger.accrued))
        self.rate.labels(*key).set(float(ledger.rate))

    def forget(self, key: Key) -> None:
        """Drop the series of a deleted pool."""
        for metric in self._all:
            metric.remove_by_labels({"namespace": key[0], "name": key[1]})
