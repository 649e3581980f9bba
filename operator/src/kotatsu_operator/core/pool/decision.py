"""What a decision on one pool depends on, and what it says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from kotatsu_operator.core.formats import choice, conditions_of, count, is_false, lasting, table
from kotatsu_operator.core.objects import Autoscaler, Object, Write
from kotatsu_operator.core.pool.lowering import Lowering, Removal
from kotatsu_operator.core.pool.memory import Memory, Opening, Outcome, Parts, Phase, Reason
from kotatsu_operator.core.pool.news import Claim, Note, Transition


@dataclass(frozen=True)
class Wake:
    """A wake for a request, by an activator's clock."""

    at: datetime
    took: timedelta | None
    """From the raise of the scale until a pod answered; None before that."""


@dataclass(frozen=True)
class Demand:
    """The requests that are served and held now; `known` is False if a pod did not report."""

    in_flight: int = 0
    held: int = 0
    last_request: datetime | None = None
    """When a pod last began or finished a request."""
    ticket: datetime | None = None
    """The newest request that an activator announced in the pool's status, by the activator's
    clock. It identifies the announcement; do not compare it with other clocks."""
    known: bool = True
    silent: str = ""
    """The pod or activator that did not report, and why; empty if all reported."""
    metered: bool | None = None
    """Whether the pods have a gauge of requests in flight. False: the answers of all Ready ones
    show that they have none. None: their answers do not show it, or they were not asked."""
    passing: int = 0
    """Connections in use that the activators forward."""
    last_passed: datetime | None = None
    """When an activator last forwarded a byte."""
    silent_activator: str = ""
    """The activator that did not report, and why; empty if all reported."""
    timed_out: Mapping[str, int | None] = field(default_factory=dict)
    """Requests that have got 503 at holdTimeout so far, by the uid of the activator; None if it was
    asked and did not report."""
    last_wake: Wake | None = None
    """The newest one of those that the activators know."""
    uses: Mapping[str, int] | None = None
    """Requests in pods by name, as far as they are known; if the activators count them, connections
    in use to the marked pods, if all of them know the same ones. None: nobody was asked."""

    @property
    def concurrency(self) -> int:
        """Requests in the pods plus requests that wait for a pod."""
        return self.in_flight + self.held


@dataclass(frozen=True)
class Parking:
    """The requests of the pods of a pool, compared with those of the target's template."""

    reason: str = ""
    """Why the pods cannot be parked, in one word; empty if they can."""
    message: str = ""
    requests: Mapping[str, Decimal] | None = None
    """What a parked pod requests (base units); None if the pods are never parked."""
    reduced: int = 0
    """Pods with smaller requests than the template's."""
    refused: int = 0
    """Those of them whose requests were to be restored, and the node or the API server cannot."""
    trouble: str = ""
    """Why not, for one of them."""


NOT_PARKED = Parking("NotEnabled", "this operator parks no pods")
"""Of a pool without parked pods, and without the feature that parks them."""


@dataclass(frozen=True, slots=True)
class PodStart:
    """The times of one pod's start, in whole seconds; None for what has not happened."""

    scheduled_at: datetime | None = None
    """The condition PodScheduled: it has a node."""
    sandbox_at: datetime | None = None
    """The condition PodReadyToStartContainers: its volumes are mounted and it has a network."""
    started_at: datetime | None = None
    """When the last of its containers first ran: init containers have ended, images are there."""
    ready_at: datetime | None = None
    """The condition Ready."""
    no_node: str = ""
    """Why the scheduler finds no node for it; empty if it found one, or has not looked yet."""
    failing: str = ""
    """Why one of its containers cannot start; empty if all may yet."""


NOT_STARTED = PodStart()


@dataclass(frozen=True)
class Starting:
    """The pods of a warm-up in progress."""

    last: PodStart | None = None
    """The Ready pod that became Ready last: the warm-up lasted as long as it."""
    waiting: int = 0
    """Pods for which the scheduler finds no node."""
    no_node: str = ""
    """The scheduler's message about one of them."""
    failing: str = ""
    """A pod that cannot start, and why; empty if all may yet."""


