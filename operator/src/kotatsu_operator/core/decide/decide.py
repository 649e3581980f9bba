"""The decision: (spec, observation, memory, now) → the actions and the time of the next one.

It depends on no earlier moment except through Memory, so a restart computes the same result.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from kotatsu_operator.core.budget.limit import EVERYTHING, Allowed
from kotatsu_operator.core.decide.knative import KnativeStep
from kotatsu_operator.core.decide.phases import (
    Step,
    asks_for_sleep,
    first_sight,
    keep_route,
)
from kotatsu_operator.core.plan.activity import (
    PRE_DRAIN,
    counted,
    idle_at,
    idleness,
    in_force,
    override_end,
    parked_pods,
    parked_until,
    recommend,
    remember_activity,
    remember_metering,
    remember_override,
    remember_reduced,
    remember_sleep,
    remember_ticket,
    remember_timeouts,
    report_timeouts,
)
from kotatsu_operator.core.plan.lead import slowest_wake
from kotatsu_operator.core.plan.plan import floor_of, plan_at, remember_opening, still_needed
from kotatsu_operator.core.pool.decision import (
    Autoscaler,
    Decision,
    Note,
    Observation,
    Transition,
    Write,
)
from kotatsu_operator.core.pool.memory import (
    Contest,
    Memory,
    Original,
    Phase,
    Reason,
    changed,
)
from kotatsu_operator.core.pool.spec import Override, PoolSpec

LOOK_AGAIN = timedelta(seconds=60)
"""The longest time to the next reconcile of an awake pool without events or deadlines."""

LOOK_AGAIN_ASLEEP = timedelta(minutes=5)
"""The same for a sleeping pool: most pools sleep most of the time."""


def decide(
    spec: PoolSpec,
    seen: Observation,
    memory: Memory,
    now: datetime,
    allowed: Allowed = EVERYTHING,
) -> Decision:
    """Decide on one pool. Pure; `now` is in UTC, `allowed` is what the budget permits."""
    is_new, is_refused = memory.since is None, allowed.refused_since is not None
    memory = remember_template(first_sight(_not_ahead(memory, now), seen, now), seen)
    memory = remember_metering(spec, memory, seen, now)
    seen = replace(seen, demand=counted(seen.demand, memory))
    memory = keep_route(spec, memory)
    memory = remember_override(spec.override, memory, now)
    memory = remember_ticket(memory, seen, now)
    memory = remember_timeouts(memory, seen, now)
    memory = changed(
        memory,
        original=remember_original(seen.autoscaler, memory.original),
        contest=remember_write(memory.contest, seen.write, now),
    )
    if seen.edited and spec.hold_timeout > slowest_wake(memory.warm_ups, memory.template):
        memory = changed(memory, has_timed_out=False)
    override = in_force(spec.override, memory, now)
    plan = plan_at(spec, memory, now, seen.ahead, seen.order.lead)
    memory = changed(memory, lead=plan.lead, ahead=plan.kept_ahead)
    if spec.suspend:
        held = replace(memory, reason=Reason.SUSPENDED, capacity=0)
        return Decision(
            memory=held,
            replicas=None,
            recheck=now + LOOK_AGAIN,
            next=plan.next,
            only_down=is_refused,
            minimum=_minimum(seen, held, 0, released=True),
        )

    resumed = memory.reason is Reason.SUSPENDED
    if resumed:
        memory = replace(memory, reason=Reason.IDLE)
    kept = allowed.trim(plan)
    needed = bool(seen.order.needed_by)
    floor, reason = floor_of(spec, override, kept, spent=allowed.sleeps, needed=needed)
    floor = allowed.floor(floor, seen.replicas)
    memory = remember_sleep(override, memory, seen)
    memory = remember_activity(memory, seen, now)
    asleep_asked = asks_for_sleep(spec, memory, allowed, now)
    wanted, trend = recommend(
        seen.demand, spec.scaling, seen.replicas, seen.ready, memory.trend, now
    )
    if seen.autoscaler is not None:
        wanted = 0  # the HPA follows demand above the floor
    memory = changed(memory, trend=trend)
    wanted = wanted if allowed.begins else min(wanted, seen.replicas)
    is_free = not is_refused and not asleep_asked
    is_for_parked = is_free and reason is Reason.WINDOW and kept.may_park
    stays = seen.within(floor) if is_for_parked else 0
    # A spent budget ends what is idle. An open window stays as it is: warm pods would cost more.
    may_park = stays > 0 or (is_free and allowed.begins and floor == 0)
    parks = parked_pods(spec, seen, memory, stays, now) if may_park else 0
    # Without parked pods, a window for them has warm ones.
    idle = idleness(spec, memory, 0 if parks else floor, asleep_asked, now)

    # Do not wait for unreachable replicas: the condition FloorLimited reports them.
    least = seen.within(floor)
    before = memory.phase
    make_step = KnativeStep if spec.target.scales_itself else Step
    step = make_step(
        spec,
        seen,
        memory,
        now,
        floor=least,
        reason=reason,
        wanted=wanted,
        idle=idle,
        asleep_asked=asleep_asked,
        allowed=allowed,
        parks=parks,
    )
    step.take()
    memory, replicas = remember_proof(step.memory, seen, least), step.replicas
    memory = remember_reduced(memory, seen, now)
    memory, timeouts = report_timeouts(spec, memory, before, now)
    if seen.autoscaler is not None:
        replicas = own_steps(seen.autoscaler, replicas, floor, seen.replicas)
    if is_refused and replicas is not None:
        replicas = min(replicas, seen.replicas)
    memory, undone = remember_scale(spec, memory, seen, before, replicas, now)
    asked = 0 if asleep_asked or is_refused else kept.capacity.replicas
    asked = min(asked, spec.scaling.max_replicas)
    is_warming = memory.phase is Phase.WARMING
    capacity = still_needed(asked, memory.capacity, seen.replicas, is_warming=is_warming)
    memory = changed(memory, capacity=0 if is_refused else capacity)
    # A floor that an override or a budget lowers is not checked for punctuality.
    excused = is_new or resumed or is_refused or floor < plan.floor
    memory, opening_notes, outcomes = remember_opening(plan, seen, memory, now, excused=excused)
    awaited = [t for t in plan.upcoming if not _is_ready_for(t, memory)]
    others = (
        allowed.recheck,
        now + seen.catching_up,
        kept.capacity.next,
        parked_until(spec, memory),
    )
    return Decision(
        memory=memory,
        replicas=replicas,
        recheck=_recheck(spec, memory, plan.upcoming, override, now, *others),
        recheck_between_beats=_recheck(spec, memory, awaited, override, now, *others),
        floor=floor,
        window=kept.window,
        next=kept.next,
        sleep=step.sleep,
        force=step.force,
        park=memory.phase is Phase.PARKED,
        only_down=is_refused,
        minimum=_minimum(seen, memory, floor, released=is_refused and floor <= 1),
        notes=(*step.notes, *undone, *timeouts, *opening_notes),
        outcomes=outcomes,
        grows=asked > 0,
        claim=None if is_refused else plan.claim,
        override=None
        if override is None
        else (override.mode.value, override_end(override, memory)),
    )


def books_only(spec: PoolSpec, memory: Memory, now: datetime, allowed: Allowed) -> Decision:
    """The decision for a rejected pool that the operator must not scale: its override ends."""
    memory = remember_override(spec.override, memory, now)
    override = in_force(spec.override, memory, now)
    end = None if override is None else override_end(override, memory)
    times = [now + LOOK_AGAIN, *(at for at in (end, allowed.recheck) if at is not None)]
    return Decision(
        memory=memory,
        replicas=None,
        recheck=min((at for at in times if at > now), default=now + LOOK_AGAIN),
        override=None if override is None or end is None else (override.mode.value, end),
    )


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


_CLOCK = [
    "since",
    "acknowledged_at",
    "unknown_since",
    "raised_at",
    "override_seen",
    "ticket_seen",
    "timed_out_since",
    "parked_since",
]
"""The attributes of a memory with times of the operator's own clock."""


