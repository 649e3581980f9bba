"""Overrides, activity and demand: what besides the schedule makes a pool awake or asleep.

Also how many of its pods stay parked once it is idle.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from kotatsu_operator.core.formats import format_duration
from kotatsu_operator.core.plan.lead import enough_hold, slowest_wake
from kotatsu_operator.core.pool.memory import (
    Memory,
    Phase,
    Reason,
    Routing,
    Series,
    Template,
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
    # Pods that do not report the time of their last request may have had one while they could not
    # be scraped; so may those that were reached beside the activators.
    is_unseen = demand.last_request is None or spec.route is RouteMode.ACTIVATOR
    missed = demand.known and unknown_since is not None and is_unseen
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
        unknown_since=None if demand.known else unknown_since or now,
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
    While the demand is unknown, the pool is busy.
    """
    lasts = idle_after(spec, memory)
    end = now if memory.last_active is None else memory.last_active + lasts
    if memory.since is not None and is_starting(memory):
        end = max(end, memory.since + START_LIMIT)
    if memory.unknown_since is not None:
        end = max(end, now + lasts)
    return end


def idleness(spec: PoolSpec, memory: Memory, floor: int, asleep_asked: bool, now: datetime) -> Idle:
    """Whether the pool is idle: never with a floor of warm pods, always for a requested sleep."""
    if floor > 0:
        return Idle(drain=False, sleep=False)
    if asleep_asked:
        return Idle(drain=True, sleep=True)
    if memory.unknown_since is not None:
        return Idle(drain=False, sleep=False)
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


# --- what route Auto decides ---
#
# Most workloads have no gauge of their requests in flight. Then the connections that pass the
# activators are the demand, so all of them have to pass (see `core.pool.route`). It is decided
# once for a pod template, because a connection that is not counted ends with its pod.

AGREEING = 3
"""So many looks in succession must show that no Ready pod has a gauge; one suffices to show one."""

APART = timedelta(seconds=2)
"""The least time between two such looks: an app may serve its page a moment after it is Ready."""

SILENT_LIMIT = timedelta(minutes=30)
"""Pods that have shown nothing for this long count as pods without a gauge."""


def remember_gauge(spec: PoolSpec, memory: Memory, seen: Observation, now: datetime) -> Memory:
    """Store whether the pods have a gauge.

    Pods that had one and are silent do not decide anew: their silence may hide requests. A new
    template does, and of pods without one also an edit, which may name a gauge.
    """
    known = _answered(spec, memory, seen, now)
    if seen.edited and known.template.metered is False:
        known = changed(known, template=changed(known.template, asked=False))
    return known


def _answered(spec: PoolSpec, memory: Memory, seen: Observation, now: datetime) -> Memory:
    """The memory with what the answers of this look show."""
    template, has_gauge, lacking = memory.template, seen.demand.metered, memory.process.lacking
    if not asks_for_gauge(spec, template):
        return memory.here(lacking=())
    if template.hash and not seen.updated:
        has_gauge = None  # these are pods of the former template
    if has_gauge is not False:
        lacking = ()
    elif not lacking or now - lacking[-1] >= APART:
        lacking = (*lacking, now)
    if has_gauge or len(lacking) >= AGREEING or _is_silent(memory, seen.demand, now):
        is_new = not has_gauge and template.metered is None
        template, lacking = changed(template, metered=bool(has_gauge), asked=True), ()
        if is_new:
            # The activators join the route only now: what passed them before shows nothing.
            memory = changed(memory, last_active=now)
    return changed(memory.here(lacking=lacking), template=template)


def asks_for_gauge(spec: PoolSpec, template: Template) -> bool:
    """Whether it is still open whether the pods have a gauge."""
    if spec.target.scales_itself:
        return False
    if template.metered is None:
        return spec.route is RouteMode.AUTO
    return spec.decided and not template.asked


def _is_silent(memory: Memory, demand: Demand, now: datetime) -> bool:
    since = memory.unknown_since
    is_over = since is not None and now - since >= SILENT_LIMIT
    return is_over and not demand.known and not demand.silent_activator


def kept_route(spec: PoolSpec, route: Routing) -> Routing:
    """The route, with the activators if they are in it in every phase."""
    route = changed(route, beside=spec.beside)
    return route.through_activator() if spec.route is RouteMode.ACTIVATOR else route
