"""The decision: (spec, observation, memory, now) → the actions and the time of the next one.

It depends on no earlier moment except through Memory, so a restart computes the same result. It is
a chain, of which each part takes values and returns one: `observed` → `plan_at` → `goal_of` →
`Step` (the phases) → `recorded` → Decision.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from kotatsu_operator.core.budget.limit import EVERYTHING, Allowed
from kotatsu_operator.core.decide.phases import (
    DRAIN_TIMEOUT,
    Given,
    Goal,
    Step,
    asks_for_sleep,
    first_sight,
)
from kotatsu_operator.core.formats import format_duration
from kotatsu_operator.core.objects import Autoscaler, Write
from kotatsu_operator.core.plan import activity
from kotatsu_operator.core.plan.lead import slowest_wake
from kotatsu_operator.core.plan.plan import Plan, floor_of, plan_at, remember_opening, still_needed
from kotatsu_operator.core.pool.decision import WAITS_FOR_BLOCKED, Decision, Observation
from kotatsu_operator.core.pool.lowering import LIMIT, Lowering, Uses, lowering
from kotatsu_operator.core.pool.memory import (
    Contest,
    Memory,
    Original,
    Phase,
    Reason,
    Template,
    changed,
)
from kotatsu_operator.core.pool.news import Note, Transition
from kotatsu_operator.core.pool.spec import PoolSpec, RouteMode

LOOK_AGAIN = timedelta(seconds=60)
"""The longest time to the next reconcile of an awake pool without events or deadlines."""

LOOK_AGAIN_ASLEEP = timedelta(minutes=15)
"""The same for a sleeping pool: most pools sleep most of the time, and of 10,000 eleven a second
are looked at."""


def decide(
    spec: PoolSpec,
    seen: Observation,
    memory: Memory,
    now: datetime,
    allowed: Allowed = EVERYTHING,
    phases: type[Step] = Step,
) -> Decision:
    """Decide on one pool. Pure; `now` is in UTC, `allowed` is what the budget permits.

    `phases` are those of the kind of target.
    """
    known = observed(spec, seen, memory, now)
    plan = plan_at(spec, known, now, seen.ahead, seen.order.lead)
    planned = changed(known, lead=plan.lead, ahead=plan.kept_ahead)
    given = Given(spec, seen, now, allowed)
    if spec.suspend:
        return suspended(given, planned, plan)
    before = activity.updated(spec, given.seen, planned, now)
    kept = allowed.trim(plan)
    goal = goal_of(given, before, kept)
    step = phases(given, before, goal).taken()
    low = lowered_by(given, before, scale_of(given, goal, step.replicas))
    replicas = low.replicas
    noted, notes = recorded(given, before, step, goal, kept, replicas)
    # A pool that was just adopted or resumed could not be Ready in time. A floor that an override
    # or a budget lowers is not checked for punctuality.
    adopted = [] if memory.since is not None else found_above(spec, given.seen)
    told = route_decided(spec, memory.template, known.template)
    is_new = memory.since is None or known.reason is Reason.SUSPENDED
    is_excused = is_new or allowed.is_refused or goal.floor < plan.floor
    after, opening_notes, outcomes, punctual = remember_opening(
        plan, given.seen, noted, now, excused=is_excused
    )
    soonest = _recheck(given, after, kept)
    awaited = [t for t in plan.upcoming if not _is_ready_for(t, after)]
    released = allowed.is_refused and goal.floor <= 1
    return Decision(
        memory=after.here(lowering=low.since),
        replicas=replicas,
        recheck=_first_after(now, soonest, *(t.at for t in plan.upcoming[:1])),
        recheck_between_beats=_first_after(now, soonest, *(t.at for t in awaited[:1])),
        floor=goal.floor,
        window=kept.window,
        next=kept.next,
        sleep=step.sleep,
        force=step.force,
        park=after.phase is Phase.PARKED,
        only_down=allowed.is_refused,
        minimum=_minimum(given.seen, after, max(goal.floor, goal.minimum), released=released),
        notes=(*adopted, *told, *step.notes, *_forced(spec, low), *notes, *opening_notes),
        outcomes=outcomes,
        punctual=punctual,
        grows=_capacity(given, goal, kept) > 0,
        claim=None if allowed.is_refused else plan.claim,
        override=_override(spec, after, now),
        lowering=None if seen.removal is None else low,
    )


def suspended(given: Given, memory: Memory, plan: Plan) -> Decision:
    """The decision for a pool with spec.suspend: nothing is changed but the HPA's minReplicas."""
    held = changed(memory, reason=Reason.SUSPENDED, capacity=0)
    return Decision(
        memory=held,
        replicas=None,
        recheck=given.now + LOOK_AGAIN,
        next=plan.next,
        only_down=given.allowed.is_refused,
        minimum=_minimum(given.seen, held, 0, released=True),
    )


