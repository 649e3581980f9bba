"""A bar chart over time of the pods that the schedule keeps, one line per pool."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from .timeline import Drawn, Stretch

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


def together(timelines: Sequence[Drawn]) -> list[Stretch]:
    """The pods of all pools at each moment; parked if all of them are."""
    moments = {at for t in timelines for at in (t.begin, t.end)}
    moments |= {at for t in timelines for s in t.stretches for at in (s.begin, s.end)}
    steps = {at: [0, 0] for at in moments}
    for t in timelines:
        for s in t.stretches:
            steps[s.begin][s.is_parked] += s.replicas
            steps[s.end][s.is_parked] -= s.replicas
    found, warm, parked = [], 0, 0
    for begin, end in pairwise(sorted(steps)):
        warm, parked = warm + steps[begin][False], parked + steps[begin][True]
        found.append(Stretch(begin, end, warm + parked, is_parked=parked > 0 and not warm))
    return found


def chart(timelines: Sequence[Drawn], width: int, *, blocks: bool) -> list[str]:
    """Draw the timelines above one axis, in the first pool's time zone.

    A column shows the most pods in its time, relative to the most pods of its row; one with parked
    pods alone is lighter. Several pools have one more row: their pods together.
    """
    first = timelines[0]
    rows = [(t.pool.name, t.stretches) for t in timelines]
    if len(rows) > 1:
        rows.append((TOGETHER, together(timelines)))
    margin = max(len(name) for name, _ in rows) + 2
    most = [max((s.replicas for s in stretches), default=0) for _, stretches in rows]
    room = max(width - margin - max(len(f" {n}") for n in most), 10)
    lines = []
    for (name, stretches), height in zip(rows, most, strict=True):
        bars = _bars(stretches, first.begin, first.end, room, height, blocks=blocks)
        lines.append(f"{name.ljust(margin)}{bars} {height}")
    axis = _axis(first.begin, first.end, room, first.pool.spec.zone)
    lines.append(f"{' ' * margin}{axis}".rstrip())
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
    span = (end - begin).total_seconds()
    for s in stretches:
        left = int((s.begin - begin).total_seconds() / span * width)
        # A stretch that is shorter than a column is visible too.
        right = max(left + 1, -int(-(s.end - begin).total_seconds() / span * width // 1))
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


def ticks(
    begin: datetime, end: datetime, zone: ZoneInfo, room: float
) -> Iterator[tuple[datetime, str]]:
    """Whole times of the wall clock in [begin, end), with labels; `room` labels have place."""
    span = end - begin
    step = next((s for s in _STEPS if room * (s / span) >= 1), _STEPS[-1])
    tick = _first_tick(begin.astimezone(zone), step)
    while (at := tick.replace(tzinfo=zone)) < end:
        is_day = step >= timedelta(days=1) or (tick.hour, tick.minute) == (0, 0)
        yield at, f"{tick:%m-%d}" if is_day else f"{tick:%H:%M}"
        tick += step


def _axis(begin: datetime, end: datetime, width: int, zone: ZoneInfo) -> str:
    line = ""
    for at, text in ticks(begin, end, zone, width / _TICK):
        column, label = int((at - begin) / (end - begin) * width), f"|{text}"
        if column >= len(line) and column + len(label) <= width:
            line = line.ljust(column) + label
    return line


def _first_tick(begin: datetime, step: timedelta) -> datetime:
    """The first wall-clock time from `begin` on that is whole steps away from midnight."""
    wall = begin.replace(tzinfo=None)
    midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + -((midnight - wall) // step) * step
