"""The forecast: the cost of a pool at the end of its period, by the current schedule.

The amount spent, and for the rest of the period: the windows, each with its lead and drain; a Warm
override until its end; the current pods until they are idle; and pods that stay parked after each
of these. Without the limit and future requests: the forecast is what the schedule asks for.

`follow` is one step of a pool without requests, as `core.decide` decides it: warm pods are parked
when no window asks for warm ones, and a parked pool sleeps when parkedFor is over. The plugin's
plan goes the same steps. `laid_out` turns windows into what they ask for at each time, and
`Levels.walk` follows a pool through that.
"""

import heapq
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice, pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from kotatsu_operator.core.budget.ledger import Ledger, money
from kotatsu_operator.core.calendar.schedule import Window, spans
from kotatsu_operator.core.plan.activity import idle_at, in_force, override_end, parked_until
from kotatsu_operator.core.plan.kept import Kept
from kotatsu_operator.core.plan.lead import usual_start
from kotatsu_operator.core.pool.memory import Memory, Phase, Reason
from kotatsu_operator.core.pool.spec import OverrideMode, Parked, PoolSpec

_NOTHING = timedelta()


@dataclass(frozen=True, slots=True)
class PodTime:
    """Pods times their time, by what they request."""

    warm: timedelta = _NOTHING
    parked: timedelta = _NOTHING

    def __add__(self, other: "PodTime") -> "PodTime":
        return PodTime(self.warm + other.warm, self.parked + other.parked)

    def __sub__(self, other: "PodTime") -> "PodTime":
        return PodTime(self.warm - other.warm, self.parked - other.parked)


class Stretch(NamedTuple):
    """A time with the same number of pods."""

    begin: datetime
    end: datetime
    replicas: int = 0
    is_parked: bool = False

    @property
    def time(self) -> PodTime:
        """Pods times their time."""
        time = self.replicas * (self.end - self.begin)
        return PodTime(parked=time) if self.is_parked else PodTime(time)


class Mode(NamedTuple):
    """The pods that a pool has when a time begins."""

    replicas: int = 0
    is_parked: bool = False
    until: datetime | None = None
    """When a parked pool sleeps unless a window needs it; None: as soon as none does."""


ASLEEP = Mode()


class Ask(NamedTuple):
    """What the windows ask for from a time on."""

    at: datetime
    replicas: int = 0
    """The most pods of any window that is open, or that pods start for."""
    warm: bool = True
    """Whether one of these windows needs warm pods."""
    started: int = 0
    """The most pods of a window with mode Parked that have started, mostly before it opens."""
    average: tuple[float, float] | None = None
    """Warm and parked pods in a time of which only the average is known."""


class Levels:
    """The pods over time. `parking` is None for a pool whose pods are never parked."""

    def __init__(self, asks: Sequence[Ask], end: datetime, parking: Parked | None) -> None:
        self._asks, self._end, self._parking = asks, end, parking
        self._at = [ask.at for ask in asks]
        # A pool that was asleep at the beginning: its mode at each step, and its pod time so far.
        self._modes, self._sums = [ASLEEP], [PodTime()]
        for ask, stop in zip(asks, [*self._at[1:], end], strict=True):
            spent, mode = self._step(ask, ask.at, stop, self._modes[-1])
            self._modes.append(mode)
            self._sums.append(self._sums[-1] + spent)

    @property
    def steps(self) -> int:
        return len(self._asks)

    @property
    def begin(self) -> datetime:
        return self._at[0]

    @property
    def total(self) -> PodTime:
        """The pod time of a pool that is asleep at the beginning."""
        return self._sums[-1]

    def walk(
        self, begin: datetime, end: datetime, mode: Mode = ASLEEP, least: int = 0
    ) -> tuple[PodTime, Mode]:
        """The pod time between two instants from a mode on, with at least `least` warm pods."""
        total, index = PodTime(), bisect_right(self._at, begin) - 1
        while begin < end:
            is_known = (begin, mode, end) == (self._at[index], self._modes[index], self._end)
            if is_known and not least:
                return total + (self._sums[-1] - self._sums[index]), self._modes[-1]
            later = self._at[index + 1] if index + 1 < len(self._at) else self._end
            stop = min(later, end)
            spent, mode = self._step(self._asks[index], begin, stop, mode, least)
            total, begin, index = total + spent, stop, index + 1
        return total, mode

    def _step(
        self, ask: Ask, begin: datetime, end: datetime, mode: Mode, least: int = 0
    ) -> tuple[PodTime, Mode]:
        if ask.average is not None:
            warm, parked = ask.average
            if least:
                warm, parked = max(warm + parked, least), 0
            return PodTime(warm * (end - begin), parked * (end - begin)), ASLEEP
        if least:
            ask = Ask(ask.at, max(ask.replicas, least))
        there, mode = follow(ask, begin, end, mode, self._parking)
        return there.time, mode