def books_only(spec: PoolSpec, memory: Memory, now: datetime, allowed: Allowed) -> Decision:
    """The decision for a rejected pool that the operator must not scale: its override ends."""
    memory = changed(memory, override=memory.override.following(spec.override_key, now))
    override = _override(spec, memory, now)
    times = [] if override is None else [override[1]]
    recheck = _first_after(now, now + LOOK_AGAIN, allowed.recheck, *times)
    return Decision(memory=memory, replicas=None, recheck=recheck, override=override)


# --- the steps of a decision ---


def observed(spec: PoolSpec, seen: Observation, memory: Memory, now: datetime) -> Memory:
    """The memory with what is new of the spec, the target and its clients."""
    if memory.since is None and memory.found is None:
        memory = replace(memory, found=seen.replicas)
    memory = first_sight(memory.not_after(now), seen, now)
    memory = activity.remember_gauge(spec, remember_template(memory, seen), seen, now)
    memory, late = activity.count_timeouts(memory, seen.demand, now)
    has_timed_out = memory.has_timed_out or late > 0
    if seen.edited and spec.hold_timeout > slowest_wake(memory.warm_ups, memory.template.hash):
        has_timed_out = False
    return changed(
        memory,
        route=activity.kept_route(spec, memory.route),
        override=memory.override.following(spec.override_key, now),
        announced=memory.announced.following(seen.demand.ticket, now),
        original=remember_original(seen.autoscaler, memory.original),
        contest=remember_write(memory.contest, seen.write, now),
        has_timed_out=has_timed_out,
    )


def goal_of(given: Given, memory: Memory, kept: Plan) -> Goal:
    """What schedule, override, budget and demand ask for; `kept` is what the budget permits."""
    spec, seen, now, allowed = given.spec, given.seen, given.now, given.allowed
    override = activity.in_force(spec.override, memory, now)
    needed = bool(seen.order.needed_by)
    floor, reason = floor_of(spec, override, kept.floor, spent=allowed.sleeps, needed=needed)
    floor = allowed.floor(floor, seen.replicas)
    asleep_asked = asks_for_sleep(spec, memory, allowed, now)
    # An HPA follows demand above the floor itself.
    wanted = memory.process.trend.replicas if seen.autoscaler is None else 0
    is_free = not allowed.is_refused and not asleep_asked
    is_for_parked = is_free and reason is Reason.WINDOW and kept.may_park
    stays = seen.within(floor) if is_for_parked else 0
    # A spent budget ends what is idle. An open window stays as it is: warm pods would cost more.
    may_park = stays > 0 or (is_free and allowed.begins and floor == 0)
    parks = activity.parked_pods(spec, seen, memory, stays, now) if may_park else 0
    return Goal(
        floor=floor,
        # Do not wait for unreachable replicas: the condition ReplicasKept reports them.
        least=seen.within(floor),
        reason=reason,
        wanted=wanted if allowed.begins else min(wanted, seen.replicas),
        minimum=spec.least if allowed.begins else max(min(spec.least, seen.replicas), 1),
        # Without parked pods, a window for them has warm ones.
        idle=activity.idleness(spec, memory, 0 if parks else floor, asleep_asked, now),
        asleep_asked=asleep_asked,
        parks=parks,
    )