def _not_ahead(memory: Memory, now: datetime) -> Memory:
    """The memory with no time later than now: the clock may have been set back."""
    times = {name: getattr(memory, name) for name in _CLOCK}
    return changed(memory, **{n: min(at, now) for n, at in times.items() if at is not None})


def _is_ready_for(coming: Transition, memory: Memory) -> bool:
    """Whether all replicas for an opening are Ready already, so it needs no action."""
    opening = memory.opening
    is_ready = opening is not None and opening.at == coming.at and opening.ready_at is not None
    return coming.kind == "open" and is_ready


def _recheck(
    spec: PoolSpec,
    memory: Memory,
    coming: Sequence[Transition],
    override: Override | None,
    now: datetime,
    *others: datetime | None,
) -> datetime:
    # The stabilization windows of demand need no recheck: an awake pool is reconciled every few
    # seconds to read its demand, and a pool that is not awake has no demand to follow.
    is_asleep = memory.phase is Phase.ASLEEP
    times = [now + (LOOK_AGAIN_ASLEEP if is_asleep else LOOK_AGAIN)]
    times += [at for at in others if at is not None]
    times += [t.at for t in coming[:1]]
    if override is not None:
        times.append(override_end(override, memory))
    if not memory.phase.is_asleep:
        end = idle_at(spec, memory, now)
        times += [end - spec.drain.route_settle - PRE_DRAIN, end]
    if memory.phase is Phase.DRAINING and memory.acknowledged_at is not None:
        times.append(memory.acknowledged_at + spec.drain.route_settle)
    if memory.phase is Phase.DRAINING and memory.since is not None:
        times.append(memory.since + spec.drain.timeout)
    return min((t for t in times if t > now), default=now + LOOK_AGAIN)


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
    if seen.template in ("", memory.template):
        return memory
    if not memory.template:
        # Written by a version without templates: its warm-ups belong to this template.
        ups = tuple(replace(w, template=seen.template) for w in memory.warm_ups)
        return replace(memory, template=seen.template, warm_ups=ups, proven=bool(ups))
    # A warm-up in progress began with another template: its time measures neither of them.
    return replace(
        memory,
        template=seen.template,
        proven=False,
        raised_at=None,
        metered=None if memory.metered else memory.metered,
    )


