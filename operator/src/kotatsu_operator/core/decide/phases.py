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
from typing import Any

from kotatsu_operator.core.budget.limit import Allowed, Ends
from kotatsu_operator.core.plan import activity
from kotatsu_operator.core.plan.lead import with_warm_up
from kotatsu_operator.core.pool.decision import Note, Observation, parts_of
from kotatsu_operator.core.pool.memory import Memory, Phase, Reason, Route, Trend, WarmUp, changed
from kotatsu_operator.core.pool.spec import OverrideMode, PoolSpec


def first_sight(memory: Memory, seen: Observation, now: datetime) -> Memory:
    """Adopt a target in its current state: running ones as awake, others as asleep."""
    if memory.since is not None:
        return memory
    # The memory may have been lost: the new epoch must be higher than any acknowledged one.
    route = replace(memory.route, epoch=max(memory.route.epoch, seen.acknowledged or 0))
    if seen.replicas > 0:
        # Pods that already serve get one idleAfter before a scale-down.
        active = now if seen.ready > 0 else None
        return replace(
            memory,
            phase=Phase.WARMING,
            reason=Reason.DEMAND,
            since=now,
            route=route,
            last_active=active,
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
    idle: activity.Idle
    asleep_asked: bool
    """Whether the budget or an override puts the pool to sleep, regardless of demand."""
    parks: int
    """The pods that stay parked while the pool is idle; 0: it goes to sleep."""

    @property
    def replicas(self) -> int:
        """The replicas of an awake pool."""
        return max(self.least, self.wanted, 1)


class Step:
    """One step of the phase machine, with one method per phase: it changes `memory`.

    What comes of it: see the fields of `Decision`.
    """

    def __init__(self, given: Given, memory: Memory, goal: Goal) -> None:
        self.spec, self.seen = given.spec, given.seen
        self.now, self.allowed = given.now, given.allowed
        self.memory, self.goal = memory, goal
        self.notes: list[Note] = []
        self.replicas: int | None = None
        self.sleep = self.force = False

    def take(self) -> None:
        if self.memory.phase.is_asleep:
            self.replicas = self._asleep()
        elif self.memory.phase is Phase.DRAINING:
            self.replicas = self._draining()
        else:
            self.replicas = self._awake()
        if self._is_held() and self.seen.replicas == 0:
            self.replicas = None  # Warming, which wakes what it waits for
        self._name_the_budget()

    def _asleep(self) -> int | None:
        seen, memory = self.seen, self.memory
        asked = activity.is_announced(memory, seen)
        if seen.replicas > 0 and self.goal.asleep_asked:
            self._drain(self._who_asks())
            return None
        if self.goal.least > 0 or (seen.demand.held > 0 and self.allowed.begins):
            return self._wake(self.goal.reason if self.goal.least > 0 else Reason.REQUEST)
        if seen.replicas > 0:
            if activity.is_interrupted(memory, seen) and self.goal.idle.drain:
                self._drain("continuing an interrupted sleep")
                return None
            # Raised by an activator for a request, or by kubectl scale.
            return self._wake(Reason.REQUEST if asked or seen.woken else Reason.DEMAND)
        if memory.phase is Phase.SLEEPING and seen.pods == 0:
            self._enter(Phase.ASLEEP, memory.reason)
            then = "its budget is spent" if self.allowed.is_spent else "requests wake the pool"
            self.notes.append(Note("Asleep", f"the last pod is gone; {then}"))
        return None

    def _awake(self) -> int | None:
        is_idle = self.goal.idle.drain and self.seen.demand.concurrency == 0
        if (is_idle and not self.goal.parks) or self.goal.asleep_asked:
            self._drain(
                self._who_asks() if self.goal.asleep_asked else "no request and no window needs it"
            )
            return None
        return self._stay()

    def _draining(self) -> int | None:
        seen, memory, now = self.seen, self.memory, self.now
        busy = seen.demand.concurrency > 0 and not self.goal.asleep_asked
        # A floor of parked pods does not keep an idle pool Warm, and keeps it from sleeping.
        if busy or not self.goal.idle.drain or self.goal.least > 0:
            self.notes.append(Note("SleepAborted", f"{self._why_up()} while draining"))
            return self._stay()
        if (seen.acknowledged or 0) < memory.route.epoch:
            self._here(acknowledged_at=None)
            return None
        acknowledged_at = memory.process.acknowledged_at or now
        self._here(acknowledged_at=acknowledged_at)
        settled = now >= acknowledged_at + self.spec.platform.route_settle
        assert memory.since is not None  # noqa: S101  (set by first_sight)
        # A sleep request or unknown demand must not delay the sleep beyond the timeout.
        bounded = self.goal.asleep_asked or not seen.demand.known
        self.force = bounded and now >= memory.since + DRAIN_TIMEOUT
        # A pool that depends on this one counts as a request in flight until it is on its way down.
        # That way has a timeout of its own.
        order = seen.order
        is_free = not order.needed_by or (self.force and order.may_outlast)
        # A kube-proxy that lags behind does not know the activators, only pods that would be
        # removed.
        self.sleep = settled and not seen.catching_up and self.goal.idle.sleep and is_free
        return None

    def _why_up(self) -> str:
        """What ended the way down."""
        demand, memory = self.seen.demand, self.memory
        if self.goal.least > 0:
            return f"pods were requested ({self.goal.reason})"
        if demand.concurrency > 0 or activity.is_announced(memory, self.seen):
            return "a request arrived"
        if memory.unknown_since is not None:
            return f"the demand became unknown ({demand.silent or 'no answer'})"
        last, since = memory.last_active, memory.since
        if last is not None and since is not None and last > since:
            return "a request was answered, or silent pods may have had one,"
        return "the spec was edited, or an override or a spent budget ended,"

    def _stay(self) -> int:
        """Awake: scale to floor and demand. Warm with a Ready floor, Parked when idle."""
        if self._may_park():
            return self._park()
        if not self._is_idle():
            self._set(parked_since=None)
        seen, before = self.seen, self.memory
        replicas = self.goal.replicas
        # A pod that cannot get its requests back serves with less, and another one helps it.
        helped = min(replicas + seen.parking.refused, self.spec.max_replicas)
        replicas = max(replicas, helped)
        if seen.catching_up:
            # As in Draining: connections still go to all of them.
            replicas = max(replicas, seen.replicas)
        reason = self._why()
        if seen.ready >= max(self.goal.least, 1):
            self._record_warm_up()
            if activity.is_starting(before):
                self._set(last_active=self.now)
            if before.phase is not Phase.WARM:
                self.notes.append(Note("Warm", f"{seen.ready} of {replicas} replicas are Ready"))
            self._enter(Phase.WARM, reason)
        else:
            if before.raised_at is None and self._begins():
                self._set(raised_at=self.now)
            self._enter(Phase.WARMING, reason)
            self._report_trouble(replicas)
        # Pods without a gauge may be those of an earlier template, which shows nothing yet.
        is_kept = activity.stays_in_route(self.spec, before.route) or seen.demand.metered is False
        if seen.ready >= 1 and not is_kept:
            self._set(route=changed(self.memory.route, target=Route.NATIVE))
        return self._park() if self._may_park() else replicas

    def _is_held(self) -> bool:
        """Whether the pool waits for one on which it depends."""
        return self.seen.order.holds(self.memory.since, self.now)

    def _begins(self) -> bool:
        """Whether pods start now: a warm-up is measured without the wait for other pools."""
        if self._is_held():
            return False
        waited = bool(self.spec.depends_on) and self.memory.phase is Phase.WARMING
        return self.goal.least > self.seen.replicas or (waited and self.seen.ready == 0)

    def _may_park(self) -> bool:
        """Whether the pool is idle, and all pods that stay are Ready and have been warm."""
        is_warm = self.memory.phase in (Phase.WARM, Phase.PARKED)
        return self._is_idle() and is_warm and 0 < self.goal.parks <= self.seen.ready

    def _is_idle(self) -> bool:
        return self.goal.idle.sleep and self.seen.demand.concurrency == 0

    def _park(self) -> int:
        """Idle: the pods that stay give back their requests, and the activators join the route."""
        memory, replicas = self.memory, self.goal.parks
        if self.seen.catching_up:
            replicas = max(replicas, self.seen.replicas)
        self._set(parked_since=memory.parked_since or self.now)
        if memory.phase is not Phase.PARKED:
            self._set(route=memory.route.through_activator(), reduced=True)
            self._here(acknowledged_at=None)
            self.notes.append(Note("Parked", f"{replicas} pods stay Ready with smaller requests"))
        # A request restores all of them, and for a while demand removes none.
        self._here(trend=Trend(sustained=((self.now, replicas),)))
        self._enter(Phase.PARKED, self.goal.reason if self.goal.least else Reason.IDLE)
        return replicas

    def _why(self) -> Reason:
        if self.goal.least >= max(self.goal.wanted, 1):
            return self.goal.reason
        if self.memory.reason is Reason.REQUEST and self.goal.wanted <= 1:
            return Reason.REQUEST
        return Reason.DEMAND

    def _wake(self, reason: Reason) -> int:
        memory = self.memory
        if reason in (Reason.REQUEST, Reason.DEMAND):
            self._set(last_active=self.now)  # the pods get one idleAfter
        # Another client started pods that are already Ready, so their start time is unknown.
        is_ready, awaits = self.seen.ready >= max(self.goal.least, 1), self.seen.order.awaits
        self._set(
            woken_soon=activity.woken_soon(self.spec, memory, reason, self.now),
            has_timed_out=memory.process.timed_out > 0,
        )
        self._set(raised_at=None if is_ready or awaits else self.now)
        self._enter(Phase.WARMING, reason)
        told = len(self.notes)
        replicas = self._stay()
        if self.memory.phase is Phase.WARMING:
            after = f", once WarmPool {awaits} is Warm" if awaits else ""
            text = f"starting {self.goal.replicas} replicas ({reason}){after}"
            self.notes.insert(told, Note("Warming", text))
        return replicas

    def _drain(self, why: str) -> None:
        self._set(route=self.memory.route.renewed(), raised_at=None)
        self._here(acknowledged_at=None)
        self._enter(Phase.DRAINING, self._why_down())
        self.notes.append(Note("Draining", f"going to sleep: {why}"))

    def _why_down(self) -> Reason:
        if self.allowed.sleeps:
            return Reason.BUDGET
        return Reason.OVERRIDE if self.goal.asleep_asked else Reason.IDLE

    def _who_asks(self) -> str:
        return "the budget is spent" if self.allowed.sleeps else "an override requests sleep"

    def _name_the_budget(self) -> None:
        """Set the reason Budget exactly while the budget holds the pool asleep."""
        memory = self.memory
        held = self.allowed.is_spent and memory.phase.is_asleep
        if held or memory.reason is Reason.BUDGET:
            self._set(reason=Reason.BUDGET if held or self.allowed.sleeps else Reason.IDLE)

    def _record_warm_up(self) -> None:
        memory, raised = self.memory, self.memory.raised_at
        if raised is None:
            return
        last, ended, looked = self.seen.starting.last, self.now, memory.process.looked_at
        is_seen = looked is not None and ended - looked <= _UNSEEN
        if not is_seen and last is not None and last.ready_at is not None:
            ended = max(raised, min(ended, last.ready_at + _ROUNDED))
        took = WarmUp(
            (ended - raised).total_seconds(),
            self.seen.ready,
            memory.template.hash,
            None if last is None else parts_of(last, raised, ended),
            window=self.goal.least > 0 and self.goal.reason is Reason.WINDOW,
        )
        self._set(warm_ups=with_warm_up(memory.warm_ups, took), raised_at=None)

    def _report_trouble(self, replicas: int) -> None:
        """Post once for each warm-up that a pod cannot start, and that pods find no node."""
        starting = self.seen.starting
        if starting.failing:
            note = Note("PodsCannotStart", starting.failing, warning=True)
        elif starting.waiting:
            pods = f"{starting.waiting} of {replicas} pods find no node"
            text = f"{pods}: {starting.no_node[:_SAID]}; {_REMEDY}"
            note = Note("WarmUpUnschedulable", text, warning=True)
        else:
            return
        told = self.memory.process.told
        if note.reason not in told:
            self._here(told=(*told, note.reason))
            self.notes.append(note)

    def _enter(self, phase: Phase, reason: Reason) -> None:
        memory = self.memory
        if phase is Phase.WARMING:
            self._here(looked_at=self.now)
        else:
            self._here(looked_at=None, told=())
        self._set(
            phase=phase,
            reason=reason,
            since=memory.since if phase is memory.phase else self.now,
            parked_since=memory.parked_since if phase.is_awake else None,
        )

    def _set(self, **values: Any) -> None:
        self.memory = changed(self.memory, **values)

    def _here(self, **values: Any) -> None:
        self.memory = self.memory.here(**values)


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
