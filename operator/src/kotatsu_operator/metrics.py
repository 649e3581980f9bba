"""What Prometheus sees of the operator."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from .core.ledger import Ledger
from .core.state import Decision, Observation, Outcome, Phase
from .views import Key

_LABELS = ("namespace", "name")


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


class PoolMetrics:
    """One set of series per pool."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *more: str) -> Gauge:
            made = Gauge(name, text, (*_LABELS, *more), registry=registry)
            self._all.append(made)
            return made

        self._all: list[Gauge | Counter] = []
        self._currency: dict[Key, str] = {}
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
        self.cold = gauge(
            "kotatsu_pool_cold_opening_timestamp_seconds",
            "When a window last opened before every replica was Ready.",
        )
        self.requests = gauge("kotatsu_pool_requests", "Requests in flight and held.")
        self.known = gauge(
            "kotatsu_pool_demand_known", "0 while a pod or an activator does not tell what it does."
        )
        self.last_request = gauge(
            "kotatsu_pool_last_request_timestamp_seconds", "When the pool last had a request."
        )
        self.override = gauge(
            "kotatsu_pool_override_end_timestamp_seconds",
            "When the override in force ends.",
            "mode",
        )
        self.activator = gauge(
            "kotatsu_pool_activator_ready",
            "0 while no activator is Ready that could wake the pool.",
        )
        self.ledger_at = gauge(
            "kotatsu_cost_ledger_timestamp_seconds", "The moment up to which costs are complete."
        )
        self.money = {
            "accrued": gauge("kotatsu_cost_accrued", "Spent in this period.", "currency"),
            "rate": gauge(
                "kotatsu_cost_rate_per_hour", "Cost of an hour of the pods there are.", "currency"
            ),
            "forecast": gauge(
                "kotatsu_cost_forecast", "What the period will cost by the schedule.", "currency"
            ),
            "limit": gauge(
                "kotatsu_cost_limit", "The most that may be spent in the period.", "currency"
            ),
        }
        """By the ledger's field. Amounts of two currencies must not be added: it is a label."""
        self.exhausted = gauge("kotatsu_cost_exhausted", "1 while the limit is reached.")
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
        if opening is not None and opening.cold:
            self.cold.labels(*key).set(opening.at.timestamp())
        self.requests.labels(*key).set(seen.demand.concurrency)
        self.known.labels(*key).set(seen.demand.known)
        self._show_moments(key, seen, decision)
        self._show_money(key, ledger)

    def _show_moments(self, key: Key, seen: Observation, decision: Decision) -> None:
        pool = {"namespace": key[0], "name": key[1]}
        if decision.memory.last_active is not None:
            self.last_request.labels(*key).set(decision.memory.last_active.timestamp())
        self.override.remove_by_labels(pool)
        if decision.override is not None:
            mode, end = decision.override
            self.override.labels(*key, mode).set(end.timestamp())
        self.activator.labels(*key).set(seen.acknowledged is not None or seen.running is not None)

    def _show_money(self, key: Key, ledger: Ledger) -> None:
        pool = {"namespace": key[0], "name": key[1]}
        for name, metric in self.money.items():
            amount = getattr(ledger, name) if ledger.currency else None
            if amount is None or self._currency.get(key) != ledger.currency:
                metric.remove_by_labels(pool)
            if amount is not None:
                metric.labels(*key, ledger.currency).set(float(amount))
        self._currency[key] = ledger.currency
        if ledger.currency and ledger.at is not None:
            self.ledger_at.labels(*key).set(ledger.at.timestamp())
        else:
            self.ledger_at.remove_by_labels(pool)
        if ledger.currency and ledger.limit is not None:
            self.exhausted.labels(*key).set(ledger.exhausted_at is not None)
        else:
            self.exhausted.remove_by_labels(pool)

    def rest(self, key: Key) -> None:
        """Drop the series of a pool that another operator decides on."""
        self.forget(key)

    def forget(self, key: Key) -> None:
        """Drop the series of a deleted pool."""
        self._currency.pop(key, None)
        for metric in self._all:
            metric.remove_by_labels({"namespace": key[0], "name": key[1]})
