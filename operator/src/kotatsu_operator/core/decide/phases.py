"""The phases and the next step of each.

Asleep ──floor, request──▶ Warming ──floor Ready──▶ Warm ──idle, floor gone──▶ Draining
   ▲                          ▲                                                   │
   └──last pod gone── Sleeping └───────────── a request or a window ──────────────┤
                         ▲                                                        │
                         └──────── acknowledged, settled, nothing in flight ──────┘

Also: With spec.parked, Warm goes to Parked when it is idle; Parked goes to Warm for a request or a
warm window, and to Draining when parked.for is over. Warm and Parked return to Warming while their
pods are not Ready. Warming goes to Draining when its reason ends. Sleeping goes to Warming for a
request or a window, and to Draining if the operator ended before it lowered the scale. If the pods
are already Ready, a pool goes through Warming to Warm in one decision. Pods that another client
started are drained at once for an Asleep override.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime

from kotatsu_operator.core.budget.limit import Allowed, Ends
from kotatsu_operator.core.plan.activity import (
    Idle,
    in_force,
    is_announced,
    is_interrupted,
    remember_soon,
)
from kotatsu_operator.core.plan.lead import with_warm_up
from kotatsu_operator.core.pool.decision import Note, Observation, parts_of
from kotatsu_operator.core.pool.memory import Memory, Phase, Reason, Route, Trend, WarmUp, changed
from kotatsu_operator.core.pool.spec import OverrideMode, PoolSpec, RouteMode


def first_sight(memory: Memory, seen: Observation, now: datetime) -> Memory:
    """Adopt a target in its current state: running ones as awake, others as asleep."""
    if memory.since is not None:
        return memory
    # The memory may have been lost: the new epoch must be higher than any acknowledged one.
    memory = replace(memory, epoch=max(memory.epoch, seen.acknowledged or 0))
    if seen.replicas > 0:
        # Pods that already serve get one idleAfter before a scale-down.
        active = now if seen.ready > 0 else None
        return replace(
            memory, phase=Phase.WARMING, reason=Reason.DEMAND, since=now, last_active=active
        )
    return replace(
        memory, phase=Phase.ASLEEP, since=now, route=Route.ACTIVATOR, epoch=memory.epoch + 1
    )


def keep_route(spec: PoolSpec, memory: Memory) -> Memory:
    """The activators stay in the route in every phase: route Always, or their connections count."""
    is_kept = spec.route is RouteMode.ALWAYS or memory.counted
    if not is_kept or memory.route is Route.ACTIVATOR:
        return memory
    return replace(memory, route=Route.ACTIVATOR, epoch=memory.epoch + 1)


_SAID = 400
"""Characters of the scheduler's message that an event quotes; an event holds 1024 in all."""

_REMEDY = (
    "a node autoscaler may add one, and the next lead allows for that; without one add a node, "
    "lower the requests of the pods, or check their nodeSelector, affinity and tolerations"
)


