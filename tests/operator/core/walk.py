"""One pool walked through simulated time: a small cluster and an activator around `decide`.

Pods take a while to become Ready and to go, the activator takes a while to acknowledge an epoch,
requests come when the test says so. The operator looks whenever something happens and whenever the
last decision asked to look again, never in between (unless `tick` is given): a decision that
forgets to ask is a test that fails. Every single decision is held against the rules that always
apply.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from kotatsu_operator.core.budget.ledger import BilledPod, Ledger, accrue
from kotatsu_operator.core.budget.limit import EVERYTHING, Allowed, allowed, news, standing
from kotatsu_operator.core.decide.decide import decide
from kotatsu_operator.core.decide.phases import asleep_after
from kotatsu_operator.core.pool.decision import (
    UNORDERED,
    Decision,
    Demand,
    Observation,
    Order,
    Parking,
)
from kotatsu_operator.core.pool.memory import Memory, Phase, Reason, Route
from kotatsu_operator.core.pool.news import Note
from kotatsu_operator.core.pool.spec import PoolSpec, RouteMode

from .values import kept_in_status

PARKED = Decimal("0.005")
"""Cores that a parked pod requests; a warm one requests one."""

ARROWS = {
    Phase.ASLEEP: {Phase.WARMING, Phase.DRAINING},
    Phase.WARMING: {Phase.WARM, Phase.DRAINING},
    Phase.WARM: {Phase.WARMING, Phase.PARKED, Phase.DRAINING},
    Phase.PARKED: {Phase.WARMING, Phase.WARM, Phase.DRAINING},
    Phase.DRAINING: {Phase.WARM, Phase.WARMING},
    Phase.SLEEPING: {Phase.ASLEEP, Phase.WARMING, Phase.DRAINING},
}
"""Where a decision may lead; only `asleep_after` leads from Draining to Sleeping."""


def may_follow(before: Phase, after: Phase) -> bool:
    """Whether a decision may lead from one phase to the other.

    Pods that are Ready already are Warming for no time at all: Warm may follow at once, and Parked.
    """
    onward = ARROWS[before]
    at_once = {Phase.WARM, Phase.PARKED} if Phase.WARMING in {before} | onward else set()
    return after in {before} | onward | at_once


def check_rules(
    spec: PoolSpec, seen: Observation, memory: Memory, now: datetime, decision: Decision
) -> None:
    """What holds for every decision, whatever the moment."""
    limit = max(spec.max_replicas, seen.replicas if memory.since is None else 0)
    if decision.replicas is not None:
        assert decision.replicas != 0, "only the steps of the way down set the scale to 0"
        assert decision.floor <= decision.replicas <= limit
    elif not (spec.suspend or seen.order.awaits):
        assert decision.floor == 0, "a floor is never left to itself"
    assert not (decision.sleep and decision.floor > 0), "never asleep under a floor"
    after = decision.memory.route
    if decision.sleep:
        assert after.target is Route.ACTIVATOR
        acknowledged_at = decision.memory.process.acknowledged_at
        assert (seen.acknowledged or 0) >= after.epoch
        assert acknowledged_at is not None
        assert acknowledged_at + spec.platform.route_settle <= now
    assert now < decision.recheck
    if decision.next is not None:
        assert now < decision.next.at
        assert spec.suspend or decision.recheck <= decision.next.at
    assert after.epoch >= memory.route.epoch
    if memory.since is not None:
        is_native = after.target is Route.NATIVE
        assert not is_native or seen.ready or memory.route.target is Route.NATIVE, "left alone"
        assert may_follow(memory.phase, decision.memory.phase)


@dataclass
class Pod:
    """A pod of the target."""

    ready_at: datetime
    gone_at: datetime | None = None
    """Set while it is terminating."""
    born: datetime | None = None
    uid: str = ""
    is_reduced: bool = False
    """Whether its requests are those of a parked pod."""


@dataclass
class Request:
    """One request: when it comes, how long a pod works on it, when it was begun and finished."""

    at: datetime
    seconds: float = 0.2
    begun: datetime | None = None
    passed: bool = False
    """Whether it has reached its pod through an activator."""

    @property
    def finished(self) -> datetime | None:
        return None if self.begun is None else self.begun + timedelta(seconds=self.seconds)


@dataclass(frozen=True)
class Moment:
    """What one look left behind."""

    at: datetime
    phase: Phase
    reason: Reason
    route: Route
    floor: int
    replicas: int
    ready: int
    notes: tuple[Note, ...]


@dataclass
class Walk:
    """A pool, its cluster and its operator."""

    spec: PoolSpec
    now: datetime
    memory: Memory = field(default_factory=Memory)
    ready_after: float = 8
    acknowledges_after: float | None = 0.5
    gone_after: float = 3
    requests: list[Request] = field(default_factory=list)
    unmeasurable: Callable[[datetime], bool] = lambda _: False
    unmetered: bool = False
    """Whether the pods have no gauge."""
    has_last_request: bool = True
    sees_held: bool = True
    """False for an operator that does not ask activators while the pool is asleep."""
    parking: str = ""
    """Why pods cannot be parked; empty if they can."""
    raises: bool = True
    """False for an activator that cannot raise the scale."""
    tick: float | None = None
    watched: bool = True
    """False for an operator that learns of events only when it looks for another reason."""
    ahead: Callable[[datetime], timedelta] = lambda _: timedelta()
    """How much earlier than its lead it is the pool's turn, as it is worked out at an instant."""
    catching_up: Callable[[datetime], timedelta] = lambda _: timedelta()
    """For how long the cluster may lag behind an outage of the API server, at an instant."""
    order: Order = UNORDERED
    operator_up: bool = True
    dies_before_scaling: bool = False
    pods: list[Pod] = field(default_factory=list)
    replicas: int = 0
    ticket: datetime | None = None
    recheck: datetime | None = None
    looked_at: datetime | None = None
    last: Decision | None = None
    log: list[Moment] = field(default_factory=list)
    _edited: bool = False
    ledger: Ledger = field(default_factory=Ledger)
    """Of pods that request one core each."""
    standing: str = ""
    gone: list[Pod] = field(default_factory=list)
    entered_at: datetime | None = None
    made: int = 0
    _published: list[tuple[datetime, int]] = field(default_factory=list)

    # --- what tests do ---

    def until(self, end: datetime) -> "Walk":
        """Go on to an instant, looking at the pool at it too."""
        while (at := self._next_event()) is not None and at < end:
            self._turn(at)
        self._turn(end)
        return self

    def restart(self, remembering=kept_in_status, *, back=None):
        """Start the operator again, with what it finds of its memory; it is away until `back`."""
        if back is not None:
            self.operator_up = False
            self.until(back)
        self.operator_up = True
        self.memory = remembering(self.memory)
        self.ledger, self.entered_at = replace(self.ledger, pods={}), None
        self.look()
        return self

    def edit(self, spec: PoolSpec) -> "Walk":
        """Change the spec; the operator sees it at once, or as soon as it is back."""
        self.spec, self._edited = spec, True
        if self.operator_up:
            self.look()
        return self

    def lose_acknowledgements(self) -> None:
        """The activator starts again and has to publish anew."""
        self._published.clear()
        self.look()

    def scale(self, replicas: int) -> None:
        """Set the target's scale, as anybody with kubectl could."""
        staying = [p for p in self.pods if p.gone_at is None]
        for pod in staying[replicas:]:
            pod.gone_at = self.now + timedelta(seconds=self.gone_after)
        for _ in range(replicas - len(staying)):
            ready_at = self.now + timedelta(seconds=self.ready_after)
            self.made += 1
            self.pods.append(Pod(ready_at, born=self.now, uid=f"pod-{self.made}"))
        self.replicas = replicas

    def ask(self, at: datetime, seconds: float = 0.2, count: int = 1) -> "Walk":
        """Let requests come at a time."""
        self.requests += [Request(at, seconds) for _ in range(count)]
        return self

    def look(self) -> None:
        """Look until nothing changes any more, as an operator does that watches what it wrote."""
        self.looked_at = self.now
        for _ in range(6):
            seen = self._observe()
            budget, notes = self._settle()
            spec = self._decided_spec()
            decision = decide(spec, seen, self.memory, self.now, budget)
            check_rules(spec, seen, self.memory, self.now, decision)
            settled = self._act(decision, seen)
            memory, said = self.memory, decision.notes + notes
            what = memory.phase, memory.reason, memory.route.target, decision.floor
            self.log.append(Moment(self.now, *what, self.replicas, self.ready, said))
            if settled:
                return
        raise AssertionError(f"the pool does not come to rest at {self.now}")

    # --- what tests ask ---

    @property
    def phase(self) -> Phase:
        return self.memory.phase

    @property
    def ready(self) -> int:
        return sum(p.gone_at is None and p.ready_at <= self.now for p in self.pods)

    @property
    def in_flight(self) -> int:
        return sum(r.begun is not None and r.begun <= self.now < r.finished for r in self.requests)

    @property
    def held(self) -> int:
        return sum(r.at <= self.now and r.begun is None for r in self.requests)

    def told(self, *reasons: str) -> list[str]:
        """Reasons of the notes so far, in order: all of them, or only the named ones."""
        return [n.reason for m in self.log for n in m.notes if not reasons or n.reason in reasons]

    def times(self, phase: Phase) -> list[datetime]:
        """When the pool came into a phase."""
        return [
            m.at
            for m, before in zip(self.log, [None, *self.log], strict=False)
            if m.phase is phase and (before is None or before.phase is not phase)
        ]

    def reached(self, replicas: int, after: datetime) -> datetime:
        """When the scale first was at this number."""
        return next(m.at for m in self.log if m.at >= after and m.replicas == replicas)

    def lowest(self, start: datetime, end: datetime, what: str = "replicas") -> int:
        """The lowest replicas (or ready) left behind by the looks of a stretch of time."""
        return min(getattr(m, what) for m in self.log if start <= m.at <= end)

    # --- the cache ---

    def _next_event(self) -> datetime | None:
        times: list[datetime | None] = [r.at for r in self.requests if r.at > self.now]
        times += [r.finished for r in self.requests]
        times += [p.ready_at for p in self.pods] + [p.gone_at for p in self.pods]
        times += [at for at, _ in self._published]
        times.append(self.recheck if self.operator_up else None)
        times.append(self._next_tick())
        return min((x for x in times if x is not None and x > self.now), default=None)

    def _turn(self, at: datetime) -> None:
        self.now = at
        self.gone += [p for p in self.pods if p.gone_at is not None and p.gone_at <= at]
        self.pods = [p for p in self.pods if p.gone_at is None or p.gone_at > at]
        for request in self.requests:
            if request.at == at and self._is_announced():
                self.ticket = at
        self._serve()
        if self.operator_up and (self.watched or self._is_due()):
            self.look()

    def _is_due(self) -> bool:
        due = (self.recheck, self._next_tick())
        return self.last is None or any(x is not None and x <= self.now for x in due)

    def _next_tick(self) -> datetime | None:
        if self.tick is None or self.looked_at is None:
            return None
        return self.looked_at + timedelta(seconds=self.tick)

    def _is_announced(self) -> bool:
        """Whether a request comes through the activator while that announces its requests."""
        if self.ready == 0:
            return True
        is_through = self.memory.route.target is Route.ACTIVATOR
        if not self.unmetered:
            return is_through
        return is_through and self.memory.phase is Phase.DRAINING

    def _serve(self) -> None:
        if self.ready:
            for request in self.requests:
                if request.at <= self.now and request.begun is None:
                    request.begun = self.now
                    request.passed = self.memory.route.target is Route.ACTIVATOR
        elif self.held and self.replicas == 0 and self.raises:
            self.scale(1)  # the activator wakes it by itself

    def _observe(self) -> Observation:
        begun = [r for r in self.requests if r.begun is not None and r.begun <= self.now]
        last = max((min(r.finished, self.now) for r in begun), default=None)
        asleep = self.memory.phase in (Phase.ASLEEP, Phase.SLEEPING)
        reduced = sum(p.is_reduced and p.gone_at is None for p in self.pods)
        is_told = self.ready > 0 and not (asleep or self.unmeasurable(self.now))
        acknowledged = None
        if self.acknowledges_after is not None:
            acknowledged = max((e for at, e in self._published if at <= self.now), default=0)
        return Observation(
            replicas=self.replicas,
            ready=self.ready,
            pods=len(self.pods),
            acknowledged=acknowledged,
            edited=self._edited,
            ahead=self.ahead(self.now),
            catching_up=self.catching_up(self.now),
            order=self.order,
            parking=Parking(self.parking, reduced=reduced),
            demand=self._unmetered_demand(asleep)
            if self.unmetered
            else Demand(
                in_flight=self.in_flight,
                held=self.held if self.sees_held or not asleep else 0,
                last_request=last if self.has_last_request and self.ready else None,
                ticket=self.ticket,
                known=asleep or not self.unmeasurable(self.now),
                metered=True if is_told else None,
            ),
        )

    def _unmetered_demand(self, asleep: bool) -> Demand:
        """What the activators see, beside pods that answer that they have no gauge."""
        passed = [r for r in self.requests if r.begun and r.begun <= self.now and r.passed]
        held = self.held if self.sees_held or not asleep else 0
        if self._decided_spec().decided:
            last = max((min(r.finished, self.now) for r in passed), default=None)
            return Demand(sum(self.now < r.finished for r in passed), held, last, self.ticket)
        lacks = self.ready > 0 and not asleep
        return Demand(
            held=held,
            ticket=self.ticket,
            known=not lacks,
            silent="pod web-1 has no port named http" if lacks else "",
            metered=False if lacks else None,
        )

    def _decided_spec(self) -> PoolSpec:
        """The spec with what Auto has decided."""
        if self.memory.template.metered is not False:
            return self.spec
        return replace(self.spec, route=RouteMode.ACTIVATOR, decided=True)

    # --- the operator ---

    def _settle(self) -> tuple[Allowed, tuple[Note, ...]]:
        """Bring the ledger of a pool with prices up to now, and ask it."""
        budget = self.spec.budget
        if not self.spec.platform.prices.currency:
            return EVERYTHING, ()
        elapsed = None if self.entered_at is None else self.now - self.entered_at
        there = [(p, None) for p in self.pods] + [(p, p.gone_at) for p in self.gone]
        bills = [
            BilledPod(p.born, {"cpu": PARKED if p.is_reduced else Decimal(1)}, p.uid, gone)
            for p, gone in there
            if p.born
        ]
        self.ledger = accrue(self.ledger, bills, self.spec, self.now, elapsed)
        self.entered_at = self.now
        self.gone.clear()
        notes = news(self.standing, self.ledger, self.spec)
        self.standing = str(standing(self.ledger, budget) or "")
        return allowed(self.ledger, budget, self.now), notes

    def _act(self, decision: Decision, seen: Observation) -> bool:
        before = (self.memory.phase, self.replicas, self.memory.route.epoch)
        self._edited = False
        self.memory, self.recheck, self.last = decision.memory, decision.recheck, decision
        if decision.replicas is not None and decision.replicas != self.replicas:
            self.scale(decision.replicas)
        self._resize(decision)
        demand = seen.demand
        quiet = demand.known and demand.concurrency == 0
        if decision.sleep and (quiet or decision.force):
            self.memory = asleep_after(decision.memory, self.spec, self.now)
            assert self.memory.route == decision.memory.route
            if self.dies_before_scaling:
                self.operator_up = self.dies_before_scaling = False
                return True
            self.scale(0)
        published = max((e for _, e in self._published), default=0)
        if self.acknowledges_after is not None and self.memory.route.epoch > published:
            at = self.now + timedelta(seconds=self.acknowledges_after)
            self._published.append((at, self.memory.route.epoch))
        return (self.memory.phase, self.replicas, self.memory.route.epoch) == before

    def _resize(self, decision: Decision) -> None:
        """Reduce the requests of parked pods; restore those of others."""
        for pod in self.pods:
            if decision.park:
                pod.is_reduced |= pod.ready_at <= self.now
            elif self.memory.phase in (Phase.WARM, Phase.WARMING):
                pod.is_reduced = False


def walk(spec: PoolSpec, start: datetime, requests: Iterable[datetime] = (), **how: object) -> Walk:
    """Begin a walk and look at the pool for the first time."""
    made = Walk(spec, start, requests=[Request(at) for at in requests], **how)
    made.until(start)
    return made