def scale_of(given: Given, goal: Goal, replicas: int | None) -> int | None:
    """The scale to set; None: do not change it. `replicas` is what the phase asks for."""
    seen = given.seen
    if seen.autoscaler is not None:
        floor = max(goal.floor, goal.minimum)
        replicas = own_steps(seen.autoscaler, replicas, floor, seen.replicas)
    if given.allowed.is_refused and replicas is not None:
        replicas = min(replicas, seen.replicas)
    return replicas


def lowered_by(given: Given, memory: Memory, wanted: int | None) -> Lowering:
    """The step to the scale that is wanted: down only as far as no request in flight ends."""
    spec, seen, demand = given.spec, given.seen, given.seen.demand
    if (removal := seen.removal) is None:
        return Lowering(wanted)
    counted = spec.route is RouteMode.ACTIVATOR
    drains = counted and removal.is_known and spec.platform.marks_pods
    uses = {} if demand.uses is None else demand.uses
    if counted and not drains and demand.uses is not None:
        # The activators say of no pod alone whether they need it.
        is_quiet = demand.known and demand.concurrency == 0
        uses = {pod.name: 0 for pod in removal.pods if is_quiet}
    since = memory.process.lowering
    return lowering(removal, Uses(uses, drains), seen.replicas, wanted, since, given.now)


def _forced(spec: PoolSpec, low: Lowering) -> list[Note]:
    if not low.forced:
        return []
    of, waited = spec.target, format_duration(LIMIT)
    text = (
        f"{of.kind} {of.name} is lowered to {low.replicas} replicas although pods that may end "
        f"have requests in flight: it has waited {waited} for them"
    )
    return [Note("LoweredInUse", text, warning=True)]


def recorded(
    given: Given, before: Memory, step: Step, goal: Goal, kept: Plan, replicas: int | None
) -> tuple[Memory, list[Note]]:
    """The memory after the step, and the events of what it shows."""
    spec, seen, now, phase = given.spec, given.seen, given.now, before.phase
    memory = activity.remember_reduced(remember_proof(step.memory, seen, goal.least), seen, now)
    memory, undone = remember_scale(spec, memory, seen, phase, replicas, now)
    memory, timeouts = activity.report_timeouts(spec, memory, phase, now)
    is_warming = memory.phase is Phase.WARMING
    asked = _capacity(given, goal, kept)
    capacity = still_needed(asked, memory.capacity, seen.replicas, is_warming=is_warming)
    memory = changed(memory, capacity=0 if given.allowed.is_refused else capacity)
    return memory, [*undone, *timeouts]


def _capacity(given: Given, goal: Goal, kept: Plan) -> int:
    """The pods for which the schedule asks for nodes."""
    if goal.asleep_asked or given.allowed.is_refused:
        return 0
    return min(kept.capacity.replicas, given.spec.max_replicas)


def _override(spec: PoolSpec, memory: Memory, now: datetime) -> tuple[str, datetime] | None:
    override = activity.in_force(spec.override, memory, now)
    if override is None:
        return None
    return override.mode.value, activity.override_end(override, memory)


def _minimum(seen: Observation, memory: Memory, floor: int, *, released: bool) -> int | None:
    if seen.autoscaler is None or memory.original is None:
        return None
    return wanted_minimum(
        seen.autoscaler,
        memory.original,
        awake=memory.phase.is_awake,
        floor=floor,
        replicas=seen.replicas,
        released=released,
    )


def _is_ready_for(coming: Transition, memory: Memory) -> bool:
    """Whether all replicas for an opening are Ready already, so it needs no action."""
    opening = memory.opening
    is_ready = opening is not None and opening.at == coming.at and opening.ready_at is not None
    return coming.kind == "open" and is_ready