def follow(
    ask: Ask, begin: datetime, end: datetime, mode: Mode, parking: Parked | None
) -> tuple[Stretch, Mode]:
    """The pods of a time in which the windows ask for the same, and the mode at its end.

    They may be gone before its end. `parking` is None for a pool whose pods are never parked.
    """
    replicas = ask.replicas
    if parking is None:
        return Stretch(begin, end, replicas), ASLEEP
    if replicas and ask.warm:
        return Stretch(begin, end, replicas), Mode(replicas)
    if max(mode.replicas, ask.started) < replicas:
        return Stretch(begin, end, replicas), ASLEEP  # they start
    is_new = not mode.is_parked or mode.replicas < replicas
    until = begin + parking.lasting if is_new else mode.until
    if not replicas:
        replicas = min(mode.replicas, 1)
        if not replicas or until is None or until <= begin:
            return Stretch(begin, begin), ASLEEP
        if until <= end:
            return Stretch(begin, until, replicas, is_parked=True), ASLEEP
    elif until is not None and until <= end:
        until = None
    return Stretch(begin, end, replicas, is_parked=True), Mode(
        replicas, is_parked=True, until=until
    )


MOST_SPANS = 2000
"""The spans to compute for a period; the rest of the period is assumed to be the same on
average."""


def laid_out(
    spec: PoolSpec,
    parking: Parked | None,
    lead: timedelta,
    starts: timedelta,
    now: datetime,
    end: datetime,
) -> Levels:
    """The levels of a schedule from `now` to `end`, with the lead and the drain of each window.

    `starts` is the part of the lead after which pods to be parked are Ready, and parked.
    """
    tail, most = spec.platform.route_settle, spec.max_replicas

    def spans_of(window: Window) -> Iterator[_Span]:
        replicas = min(window.replicas, most)
        is_parked = window.parked and parking is not None
        apart = lead + tail  # the pods of one opening stay for the next
        for begin, stop in spans(window, spec.zone, now - apart, end + lead, apart):
            ready = begin - lead + starts if is_parked else None
            yield _Span(begin - lead, stop + tail, replicas, ready)

    every = heapq.merge(*map(spans_of, spec.windows), key=lambda span: span.begin)
    found = list(islice(every, MOST_SPANS + 1))
    until = min(found.pop().begin, end) if len(found) > MOST_SPANS else end
    asks = _asks(found, now, until)
    if until < end:
        known, lasting = Levels(asks, until, parking).total, until - now
        average = known.warm / lasting, known.parked / lasting
        asks = [*asks, Ask(until, average=average)]
    return Levels(asks, end, parking)


class _Span(NamedTuple):
    begin: datetime
    end: datetime
    replicas: int
    ready: datetime | None = None
    """When the pods of a window with mode Parked have started; None for one of warm pods."""


def _asks(found: Sequence[_Span], begin: datetime, end: datetime) -> list[Ask]:
    """What these spans ask for in [begin, end)."""
    every = _staircase(((s.begin, s.end, s.replicas) for s in found), begin, end)
    parked = [(s.ready, s.end, s.replicas) for s in found if s.ready is not None]
    if not parked:
        return [Ask(at, replicas) for at, replicas in every]
    warm = _staircase(((s.begin, s.end, 1) for s in found if s.ready is None), begin, end)
    started = _staircase(parked, begin, end)
    return [
        Ask(at, _level(every, at), bool(_level(warm, at)), _level(started, at))
        for at in sorted({at for stairs in (every, warm, started) for at, _ in stairs})
    ]


_Stairs = list[tuple[datetime, int]]
"""From, and the level from then on."""


def _level(stairs: _Stairs, at: datetime) -> int:
    return stairs[bisect_right(stairs, at, key=lambda step: step[0]) - 1][1]


def _staircase(
    spans: Iterable[tuple[datetime, datetime, int]], begin: datetime, end: datetime
) -> _Stairs:
    """The highest of the spans at each time in [begin, end)."""
    coming = deque(
        sorted((max(a, begin), min(b, end), n) for a, b, n in spans if a < end and b > begin)
    )
    steps: _Stairs = [(begin, 0)]
    running: list[tuple[int, datetime]] = []
    for at in sorted({a for a, _, _ in coming} | {b for _, b, _ in coming if b < end}):
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
    return steps


