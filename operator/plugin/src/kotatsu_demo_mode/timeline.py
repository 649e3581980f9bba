"""The coming transitions of a pool, from the operator's own functions.

Each step calls `plan_among` and `floor_of` like the operator, and records what has changed. So
this module contains no rule about which window wins or how early pods start.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from kotatsu_operator.core.budget.levels import ASLEEP, Ask, Mode, PodTime, follow
from kotatsu_operator.core.calendar.schedule import Occurrence, occurrences
from kotatsu_operator.core.formats import count
from kotatsu_operator.core.plan.activity import in_force, override_end, parked_until
from kotatsu_operator.core.plan.lead import LONGEST
from kotatsu_operator.core.plan.plan import Plan, floor_of, plan_among
from kotatsu_operator.core.pool.memory import Reason
from kotatsu_operator.core.pool.spec import Override

from .pools import Pool

_REACH = timedelta(hours=26)
"""How far a step looks ahead: more than the longest lead."""


@dataclass(frozen=True)
class Stretch:
    """A time with the same number of pods."""

    begin: datetime
    end: datetime
    replicas: int
    is_parked: bool = False

    @property
    def time(self) -> PodTime:
        """Pods times their time."""
        time = self.replicas * (self.end - self.begin)
        return PodTime(parked=time) if self.is_parked else PodTime(time)

    @property
    def hours(self) -> Decimal:
        """Pods times hours."""
        return self.replicas * Decimal((self.end - self.begin).total_seconds()) / 3600


@dataclass(frozen=True)
class Change:
    """One transition of a pool's schedule."""

    at: datetime
    kind: str
    """prewarm, open or close."""
    window: str
    replicas: int
    """Pods from this time on."""
    is_parked: bool = False
    """Whether they are parked."""
    winner: str = ""
    """The window that needs these pods, if it is another one."""
    shifted: bool = False
    """The wall-clock start does not exist on that day; the window opens at the end of the gap."""
    cost: Decimal | None = None
    """The cost of these pods until the next transition."""


@dataclass(frozen=True)
class Drawn:
    """The pods of one pool over time: planned ones, or those of a report."""

    pool: Pool
    begin: datetime
    end: datetime
    stretches: Sequence[Stretch]


@dataclass(frozen=True)
class Timeline(Drawn):
    """The coming changes of one pool, and its number of pods over time."""

    first: Plan
    """The plan at `begin`."""
    changes: Sequence[Change]

    @property
    def cost(self) -> Decimal | None:
        """The total cost; None without prices."""
        return price(self.pool, self.stretches)


def price(pool: Pool, stretches: Sequence[Stretch]) -> Decimal | None:
    """The cost of the pods of these stretches; None without prices."""
    if pool.price is None:
        return None
    return pool.price.of(sum((s.time for s in stretches), PodTime()))


def timeline(pool: Pool, begin: datetime, end: datetime) -> Timeline:
    """The timeline of a pool over [begin, end)."""
    steps = list(_walk(pool, begin, end))
    stretches: list[Stretch] = []
    changes: list[Change] = []
    parking, mode = pool.parking, _mode(pool)
    for i, step in enumerate(steps):
        until = steps[i + 1].at if i + 1 < len(steps) else end
        there, mode = follow(step.ask, step.at, until, mode, parking if step.may_park else None)
        if there.end > step.at:
            stretches.append(Stretch(step.at, there.end, there.replicas, there.is_parked))
        if there.end < until:
            stretches.append(Stretch(there.end, until, 0))
        for occurrence, kind in step.happened:
            winner = step.plan.window if step.floor and step.floor == step.plan.floor else ""
            changes.append(
                Change(
                    step.at,
                    kind,
                    occurrence.window,
                    there.replicas,
                    there.is_parked,
                    winner if winner != occurrence.window else "",
                    shifted=occurrence.shifted and kind == "open",
                )
            )
    priced = _priced(pool, changes, stretches)
    return Timeline(pool, begin, end, _merged(stretches), steps[0].plan, priced)


@dataclass(frozen=True)
class _Step:
    at: datetime
    plan: Plan
    floor: int
    ask: Ask
    may_park: bool
    """Whether pods may be parked; if not, the pool sleeps without a window."""
    happened: Sequence[tuple[Occurrence, str]]


