"""The phases and the next step of each.

Asleep ──floor, request──▶ Warming ──floor Ready──▶ Warm ──idle, floor gone──▶ Draining
   ▲                          ▲                                                   │
   └──last pod gone── Sleeping └───────────── a request or a window ──────────────┤
                         ▲                                                        │
                         └──────── acknowledged, settled, nothing in flight ──────┘

Also: With parkedFor, Warm goes to Parked when it is idle; Parked goes to Warm for a request or a
warm window, and to Draining when parkedFor is over. Warm and Parked return to Warming while their
pods are not Ready. Warming goes to Draining when its reason ends. Sleeping goes to Warming for a
request or a window, and to Draining if the operator ended before it lowered the scale. If the pods
are already Ready, a pool goes through Warming to Warm in one decision. Pods that another client
started are drained at once for an Asleep override.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self

from kotatsu_operator.core.budget.limit import Allowed, Ends
from kotatsu_operator.core.plan import activity
from kotatsu_operator.core.plan.lead import with_warm_up
from kotatsu_operator.core.pool.decision import Observation, parts_of
from kotatsu_operator.core.pool.memory import Memory, Phase, Reason, Route, Trend, WarmUp, changed
from kotatsu_operator.core.pool.news import Note
from kotatsu_operator.core.pool.spec import OverrideMode, PoolSpec, RouteMode


def first_sight(memory: Memory, seen: Observation, now: datetime) -> Memory:
    """Adopt a target in its current state: running ones as awake, others as asleep."""
    if memory.since is not None:
        return memory
    # The memory may have been lost: the new epoch must be higher than any acknowledged one.
    route = replace(memory.route, epoch=max(memory.route.epoch, seen.acknowledged or 0))
    if seen.replicas > 0:
        # Pods that serve get one idleAfter before a scale-down, and those that start become Ready.
        # Adoption lowers nothing, also where more of them run than the pool may have.
        return replace(
            memory.here(trend=Trend(sustained=((now, seen.replicas),))),
            phase=Phase.WARMING,
            reason=Reason.DEMAND,
            since=now,
            route=route,
            last_active=now,
        )
    return replace(memory, phase=Phase.ASLEEP, since=now, route=route.renewed())


DRAIN_TIMEOUT = timedelta(seconds=60)
"""How long an Asleep override or a spent budget waits for requests in flight."""

_UNSEEN = timedelta(seconds=10)
"""Longer than between two looks at a pool that starts: no operator saw when its pods became Ready,
so the kubelet's time of it counts."""

_ROUNDED = timedelta(seconds=1)
"""The kubelet's times have no fractions."""

_SAID = 400
"""Characters of the scheduler's message that an event quotes; an event holds 1024 in all."""

_REMEDY = (
    "a node autoscaler may add one, and the next lead allows for that; without one add a node, "
    "lower the requests of the pods, or check their nodeSelector, affinity and tolerations"
)


@dataclass(frozen=True)
class Given:
    """What a decision is made of, beside the memory."""

    spec: PoolSpec
    seen: Observation
    now: datetime
    allowed: Allowed


@dataclass(frozen=True)
class Goal:
    """What schedule, override, budget and demand ask for."""

    floor: int
    """The replicas required regardless of demand."""
    least: int
    """The reachable part of the floor."""
    reason: Reason
    """The reason for the floor."""
    wanted: int
    """The replicas that demand requires."""
    minimum: int
    """The least of an awake pool, as far as the budget permits them."""
    idle: activity.Idle
    asleep_asked: bool
    """Whether the budget or an override puts the pool to sleep, regardless of demand."""
    parks: int
    """The pods that stay parked while the pool is idle; 0: it goes to sleep."""

    @property
    def replicas(self) -> int:
        """The replicas of an awake pool."""
        return max(self.least, self.wanted, self.minimum)


