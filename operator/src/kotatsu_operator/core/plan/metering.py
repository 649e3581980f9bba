"""Whether the pods of a pool report their requests in flight, and what counts if they do not.

Most workloads have no such gauge. Their pools are *unmetered*: the activators stay endpoints beside
the pods, so a share of the new connections passes them, and these connections count as the demand.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from kotatsu_operator.core.pool.decision import Demand, Observation
from kotatsu_operator.core.pool.memory import Memory, Route, changed
from kotatsu_operator.core.pool.spec import PoolSpec, RouteMode

UNKNOWN_LIMIT = timedelta(minutes=30)
"""Unknown demand holds a pool warm for this long. If the pods are silent, the connections of the
activators count from then on, as for an unmetered pool; otherwise the pool counts as idle once
idleAfter has passed too."""


def remember_metering(spec: PoolSpec, memory: Memory, seen: Observation, now: datetime) -> Memory:
    """Store whether the pods have a gauge, and whether the activators' connections count instead.

    A pool that was metered once stays metered until its pod template changes: a page that fails
    later may hide requests. During a rollout, the pods of the former template show nothing about
    the current one. With route Always the activators count every connection, and no pod is asked.
    """
    if spec.route is RouteMode.ALWAYS:
        return changed(memory, counted=False)
    said, metered = seen.demand.metered, memory.metered
    is_rolling = bool(memory.template) and seen.updated == 0
    if said is not None and not metered and not (metered is None and is_rolling):
        metered = said
    memory = changed(memory, metered=metered)
    is_counted = _is_counted(memory, seen.demand, now)
    if is_counted and not memory.counted and memory.route is Route.NATIVE:
        # The activators join the route only now: what passed them before shows nothing.
        memory = replace(memory, last_active=now)
    return changed(memory, counted=is_counted)


def _is_counted(memory: Memory, demand: Demand, now: datetime) -> bool:
    if memory.metered is False:
        return True
    since = memory.unknown_since
    is_over = since is not None and now - since >= UNKNOWN_LIMIT
    return is_over and not demand.known and not demand.silent_activator


def counted(demand: Demand, memory: Memory) -> Demand:
    """The demand that counts: that of the pods, or the activators' connections in their place.

    Requests that some pods report count too. The connections are fewer than all that the pods
    have. They are not extrapolated: a client that woke the pool stays on its activator, so their
    share is unknown.
    """
    if not memory.counted or demand.stands_in:
        return demand
    times = [at for at in (demand.last_request, demand.last_passed) if at is not None]
    return replace(
        demand,
        in_flight=max(demand.passing, demand.in_flight),
        last_request=max(times, default=None),
        known=not demand.silent_activator,
        silent=demand.silent_activator or demand.silent,
        stands_in=True,
    )