def _recheck(given: Given, memory: Memory, kept: Plan) -> datetime:
    """When a decision may have another result, without an event or a transition of the schedule."""
    # The stabilization windows of demand need no recheck: an awake pool is reconciled every few
    # seconds to read its demand, and a pool that is not awake has no demand to follow.
    spec, now, phase, override = given.spec, given.now, memory.phase, given.spec.override
    settle, acknowledged_at = spec.platform.route_settle, memory.process.acknowledged_at
    times = [
        now + (LOOK_AGAIN_ASLEEP if phase is Phase.ASLEEP else LOOK_AGAIN),
        given.allowed.recheck,
        now + given.seen.catching_up,
        kept.capacity.next,
        activity.parked_until(spec, memory),
        None if override is None else activity.override_end(override, memory),
    ]
    if not phase.is_asleep:
        end = activity.idle_at(spec, memory, now)
        times += [end - settle - activity.PRE_DRAIN, end]
    if given.seen.order.blocked and memory.since is not None:
        times.append(memory.since + WAITS_FOR_BLOCKED)
    if phase is Phase.DRAINING and acknowledged_at is not None:
        times.append(acknowledged_at + settle)
    if phase is Phase.DRAINING and memory.since is not None:
        times.append(memory.since + DRAIN_TIMEOUT)
    return _first_after(now, *times)


def _first_after(now: datetime, *times: datetime | None) -> datetime:
    return min((at for at in times if at is not None and at > now), default=now + LOOK_AGAIN)


# --- what is remembered of the target: its pod template, its HPA, and who else scales it ---
#
# A rollout while the pool sleeps succeeds without a single pod, so a template is unproven until all
# floor replicas with it have been Ready once.
#
# An HPA follows demand above the floor. The pool only sets its minReplicas, and makes the changes
# from 0 and to 0, at which an HPA does nothing. Up: first minReplicas, then the scale; otherwise
# the HPA would remove the new pods. Down: first the scale to 0, then minReplicas; otherwise the HPA
# would remove serving pods.
#
# The pool undoes changes of the replicas by others, as an HPA does, and reports them.


def remember_template(memory: Memory, seen: Observation) -> Memory:
    """Store the current template; a changed one is unproven."""
    known = memory.template
    if seen.template in ("", known.hash):
        return memory
    if not known.hash:
        # Written by a version without templates: its warm-ups belong to this template.
        ups = tuple(replace(w, template=seen.template) for w in memory.warm_ups)
        template = replace(known, hash=seen.template, proven=bool(ups))
        return replace(memory, template=template, warm_ups=ups)
    # A warm-up in progress began with another template: its time measures neither of them, and
    # what kept its pods from starting may be corrected.
    forgotten = memory.here(told=())
    return replace(forgotten, raised_at=None, template=known.changed_to(seen.template))


def remember_proof(memory: Memory, seen: Observation, floor: int) -> Memory:
    """Record that the template works: all requested pods with it are Ready."""
    if memory.template.proven or seen.updated < max(floor, 1):
        return memory
    return replace(memory, template=replace(memory.template, proven=True))


def remember_original(seen: Autoscaler | None, known: Original | None) -> Original | None:
    """The minReplicas to restore: the last value that another client than the operator set."""
    if seen is None:
        return None
    if known is not None and known.name == seen.name and seen.ours:
        return known
    return Original(seen.name, seen.min_replicas)


def wanted_minimum(
    seen: Autoscaler, original: Original, *, awake: bool, floor: int, replicas: int, released: bool
) -> int:
    """The minReplicas for now.

    `awake` (Warming or Warm): the floor, and at least 1, since only the sleep protocol may remove
    the last pod. On the way down it does not change until the scale is 0. `released` restores it at
    once.

    An HPA with minReplicas 0 would end the last pod outside of the sleep protocol, and start one
    again. So the pool keeps it at 1: with 1, an HPA does nothing at 0 replicas. If it has scaled to
    0 itself, it starts one pod first (decision 10).
    """
    if released:
        return original.min_replicas
    if not awake and replicas == 0:
        return max(original.min_replicas, 1)
    if not awake:
        return seen.min_replicas
    return min(max(original.min_replicas, floor, 1), seen.max_replicas)