@dataclass
class Step:
    """One step of the phase machine, with one method per phase: it changes `memory`."""

    spec: PoolSpec
    seen: Observation
    memory: Memory
    now: datetime
    floor: int
    """The reachable part of the floor."""
    reason: Reason
    """The reason for the floor."""
    wanted: int
    """The replicas that demand requires."""
    idle: Idle
    asleep_asked: bool
    """Whether the budget or an override puts the pool to sleep, regardless of demand."""
    allowed: Allowed
    parks: int
    """The pods that stay parked while the pool is idle; 0: it goes to sleep."""

    # What comes of it: see the fields of `Decision`.
    notes: list[Note] = field(default_factory=list)
    replicas: int | None = None
    sleep: bool = False
    force: bool = False

    def take(self) -> None:
        if self.memory.phase.is_asleep:
            self.replicas = self._asleep()
        elif self.memory.phase is Phase.DRAINING:
            self.replicas = self._draining()
        else:
            self.replicas = self._awake()
        if self.seen.order.awaits and self.seen.replicas == 0:
            self.replicas = None  # Warming, which wakes what it waits for
        self._name_the_budget()

    def _asleep(self) -> int | None:
        seen, memory = self.seen, self.memory
        asked = is_announced(memory, seen)
        if seen.replicas > 0 and self.asleep_asked:
            self._drain(self._who_asks())
            return None
        if self.floor > 0 or (seen.demand.held > 0 and self.allowed.begins):
            return self._wake(self.reason if self.floor > 0 else Reason.REQUEST)
        if seen.replicas > 0:
            if is_interrupted(memory, seen) and self.idle.drain:
                self._drain("continuing an interrupted sleep")
                return None
            # Raised by an activator for a request, or by kubectl scale. If that was long ago or the
            # client is unknown, the pods get one idleAfter.
            if not asked or self.idle.drain:
                self.memory = replace(memory, last_active=self.now)
            return self._wake(Reason.REQUEST if asked else Reason.DEMAND)
        if memory.phase is Phase.SLEEPING and seen.pods == 0:
            self._enter(Phase.ASLEEP, memory.reason)
            then = "its budget is spent" if self.allowed.is_spent else "requests wake the pool"
            self.notes.append(Note("Asleep", f"the last pod is gone; {then}"))
        return None

    def _awake(self) -> int | None:
        is_idle = self.idle.drain and self.seen.demand.concurrency == 0
        if (is_idle and not self.parks) or self.asleep_asked:
            self._drain(
                self._who_asks() if self.asleep_asked else "no request and no window needs it"
            )
            return None
        return self._stay()

    def _draining(self) -> int | None:
        seen, memory, now = self.seen, self.memory, self.now
        busy = seen.demand.concurrency > 0 and not self.asleep_asked
        # A floor of parked pods does not keep an idle pool Warm, and keeps it from sleeping.
        if busy or not self.idle.drain or self.floor > 0:
            self.notes.append(Note("SleepAborted", f"{self._why_up()} while draining"))
            return self._stay()
        if (seen.acknowledged or 0) < memory.epoch:
            self.memory = replace(memory, acknowledged_at=None)
            return None
        acknowledged_at = memory.acknowledged_at or now
        self.memory = replace(memory, acknowledged_at=acknowledged_at)
        settled = now >= acknowledged_at + self.spec.drain.route_settle
        assert memory.since is not None  # noqa: S101  (set by first_sight)
        # A sleep request or unknown demand must not delay the sleep beyond the timeout.
        bounded = self.asleep_asked or not seen.demand.known
        self.force = bounded and now >= memory.since + self.spec.drain.timeout
        # A pool that depends on this one counts as a request in flight until it is on its way down.
        # That way has a timeout of its own.
        order = seen.order
        is_free = not order.needed_by or (self.force and order.may_outlast)
        # A kube-proxy that lags behind does not know the activators, only pods that would be
        # removed.
        self.sleep = settled and not seen.catching_up and self.idle.sleep and is_free
        return None

    def _why_up(self) -> str:
        """What ended the way down."""
        demand, memory = self.seen.demand, self.memory
        if self.floor > 0:
            return f"pods were asked for ({self.reason})"
        if demand.concurrency > 0 or is_announced(memory, self.seen):
            return "a request arrived"
        if memory.unknown_since is not None:
            return f"the demand became unknown ({demand.silent or 'no answer'})"
        last, since = memory.last_active, memory.since
        if last is not None and since is not None and last > since:
            return "a request was answered, or silent pods may have had one,"
        return "the spec was edited, or an override or a budget that asked for sleep ended,"

    def _stay(self) -> int:
        """Awake: scale to floor and demand. Warm with a Ready floor, Parked when idle."""
        if self._may_park():
            return self._park()
        if not self._is_idle():
            self.memory = changed(self.memory, parked_since=None)
        seen, memory = self.seen, self.memory
        goal = max(self.floor, self.wanted, 1)
        # A pod that cannot get its requests back serves with less, and another one helps it.
        goal = max(goal, min(goal + seen.parking.refused, self.spec.scaling.max_replicas))
        if seen.catching_up:
            goal = max(goal, seen.replicas)  # as in Draining: connections still go to all of them
        reason = self._why()
        if seen.ready >= max(self.floor, 1):
            self._record_warm_up()
            if memory.phase is not Phase.WARM:
                self.notes.append(Note("Warm", f"{seen.ready} of {goal} replicas are Ready"))
            self._enter(Phase.WARM, reason)
        else:
            if memory.raised_at is None and self._begins():
                self.memory = replace(self.memory, raised_at=self.now)
            self._enter(Phase.WARMING, reason)
            self._report_trouble(goal)
        is_kept = self.spec.route is RouteMode.ALWAYS or memory.counted
        # Pods without a gauge may be those of an earlier template, which shows nothing yet.
        if seen.ready >= 1 and not is_kept and seen.demand.metered is not False:
            self.memory = changed(self.memory, route=Route.NATIVE)
        return self._park() if self._may_park() else goal

    def _begins(self) -> bool:
        """Whether pods start now: a warm-up is measured without the wait for other pools."""
        if self.seen.order.awaits:
            return False
        waited = bool(self.spec.depends_on) and self.memory.phase is Phase.WARMING
        return self.floor > self.seen.replicas or (waited and self.seen.ready == 0)

    def _may_park(self) -> bool:
        """Whether the pool is idle, and all pods that stay are Ready and have been warm."""
        is_warm = self.memory.phase in (Phase.WARM, Phase.PARKED)
        return self._is_idle() and is_warm and 0 < self.parks <= self.seen.ready

    def _is_idle(self) -> bool:
        return self.idle.sleep and self.seen.demand.concurrency == 0

    def _park(self) -> int:
        """Idle: the pods that stay give back their requests, and the activators join the route."""
        memory, goal = self.memory, self.parks
        if self.seen.catching_up:
            goal = max(goal, self.seen.replicas)
        self.memory = changed(memory, parked_since=memory.parked_since or self.now)
        if memory.phase is not Phase.PARKED:
            joins = memory.route is Route.NATIVE
            self.memory = replace(
                self.memory,
                route=Route.ACTIVATOR,
                epoch=memory.epoch + joins,
                acknowledged_at=None,
                reduced=True,
            )
            self.notes.append(Note("Parked", f"{goal} pods stay Ready with smaller requests"))
        # A request restores all of them, and for a while demand removes none.
        self.memory = replace(self.memory, trend=Trend(sustained=((self.now, goal),)))
        self._enter(Phase.PARKED, self.reason if self.floor else Reason.IDLE)
        return goal

    def _why(self) -> Reason:
        if self.floor >= max(self.wanted, 1):
            return self.reason
        if self.memory.reason is Reason.REQUEST and self.wanted <= 1:
            return Reason.REQUEST
        return Reason.DEMAND

    def _wake(self, reason: Reason) -> int:
        goal = max(self.floor, self.wanted, 1)
        # Another client started pods that are already Ready, so their start time is unknown.
        is_ready, awaits = self.seen.ready >= max(self.floor, 1), self.seen.order.awaits
        memory = remember_soon(self.spec, self.memory, reason, self.now)
        memory = changed(memory, has_timed_out=memory.timed_out > 0)
        self.memory = replace(memory, raised_at=None if is_ready or awaits else self.now)
        self._enter(Phase.WARMING, reason)
        after = f", once WarmPool {awaits} is Warm" if awaits else ""
        self.notes.append(Note("Warming", f"starting {goal} replicas ({reason}){after}"))
        return self._stay()

    def _drain(self, why: str) -> None:
        self.memory = replace(
            self.memory,
            route=Route.ACTIVATOR,
            epoch=self.memory.epoch + 1,
            acknowledged_at=None,
            raised_at=None,
        )
        self._enter(Phase.DRAINING, self._why_down())
        self.notes.append(Note("Draining", f"going to sleep: {why}"))

    def _why_down(self) -> Reason:
        if self.allowed.sleeps:
            return Reason.BUDGET
        return Reason.OVERRIDE if self.asleep_asked else Reason.IDLE

    def _who_asks(self) -> str:
        return "the budget is spent" if self.allowed.sleeps else "an override requests sleep"

    def _name_the_budget(self) -> None:
        """Set the reason Budget exactly while the budget holds the pool asleep."""
        memory = self.memory
        held = self.allowed.is_spent and memory.phase.is_asleep
        if held or memory.reason is Reason.BUDGET:
            kept = Reason.BUDGET if held or self.allowed.sleeps else Reason.IDLE
            self.memory = replace(memory, reason=kept)

    def _record_warm_up(self) -> None:
        memory, raised = self.memory, self.memory.raised_at
        if raised is None:
            return
        last = self.seen.starting.last
        took = WarmUp(
            (self.now - raised).total_seconds(),
            self.seen.ready,
            memory.template,
            None if last is None else parts_of(last, raised, self.now),
            window=self.floor > 0 and self.reason is Reason.WINDOW,
        )
        warm_ups = with_warm_up(memory.warm_ups, took)
        self.memory = replace(memory, raised_at=None, warm_ups=warm_ups)

    def _report_trouble(self, goal: int) -> None:
        """Post once for each warm-up that a pod cannot start, and that pods find no node."""
        starting = self.seen.starting
        if starting.failing:
            note = Note("PodsCannotStart", starting.failing, warning=True)
        elif starting.waiting:
            pods = f"{starting.waiting} of {goal} pods find no node"
            text = f"{pods}: {starting.no_node[:_SAID]}; {_REMEDY}"
            note = Note("WarmUpUnschedulable", text, warning=True)
        else:
            return
        if note.reason not in self.memory.told:
            self.memory = replace(self.memory, told=(*self.memory.told, note.reason))
            self.notes.append(note)

    def _enter(self, phase: Phase, reason: Reason) -> None:
        if phase is not Phase.WARMING:
            self.memory = changed(self.memory, told=())
        if not phase.is_awake:
            self.memory = changed(self.memory, parked_since=None)
        since = self.memory.since if phase is self.memory.phase else self.now
        self.memory = changed(self.memory, phase=phase, reason=reason, since=since)


