"""What keeps a pool awake or ends its warmth besides the schedule: overrides and activity."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from kotatsu_operator.core.pool.memory import Memory, Phase, changed
from kotatsu_operator.core.pool.observation import Observation
from kotatsu_operator.core.pool.spec import Override, OverrideMode, PoolSpec

OVERRIDE_LIMIT = timedelta(hours=24)
"""An override ends at the latest this long after it was first seen: none is forgotten."""

UNKNOWN_LIMIT = timedelta(minutes=30)
"""Demand that cannot be measured holds a pool warm for this long, then counts as idle."""

PRE_DRAIN = timedelta(seconds=1)
"""The route moves this much plus the settle time before idleness is complete, so that the scale
can be lowered the moment it is."""


def remember_override(override: Override | None, memory: Memory, now: datetime) -> Memory:
    """Note when an override was first seen, since its limit counts from there."""
    key = override.key if override else ""
    if key == memory.override_key:
        return memory
    return replace(
        memory,
        override_key=key,
        override_seen=now if override else None,
        override_done=False,
    )


def remember_sleep(override: Override | None, memory: Memory, seen: Observation) -> Memory:
    """Note whether an Asleep override has been carried out: the scale has been 0 since it came."""
    if override is None or override.mode is not OverrideMode.ASLEEP:
        return memory
    if memory.phase.is_asleep and seen.replicas == 0:
        return replace(memory, override_done=True)
    if is_interrupted(memory, seen):
        return replace(memory, override_done=False)
    return memory


def is_interrupted(memory: Memory, seen: Observation) -> bool:
    """Whether an operator ended (or was beaten) between announcing a sleep and lowering the scale.

    Only of replicas that are there: without a request since, nobody else has a reason to raise
    them. An activator that announced its requests while the pool was draining does not do so again.
    """
    is_half_done = memory.phase is Phase.SLEEPING and not memory.lowered
    return is_half_done and seen.replicas > 0 and not is_announced(memory, seen)


def is_announced(memory: Memory, seen: Observation) -> bool:
    """Whether somebody has asked for the pool since its phase began."""
    ticket = memory.ticket_seen
    newer = ticket is not None and memory.since is not None and ticket > memory.since
    return newer or seen.demand.held > 0


def remember_ticket(memory: Memory, seen: Observation, now: datetime) -> Memory:
    """Note when an announcement was first seen.

    An announcement carries its activator's clock, which may be ahead of ours or behind: only
    whether it is another one than before is asked of it, and our own clock says when it came.
    """
    ticket = seen.demand.ticket
    if ticket is None or ticket == memory.ticket:
        return memory
    return replace(memory, ticket=ticket, ticket_seen=now)


def override_end(override: Override, memory: Memory) -> datetime:
    """When an override really ends: its `until`, at the latest 24 h after it was first seen."""
    seen = memory.override_seen
    return override.until if seen is None else min(override.until, seen + OVERRIDE_LIMIT)


def in_force(override: Override | None, memory: Memory, now: datetime) -> Override | None:
    """The override, if it has not ended yet."""
    if override is None or now >= override_end(override, memory):
        return None
    return override


def _latest(*times: datetime | None) -> datetime | None:
    return max((t for t in times if t is not None), default=None)


def remember_activity(memory: Memory, seen: Observation, now: datetime) -> Memory:
    """Note when the pool last had a request, or may have had one."""
    demand = seen.demand
    unknown_since = None if demand.known else (memory.unknown_since or now)
    # Pods that do not tell when they had their last request may have had it while they could not
    # be asked.
    missed = demand.known and memory.unknown_since is not None and demand.last_request is None
    busy = demand.concurrency > 0 or missed
    # A pod's clock may run ahead of ours: activity never lies in the future.
    last = _latest(
        memory.last_active, demand.last_request, memory.ticket_seen, now if busy else None
    )
    return changed(
        memory,
        unknown_since=unknown_since,
        last_active=None if last is None else min(last, now),
    )


@dataclass(frozen=True)
class Idle:
    """Whether nothing keeps the pool awake."""

    drain: bool
    """It may start leaving the warm path."""
    sleep: bool
    """It may be gone."""


def idle_at(spec: PoolSpec, memory: Memory, now: datetime) -> datetime:
    """When the pool has been without a request for idleAfter (now, if it never had one).

    Demand that cannot be measured puts that off, but only so long.
    """
    end = now if memory.last_active is None else memory.last_active + spec.scaling.idle_after
    if memory.unknown_since is not None:
        end = max(end, memory.unknown_since + UNKNOWN_LIMIT)
    return end


def idleness(spec: PoolSpec, memory: Memory, floor: int, asleep_asked: bool, now: datetime) -> Idle:
    """Judge whether the pool is idle: a floor forbids it, an Asleep override asks for it."""
    if floor > 0:
        return Idle(drain=False, sleep=False)
    if asleep_asked:
        return Idle(drain=True, sleep=True)
    end = idle_at(spec, memory, now)
    return Idle(drain=now >= end - spec.drain.route_settle - PRE_DRAIN, sleep=now >= end)
