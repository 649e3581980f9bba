"""The coming transitions of a pool, from the operator's own simulation, and a chart of its pods."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from kotatsu_operator.core.budget.podtime import PodTime, Stretch
from kotatsu_operator.core.budget.simulate import Simulation, asks, mode_of
from kotatsu_operator.core.formats import count
from kotatsu_operator.core.plan.plan import Plan

from .pools import Pool
from .terminal import Terminal


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
    spec, memory, allowed = pool.spec, pool.memory, pool.allowed_at(begin)
    mode = mode_of(spec, memory, count(pool.status.get("readyReplicas")), begin)
    asked = list(asks(spec, memory, begin, end, allowed))
    steps = Simulation(spec, memory, pool.parking, allowed).run(asked, begin, end, mode)
    stretches, changes, costs = list[Stretch](), list[Change](), list[PodTime]()
    for there, ask, _ in steps:
        for occurrence, kind in ask.happened if there.begin == ask.at else ():
            name, pods = occurrence.window, (there.replicas, there.is_parked)
            winner = ask.window if ask.replicas and ask.window != name else ""
            shifted = occurrence.shifted and kind == "open"
            changes.append(Change(ask.at, kind, name, *pods, winner, shifted))
            costs.append(PodTime())
        if changes:
            costs[-1] += there.time  # of simultaneous ones the last has the cost
        last = stretches[-1] if stretches else None
        if last is not None and last[2:] == there[2:]:
            stretches[-1] = last._replace(end=there.end)
        else:
            stretches.append(there)
    if (each := pool.price) is not None:
        priced = zip(changes, costs, strict=True)
        changes = [change._replace(cost=each.of(time)) for change, time in priced]
    return Timeline(pool, begin, end, stretches, pool.plan_at(begin), changes)


# --- the chart ---


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
    terminal: Terminal,
    rows: Sequence[tuple[str, Sequence[Stretch]]],
    begin: datetime,
    end: datetime,
    zone: ZoneInfo,
) -> list[str]:
    """Draw the pods of pools, by their names, above one axis.

    A column shows the most pods in its time, relative to the most pods of its row; one with parked
    pods alone is lighter. Several pools have one more row: their pods together.
    """
    blocks = terminal.has_blocks
    if len(rows) > 1:
        rows = [*rows, (TOGETHER, together([stretches for _, stretches in rows]))]
    margin = max(len(name) for name, _ in rows) + 2
    most = [max((s.replicas for s in stretches), default=0) for _, stretches in rows]
    room = max(terminal.width - margin - max(len(f" {n}") for n in most), 10)
    lines = []
    for (name, stretches), height in zip(rows, most, strict=True):
        bars = _bars(stretches, begin, end, room, height, blocks=blocks)
        lines.append(f"{name.ljust(margin)}{bars} {height}")
    lines.append(f"{' ' * margin}{_axis(begin, end, room, zone)}".rstrip())
    if any(s.is_parked for _, stretches in rows for s in stretches):
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