def _walk(pool: Pool, begin: datetime, end: datetime) -> Iterator[_Step]:
    spec, memory = pool.spec, pool.memory
    known = occurrences(spec.windows, spec.zone, begin, end + _REACH)
    budget_renews = pool.ledger.period_end
    override = spec.override
    # Also when a window is near enough to count for the lead.
    marks = {o.start for o in known} | {o.end for o in known} | {o.start - LONGEST for o in known}
    if override is not None:
        marks.add(override_end(override, memory))
    if budget_renews is not None:
        marks.add(budget_renews)
    ahead = sorted(at for at in marks if begin < at < end)
    near: list[Occurrence] = []
    entered, warmed, at = 0, set[Occurrence](), begin
    while True:
        # And one beyond the reach, for `next`.
        reached = bisect_right(known, at + _REACH, key=lambda o: o.start) + 1
        near = [o for o in near if o.end >= at] + known[entered:reached]
        entered = max(entered, min(reached, len(known)))
        plan = plan_among(near, spec, memory, at)
        memory = replace(memory, lead=plan.lead, ahead=plan.kept_ahead)
        allowed = pool.allowed_at(at)
        plan = allowed.trim(plan)
        happened: list[tuple[Occurrence, str]] = []
        if at > begin:
            warming = (o for o in plan.current if o.start >= at and o not in warmed)
            happened += [(o, "prewarm") for o in warming]
            happened += [(o, "open") for o in plan.current if o.start == at]
            if at == budget_renews:
                happened += [(o, "open") for o in plan.current if o.start < at and o not in warmed]
            happened += [(o, "close") for o in near if o.end == at and o in warmed]
        warmed |= set(plan.current)
        in_effect: Override | None = in_force(override, memory, at)
        floor, reason = floor_of(spec, in_effect, plan, spent=allowed.sleeps)
        open_ = max((o.replicas for o in plan.current if o.start <= at), default=0)
        is_warm = reason is not Reason.WINDOW or not plan.may_park
        may_park = floor > 0 or (reason is Reason.WINDOW and allowed.begins)
        ask = Ask(at, floor, is_warm, min(open_, floor))
        yield _Step(at, plan, floor, ask, may_park, list(dict.fromkeys(happened)))
        coming = [plan.next.at] if plan.next is not None else []
        later = bisect_right(ahead, at)
        coming += ahead[later : later + 1]
        if not coming or min(coming) >= end:
            return
        at = min(coming)


def _mode(pool: Pool) -> Mode:
    """The pods that are parked now."""
    until = parked_until(pool.spec, pool.memory)
    ready = count(pool.status.get("readyReplicas"))
    return ASLEEP if until is None else Mode(ready, is_parked=True, until=until)


def _priced(pool: Pool, changes: Sequence[Change], stretches: Sequence[Stretch]) -> list[Change]:
    """Set the cost of each change until the next one; the costs add up to the total."""
    if pool.price is None:
        return list(changes)
    priced = []
    moments = [s.begin for s in stretches]
    for i, change in enumerate(changes):
        until = changes[i + 1].at if i + 1 < len(changes) else stretches[-1].end
        # Without time until the next change, that one has the cost.
        first, last = bisect_right(moments, change.at) - 1, bisect_left(moments, until)
        mine = stretches[first:last] if until > change.at else ()
        priced.append(replace(change, cost=price(pool, mine)))
    return priced


def _merged(stretches: Sequence[Stretch]) -> list[Stretch]:
    merged: list[Stretch] = []
    for s in stretches:
        last = merged[-1] if merged else None
        if last and (last.replicas, last.is_parked) == (s.replicas, s.is_parked):
            merged[-1] = replace(last, end=s.end)
        else:
            merged.append(s)
    return merged


def offset_note(change: Change, zone: ZoneInfo) -> str:
    """A sentence about a start that is skipped when clocks go forward."""
    here = f"{change.at.astimezone(zone):%H:%M}"
    return f"the start does not exist on that day: clocks go forward, so it opens at {here}"