NOTHING_STARTS = Starting()


def parts_of(start: PodStart, began: datetime, ended: datetime) -> Parts:
    """Divide the time from `began` to `ended` at the times of a pod's start.

    The pod's times come from other clocks and have no fractions, so each is moved between the one
    before it and the end. A missing time takes no part.
    """
    marks = [began]
    for at in (start.scheduled_at, start.sandbox_at, start.started_at):
        marks.append(marks[-1] if at is None else min(max(at, marks[-1]), max(ended, began)))
    marks.append(max(ended, began))
    node, sandbox, pull, rest = (
        (after - before).total_seconds() for before, after in pairwise(marks)
    )
    return Parts(node, sandbox, pull, rest)


@dataclass(frozen=True)
class Order:
    """The pools on which one depends, and those that depend on it (spec.dependsOn)."""

    awaits: str = ""
    """One that must become Ready before this pool starts; empty if all are."""
    blocked: str = ""
    """Why none of those that are not Ready has a pod or gets one; empty if one does."""
    lead: timedelta = timedelta()
    """The longest lead of those on which this pool depends."""
    needed_by: str = ""
    """One that depends on this pool and is not asleep; empty if all are."""
    may_outlast: bool = True
    """Whether that one stays awake. If not, it goes to sleep, and this pool waits for that."""

    def holds(self, since: datetime | None, now: datetime) -> bool:
        """Whether a pool that is Warming since then waits for another one."""
        is_over = since is not None and now - since >= WAITS_FOR_BLOCKED
        return bool(self.awaits) and not (self.blocked and is_over)


UNORDERED = Order()

WAITS_FOR_BLOCKED = timedelta(minutes=1)
"""How long a pool waits for one that the operator does not start: manifests are applied in any
order, and what is refused now is often accepted a moment later."""


def order_of(before: Iterable[Object], after: Iterable[Object]) -> Order:
    """Read the order from the WarmPools on which a pool depends, and those that depend on it."""
    before = list(before)
    awaited = [(_why_blocked(p), p["metadata"]["name"]) for p in before if not _serves(p)]
    blocked, awaits = min(awaited, key=lambda one: bool(one[0]), default=("", ""))
    awake = [p for p in after if _is_awake(p)]
    leads = [lasting(table(pool.get("status")).get("lead")) for pool in before]
    return Order(
        awaits=awaits,
        blocked=blocked,
        lead=max(leads, default=timedelta()),
        needed_by=next((p["metadata"]["name"] for p in awake), ""),
        may_outlast=any(_phase(p).is_awake for p in awake),
    )


def _why_blocked(pool: Object) -> str:
    """Why a pool has no pod and gets none for one that depends on it; empty otherwise."""
    return "" if _replicas(pool) else _why_left_alone(pool)


def _why_left_alone(pool: Object) -> str:
    """Why the operator does not start a pool for one that depends on it; empty if it does."""
    status, phase = table(pool.get("status")), _phase(pool)
    if pool["spec"].get("suspend") is True:
        return "is suspended"
    if _is_refused(status):
        return "is refused"
    if phase.is_awake or status.get("reason") not in _ENDS_IT:
        return ""
    return _ENDS_IT[status["reason"]]


_ENDS_IT = {Reason.OVERRIDE: "has an override Asleep", Reason.BUDGET: "has spent its budget"}
"""The reasons of a way down that a pool which depends on this one does not end."""


def _serves(pool: Object) -> bool:
    """Whether a pool is Ready for those that depend on it, whoever has started its pods.

    One that is on its way down because it is idle comes back first.
    """
    if _why_left_alone(pool):
        return count(table(pool.get("status")).get("readyReplicas")) > 0
    return _phase(pool) in (Phase.WARM, Phase.PARKED)


def _is_awake(pool: Object) -> bool:
    """Whether a pool keeps those awake on which it depends.

    The phase of a suspended one stays as it was, whatever runs; so may that of a refused one.
    """
    if pool["spec"].get("suspend") is True:
        return False
    is_up = _replicas(pool) > 0 or not _is_refused(table(pool.get("status")))
    return is_up and _phase(pool) is not Phase.ASLEEP