@dataclass(frozen=True)
class Step:
    """A pool on its way through one decision, with a method for each arrow of the phases.

    Each returns the pool as it is then. What comes of it: see the fields of `Decision`.
    """

    given: Given
    memory: Memory
    goal: Goal
    notes: tuple[Note, ...] = ()
    replicas: int | None = None
    sleep: bool = False
    force: bool = False

    def taken(self) -> Self:
        """The pool after this step."""
        step = self.next_phase().with_the_budget()
        is_held = step.is_held() and self.given.seen.replicas == 0
        # Warming, which wakes what it waits for.
        return replace(step, replicas=None) if is_held else step

    def next_phase(self) -> Self:
        if self.memory.phase.is_asleep:
            return self.from_asleep()
        return self.from_draining() if self.memory.phase is Phase.DRAINING else self.from_awake()

    def from_asleep(self) -> Self:
        given, seen, memory = self.given, self.given.seen, self.memory
        if seen.replicas > 0 and self.goal.asleep_asked:
            return self.drain(self.who_asks())
        if self.goal.least > 0 or (seen.demand.held > 0 and given.allowed.begins):
            return self.wake(self.goal.reason if self.goal.least > 0 else Reason.REQUEST)
        if seen.replicas > 0:
            if activity.is_interrupted(memory, seen) and self.goal.idle.drain:
                return self.drain("continuing an interrupted sleep")
            # Raised by an activator for a request, or by kubectl scale.
            is_request = activity.is_announced(memory, seen) or seen.woken
            return self.wake(Reason.REQUEST if is_request else Reason.DEMAND)
        if memory.phase is Phase.SLEEPING and seen.pods == 0:
            then = "its budget is spent" if given.allowed.is_spent else "requests wake the pool"
            asleep = self.enter(Phase.ASLEEP, memory.reason)
            return asleep.says(Note("Asleep", f"the last pod is gone; {then}"))
        return self

    def from_awake(self) -> Self:
        if self.goal.asleep_asked:
            return self.drain(self.who_asks())
        is_idle = self.goal.idle.drain and self.given.seen.demand.concurrency == 0
        if is_idle and not self.goal.parks:
            return self.drain("no request and no window needs it")
        return self.stay()

    def from_draining(self) -> Self:
        seen, memory, now = self.given.seen, self.memory, self.given.now
        busy = seen.demand.concurrency > 0 and not self.goal.asleep_asked
        # A floor of parked pods does not keep an idle pool Warm, and keeps it from sleeping.
        if busy or not self.goal.idle.drain or self.goal.least > 0:
            return self.says(Note("SleepAborted", f"{self.why_up()} while draining")).stay()
        if (seen.acknowledged or 0) < memory.route.epoch:
            return self.here(acknowledged_at=None)
        acknowledged_at = memory.process.acknowledged_at or now
        settled = now >= acknowledged_at + self.given.spec.platform.route_settle
        assert memory.since is not None  # noqa: S101  (set by first_sight)
        force = self.goal.asleep_asked and now >= memory.since + DRAIN_TIMEOUT
        # A pool that depends on this one counts as a request in flight until it is on its way down.
        # That way has a timeout of its own.
        order = seen.order
        is_free = not order.needed_by or (force and order.may_outlast)
        # A kube-proxy that lags behind does not know the activators, only pods that would be
        # removed.
        sleep = settled and not seen.catching_up and self.goal.idle.sleep and is_free
        return replace(self.here(acknowledged_at=acknowledged_at), force=force, sleep=sleep)

    def why_up(self) -> str:
        """What ended the way down."""
        demand, memory = self.given.seen.demand, self.memory
        if self.goal.least > 0:
            return f"pods were requested ({self.goal.reason})"
        if demand.concurrency > 0 or activity.is_announced(memory, self.given.seen):
            return "a request arrived"
        if memory.unknown_since is not None:
            return f"the demand became unknown ({demand.silent or 'no answer'})"
        last, since = memory.last_active, memory.since
        if last is not None and since is not None and last > since:
            return "a request was answered, or silent pods may have had one,"
        return "the spec was edited, or an override or a spent budget ended,"

    def stay(self) -> Self:
        """Awake: scale to floor and demand. Warm with a Ready floor, Parked when idle."""
        if self.may_park():
            return self.park()
        seen = self.given.seen
        # A pod that cannot get its requests back serves with less, and another one helps it.
        helped = min(self.goal.replicas + seen.parking.refused, self.given.spec.max_replicas)
        replicas = max(self.goal.replicas, helped)
        if seen.catching_up:
            # As in Draining: connections still go to all of them.
            replicas = max(replicas, seen.replicas)
        before = self if self.is_idle() else self.having(parked_since=None)
        is_ready = seen.ready >= max(self.goal.least, 1)
        there = before.warm(replicas) if is_ready else before.warming(replicas)
        # Pods without a gauge may be those of an earlier template, which shows nothing yet.
        is_kept = self.given.spec.route is RouteMode.ACTIVATOR
        if seen.ready >= 1 and not (is_kept or seen.demand.metered is False):
            there = there.having(route=changed(there.memory.route, target=Route.NATIVE))
        return there.park() if there.may_park() else replace(there, replicas=replicas)

    def warm(self, replicas: int) -> Self:
        """The floor is Ready."""
        begun = self.record_warm_up()
        if activity.is_starting(self.memory):
            begun = begun.having(last_active=self.given.now)
        if self.memory.phase is not Phase.WARM:
            ready = self.given.seen.ready
            more = f", and {replicas - ready} more start" if replicas > ready else ""
            begun = begun.says(Note("Warm", f"{ready} replicas are Ready{more}"))
        return begun.enter(Phase.WARM, self.why())

    def warming(self, replicas: int) -> Self:
        """The floor is not Ready yet, or not any more."""
        begins = self.memory.raised_at is None and self.begins()
        begun = self.having(raised_at=self.given.now) if begins else self
        return begun.enter(Phase.WARMING, self.why()).report_trouble(replicas)

    def is_held(self) -> bool:
        """Whether the pool waits for one on which it depends."""
        return self.given.seen.order.holds(self.memory.since, self.given.now)

    def begins(self) -> bool:
        """Whether pods start now: a warm-up is measured without the wait for other pools."""
        if self.is_held():
            return False
        seen = self.given.seen
        waited = bool(self.given.spec.depends_on) and self.memory.phase is Phase.WARMING
        return self.goal.least > seen.replicas or (waited and seen.ready == 0)

    def may_park(self) -> bool:
        """Whether the pool is idle, and all pods that stay are Ready and have been warm."""
        is_warm = self.memory.phase in (Phase.WARM, Phase.PARKED)
        return self.is_idle() and is_warm and 0 < self.goal.parks <= self.given.seen.ready

    def is_idle(self) -> bool:
        return self.goal.idle.sleep and self.given.seen.demand.concurrency == 0

    def park(self) -> Self:
        """Idle: the pods that stay give back their requests, and the activators join the route."""
        seen, memory, now, replicas = self.given.seen, self.memory, self.given.now, self.goal.parks
        if seen.catching_up:
            replicas = max(replicas, seen.replicas)
        step = self.having(parked_since=memory.parked_since or now)
        if memory.phase is not Phase.PARKED:
            step = step.having(route=memory.route.through_activator(), reduced=True)
            step = step.here(acknowledged_at=None)
            step = step.says(Note("Parked", f"{replicas} pods stay Ready with smaller requests"))
        # A request restores all of them, and for a while demand removes none.
        step = step.here(trend=Trend(sustained=((now, replicas),)))
        parked = step.enter(Phase.PARKED, self.goal.reason if self.goal.least else Reason.IDLE)
        return replace(parked, replicas=replicas)

    def why(self) -> Reason:
        if self.goal.least >= max(self.goal.wanted, 1):
            return self.goal.reason
        if self.memory.reason is Reason.REQUEST and self.goal.wanted <= 1:
            return Reason.REQUEST
        return Reason.DEMAND

    def wake(self, reason: Reason) -> Self:
        memory, seen, now = self.memory, self.given.seen, self.given.now
        is_for_request = reason in (Reason.REQUEST, Reason.DEMAND)
        # Another client started pods that are already Ready, so their start time is unknown.
        is_ready, awaits = seen.ready >= max(self.goal.least, 1), seen.order.awaits
        woken = self.having(
            # For a request the pods get one idleAfter.
            last_active=now if is_for_request else memory.last_active,
            woken_soon=activity.woken_soon(self.given.spec, memory, reason, now),
            has_timed_out=memory.process.timed_out > 0,
            raised_at=None if is_ready or awaits else now,
        )
        stays = woken.enter(Phase.WARMING, reason).stay()
        if stays.memory.phase is not Phase.WARMING:
            return stays
        after = f", once WarmPool {awaits} is Warm" if awaits else ""
        text = f"starting {self.goal.replicas} replicas ({reason}){after}"
        told = len(self.notes)
        first = (*stays.notes[:told], Note("Warming", text))
        return replace(stays, notes=(*first, *stays.notes[told:]))

    def drain(self, why: str) -> Self:
        ends = self.having(route=self.memory.route.renewed(), raised_at=None)
        ends = ends.here(acknowledged_at=None).enter(Phase.DRAINING, self.why_down())
        return ends.says(Note("Draining", f"going to sleep: {why}"))

    def why_down(self) -> Reason:
        if self.given.allowed.sleeps:
            return Reason.BUDGET
        return Reason.OVERRIDE if self.goal.asleep_asked else Reason.IDLE

    def who_asks(self) -> str:
        is_spent = self.given.allowed.sleeps
        return "the budget is spent" if is_spent else "an override requests sleep"

    def with_the_budget(self) -> Self:
        """With the reason Budget exactly while the budget holds the pool asleep."""
        memory, allowed = self.memory, self.given.allowed
        held = allowed.is_spent and memory.phase.is_asleep
        if not (held or memory.reason is Reason.BUDGET):
            return self
        return self.having(reason=Reason.BUDGET if held or allowed.sleeps else Reason.IDLE)

    def record_warm_up(self) -> Self:
        memory, seen, raised = self.memory, self.given.seen, self.memory.raised_at
        if raised is None:
            return self
        last, ended, looked = seen.starting.last, self.given.now, memory.process.looked_at
        is_seen = looked is not None and ended - looked <= _UNSEEN
        if not is_seen and last is not None and last.ready_at is not None:
            ended = max(raised, min(ended, last.ready_at + _ROUNDED))
        took = WarmUp(
            (ended - raised).total_seconds(),
            seen.ready,
            memory.template.hash,
            None if last is None else parts_of(last, raised, ended),
            window=self.goal.least > 0 and self.goal.reason is Reason.WINDOW,
        )
        return self.having(warm_ups=with_warm_up(memory.warm_ups, took), raised_at=None)

    def report_trouble(self, replicas: int) -> Self:
        """Say once for each warm-up that a pod cannot start, and that pods find no node."""
        starting, told = self.given.seen.starting, self.memory.process.told
        if starting.failing:
            note = Note("PodsCannotStart", starting.failing, warning=True)
        elif starting.waiting:
            pods = f"{starting.waiting} of {replicas} pods find no node"
            text = f"{pods}: {starting.no_node[:_SAID]}; {_REMEDY}"
            note = Note("WarmUpUnschedulable", text, warning=True)
        else:
            return self
        if note.reason in told:
            return self
        return self.here(told=(*told, note.reason)).says(note)

    def enter(self, phase: Phase, reason: Reason) -> Self:
        memory = self.memory
        if phase is Phase.WARMING:
            looked = self.here(looked_at=self.given.now)
        else:
            looked = self.here(looked_at=None, told=())
        return looked.having(
            phase=phase,
            reason=reason,
            since=memory.since if phase is memory.phase else self.given.now,
            parked_since=memory.parked_since if phase.is_awake else None,
        )

    def having(self, **values: Any) -> Self:
        return replace(self, memory=changed(self.memory, **values))

    def here(self, **values: Any) -> Self:
        return replace(self, memory=self.memory.here(**values))

    def says(self, note: Note) -> Self:
        return replace(self, notes=(*self.notes, note))


