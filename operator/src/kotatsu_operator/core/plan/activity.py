"""Overrides, activity and demand: what besides the schedule makes a pool awake or asleep.

Also how many of its pods stay parked once it is idle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from kotatsu_operator.core.formats import format_duration
from kotatsu_operator.core.plan.lead import enough_hold, slowest_wake
from kotatsu_operator.core.pool.memory import (
    Memory,
    Phase,
    Reason,
    Route,
    Routing,
    Series,
    Trend,
    changed,
)
from kotatsu_operator.core.pool.news import Note
from kotatsu_operator.core.pool.spec import Override, OverrideMode, PoolSpec, RouteMode

if TYPE_CHECKING:
    from kotatsu_operator.core.pool.decision import Demand, Observation

OVERRIDE_LIMIT = timedelta(hours=24)
"""An override ends at most this long after its first observation, so that none is forgotten."""

PRE_DRAIN = timedelta(seconds=1)
"""The route moves this much plus the settle time before idleAfter ends, so that the scale can be
lowered as soon as it ends."""

UNKNOWN_LIMIT = timedelta(minutes=30)
"""Unknown demand holds a pool warm for this long. If the pods are silent, the connections of the
activators count from then on, as for an unmetered pool; otherwise the pool counts as idle once
idleAfter has passed too."""


def is_interrupted(memory: Memory, seen: Observation) -> bool:
    """Whether a sleep was announced and the operator ended, or lost a write, before it scaled to 0.

    Only while replicas exist and no request has come since: nothing else has a reason to raise
    them.
    """
    is_half_done = memory.phase is Phase.SLEEPING and not memory.process.lowered
    return is_half_done and seen.replicas > 0 and not is_announced(memory, seen)


def is_announced(memory: Memory, seen: Observation) -> bool:
    """Whether a request was announced or is held since the phase began."""
    ticket = memory.announced.seen_at
    newer = ticket is not None and memory.since is not None and ticket > memory.since
    return newer or seen.demand.held > 0


def override_end(override: Override, memory: Memory) -> datetime:
    """The effective end of an override: `until`, but at most 24 h after its first observation."""
    seen = memory.override.seen_at
    return override.until if seen is None else min(override.until, seen + OVERRIDE_LIMIT)


def in_force(override: Override | None, memory: Memory, now: datetime) -> Override | None:
    """The override, or None if it has ended."""
    if override is None or now >= override_end(override, memory):
        return None
    return override


def _latest(*times: datetime | None) -> datetime | None:
    return max((t for t in times if t is not None), default=None)


def updated(spec: PoolSpec, seen: Observation, memory: Memory, now: datetime) -> Memory:
    """The memory of a pool that is not suspended, with what keeps it awake or asleep."""
    demand, unknown_since = seen.demand, memory.unknown_since
    is_silent = demand.stands_in and memory.template.metered is not False
    is_unknown = is_silent or not demand.known
    # Pods that do not report the time of their last request may have had one while they could not
    # be scraped.
    missed = not is_unknown and unknown_since is not None and demand.last_request is None
    busy = demand.concurrency > 0 or missed
    # A pod's clock may be ahead: activity is never in the future.
    last = _latest(
        memory.last_active, demand.last_request, memory.announced.seen_at, now if busy else None
    )
    trend = recommend(demand, spec, seen.replicas, seen.ready, memory.process.trend, now)
    return changed(
        memory.here(trend=trend),
        reason=Reason.IDLE if memory.reason is Reason.SUSPENDED else memory.reason,
        override=changed(memory.override, done=_is_done(spec, seen, memory, now)),
        unknown_since=(unknown_since or now) if is_unknown else None,
        last_active=None if last is None else min(last, now),
    )


def _is_done(spec: PoolSpec, seen: Observation, memory: Memory, now: datetime) -> bool:
    """Whether an Asleep override is carried out: the scale has been 0 since it began."""
    override, done = in_force(spec.override, memory, now), memory.override.done
    if override is None or override.mode is not OverrideMode.ASLEEP:
        return done
    if memory.phase.is_asleep and seen.replicas == 0:
        return True
    return done and not is_interrupted(memory, seen)


def count_timeouts(memory: Memory, demand: Demand, now: datetime) -> tuple[Memory, int]:
    """The memory with the requests that have timed out since the last decision, and how many.

    What an activator had counted before this process first asked it is not known to be new.
    """
    before, late = memory.process.counted, 0
    # What an activator counts while it is silent is new once it reports again.
    counted = {uid: before.get(uid) if n is None else n for uid, n in demand.timed_out.items()}
    for uid, number in counted.items():
        if number is not None and (known := before.get(uid)) is not None:
            # An activator that has started again counts from 0.
            late += number - known if number >= known else number
    if late:
        since, total = memory.process.timed_out_since or now, memory.process.timed_out + late
        memory = memory.here(timed_out=total, timed_out_since=since)
    return (memory.here(counted=counted) if counted else memory), late


TELL_AFTER = timedelta(minutes=5)
"""How often requests that time out are reported while no wake ends."""


def report_timeouts(
    spec: PoolSpec, memory: Memory, before: Phase, now: datetime
) -> tuple[Memory, list[Note]]:
    """The event with the number of requests that timed out, once the wake is over."""
    since, number = memory.process.timed_out_since, memory.process.timed_out
    is_over = before is Phase.WARMING is not memory.phase
    if since is None or not (is_over or now - since >= TELL_AFTER):
        return memory, []
    requests = "1 request" if number == 1 else f"{number} requests"
    note = Note("RequestsTimedOut", f"{requests} {why_timed_out(spec, memory)}", warning=True)
    return memory.here(timed_out=0, timed_out_since=None), [note]


def why_timed_out(spec: PoolSpec, memory: Memory) -> str:
    """What happened to requests that timed out, and what to do."""
    hold, took = spec.hold_timeout, slowest_wake(memory.warm_ups, memory.template.hash)
    remedy = "see kubectl get pods and kubectl get events, or set a longer holdTimeout"
    if took > hold:
        remedy = (
            f"a start took {format_duration(took)}: set holdTimeout to "
            f"{format_duration(enough_hold(took))}, and the timeouts of proxies in front above it"
        )
    return f"got 503, as no pod was Ready within holdTimeout ({format_duration(hold)}); {remedy}"


def why_flapping(spec: PoolSpec, memory: Memory) -> str:
    """What to do if requests wake the pool soon after each sleep; empty if they do not."""
    if memory.woken_soon < 2:
        return ""
    own, lasts = (format_duration(d) for d in (spec.idle_after, idle_after(spec, memory)))
    return (
        f"requests woke the pool within {SOON.seconds} s of its sleep {memory.woken_soon} times in "
        "succession; clients probably reconnect when the sleep ends their connections. Until a "
        f"sleep lasts longer, the pool sleeps {lasts} after the last request and not {own}: raise "
        "idleAfter above the time for which these clients are silent, or add a window for them"
    )


def hold_too_short(spec: PoolSpec, took: timedelta, node: timedelta = timedelta()) -> str:
    """What to do if requests do not wait as long as a start takes; empty if they do.

    `node` is the time of a new node, which comes on top.
    """
    if took + node <= spec.hold_timeout or spec.target.scales_itself:
        return ""
    more = f", a new node takes {format_duration(node)} more" if node else ""
    return (
        f"a start took {format_duration(took)}{more}, and requests that wake the pool get 503 "
        f"after {format_duration(spec.hold_timeout)}: set spec.holdTimeout to "
        f"{format_duration(enough_hold(took + node))}, and the timeouts of clients and of proxies "
        "in front above it"
    )


def idle_too_short(spec: PoolSpec, took: timedelta) -> str:
    """What to do if a pool has pods for a shorter time than their start takes; empty if not."""
    stays = spec.idle_after + (timedelta() if spec.parked is None else spec.parked.lasting)
    if took <= stays or spec.target.scales_itself:
        return ""
    return (
        f"a start took {format_duration(took)}, longer than the pool has pods after its last "
        f"request ({format_duration(stays)}): set spec.idleAfter to "
        f"{format_duration(enough_hold(took))}, so that clients which gave up find one when they "
        "come again"
    )


@dataclass(frozen=True)
class Idle:
    """Whether nothing requires the pool to be awake."""

    drain: bool
    """The pool may start draining."""
    sleep: bool
    """The pool may scale to 0."""


SOON = timedelta(seconds=30)
"""A request this soon after a sleep shows that the sleep saved nothing: mostly of a client that the
sleep has cut and that connects again. Never more than idleAfter."""

_DOUBLINGS = 4
"""The most that `woken_soon` doubles idleAfter: to 16 times."""


def woken_soon(spec: PoolSpec, memory: Memory, reason: Reason, now: datetime) -> int:
    """Wakes by a request soon after a sleep, with the one of now; a later wake ends the count."""
    slept = timedelta.max if memory.since is None else now - memory.since
    if slept > min(SOON, spec.idle_after):
        return 0
    # A sleep that an override or a budget asks for says nothing about idleAfter.
    is_counted = reason is Reason.REQUEST and memory.reason is Reason.IDLE
    return memory.woken_soon + is_counted


def idle_after(spec: PoolSpec, memory: Memory) -> timedelta:
    """idleAfter, doubled for each wake soon after a sleep but the first (decision 63).

    All of it together costs at most as much as the flapping before: until then the pool was awake
    for as long.
    """
    doublings = min(max(memory.woken_soon - 1, 0), _DOUBLINGS)
    return spec.idle_after * (1 << doublings)


START_LIMIT = timedelta(minutes=30)
"""A pool without a further request waits for a pod this long."""


def is_starting(memory: Memory) -> bool:
    """Whether a pod is awaited that a request has asked for, and that may yet become Ready."""
    last, since = memory.last_active, memory.since
    is_asked = last is not None and since is not None and last >= since
    is_hopeful = "PodsCannotStart" not in memory.process.told
    return memory.phase is Phase.WARMING and is_asked and is_hopeful


def idle_at(spec: PoolSpec, memory: Memory, now: datetime) -> datetime:
    """When the pool has had no request for `idle_after` (now, if it never had one).

    A start delays this, and then counts as a request: a client that has given up may come again.
    Unknown demand delays it too: UNKNOWN_LIMIT, and then idleAfter, in which the connections that
    pass the activators show whether the pool is in use.
    """
    lasts = idle_after(spec, memory)
    end = now if memory.last_active is None else memory.last_active + lasts
    if memory.since is not None and is_starting(memory):
        end = max(end, memory.since + START_LIMIT)
    if memory.unknown_since is not None:
        end = max(end, memory.unknown_since + UNKNOWN_LIMIT + lasts)
    return end


def idleness(spec: PoolSpec, memory: Memory, floor: int, asleep_asked: bool, now: datetime) -> Idle:
    """Whether the pool is idle: never with a floor of warm pods, always for a requested sleep."""
    if floor > 0:
        return Idle(drain=False, sleep=False)
    if asleep_asked:
        return Idle(drain=True, sleep=True)
    end = idle_at(spec, memory, now)
    return Idle(drain=now >= end - spec.platform.route_settle - PRE_DRAIN, sleep=now >= end)


SHOWN_AFTER = timedelta(seconds=30)
"""Full requests count as restored this long after the pool was parked: by then the watch of pods
has shown every resize."""


def parked_pods(
    spec: PoolSpec, seen: Observation, memory: Memory, floor: int, now: datetime
) -> int:
    """The pods that stay while the pool is idle; 0: it goes to sleep.

    `floor` are those that a window with mode Parked asks for. Without one, one pod stays until
    parkedFor is over.
    """
    if spec.parked is None or seen.parking.reason:
        return 0
    if floor > 0:
        return floor
    since = now if memory.parked_since is None else memory.parked_since
    return 1 if now < since + spec.parked.lasting else 0


def parked_until(spec: PoolSpec, memory: Memory) -> datetime | None:
    """When an idle pool that is parked goes to sleep; None if it is not parked."""
    since = memory.parked_since
    if spec.parked is None or memory.phase is not Phase.PARKED or since is None:
        return None
    return since + spec.parked.lasting


def remember_reduced(memory: Memory, seen: Observation, now: datetime) -> Memory:
    """Store whether pods may still have smaller requests than their template's."""
    if not memory.reduced or memory.phase is Phase.PARKED or memory.since is None:
        return memory
    gone = memory.phase is Phase.ASLEEP and seen.pods == 0
    shown = now - memory.since >= SHOWN_AFTER
    restored = not memory.phase.is_asleep and shown and not seen.parking.reduced
    return changed(memory, reduced=not (gone or restored))


