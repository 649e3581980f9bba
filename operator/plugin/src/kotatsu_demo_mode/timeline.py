"""The coming transitions of a pool, from the operator's own functions, and a chart of its pods.

Each step calls `plan_among` and `floor_of` like the operator, and records what has changed. So
this module contains no rule about which window wins or how early pods start.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from kotatsu_operator.core.budget.forecast import ASLEEP, Ask, Mode, PodTime, Stretch, follow
from kotatsu_operator.core.calendar.schedule import Occurrence, occurrences
from kotatsu_operator.core.formats import count
from kotatsu_operator.core.plan.activity import in_force, override_end, parked_until
from kotatsu_operator.core.plan.lead import LONGEST, usual_start
from kotatsu_operator.core.plan.plan import Plan, floor_of, plan_among
from kotatsu_operator.core.pool.memory import Reason, changed

from .pools import Pool

_REACH = timedelta(hours=26)
"""How far a step looks ahead: more than the longest lead."""


class Change(NamedTuple):
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


class Timeline(NamedTuple):
    """The coming changes of one pool, and its number of pods over time."""

    pool: Pool
    begin: datetime
    end: datetime
    stretches: Sequence[Stretch]
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


def hours(stretches: Sequence[Stretch]) -> Decimal:
    """Pods times hours."""
    return Decimal(sum(s.replicas * (s.end - s.begin).total_seconds() for s in stretches)) / 3600


def timeline(pool: Pool, begin: datetime, end: datetime) -> Timeline:
    """The timeline of a pool over [begin, end)."""
    steps = list(_walk(pool, begin, end))
    stretches: list[Stretch] = []
    changes: list[Change] = []
    until = parked_until(pool.spec, pool.memory)
    ready = count(pool.status.get("readyReplicas"))
    mode = ASLEEP if until is None else Mode(ready, is_parked=True, until=until)
    for step, stop in zip(steps, [*(s.ask.at for s in steps[1:]), end], strict=True):
        at, floor = step.ask.at, step.ask.replicas
        there, mode = follow(step.ask, at, stop, mode, pool.parking if step.may_park else None)
        if there.end > at:
            stretches.append(there)
        if there.end < stop:
            stretches.append(Stretch(there.end, stop))
        for occurrence, kind in step.happened:
            name = occurrence.window
            wins = step.plan.window != name and floor and floor == step.plan.floor
            winner = step.plan.window if wins else ""
            shifted = occurrence.shifted and kind == "open"
            changes.append(Change(at, kind, name, there.replicas, there.is_parked, winner, shifted))
    return Timeline(
        pool, begin, end, _merged(stretches), steps[0].plan, _priced(pool, changes, stretches)
    )


class _Step(NamedTuple):
    plan: Plan
    ask: Ask
    may_park: bool
    """Whether pods may be parked; if not, the pool sleeps without a window."""
    happened: Sequence[tuple[Occurrence, str]]


def _walk(pool: Pool, begin: datetime, end: datetime) -> Iterator[_Step]:
    spec, memory = pool.spec, pool.memory
    known = occurrences(spec.windows, spec.zone, begin, end + _REACH)
    budget_renews = pool.ledger.period_end
    # Also when a window is near enough to count for the lead.
    marks = {at for o in known for at in (o.start, o.end, o.start - LONGEST)}
    if spec.override is not None:
        marks.add(override_end(spec.override, memory))
    if budget_renews is not None:
        marks.add(budget_renews)
    ahead = sorted(at for at in marks if begin < at < end)
    near: list[Occurrence] = []
    entered, at = 0, begin
    started: dict[Occurrence, datetime] = {}  # when the pods of each have started
    while True:
        # And one beyond the reach, for `next`.
        reached = bisect_right(known, at + _REACH, key=lambda o: o.start) + 1
        near = [o for o in near if o.end >= at] + known[entered:reached]
        entered = max(entered, min(reached, len(known)))
        plan = plan_among(near, spec, memory, at)
        memory = changed(memory, lead=plan.lead, ahead=plan.kept_ahead)
        allowed = pool.allowed_at(at)
        plan = allowed.trim(plan)
        happened: list[tuple[Occurrence, str]] = []
        new = [o for o in plan.current if o not in started]
        if at > begin:
            happened += [(o, "prewarm") for o in new if o.start >= at]
            happened += [(o, "open") for o in plan.current if o.start == at]
            happened += [(o, "open") for o in new if o.start < at == budget_renews]
            happened += [(o, "close") for o in near if o.end == at and o in started]
        starts = usual_start(memory.warm_ups, memory.template.hash, plan.lead)
        for o in new:
            started[o] = (at if at > begin else plan.starts_at(o)) + starts
            if o.parked and at < started[o] < end:
                insort(ahead, started[o])
        override = in_force(spec.override, memory, at)
        floor, reason = floor_of(spec, override, plan, spent=allowed.sleeps)
        is_window = reason is Reason.WINDOW
        ready = max((o.replicas for o in plan.current if started[o] <= at), default=0)
        ask = Ask(at, floor, not (is_window and plan.may_park), min(ready, floor))
        may_park = floor > 0 or (is_window and allowed.begins)
        yield _Step(plan, ask, may_park, list(dict.fromkeys(happened)))
        later = bisect_right(ahead, at)
        coming = [*(t.at for t in plan.upcoming[:1]), *ahead[later : later + 1]]
        if not coming or min(coming) >= end:
            return
        at = min(coming)


def _priced(pool: Pool, changes: Sequence[Change], stretches: Sequence[Stretch]) -> list[Change]:
    """Set the cost of each change until the next one; the costs add up to the total."""
    priced, moments = [], [s.begin for s in stretches]
    ends = [*(change.at for change in changes[1:]), stretches[-1].end]
    for change, until in zip(changes, ends, strict=False):
        # Without time until the next change, that one has the cost.
        first, last = bisect_right(moments, change.at) - 1, bisect_left(moments, until)
        mine = stretches[first:last] if until > change.at else ()
        priced.append(change._replace(cost=price(pool, mine)))
    return priced


def _merged(stretches: Sequence[Stretch]) -> list[Stretch]:
    merged: list[Stretch] = []
    for s in stretches:
        last = merged[-1] if merged else None
        if last and (last.replicas, last.is_parked) == (s.replicas, s.is_parked):
            merged[-1] = last._replace(end=s.end)
        else:
            merged.append(s)
    return merged


# --- the chart ---


class Drawn(NamedTuple):
    """The pods of one pool over time, for a row of the chart."""

    name: str
    stretches: Sequence[Stretch]


_BLOCKS, _PLAIN = "▁▂▃▄▅▆▇█", "123456789"
_PARKED, _PLAIN_PARKED = "░", "p"
_STEPS = [
    *(timedelta(minutes=n) for n in (5, 15, 30)),
    *(timedelta(hours=n) for n in (1, 3, 6, 12)),
    *(timedelta(days=n) for n in (1, 2, 7, 14, 28, 91)),
]
_TICK = 9
"""Columns of a label of the axis."""

TOGETHER = "together"


def together(rows: Sequence[Sequence[Stretch]]) -> list[Stretch]:
    """The pods of all pools at each moment; parked if all of them are."""
    steps: dict[datetime, list[int]] = {}
    for s in (s for row in rows for s in row):
        for at, pods in ((s.begin, s.replicas), (s.end, -s.replicas)):
            steps.setdefault(at, [0, 0])[s.is_parked] += pods
    found, warm, parked = [], 0, 0
    for begin, end in pairwise(sorted(steps)):
        warm, parked = warm + steps[begin][False], parked + steps[begin][True]
        found.append(Stretch(begin, end, warm + parked, is_parked=parked > 0 and not warm))
    return found


def chart(
    rows: Sequence[Drawn],
    begin: datetime,
    end: datetime,
    zone: ZoneInfo,
    width: int,
    *,
    blocks: bool,
) -> list[str]:
    """Draw rows of pods above one axis.

    A column shows the most pods in its time, relative to the most pods of its row; one with parked
    pods alone is lighter. Several pools have one more row: their pods together.
    """
    if len(rows) > 1:
        rows = [*rows, Drawn(TOGETHER, together([row.stretches for row in rows]))]
    margin = max(len(row.name) for row in rows) + 2
    most = [max((s.replicas for s in row.stretches), default=0) for row in rows]
    room = max(width - margin - max(len(f" {n}") for n in most), 10)
    lines = []
    for row, height in zip(rows, most, strict=True):
        bars = _bars(row.stretches, begin, end, room, height, blocks=blocks)
        lines.append(f"{row.name.ljust(margin)}{bars} {height}")
    lines.append(f"{' ' * margin}{_axis(begin, end, room, zone)}".rstrip())
    if any(s.is_parked for row in rows for s in row.stretches):
        lines.append(f"{' ' * margin}{_PARKED if blocks else _PLAIN_PARKED} parked")
    return lines


def _bars(
    stretches: Sequence[Stretch],
    begin: datetime,
    end: datetime,
    width: int,
    most: int,
    *,
    blocks: bool,
) -> str:
    levels, parked = [0] * width, [False] * width
    for s in stretches:
        left = int((s.begin - begin) / (end - begin) * width)
        # A stretch that is shorter than a column is visible too.
        right = max(left + 1, -int(-(s.end - begin) / (end - begin) * width // 1))
        for column in range(left, min(right, width)):
            if s.is_parked:
                parked[column] = True
            else:
                levels[column] = max(levels[column], s.replicas)
    shapes = _BLOCKS if blocks else _PLAIN
    light, nothing = (_PARKED, " ") if blocks else (_PLAIN_PARKED, ".")

    def shape(n: int, is_parked: bool) -> str:
        if n == 0:
            return light if is_parked else nothing
        return shapes[-(-n * len(shapes) // most) - 1] if blocks else shapes[min(n, 9) - 1]

    return "".join(map(shape, levels, parked))


def _axis(begin: datetime, end: datetime, width: int, zone: ZoneInfo) -> str:
    """Labels at whole times of the wall clock in [begin, end)."""
    step = next((s for s in _STEPS if width / _TICK * (s / (end - begin)) >= 1), _STEPS[-1])
    wall = begin.astimezone(zone).replace(tzinfo=None)
    midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0)
    tick, line = midnight + -((midnight - wall) // step) * step, ""
    while (at := tick.replace(tzinfo=zone)) < end:
        is_day = step >= timedelta(days=1) or (tick.hour, tick.minute) == (0, 0)
        column, label = (
            int((at - begin) / (end - begin) * width),
            f"|{tick:{'%m-%d' if is_day else '%H:%M'}}",
        )
        if column >= len(line) and column + len(label) <= width:
            line = line.ljust(column) + label
        tick += step
    return line
