"""Reports on pools: their statuses, Kubernetes Events and metrics."""

import logging
from collections import Counter as Count
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.feature import Feature, Report, Turn
from kotatsu_operator.controller.target import Tools
from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.formats import conditions_of, stamp
from kotatsu_operator.core.pool.decision import Decision, Observation
from kotatsu_operator.core.pool.memory import Outcome, Phase
from kotatsu_operator.core.pool.news import Note
from kotatsu_operator.core.protocol import API_VERSION
from kotatsu_operator.core.report.conditions import date_conditions
from kotatsu_operator.core.report.status import Status, worth_writing
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable
from kotatsu_operator.kube.objects import Event, Key, Object, key_of

log = logging.getLogger(__name__)

WRITE_QUIET = timedelta(seconds=60)
"""How often values that change all the time (cost, last activity) are written to the status."""


@dataclass
class Reporter:
    """Writes the status of each pool when it has changed, and posts events."""

    kube: Kube
    cache: Cache
    clock: Callable[[], datetime]
    name: str
    """The operator's name: the pod."""
    _written: dict[Key, datetime] = field(default_factory=dict)

    def forget(self, key: Key) -> None:
        self._written.pop(key, None)

    def reset(self) -> None:
        """Remove all state, which gets outdated while another operator leads."""
        self._written.clear()

    def completed(
        self,
        pool: Object,
        before: Object,
        status: Status,
        conditions: list[Status],
        now: datetime,
    ) -> Status:
        """The status with its conditions.

        `before` is the pool that the decision used, and `pool` its newest version: it may have been
        written since.
        """
        known = conditions_of(before.get("status") or {})
        generation = pool["metadata"]["generation"]
        dated = date_conditions(conditions, known, generation, now)
        return {**status, "observedGeneration": generation, "conditions": dated}

    async def write(self, pool: Object, status: Status, now: datetime) -> Object:
        """Write the status if it has changed, at the version that was read."""
        key = key_of(pool)
        written = self._written.get(key)
        # abs(): after the clock is set back, these writes would stop until it catches up.
        quiet_too = written is None or abs(now - written) >= WRITE_QUIET
        if worth_writing(status, pool.get("status") or {}, quiet_too=quiet_too):
            version = pool["metadata"]["resourceVersion"]
            pool = await self.kube.patch_status(*key, status, version)
            self._written[key] = now
            self.cache.keep_pool(pool)
        return pool

    async def post(self, of: Object, notes: Sequence[Note]) -> None:
        """Post events, which `kubectl describe` shows; a failure never stops a decision."""
        for note in notes:
            log.info("%s/%s: %s: %s", *key_of(of), note.reason, note.message)
            event = _event(of, note, self.clock(), self.name)
            try:
                await self.kube.create(Event, event["metadata"]["namespace"], event)
            except (ConflictError, NotFoundError, *Unreachable) as error:
                log.warning("cannot post the event %s: %s", note.reason, error)


def _event(of: Object, note: Note, now: datetime, reporter: str) -> Object:
    """An event of a pool, or of another object with its kind."""
    meta = of["metadata"]
    named = {part: meta[part] for part in ("name", "uid", "resourceVersion") if part in meta}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{meta['name']}-", "namespace": meta["namespace"]},
        "involvedObject": {
            "apiVersion": of.get("apiVersion", API_VERSION),
            "kind": of.get("kind", "WarmPool"),
            "namespace": meta["namespace"],
            **named,
        },
        "type": "Warning" if note.warning else "Normal",
        "reason": note.reason,
        "message": note.message,
        "eventTime": stamp(now.replace(microsecond=now.microsecond or 1)),
        "firstTimestamp": stamp(now.replace(microsecond=0)),
        "lastTimestamp": stamp(now.replace(microsecond=0)),
        "count": 1,
        "action": note.reason,
        "reportingComponent": "kotatsu.dev/operator",
        "reportingInstance": reporter,
    }


# --- metrics ---


_LABELS = ("namespace", "name")


Values = Iterable[tuple[tuple[str, ...], float]]
"""Values of one metric of one pool, with the values of its further labels; empty for none."""


@dataclass(frozen=True)
class _Shown:
    """The last decision on a pool, with its observation and ledger."""

    seen: Observation
    decision: Decision
    ledger: Ledger
    accepted: bool