# --- the cost of a period ---


class PodPrice(NamedTuple):
    """The price of one hour of a pod."""

    warm: Decimal
    parked: Decimal | None = None
    """None if the pods are never parked: the pool sleeps when it is idle, and its windows with
    mode Parked are warm."""

    def of(self, time: PodTime) -> Decimal:
        """The price of some pod time."""
        cost = money(self.warm, time.warm)
        return cost if self.parked is None else cost + money(self.parked, time.parked)


def pod_price(ledger: Ledger, full: Decimal, parked: Decimal | None, reduced: int) -> PodPrice:
    """The prices of a pod, from those of the target's template and the rate of the current pods.

    Pods may request more than their template, by an injected sidecar: that is never reduced.
    `reduced` is how many of the pods are.
    """
    pods, more = len(ledger.pods), Decimal(0)
    if pods:
        saved = Decimal(0) if parked is None else min(reduced, pods) * (full - parked)
        more = (ledger.rate + saved) / pods - full
    return PodPrice(full + more, None if parked is None else max(parked + more, Decimal(0)))


def forecast(
    spec: PoolSpec, memory: Memory, ledger: Ledger, price: PodPrice, now: datetime
) -> Decimal | None:
    """The cost of the whole period; None for a ledger without a period."""
    end = ledger.period_end
    if end is None:
        return None
    if spec.suspend:
        return ledger.accrued + money(ledger.rate, end - now)
    parking = None if price.parked is None else spec.parked
    starts = usual_start(memory.warm_ups, memory.template.hash, memory.lead)
    levels = _levels(spec, parking, memory.lead, starts, now, end)
    override = in_force(spec.override, memory, now)
    until = now if override is None else min(override_end(override, memory), end)
    asleep = override is not None and override.mode is OverrideMode.ASLEEP
    asked = 0 if override is None or asleep else spec.asked_by(override)
    pods, mode = len(ledger.pods), ASLEEP
    stay = min(max(_idle(spec, memory, now), now), end)
    if parking is not None:
        mode = _mode(memory, pods, parked_until(spec, memory) or stay)
        is_for_window = memory.phase is Phase.WARMING and memory.reason is Reason.WINDOW
        if mode.is_parked or is_for_window:
            stay = now  # the pods are those of the mode, or of the window
    total = PodTime()
    marks = sorted({now, until, stay, end})
    for begin, stop in pairwise(marks):
        least = max(asked if begin < until else 0, pods if begin < stay else 0)
        if asleep and begin < until:
            spent, mode = PodTime(least * (stop - begin)), ASLEEP
        else:
            spent, mode = levels.walk(begin, stop, mode, least)
        total += spent
    return ledger.accrued + price.of(total)


def _mode(memory: Memory, pods: int, until: datetime) -> Mode:
    """The parked pods that there are now; without any, a pool begins asleep."""
    if memory.reduced and memory.phase in (Phase.PARKED, Phase.DRAINING):
        return Mode(pods, is_parked=True, until=until)
    return ASLEEP


def _idle(spec: PoolSpec, memory: Memory, now: datetime) -> datetime:
    """When the current pods would be gone if only requests kept the pool awake."""
    if memory.phase.is_asleep:
        return now
    return idle_at(spec, memory, now) + spec.platform.route_settle


_Schedule = tuple[
    tuple[Window, ...], ZoneInfo, timedelta, timedelta, timedelta, int, timedelta | None
]

_known: Kept[_Schedule, tuple[datetime, Levels]] = Kept(
    100_000, lambda _, known: 1 + known[1].steps
)
"""The levels of the current period by schedule, so that a month of cron is walked once: at most
about 40 MiB."""


def _levels(
    spec: PoolSpec,
    parking: Parked | None,
    lead: timedelta,
    starts: timedelta,
    now: datetime,
    end: datetime,
) -> Levels:
    tail, most = spec.platform.route_settle, spec.max_replicas
    staying = None if parking is None else parking.lasting
    if not any(window.parked for window in spec.windows):
        starts = lead  # it makes no difference
    schedule = (spec.windows, spec.zone, lead, starts, tail, most, staying)
    until, levels = _known.get(schedule) or (None, None)
    if levels is None or until != end or levels.begin > now:
        levels = laid_out(spec, parking, lead, starts, now, end)
        _known.put(schedule, (end, levels))
    return levels