def asks_for_sleep(spec: PoolSpec, memory: Memory, allowed: Allowed, now: datetime) -> bool:
    """Whether the budget or an Asleep override puts the pool to sleep, regardless of demand."""
    override = activity.in_force(spec.override, memory, now)
    is_asleep = override is not None and override.mode is OverrideMode.ASLEEP
    is_asked = allowed.sleeps or (is_asleep and not memory.override.done)
    return is_asked and allowed.ends is Ends.SLEEP


def is_overdue(
    spec: PoolSpec, memory: Memory, allowed: Allowed, acknowledged: int | None, now: datetime
) -> bool:
    """Whether the pool sleeps now regardless of demand: DRAIN_TIMEOUT has passed.

    The demand need not be read then: announcements in that time would make the next write fail.
    """
    return (
        memory.phase is Phase.DRAINING
        and memory.since is not None
        and now >= memory.since + DRAIN_TIMEOUT
        and (acknowledged or 0) >= memory.route.epoch
        and asks_for_sleep(spec, memory, allowed, now)
    )


def asleep_after(memory: Memory, spec: PoolSpec, now: datetime) -> Memory:
    """The memory right after step 5: phase Sleeping, an Asleep override is carried out."""
    override = activity.in_force(spec.override, memory, now)
    done = override is not None and override.mode is OverrideMode.ASLEEP
    known = memory.override
    return replace(
        memory.here(lowered=False, trend=Trend()),
        phase=Phase.SLEEPING,
        since=now,
        override=replace(known, done=known.done or done),
    )
