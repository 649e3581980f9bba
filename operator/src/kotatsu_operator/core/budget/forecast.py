"""The forecast: the cost of a pool at the end of its period, by the current schedule.

The amount spent, and for the rest of the period: the windows, each with its lead and drain; a Warm
override until its end; and the current pods until they are idle. Without the limit and future
requests: the forecast is what the schedule asks for.
"""

import heapq
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from kotatsu_operator.core.budget.ledger import Ledger, money
from kotatsu_operator.core.calendar.schedule import Window, spans
from kotatsu_operator.core.plan.activity import idle_at, in_force, override_end
from kotatsu_operator.core.pool.memory import Memory
from kotatsu_operator.core.pool.spec import OverrideMode, PoolSpec

_NOTHING = timedelta()


def forecast(
    spec: PoolSpec, memory: Memory, ledger: Ledger, pod_hour: Decimal, now: datetime
) -> Decimal | None:
    """The cost of the whole period at the price `pod_hour`; None for a ledger without a period."""
    end = ledger.period_end
    if end is None:
        return None
    if spec.suspend:
        return ledger.accrued + money(ledger.rate, end - now)
    levels = _levels(spec, memory.lead, now, end)
    override = in_force(spec.override, memory, now)
    until = now if override is None else min(override_end(override, memory), end)
    asleep = override is not None and override.mode is OverrideMode.ASLEEP
    asked = 0 if override is None or asleep else spec.asked_by(override)
    stay = min(max(_idle(spec, memory, now), now), end)
    time = _NOTHING
    marks = sorted({now, until, stay, end})
    for begin, stop in pairwise(marks):
        least = max(asked if begin < until else 0, len(ledger.pods) if begin < stay else 0)
        if asleep and begin < until:
            time += least * (stop - begin)
        else:
            time += levels.pod_time(begin, stop, least)
    return ledger.accrued + money(pod_hour, time)


def _idle(spec: PoolSpec, memory: Memory, now: datetime) -> datetime:
    """When the current pods would be gone if only requests kept the pool awake."""
    if memory.phase.is_asleep:
        return now
    return idle_at(spec, memory, now) + spec.drain.route_settle


class Levels:
    """Replicas over time as a step function: `steps` are (from, replicas), the last at the end."""

    def __init__(self, steps: list[tuple[datetime, float]]) -> None:
        self._steps = steps
        self._at = [at for at, _ in steps]
        self._sums = [_NOTHING]
        for (at, level), (then, _) in pairwise(steps):
            self._sums.append(self._sums[-1] + level * (then - at))

    @property
    def begin(self) -> datetime:
        return self._at[0]

    def pod_time(self, begin: datetime, end: datetime, least: int = 0) -> timedelta:
        """The pod time between two instants, with at least `least` pods at each moment."""
        if not least:
            return self._until(end) - self._until(begin)
        total, index = _NOTHING, bisect_right(self._at, begin) - 1
        while begin < end:
            later = self._at[index + 1] if index + 1 < len(self._at) else end
            stop = min(later, end)
            total += max(self._steps[index][1], least) * (stop - begin)
            begin, index = stop, index + 1
        return total

    def _until(self, at: datetime) -> timedelta:
        index = bisect_right(self._at, at) - 1
        known, level = self._steps[index]
        return self._sums[index] + level * (at - known)


@lru_cache(maxsize=16384)
def _shelf(
    _windows: tuple[Window, ...], _zone: ZoneInfo, _around: tuple[timedelta, timedelta], _most: int
) -> dict[datetime, Levels]:
    """A one-entry cache for the current period, so that a month of cron is walked once."""
    return {}


def _levels(spec: PoolSpec, lead: timedelta, now: datetime, end: datetime) -> Levels:
    tail, most = spec.drain.route_settle, spec.scaling.max_replicas
    shelf = _shelf(spec.windows, spec.zone, (lead, tail), most)
    known = shelf.get(end)
    if known is None or known.begin > now:
        shelf.clear()
        shelf[end] = known = _laid_out(spec, lead, now, end)
    return known


_MOST_SPANS = 2000
"""The spans to compute for a period; the rest of the period is assumed to be the same on
average."""


def _laid_out(spec: PoolSpec, lead: timedelta, now: datetime, end: datetime) -> Levels:
    tail, most = spec.drain.route_settle, spec.scaling.max_replicas

    def warm(window: Window) -> Iterator[_Span]:
        replicas = min(window.replicas, most)
        for begin, stop in spans(window, spec.zone, now - tail, end + lead, lead + tail):
            yield begin - lead, stop + tail, replicas

    every = heapq.merge(*map(warm, spec.windows))
    found = list(islice(every, _MOST_SPANS + 1))
    until = min(found.pop()[0], end) if len(found) > _MOST_SPANS else end
    steps = _staircase(found, now, until)
    if until < end:
        average = Levels(steps).pod_time(now, until) / (until - now)
        steps = [*steps[:-1], (until, average), (end, 0)]
    return Levels(steps)


_Span = tuple[datetime, datetime, int]
"""From, to, and the replicas between them."""


def _staircase(warm: list[_Span], begin: datetime, end: datetime) -> list[tuple[datetime, float]]:
    warm = sorted((max(a, begin), min(b, end), n) for a, b, n in warm if a < end and b > begin)
    steps: list[tuple[datetime, float]] = [(begin, 0)]
    coming = deque(warm)
    running: list[tuple[int, datetime]] = []
    for at in sorted({a for a, _, _ in warm} | {b for _, b, _ in warm}):
        while coming and coming[0][0] <= at:
            _, last, replicas = coming.popleft()
            heapq.heappush(running, (-replicas, last))
        while running and running[0][1] <= at:
            heapq.heappop(running)
        level = -running[0][0] if running else 0
        if at == steps[-1][0]:
            steps[-1] = (at, level)
        elif level != steps[-1][1]:
            steps.append((at, level))
    return steps if steps[-1][0] == end else [*steps, (end, 0)]
