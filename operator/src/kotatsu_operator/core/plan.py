"""What the schedule says at one moment: the floor, the window behind it, and what comes next."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from .lead import LONGEST, auto_lead
from .schedule import Occurrence, Window, next_start, occurrences
from .spec import Override, OverrideMode, PoolSpec
from .state import Memory, Reason, Transition

_AHEAD = timedelta(hours=26)
"""How far the schedule is laid out for deciding: more than the longest lead."""

_FAR = timedelta(days=366)
"""How far the next opening is looked for when none is near."""

_SHOWN = 8
"""How many transitions of each kind are laid out."""


class Plan:
    """What the schedule says at one moment."""

    def __init__(
        self, current: Sequence[Occurrence], lead: timedelta, upcoming: Sequence[Transition]
    ):
        self.current = current
        self.lead = lead
        self.upcoming = upcoming
        best = max(current, key=lambda o: (o.replicas, o.end), default=None)
        self.floor = best.replicas if best else 0
        self.window = best.window if best else ""

    @property
    def next(self) -> Transition | None:
        """The next thing the schedule does, or None."""
        return self.upcoming[0] if self.upcoming else None


@lru_cache(maxsize=16384)
def _shelf(_windows: tuple[Window, ...], _zone: ZoneInfo) -> dict[datetime, tuple[Occurrence, ...]]:
    """A place for the occurrences around one hour: as many as there are schedules, not hours."""
    return {}


def _near(windows: tuple[Window, ...], zone: ZoneInfo, hour: datetime) -> tuple[Occurrence, ...]:
    """The occurrences around an hour, with one far ahead when none is coming soon."""
    # Schedules are expensive to walk and change rarely: one walk an hour and schedule.
    shelf = _shelf(windows, zone)
    if hour not in shelf:
        near = occurrences(windows, zone, hour - timedelta(hours=1), hour + _AHEAD)
        if windows and not any(o.start > hour + timedelta(hours=1) for o in near):
            far = next_start(windows, zone, hour + timedelta(hours=1), _FAR)
            near += [far] if far else []
        shelf.clear()
        shelf[hour] = tuple(near)
    return shelf[hour]


def plan_at(spec: PoolSpec, memory: Memory, now: datetime) -> Plan:
    """Lay out the schedule around `now`, with the lead this pool needs."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    return plan_among(_near(spec.windows, spec.zone, hour), spec, memory, now)


def plan_among(near: Iterable[Occurrence], spec: PoolSpec, memory: Memory, now: datetime) -> Plan:
    """Lay out what is known to be near `now`: in order of start, and as far as the longest lead.

    Whoever walks through a year finds its occurrences once and asks this at each step.
    """
    known = [o for o in near if o.end > now]
    lead = spec.lead
    if lead is None:
        lead = _learned_lead(spec, memory, known, now)
    current = [o for o in known if o.start - lead <= now]
    return Plan(current, lead, _upcoming(known, lead, now))


def _learned_lead(
    spec: PoolSpec, memory: Memory, known: Sequence[Occurrence], now: datetime
) -> timedelta:
    coming = [o for o in known if o.start > now]
    # The next opening, and all that its pods might have to start together with.
    until = max(coming[0].start, now + LONGEST) if coming else now
    replicas = max((o.replicas for o in coming if o.start <= until), default=1)
    lead = auto_lead(memory.warm_ups, replicas, spec.drain.route_settle, memory.template)
    # While a window is being warmed for, what has just been learned must not call that off.
    kept = min(memory.lead, LONGEST)
    if coming and coming[0].start - kept <= now:
        lead = max(lead, kept)
    return lead


def _upcoming(known: Sequence[Occurrence], lead: timedelta, now: datetime) -> list[Transition]:
    """The next transitions of each kind, by time; `known` is in order of start."""
    opening = [o for o in known if o.start > now]
    warming = (o for o in opening if o.start - lead > now)
    closing = sorted(known, key=lambda o: o.end)
    found = [
        *(Transition(o.start - lead, o.window, "prewarm") for o in islice(warming, _SHOWN)),
        *(Transition(o.start, o.window, "open") for o in opening[:_SHOWN]),
        *(Transition(o.end, o.window, "close") for o in closing[:_SHOWN]),
    ]
    return sorted(found, key=lambda t: t.at)


def floor_of(
    spec: PoolSpec, override: Override | None, plan: Plan, *, spent: bool = False
) -> tuple[int, Reason]:
    """The replicas that must be there whatever the demand, and who says so.

    `spent` says that the budget puts the pool to sleep, whatever else asks for it.
    """
    limit = spec.scaling.max_replicas
    if spent:
        return 0, Reason.BUDGET
    if override is not None and override.mode is OverrideMode.ASLEEP:
        return 0, Reason.OVERRIDE
    floor, reason = min(plan.floor, limit), Reason.WINDOW
    if override is not None:
        asked = override.replicas or max((w.replicas for w in spec.windows), default=1)
        if min(asked, limit) >= floor:
            floor, reason = min(asked, limit), Reason.OVERRIDE
    return floor, reason