def remember_proof(memory: Memory, seen: Observation, floor: int) -> Memory:
    """Record that the template works: all requested pods with it are Ready."""
    if memory.proven or seen.updated < max(floor, 1):
        return memory
    return replace(memory, proven=True)


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
    again. So the pool keeps it at 1: with 1, an HPA does nothing at 0 replicas.
    """
    if released:
        return original.min_replicas
    if not awake and replicas == 0:
        return max(original.min_replicas, 1)
    if not awake:
        return seen.min_replicas
    return min(max(original.min_replicas, floor, 1), seen.max_replicas)


def own_steps(seen: Autoscaler, wanted: int | None, floor: int, replicas: int) -> int | None:
    """The scale to set beside an HPA: the floor if the replicas are below it, otherwise None."""
    least = min(max(floor, 1), seen.max_replicas)
    return least if wanted is not None and replicas < least else None


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
    sets, known = wanted != seen.replicas, memory.scaled
    if sets or known is None or known[1] != wanted:
        memory = replace(memory, scaled=(now, wanted))
    is_own = known is None or seen.replicas == known[1] or now - known[0] < UNDONE_AFTER
    # An activator raises a sleeping target to 1.
    if not sets or is_own or (before.is_asleep and seen.replicas <= 1):
        return memory, []
    if memory.contest is not None and memory.contest.holds:
        return memory, []  # the condition ReplicasContested says it
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