def route_decided(spec: PoolSpec, before: Template, after: Template) -> list[Note]:
    """The event of a route that Auto has changed; it begins with that to the pods."""
    of, was, has = spec.target, before.metered, after.metered
    if has is False is not was:
        text = (
            f"the pods of {of.kind} {of.name} show no gauge of requests in flight, so from now on "
            f"all connections to Service {spec.service} pass the activators, which count them; to "
            "lead them to the pods, name a gauge in spec.inFlightMetric"
        )
        return [Note("RouteDecided", text)]
    if has and was is False:
        text = f"the pods of {of.kind} {of.name} have a gauge: connections go to them from now on"
        return [Note("RouteDecided", text)]
    return []


def own_steps(seen: Autoscaler, wanted: int | None, floor: int, replicas: int) -> int | None:
    """The scale to set beside an HPA: the floor if the replicas are below it, otherwise None."""
    least = min(max(floor, 1), seen.max_replicas)
    return least if wanted is not None and replicas < least else None


def found_above(spec: PoolSpec, seen: Observation) -> list[Note]:
    """The event of a target that runs more pods than its pool may have."""
    most = spec.max_replicas
    if seen.replicas <= most or seen.autoscaler is not None:
        return []
    text = (
        f"{spec.target.kind} {spec.target.name} runs {seen.replicas} replicas, and maxReplicas is "
        f"{most}: the pool lowers it to {most} in a minute, unless maxReplicas is raised"
    )
    return [Note("FoundAboveMaximum", text, warning=True)]


UNDONE_AFTER = timedelta(seconds=30)
"""A change is reported if the pool has set no replicas for this long: the watch has shown what it
set by then, and a client that sets them again and again is reported once."""


def remember_scale(
    spec: PoolSpec,
    memory: Memory,
    seen: Observation,
    before: Phase,
    wanted: int | None,
    now: datetime,
) -> tuple[Memory, list[Note]]:
    """Store the replicas that the pool sets; the event if it undoes a change of another client.

    The owner of the field does not show one: the API server records no owner for the scale of an
    object whose manifest has no replicas.
    """
    if seen.autoscaler is not None or wanted is None:
        return memory, []
    sets, known = wanted != seen.replicas, memory.process.scaled
    if sets or known is None or known[1] != wanted:
        memory = memory.here(scaled=(now, wanted))
    is_own = known is None or seen.replicas == known[1] or now - known[0] < UNDONE_AFTER
    # An activator raises a sleeping target to 1.
    if not sets or is_own or (before.is_asleep and seen.replicas <= 1):
        return memory, []
    if memory.contest is not None and memory.contest.holds:
        return memory, []  # the condition ReplicasKept says it
    by = seen.write.by if seen.write is not None else "another client"
    instead = "kubectl demo-mode off puts the pool to sleep"
    if seen.replicas:
        instead = f"kubectl demo-mode on --replicas {seen.replicas} keeps as many pods for a time"
    text = (
        f"{by} has set the replicas of {spec.target.kind} {spec.target.name} to {seen.replicas}, "
        f"and the pool sets them to {wanted}, as an autoscaler does: {instead}"
    )
    return memory, [Note("ScaleUndone", text, warning=True)]


CONTEST_LASTS = timedelta(hours=2)
"""A contest ends when there was no write for this long: GitOps tools apply at least once an hour by
default."""


def remember_write(known: Contest | None, write: Write | None, now: datetime) -> Contest | None:
    """The contest after one more observation of the owner of the target's replicas."""
    if known is not None and now - known.seen_at >= CONTEST_LASTS:
        same = write is not None and (write.by, write.at) == (known.by, known.written_at)
        if not same:
            known = None
        elif not known.applied:
            # No write since: it stays a single write.
            return replace(known, count=1)
    if write is None:
        return known
    if known is None or known.by != write.by:
        return Contest(write.by, write.at, now, applied=write.applied)
    if known.written_at == write.at:
        return replace(known, applied=known.applied or write.applied)
    return Contest(write.by, write.at, now, known.count + 1, known.applied or write.applied)