def asks_for_sleep(spec: PoolSpec, memory: Memory, allowed: Allowed, now: datetime) -> bool:
    """Whether the budget or an Asleep override puts the pool to sleep, regardless of demand."""
    override = in_force(spec.override, memory, now)
    is_asleep = override is not None and override.mode is OverrideMode.ASLEEP
    is_asked = allowed.sleeps or (is_asleep and not memory.override_done)
    return is_asked and allowed.ends is Ends.SLEEP


def is_overdue(
    spec: PoolSpec, memory: Memory, allowed: Allowed, acknowledged: int | None, now: datetime
) -> bool:
    """Whether the pool sleeps now regardless of demand: `drain.timeout` has passed.

    The demand need not be read then: announcements in that time would make the next write fail.
    """
    return (
        memory.phase is Phase.DRAINING
        and memory.since is not None
        and now >= memory.since + spec.drain.timeout
        and (acknowledged or 0) >= memory.epoch
        and asks_for_sleep(spec, memory, allowed, now)
    )


def asleep_after(memory: Memory, spec: PoolSpec, now: datetime) -> Memory:
    """The memory right after step 5: phase Sleeping, an Asleep override is carried out."""
    override = in_force(spec.override, memory, now)
    done = override is not None and override.mode is OverrideMode.ASLEEP
    return replace(
        memory,
        phase=Phase.SLEEPING,
        since=now,
        override_done=memory.override_done or done,
        lowered=False,
        trend=Trend(),
    )