@dataclass(frozen=True)
class _Gauge:
    name: str
    text: str
    values: Callable[[_Shown], Values]
    labels: tuple[str, ...] = ()
    """Further labels besides those of the pool."""


Read = Callable[[_Shown], float | None]


def _time(read: Callable[[_Shown], datetime | None]) -> Read:
    return lambda shown: None if (at := read(shown)) is None else at.timestamp()


def _charged_until(shown: _Shown) -> datetime | None:
    is_asleep = shown.decision.memory.phase is Phase.ASLEEP
    return None if is_asleep or not shown.ledger.currency else shown.ledger.at


def _one(name: str, text: str, read: Read) -> _Gauge:
    def values(shown: _Shown) -> Values:
        value = read(shown)
        return () if value is None else (((), value),)

    return _Gauge(name, text, values)


def _money(name: str, text: str, read: Callable[[Ledger], Decimal | None]) -> _Gauge:
    """A gauge of an amount. Amounts of two currencies must not be added, so that is a label."""

    def values(shown: _Shown) -> Values:
        amount = read(shown.ledger) if shown.ledger.currency else None
        return () if amount is None else [((shown.ledger.currency,), float(amount))]

    return _Gauge(name, text, values, ("currency",))


def _desired(shown: _Shown) -> float:
    wanted = shown.decision.replicas
    return shown.seen.replicas if wanted is None else wanted


def _early(shown: _Shown) -> float | None:
    opening = shown.decision.memory.opening
    return None if opening is None or opening.early is None else opening.early.total_seconds()


def _next(shown: _Shown) -> datetime | None:
    coming = shown.decision.next
    return None if coming is None else coming.at


def _cold(shown: _Shown) -> datetime | None:
    opening = shown.decision.memory.opening
    return None if opening is None or not opening.cold else opening.at


def _override(shown: _Shown) -> Values:
    override = shown.decision.override
    return () if override is None else [((override[0],), override[1].timestamp())]


def _activator(shown: _Shown) -> float:
    return shown.seen.acknowledged is not None or shown.seen.running is not None


def _exhausted(shown: _Shown) -> float | None:
    ledger = shown.ledger
    is_limited = bool(ledger.currency) and ledger.limit is not None
    return ledger.exhausted_at is not None if is_limited else None


_GAUGES = (
    _one(
        "kotatsu_pool_accepted",
        "0 while the pool is rejected; its status has the reason.",
        lambda s: s.accepted,
    ),
    _one("kotatsu_pool_replicas_desired", "Replicas that the pool requests.", _desired),
    _one("kotatsu_pool_replicas_ready", "Ready replicas of the pool.", lambda s: s.seen.ready),
    _one(
        "kotatsu_pool_pods_reduced",
        "Pods with smaller requests than their template's: parked, or not restored yet.",
        lambda s: s.seen.parking.reduced,
    ),
    _Gauge(
        "kotatsu_pool_phase",
        "1 for the current phase of the pool.",
        lambda s: [((phase.value,), phase is s.decision.memory.phase) for phase in Phase],
        ("phase",),
    ),
    _one(
        "kotatsu_pool_window_active",
        "1 while a window is open, or the pool pre-warms for one.",
        lambda s: bool(s.decision.window),
    ),
    _one(
        "kotatsu_pool_next_transition_timestamp_seconds",
        "Time of the schedule's next transition.",
        _time(_next),
    ),
    _one(
        "kotatsu_pool_prewarm_lead_seconds",
        "How long before a window opens the pods start.",
        lambda s: s.decision.memory.lead.total_seconds(),
    ),
    _one(
        "kotatsu_pool_window_ready_early_seconds",
        "How long before the newest opening all replicas were Ready; negative if late.",
        _early,
    ),
    _one(
        "kotatsu_pool_cold_opening_timestamp_seconds",
        "Time of the newest opening, if the window opened before all replicas were Ready.",
        _time(_cold),
    ),
    _one(
        "kotatsu_pool_requests",
        "Requests in flight and held.",
        lambda s: s.seen.demand.concurrency,
    ),
    _one(
        "kotatsu_pool_demand_known",
        "0 while a pod or an activator does not report its requests.",
        lambda s: s.seen.demand.known,
    ),
    _one(
        "kotatsu_pool_last_request_timestamp_seconds",
        "Time of the pool's last request.",
        _time(lambda s: s.decision.memory.last_active),
    ),
    _Gauge(
        "kotatsu_pool_override_end_timestamp_seconds",
        "End of the override in effect.",
        _override,
        ("mode",),
    ),
    _one(
        "kotatsu_pool_activator_ready",
        "0 while no activator is Ready that could wake the pool.",
        _activator,
    ),
    _one(
        "kotatsu_cost_ledger_timestamp_seconds",
        "Time up to which costs are complete. A sleeping pool, which costs nothing, has none.",
        _time(_charged_until),
    ),
    _money("kotatsu_cost_accrued", "Spent in this period.", lambda ledger: ledger.accrued),
    _money(
        "kotatsu_cost_rate_per_hour", "Cost per hour of the current pods.", lambda led: led.rate
    ),
    _money(
        "kotatsu_cost_forecast",
        "Expected cost of the period, by the schedule.",
        lambda ledger: ledger.forecast,
    ),
    _money("kotatsu_cost_limit", "Limit of the cost of the period.", lambda ledger: ledger.limit),
    _one("kotatsu_cost_exhausted", "1 while the limit is reached.", _exhausted),
)


