"""The schedule at one moment: the floor, the window behind it, and the next transitions.

Also what follows from it: for how many pods nodes are asked for before they start, and whether the
replicas of each opening were Ready in time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from heapq import nsmallest
from itertools import accumulate, islice
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from kotatsu_operator.core.calendar.schedule import Occurrence, Window, next_start, occurrences
from kotatsu_operator.core.plan.kept import Kept
from kotatsu_operator.core.plan.lead import Leads
from kotatsu_operator.core.pool.memory import Memory, Opening, Outcome, Reason, changed
from kotatsu_operator.core.pool.news import Claim, Note, Transition
from kotatsu_operator.core.pool.spec import Override, OverrideMode, PoolSpec

if TYPE_CHECKING:
    from kotatsu_operator.core.pool.decision import Observation

_AHEAD = timedelta(hours=26)
"""The time ahead for which occurrences are computed; longer than the longest lead."""

_FAR = timedelta(days=366)
"""The time ahead to search for the next opening if none is near."""

_SHOWN = 8
"""The number of transitions of each kind to list."""


@dataclass(frozen=True)
class CapacityAhead:
    """The pods for which the schedule asks for nodes at one moment."""

    replicas: int = 0
    """Pods of openings whose pods do not start yet, but whose nodes are asked for."""
    next: datetime | None = None
    """When it is asked for next."""


@dataclass(frozen=True)
class Plan:
    """The schedule at one moment."""

    current: Sequence[Occurrence]
    """The occurrences that are open, or that the pool pre-warms for."""
    lead: timedelta
    upcoming: Sequence[Transition]
    ahead: timedelta = timedelta()
    """How much earlier than the lead the pods start, to leave capacity for other pools."""
    kept_ahead: timedelta = timedelta()
    """The same while the pool pre-warms for a window; else 0."""
    claim: Claim | None = None
    """The next warm-up that has not begun."""
    capacity: CapacityAhead = CapacityAhead()

    @cached_property
    def _largest(self) -> Occurrence | None:
        return max(self.current, key=lambda o: (o.replicas, o.end), default=None)

    @property
    def floor(self) -> int:
        return 0 if self._largest is None else self._largest.replicas

    @property
    def window(self) -> str:
        return "" if self._largest is None else self._largest.window

    @property
    def may_park(self) -> bool:
        """Whether the pods of all these occurrences may be parked."""
        return all(o.parked for o in self.current)

    def starts_at(self, occurrence: Occurrence) -> datetime:
        return occurrence.start - self.lead - self.ahead

    @property
    def next(self) -> Transition | None:
        return self.upcoming[0] if self.upcoming else None


_Schedule = tuple[tuple[Window, ...], ZoneInfo]
_Near = tuple[datetime, tuple[Occurrence, ...]]


def _size(schedule: _Schedule, near: _Near) -> int:
    return 1 + len(near[1]) + sum(1 + len(window.exclude) for window in schedule[0])


_known: Kept[_Schedule, _Near] = Kept(100_000, _size)
"""The occurrences around the last hour by schedule: at most about 45 MiB."""


def _near(windows: tuple[Window, ...], zone: ZoneInfo, hour: datetime) -> tuple[Occurrence, ...]:
    """The occurrences around an hour, plus a later one if none opens soon."""
    # Cron schedules are expensive to evaluate and change rarely: evaluate once an hour.
    known = _known.get((windows, zone))
    if known is not None and known[0] == hour:
        return known[1]
    near = occurrences(windows, zone, hour - timedelta(hours=1), hour + _AHEAD)
    if windows and not any(o.start > hour + timedelta(hours=1) for o in near):
        far = next_start(windows, zone, hour + timedelta(hours=1), _FAR)
        near += [far] if far else []
    _known.put((windows, zone), (hour, tuple(near)))
    return tuple(near)


def plan_at(
    spec: PoolSpec,
    memory: Memory,
    now: datetime,
    ahead: timedelta = timedelta(),
    before: timedelta | None = None,
) -> Plan:
    """Plan the schedule around `now`, with the lead of this pool.

    `ahead` is how much earlier than the lead the pool must start (see `lead`), and `before` the
    lead of the pools on which it depends, which a learned lead includes. Without it, as in the
    plugin, that of the status does.
    """
    hour = now.replace(minute=0, second=0, microsecond=0)
    known = [spec.raised(o) for o in _near(spec.windows, spec.zone, hour) if o.end > now]
    coming = [o for o in known if o.start > now]
    leads = Leads(spec, memory)
    early = leads.early(coming, now, ahead, before)
    current = [o for o in known if o.start - early <= now]
    return Plan(
        current,
        leads.lead,
        _upcoming(known, early, now),
        early - leads.lead,
        leads.kept_ahead,
        _claim(known, current, leads.lead),
        _capacity(spec.capacity_ahead, coming, early, now),
    )


def _claim(
    known: Sequence[Occurrence], current: Sequence[Occurrence], lead: timedelta
) -> Claim | None:
    """The first opening not yet begun that needs more pods than earlier openings still run."""
    begun = {(o.start, o.window) for o in current}
    # The most pods that exist until an instant: those of openings that end at or after it.
    ends = sorted(current, key=lambda o: o.end)
    most = list(accumulate((o.replicas for o in reversed(ends)), max, initial=0))[::-1]
    for o in known:
        if (o.start, o.window) in begun:
            continue
        by = o.start - lead
        there = most[bisect_left(ends, by, key=lambda c: c.end)]
        if o.replicas > there:
            return Claim(by, o.replicas - there)
    return None


def _upcoming(known: Sequence[Occurrence], early: timedelta, now: datetime) -> list[Transition]:
    opening = [o for o in known if o.start > now]
    warming = (o for o in opening if o.start - early > now)
    closing = nsmallest(_SHOWN, known, key=lambda o: o.end)
    found = [
        *(Transition(o.start - early, o.window, "prewarm") for o in islice(warming, _SHOWN)),
        *(Transition(o.start, o.window, "open") for o in opening[:_SHOWN]),
        *(Transition(o.end, o.window, "close") for o in closing),
    ]
    return sorted(found, key=lambda t: t.at)


def _capacity(
    ahead: timedelta | None, coming: Iterable[Occurrence], early: timedelta, now: datetime
) -> CapacityAhead:
    """`coming` are the openings after now, `early` is their lead."""
    if not ahead:
        return CapacityAhead()
    waiting = [o for o in coming if o.start - early > now]
    asked = [o.replicas for o in waiting if o.start - early - ahead <= now]
    begins = [o.start - early - ahead for o in waiting if o.start - early - ahead > now]
    return CapacityAhead(max(asked, default=0), min(begins, default=None))


def floor_of(
    spec: PoolSpec,
    override: Override | None,
    windows: int,
    *,
    spent: bool = False,
    needed: bool = False,
) -> tuple[int, Reason]:
    """The replicas required regardless of demand, and the reason.

    `windows` are those that the schedule asks for. `spent` means that the budget puts the pool to
    sleep, regardless of windows and overrides; `needed` that a pool which depends on it is awake,
    or starts.
    """
    if spent:
        return 0, Reason.BUDGET
    if override is not None and override.mode is OverrideMode.ASLEEP:
        return 0, Reason.OVERRIDE
    floor, reason = min(windows, spec.max_replicas), Reason.WINDOW
    if override is not None:
        asked = spec.asked_by(override)
        if asked >= floor:
            floor, reason = asked, Reason.OVERRIDE
    if needed and floor == 0:
        return 1, Reason.DEMAND
    return floor, reason


def still_needed(wanted: int, held: int, replicas: int, *, is_warming: bool) -> int:
    """The pods for which capacity is held.

    What the schedule wants beyond the pods that are there. While pods start, what was held stays:
    their scheduling takes its place, and before that it must not go to others.
    """
    return max(wanted - replicas, held if is_warming else 0, 0)


def with_least(spec: PoolSpec, memory: Memory) -> PoolSpec:
    """The spec with minReplicas: its own, or the replicas that the target was found with.

    An HPA has a minimum of its own, and a pool that is older than the field keeps one pod.
    """
    is_other = memory.original is not None or memory.keeps_one or spec.target.scales_itself
    if spec.min_replicas or is_other or not memory.found:
        return spec
    return replace(spec, min_replicas=memory.found)


# --- punctuality ---


def remember_opening(
    plan: Plan, seen: Observation, memory: Memory, now: datetime, *, excused: bool
) -> tuple[Memory, tuple[Note, ...], tuple[Outcome, ...], tuple[Opening, ...]]:
    """Record when the floor of an opening was Ready; a late one gets an event.

    Returns the events, the outcomes, and the openings that were Ready before.

    One opening is tracked at a time: the newest open one, then each one that the pool pre-warms
    for. These count as punctual: a window that was open when the operator could first act on the
    pool, and an edit that requested a window too late to pre-warm for it.
    """
    opening = memory.opening
    notes: list[Note] = []
    outcomes: list[Outcome] = []
    punctual: list[Opening] = []
    followed = [o for o in plan.current if o.start <= now][-1:]
    followed += [o for o in plan.current if o.start > now]
    if opening is not None and opening.at > now and opening.at not in {o.start for o in followed}:
        # The tracked window was edited before it opened: the recorded result of an open one stays.
        opening = replace(opening, at=now)
    asked, coming = 0, deque(plan.current)
    for o in followed:
        while coming and coming[0].start <= o.start:
            asked = max(asked, coming.popleft().replicas)
        floor = seen.within(asked)
        known = opening.replicas if opening is not None and opening.at == o.start else 0
        if opening is None or o.start > opening.at:
            opening = Opening(o.window, o.start)
        elif o.start < opening.at:
            continue  # a newer window has opened since; this one does not open again
        if opening.ready_at is None:
            is_sudden = seen.edited and floor > known and now > plan.starts_at(o)
            opening = replace(
                opening, replicas=floor, excused=opening.excused or (is_sudden and not opening.cold)
            )
        opening, found = _judge(opening, floor, seen, now, excused=excused)
        notes += [note for note in found.values() if note]
        outcomes += found
        punctual += [opening] if Outcome.READY in found else []
        if opening.ready_at is None:
            break
    tally = memory.windows
    for outcome in outcomes:
        tally = tally.plus(outcome)
    after = changed(memory, opening=opening, windows=tally)
    return after, tuple(notes), tuple(outcomes), tuple(punctual)


def _judge(
    opening: Opening, floor: int, seen: Observation, now: datetime, *, excused: bool
) -> tuple[Opening, dict[Outcome, Note | None]]:
    if opening.ready_at is not None:
        return opening, {}
    if (excused or opening.excused) and not opening.cold and now >= opening.at:
        return replace(opening, ready_at=opening.at), {}
    is_ready, late = seen.ready >= floor, (now - opening.at).total_seconds()
    if is_ready and late <= 0:
        return replace(opening, ready_at=now), {Outcome.READY: None}
    found = dict[Outcome, Note | None]()
    # Also one that no look, or none whose write was done, has seen cold: its pods came meanwhile.
    if late >= 0 and not opening.cold:
        text = f"window {opening.window} opened before all replicas were Ready"
        found[Outcome.COLD] = Note("WindowCold", text, warning=True)
        opening = replace(opening, cold=True)
    if is_ready:
        text = f"window {opening.window} was Ready {late:.0f} s late"
        found[Outcome.LATE] = Note("WindowLate", text, warning=True)
        opening = replace(opening, ready_at=now)
    return opening, found