UP_WINDOW = timedelta(seconds=3)
"""Replicas rise to the lowest demand within this window: a burst that the current pods serve in
time starts no further pods."""

DOWN_WINDOW = timedelta(seconds=60)
"""Replicas fall to the highest recommendation within this window, so that they do not flap."""


def recommend(
    demand: Demand, spec: PoolSpec, current: int, ready: int, trend: Trend, now: datetime
) -> Trend:
    """The trend with the current demand; its `replicas` are the recommendation.

    One pod serves `requests_per_pod` requests. The two stabilization windows are those of a
    HorizontalPodAutoscaler (decision 5). Until a pod is Ready, waiting requests ask for one pod:
    their waiting time does not show how many they need. Unknown demand asks for the current
    replicas.
    """
    running = min(current, spec.max_replicas)
    asked = running
    if demand.known:
        asked = min(-(-demand.concurrency // spec.requests_per_pod), spec.max_replicas)
        if ready == 0:
            asked = min(asked, 1)
    recent = _add(trend.asked, asked, now, UP_WINDOW)
    covered = now - recent[0][0] >= UP_WINDOW
    sustained = min(n for _, n in recent) if covered else min(asked, max(ready, 1))
    # Without history (an operator restart), the current replicas are the recommendation so far.
    lately = _add(trend.sustained or ((now, running),), sustained, now, DOWN_WINDOW)
    return Trend(recent, lately)


def _add(series: Series, value: int, now: datetime, window: timedelta) -> Series:
    """Append to a series and drop entries that no longer matter.

    Of a run of equal values the first and the last entry stay, and the newest entry older than the
    window: it is the value at its start.
    """
    if len(series) > 1 and series[-1][1] == series[-2][1] == value:
        series = series[:-1]
    series = (*series, (now, value))
    before = [i for i, (at, _) in enumerate(series) if now - at >= window]
    return series[before[-1] :] if before else series


# --- whether the pods report their requests in flight, and what counts if they do not ---
#
# Most workloads have no such gauge. Their pools are *unmetered*: the activators stay endpoints
# beside the pods, so a share of the new connections passes them, and these count as the demand.


def remember_metering(spec: PoolSpec, memory: Memory, seen: Observation, now: datetime) -> Memory:
    """Store whether the pods have a gauge, and whether the activators' connections count instead.

    A pool that was metered once stays metered until its pod template changes: a page that fails
    later may hide requests. During a rollout, the pods of the former template show nothing about
    the current one. With route Activator the activators count every connection, and no pod is
    asked.
    """
    if spec.route is RouteMode.ACTIVATOR:
        return changed(memory, route=changed(memory.route, counted=False))
    said, template = seen.demand.metered, memory.template
    is_rolling = bool(template.hash) and seen.updated == 0
    if said is not None and not template.metered and not (template.metered is None and is_rolling):
        template = changed(template, metered=said)
    memory = changed(memory, template=template)
    is_counted = _is_counted(memory, seen.demand, now)
    if is_counted and not memory.route.counted and memory.route.target is Route.NATIVE:
        # The activators join the route only now: what passed them before shows nothing.
        memory = replace(memory, last_active=now)
    return changed(memory, route=changed(memory.route, counted=is_counted))


def _is_counted(memory: Memory, demand: Demand, now: datetime) -> bool:
    if memory.template.metered is False:
        return True
    since = memory.unknown_since
    is_over = since is not None and now - since >= UNKNOWN_LIMIT
    return is_over and not demand.known and not demand.silent_activator


def stays_in_route(spec: PoolSpec, route: Routing) -> bool:
    """Whether the activators are in the route in every phase."""
    return spec.route is RouteMode.ACTIVATOR or route.counted


def kept_route(spec: PoolSpec, route: Routing) -> Routing:
    """The route, with the activators if they are in it in every phase."""
    return route.through_activator() if stays_in_route(spec, route) else route


def counted(demand: Demand, memory: Memory) -> Demand:
    """The demand that counts: that of the pods, or the activators' connections in their place.

    Requests that some pods report count too. The connections are fewer than all that the pods
    have. They are not extrapolated: a client that woke the pool stays on its activator, so their
    share is unknown.
    """
    if not memory.route.counted or demand.stands_in:
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