def _replicas(pool: Object) -> int:
    return count(table(pool.get("status")).get("desiredReplicas"))


def _phase(pool: Object) -> Phase:
    return choice(Phase, table(pool.get("status")).get("phase"), Phase.ASLEEP)


def _is_refused(status: Mapping[str, Any]) -> bool:
    return is_false(conditions_of(status).get("Accepted"))


@dataclass(frozen=True)
class Observation:
    """The observed state of one pool in the cluster."""

    replicas: int
    """spec.replicas of the target's scale."""
    ready: int
    """Pods that are Ready and not terminating."""
    pods: int
    """Pods from scheduled until deleted, including terminating ones."""
    acknowledged: int | None = None
    """The lowest route epoch that all Ready activators have published; None without activators."""
    demand: Demand = Demand()
    edited: bool = False
    """Whether the spec has changed since the last decision."""
    ahead: timedelta = timedelta()
    """How much earlier than its own lead the pool must start pods: the pacing of many windows."""
    template: str = ""
    """The hash of the target's pod template."""
    updated: int = 0
    """Ready pods of that template; 0 while the target has pods of another template."""
    autoscaler: Autoscaler | None = None
    woken: bool = False
    """Whether an activator knows of a wake that the status does not have."""
    write: Write | None = None
    """The last write of the target's replicas by another manager."""
    catching_up: timedelta = timedelta()
    """How much longer kube-proxy and controllers may lag behind an API-server outage."""
    running: int | None = None
    """Ready pods of a Knative Service, regardless of its traffic split; None: equal to `ready`."""
    starting: Starting = NOTHING_STARTS
    """The pods that start; only while the pool is Warming."""
    parking: Parking = NOT_PARKED
    order: Order = UNORDERED
    most: int | None = None
    """The highest possible floor of a Knative Service; None: no limit."""
    removal: Removal | None = None
    """The pods that a step down may end; None: its steps are those of its own platform."""

    def as_shown(self, floor: int) -> "Observation":
        """The observation for people: all Ready pods, and the replicas that the floor asks for."""
        if self.running is None:
            return self
        replicas = max(self.replicas, self.within(floor))
        return replace(self, ready=self.running, replicas=replicas)

    def within(self, floor: int) -> int:
        """The reachable part of a floor: the target's own limit may be lower."""
        most = self.autoscaler.max_replicas if self.autoscaler is not None else self.most
        return floor if most is None else min(floor, most)


@dataclass(frozen=True)
class Decision:
    """The actions for now, the memory for the next decision, and the time of the next one."""

    memory: Memory
    replicas: int | None
    """The scale of the target; None: do not change it."""
    recheck: datetime
    recheck_between_beats: datetime | None = None
    """`recheck` for an awake pool, which is reconciled every few seconds anyway: without the
    openings whose replicas are all Ready."""
    floor: int = 0
    window: str = ""
    """The open window, or the window that the pool pre-warms for."""
    next: Transition | None = None
    sleep: bool = False
    """True if the pool may take steps 4 to 6 of the way down now."""
    force: bool = False
    """True if requests in flight must not delay the sleep any longer (drain timeout)."""
    park: bool = False
    """Whether to reduce the requests of the pods."""
    only_down: bool = False
    """True for a rejected pool: its scale must not be raised."""
    minimum: int | None = None
    """The HPA's minReplicas; None without an HPA."""
    notes: tuple[Note, ...] = field(default=())
    outcomes: tuple[Outcome, ...] = ()
    """The outcomes of openings since the last decision."""
    punctual: tuple[Opening, ...] = ()
    """Those of them that were Ready before."""
    grows: bool = False
    """Whether capacity may be added; else it is only kept or given up."""
    claim: Claim | None = None
    """The next warm-up, for which other pools must leave capacity."""
    override: tuple[str, datetime] | None = None
    """Mode and effective end of the override in effect."""
    lowering: Lowering | None = None
    """The step down; None if the pool makes none."""
