"""The schedule at one moment: the floor, the window behind it, and the next transitions."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from heapq import nsmallest
from itertools import accumulate, islice
from zoneinfo import ZoneInfo

from kotatsu_operator.core.calendar.schedule import Occurrence, Window, next_start, occurrences
from kotatsu_operator.core.plan.capacity import NO_CAPACITY, capacity_at
from kotatsu_operator.core.plan.lead import LONGEST, LONGEST_AHEAD, auto_lead
from kotatsu_operator.core.pool.decision import Claim, Transition
from kotatsu_operator.core.pool.memory import Memory, Reason
from kotatsu_operator.core.pool.spec import Override, OverrideMode, PoolSpec

_AHEAD = timedelta(hours=26)
"""The time ahead for which occurrences are computed; longer than the longest lead."""

_FAR = timedelta(days=366)
"""The time ahead to search for the next opening if none is near."""

_SHOWN = 8
"""The number of transitions of each kind to list."""


class Plan:
    """The schedule at one moment."""

    def __init__(
        self,
        current: Sequence[Occurrence],
        lead: timedelta,
        upcoming: Sequence[Transition],
        ahead: timedelta = timedelta(),
        kept_ahead: timedelta = timedelta(),
        claim: Claim | None = None,
    ):
        self.current = current
        """The occurrences that are open, or that the pool pre-warms for."""
        self.lead = lead
        self.upcoming = upcoming
        self.ahead = ahead
        """How much earlier than the lead the pods start, to leave capacity for other pools."""
        self.kept_ahead = kept_ahead
        """The same while the pool pre-warms for a window; else 0."""
        self.claim = claim
        """The next warm-up that has not begun."""
        self.capacity = NO_CAPACITY
        """The capacity that is asked for ahead of openings."""
        best = max(current, key=lambda o: (o.replicas, o.end), default=None)
        self.floor = best.replicas if best else 0
        self.may_park = all(o.parked for o in current)
        """Whether the pods of all these occurrences may be parked."""
        self.window = best.window if best else ""

    def starts_at(self, occurrence: Occurrence) -> datetime:
        return occurrence.start - self.lead - self.ahead

    @property
    def next(self) -> Transition | None:
        return self.upcoming[0] if self.upcoming else None


@lru_cache(maxsize=16384)
def _shelf(_windows: tuple[Window, ...], _zone: ZoneInfo) -> dict[datetime, tuple[Occurrence, ...]]:
    """A cache for the occurrences around one hour: one entry per schedule."""
    return {}


def _near(windows: tuple[Window, ...], zone: ZoneInfo, hour: datetime) -> tuple[Occurrence, ...]:
    """The occurrences around an hour, plus a later one if none opens soon."""
    # Cron schedules are expensive to evaluate and change rarely: evaluate once an hour.
    shelf = _shelf(windows, zone)
    if hour not in shelf:
        near = occurrences(windows, zone, hour - timedelta(hours=1), hour + _AHEAD)
        if windows and not any(o.start > hour + timedelta(hours=1) for o in near):
            far = next_start(windows, zone, hour + timedelta(hours=1), _FAR)
            near += [far] if far else []
        shelf.clear()
        shelf[hour] = tuple(near)
    return shelf[hour]


def plan_at(spec: PoolSpec, memory: Memory, now: datetime, ahead: timedelta = timedelta()) -> Plan:
    """Plan the schedule around `now`, with the lead of this pool.

    `ahead` is how much earlier than the lead the pool must start (see pacing).
    """
    hour = now.replace(minute=0, second=0, microsecond=0)
    return plan_among(_near(spec.windows, spec.zone, hour), spec, memory, now, ahead)


def plan_among(
    near: Iterable[Occurrence],
    spec: PoolSpec,
    memory: Memory,
    now: datetime,
    ahead: timedelta = timedelta(),
) -> Plan:
    """Plan from known occurrences near `now`: ordered by start, at least up to the longest lead.

    A simulation of a year computes the occurrences once and calls this function at each step.
    """
    known = [o for o in near if o.end > now]
    coming = [o for o in known if o.start > now]
    # While the pool pre-warms for a window, a shorter learned lead or other pools that need no
    # capacity any more must not cancel the pre-warm.
    kept_lead, kept_ahead = min(memory.lead, LONGEST), min(memory.ahead, LONGEST_AHEAD)
    lead = _learned_lead(spec, memory, coming, now) if spec.lead is None else spec.lead
    if spec.lead is None and coming and coming[0].start - kept_lead - kept_ahead <= now:
        lead = max(lead, kept_lead)
    if coming and coming[0].start - lead - kept_ahead <= now:
        ahead = max(ahead, kept_ahead)
    early = lead + ahead
    current = [o for o in known if o.start - early <= now]
    is_warming = bool(coming) and coming[0].start - early <= now
    plan = Plan(
        current,
        lead,
        _upcoming(known, early, now),
        ahead,
        ahead if is_warming else timedelta(),
        _claim(known, current, lead),
    )
    plan.capacity = capacity_at(spec.capacity_ahead, coming, early, now)
    return plan


def _learned_lead(
    spec: PoolSpec, memory: Memory, coming: Sequence[Occurrence], now: datetime
) -> timedelta:
    # The next opening, and all openings whose pods may have to start with it.
    until = max(coming[0].start, now + LONGEST) if coming else now
    replicas = max((o.replicas for o in coming if o.start <= until), default=1)
    settle = spec.drain.route_settle
    return auto_lead(memory.warm_ups, replicas, settle, memory.template, memory.first_start)


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


def floor_of(
    spec: PoolSpec, override: Override | None, plan: Plan, *, spent: bool = False
) -> tuple[int, Reason]:
    """The replicas required regardless of demand, and the reason.

    `spent` means that the budget puts the pool to sleep, regardless of windows and overrides.
    """
    if spent:
        return 0, Reason.BUDGET
    if override is not None and override.mode is OverrideMode.ASLEEP:
        return 0, Reason.OVERRIDE
    floor, reason = min(plan.floor, spec.scaling.max_replicas), Reason.WINDOW
    if override is not None:
        asked = spec.asked_by(override)
        if asked >= floor:
            floor, reason = asked, Reason.OVERRIDE
    return floor, reason