_GOES_ON = ("kotatsu_pool_accepted", "kotatsu_cost_", "kotatsu_pool_override_end_")
"""Prefixes of the metrics that a rejected pool still has."""


class NamespaceMetric(Collector):
    """Shows whether the operator serves each of its namespaces with pools.

    `readable` returns the namespaces, and whether each is served.
    """

    def __init__(
        self, registry: CollectorRegistry, readable: Callable[[], Iterable[tuple[str, bool]]]
    ) -> None:
        self._readable = readable
        registry.register(self)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield self._family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = self._family()
        for namespace, is_readable in self._readable():
            family.add_metric((namespace,), is_readable)
        yield family

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(
            "kotatsu_operator_namespace_readable",
            "0 while the API server rejects the list of the namespace's objects.",
            labels=("namespace",),
        )


class PoolMetrics(Collector, Feature):
    """One set of series per pool, made from the last decisions at each scrape (decision 20)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._shown: dict[Key, _Shown] = {}
        self._decisions: Count[Key] = Count()
        self.decision_seconds = Histogram(
            "kotatsu_decision_seconds",
            "Time from when a pool was due until its decision was carried out.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=registry,
        )
        registry.register(self)

    async def after(self, _tools: Tools, turn: Turn, report: Report) -> None:
        """Show a decision. Of a rejected pool, only its cost and the end of its override remain."""
        key, accepted = turn.target.key, turn.refused is None
        self._shown[key] = _Shown(report.seen, report.decision, report.ledger, accepted)
        if accepted:
            self._decisions[key] += 1

    def reset(self) -> None:
        """Drop the series of all pools: another operator decides on them."""
        for key in list(self._shown):
            self.forget(key)

    def forget(self, key: Key) -> None:
        self._shown.pop(key, None)
        self._decisions.pop(key, None)

    def describe(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        return self._families({})

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Return the metrics of all pools; called by another thread than the one that decides."""
        return self._families(self._shown.copy())

    def _families(
        self, shown: dict[Key, _Shown]
    ) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        for gauge in _GAUGES:
            family = GaugeMetricFamily(gauge.name, gauge.text, labels=(*_LABELS, *gauge.labels))
            for key, what in shown.items():
                if what.accepted or gauge.name.startswith(_GOES_ON):
                    for labels, value in gauge.values(what):
                        family.add_metric((*key, *labels), value)
            yield family
        decisions = CounterMetricFamily("kotatsu_decisions", "Decisions made.", labels=_LABELS)
        windows = CounterMetricFamily(
            "kotatsu_pool_windows",
            "Openings by outcome: all replicas Ready before (ready), not Ready then (cold), Ready "
            "afterwards (late).",
            labels=(*_LABELS, "outcome"),
        )
        for key, what in ((key, what) for key, what in shown.items() if what.accepted):
            decisions.add_metric(key, self._decisions[key])
            tally = what.decision.memory.windows
            for outcome in Outcome:
                windows.add_metric((*key, outcome.value), getattr(tally, outcome.value))
        yield decisions
        yield windows
