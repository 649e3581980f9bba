"""The decision: (spec, observation, memory, now) → what to do and when to look again.

Level-triggered: nothing here depends on having seen an earlier moment, except for what Memory
carries, so a restart at any second recomputes the same answer.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from .activity import (
    PRE_DRAIN,
    idle_at,
    idleness,
    in_force,
    override_end,
    remember_activity,
    remember_override,
)
from .demand import recommend
from .phases import Step, first_sight
from .plan import Plan, floor_of, plan_at
from .spec import Override, OverrideMode, PoolSpec
from .state import Decision, Memory, Note, Observation, Opening, Phase, Reason

LOOK_AGAIN = timedelta(seconds=60)
"""The slow beat: without any event or deadline a pool is looked at this often."""


def decide(spec: PoolSpec, seen: Observation, memory: Memory, now: datetime) -> Decision:
    """Decide on one pool. Pure; `now` is an aware datetime in UTC."""
    is_new = memory.since is None
    memory = first_sight(memory, seen, now)
    memory = remember_override(spec.override, memory, now)
    override = in_force(spec.override, memory, now)
    plan = plan_at(spec, memory, now)
    memory = replace(memory, lead=plan.lead)
    if spec.suspend:
        held = replace(memory, reason=Reason.SUSPENDED)
        return Decision(held, None, now + LOOK_AGAIN, next=plan.next)

    floor, reason = floor_of(spec, override, plan)
    memory = remember_activity(memory, seen, now)
    asleep_asked = (
        override is not None and override.mode is OverrideMode.ASLEEP and not memory.override_done
    )
    wanted, trend = recommend(
        seen.demand, spec.scaling, seen.replicas, seen.ready, memory.trend, now
    )
    memory = replace(memory, trend=trend)
    idle = idleness(spec, memory, floor, asleep_asked, now)

    step = Step(spec, seen, memory, now, floor, reason, wanted, idle, asleep_asked)
    memory, replicas, sleep, force, notes = step.take()
    opening_notes: tuple[Note, ...] = ()
    if floor >= plan.floor:  # an override that asks for less also asks for no punctuality
        memory, opening_notes = _remember_opening(plan, seen, memory, now, silent=is_new)
    return Decision(
        memory=memory,
        replicas=replicas,
        recheck=_recheck(spec, memory, plan, override, now),
        floor=floor,
        window=plan.window,
        next=plan.next,
        sleep=sleep,
        force=force,
        notes=(*notes, *opening_notes),
    )


def _remember_opening(
    plan: Plan, seen: Observation, memory: Memory, now: datetime, *, silent: bool
) -> tuple[Memory, tuple[Note, ...]]:
    """Record when the floor of the newest window was Ready; late is worth an event."""
    newest = max(plan.current, key=lambda o: o.start, default=None)
    if newest is None:
        return memory, ()
    opening = memory.opening
    if opening is None or (opening.window, opening.at) != (newest.window, newest.start):
        # A pool that is made in the middle of its window is not late for it.
        opening = Opening(newest.window, newest.start, cold=silent and now >= newest.start)
    if opening.ready_at is None and seen.ready >= plan.floor:
        silenced = opening.cold and memory.opening is None
        opening = replace(opening, ready_at=now)
        if opening.early is not None and opening.early < timedelta() and not silenced:
            late = -opening.early.total_seconds()
            note = Note("WindowLate", f"{newest.window} was Ready {late:.0f} s late", warning=True)
            return replace(memory, opening=opening), (note,)
    if opening.ready_at is None and now >= newest.start and not opening.cold:
        opening = replace(opening, cold=True)
        note = Note("WindowCold", f"{newest.window} opened before it was Ready", warning=True)
        return replace(memory, opening=opening), (note,)
    return replace(memory, opening=opening), ()


def _recheck(
    spec: PoolSpec, memory: Memory, plan: Plan, override: Override | None, now: datetime
) -> datetime:
    times = [now + LOOK_AGAIN]
    if plan.next is not None:
        times.append(plan.next.at)
    if override is not None:
        times.append(override_end(override, memory))
    if memory.phase not in (Phase.ASLEEP, Phase.SLEEPING):
        end = idle_at(spec, memory, now)
        times += [end - spec.drain.route_settle - PRE_DRAIN, end]
    if memory.phase is Phase.DRAINING and memory.acknowledged_at is not None:
        times.append(memory.acknowledged_at + spec.drain.route_settle)
    return min((t for t in times if t > now), default=now + LOOK_AGAIN)
