"""A pool through the time ahead, if no request comes: its pods, and what asks for them.

The forecast of a budget, the plugin's plan and the windows of its proposals are sums over this.
`Simulation.asks` is what the windows ask for, with the lead of each opening (`Leads`), and without
those that a spent budget keeps shut. `Simulation.run` follows the pods through that as
`core.decide` does: an override goes before windows, warm pods are parked when no window asks for
warm ones, and a parked pool sleeps when parkedFor is over. The few seconds of a drain are left out,
and so is the limit of a budget that is not spent yet.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple
from zoneinfo import ZoneInfo

from kotatsu_operator.core.budget.limit import EVERYTHING, Allowed
from kotatsu_operator.core.budget.podtime import Stretch
from kotatsu_operator.core.calendar.schedule import (
    Occurrence,
    Window,
    occurrences,
    openings_a_day,
)
from kotatsu_operator.core.plan.activity import idle_at, in_force, override_end, parked_until
from kotatsu_operator.core.plan.lead import LONGEST, LONGEST_AHEAD, Leads, usual_start
from kotatsu_operator.core.pool.memory import Memory, Phase, Reason
from kotatsu_operator.core.pool.spec import OverrideMode, Parked, PoolSpec

_AT_ONCE = 1000
"""The openings of schedules to compute at once, more or less."""

_EPOCH = datetime.fromtimestamp(0, UTC)


class Ask(NamedTuple):
    """What the windows ask for from a time on."""

    at: datetime
    replicas: int = 0
    """The most pods of any window that is open, or that pods start for."""
    warm: bool = False
    """Whether one of these windows needs warm pods."""
    started: int = 0
    """The most pods of a window with mode Parked that have started, mostly before it opens."""
    window: str = ""
    """The window with the most pods; of several, the one that closes last."""
    happened: Sequence[tuple[Occurrence, str]] = ()
    """The openings that change at this time, and how: prewarm, open or close."""


def asks(
    spec: PoolSpec,
    memory: Memory,
    begin: datetime,
    end: datetime,
    allowed: Allowed = EVERYTHING,
) -> Iterator[Ask]:
    """What the windows ask for in [begin, end): at its begin, and whenever one changes."""
    at, shut_until = begin, begin if allowed.begins else allowed.until or end
    starts = partial(usual_start, memory.warm_ups, memory.template.hash)
    leads, early, there = Leads(spec, memory), timedelta(), _Begun()
    # An opening with more pods may count for the lead of others when it is LONGEST away.
    is_mixed = spec.lead is None and len({w.replicas for w in spec.windows}) > 1
    sight = LONGEST if is_mixed else timedelta()
    reach = LONGEST_AHEAD + (LONGEST if spec.lead is None else spec.lead)
    openings = _openings(spec.windows, spec.zone, begin, end + reach)
    known = [next(openings)]
    opened = begun = seen = 0  # so many of them are open, have pods, may count
    shut: list[Occurrence] = []  # open ones that have no pods
    while at < end:
        while known[-1].start <= at + reach:
            known.append(next(openings))
        before = opened, seen
        while known[opened].start <= at:
            opened += 1
        while known[seen].start - sight <= at:
            seen += 1
        if at == begin or before != (opened, seen) or leads.kept_ahead:
            early = leads.early(known[opened : max(seen, opened + 1)], at)
        is_shut, opening = at < shut_until, known[before[0] : opened]
        shut += known[max(before[0], begun) : opened]
        begun = max(begun, opened)
        new = [o for o in shut if o.end > at and (allowed.opens(o) or not is_shut)]
        shut = [o for o in shut if is_shut and not allowed.opens(o)]
        while not is_shut and known[begun].start - early <= at:
            new.append(known[begun])
            begun += 1
        for o in new:
            began = at if at > begin else o.start - early
            there.add(o, began + starts(leads.lead) if o.parked else None)
        happened: list[tuple[Occurrence, str]] = []
        if at > begin:
            happened += [(o, "prewarm") for o in new if o.start >= at]
            happened += [(o, "open") for o in opening if o not in shut]
            happened += [(o, "open") for o in new if o.start < at]
            happened += [(o, "close") for o in there.closed(at)]
        yield there.ask(at, spec.max_replicas, happened)
        following = shut_until if is_shut else known[begun].start - early
        changes = known[opened].start, known[seen].start - sight, following
        at = min(*changes, *there.changes())


class Mode(NamedTuple):
    """The pods that a pool has when a time begins."""

    replicas: int = 0
    is_parked: bool = False
    until: datetime | None = None
    """When warm pods are idle, or parked ones go, unless a window needs them; None: as soon as
    none does."""


ASLEEP = Mode()


def mode_of(spec: PoolSpec, memory: Memory, pods: int, now: datetime) -> Mode:
    """The pods of now, and until when they stay without a further request."""
    parked, idle = parked_until(spec, memory), idle_at(spec, memory, now)
    if parked is not None:
        return Mode(pods, is_parked=True, until=parked)
    is_for_window = memory.phase is Phase.WARMING and memory.reason is Reason.WINDOW
    if memory.phase.is_asleep or is_for_window or idle <= now:
        return ASLEEP
    return Mode(pods, until=idle)


class Step(NamedTuple):
    """A stretch of a simulation, and why it is as it is."""

    stretch: Stretch
    ask: Ask
    """What windows and the override ask for."""
    mode: Mode
    """The pods at its beginning."""


@dataclass(frozen=True)
class Simulation:
    """What decides about a pool without requests."""

    spec: PoolSpec
    memory: Memory
    parking: Parked | None
    """None for a pool whose pods are never parked."""
    allowed: Allowed = EVERYTHING
    """What the budget allows until the end of its period. Then everything is allowed."""

    def run(
        self, asked: Sequence[Ask], begin: datetime, end: datetime, mode: Mode = ASLEEP
    ) -> Iterator[Step]:
        """The pods in [begin, end), from those that there are at its begin.

        `asked` are the `asks` since that time, or an earlier one.
        """
        spec, memory, allowed = self.spec, self.memory, self.allowed
        index = bisect_right(asked, begin, key=lambda ask: ask.at) - 1
        while begin < end:
            while index + 1 < len(asked) and asked[index + 1].at <= begin:
                index += 1
            stop = min(asked[index + 1].at, end) if index + 1 < len(asked) else end
            ask, parking = asked[index], self.parking
            is_shut = not allowed.begins and begin < (allowed.until or end)
            override = in_force(spec.override, memory, begin)
            if override is not None:
                stop = min(stop, override_end(override, memory))
            is_asleep = override is not None and override.mode is OverrideMode.ASLEEP
            if is_asleep or (is_shut and allowed.sleeps):
                ask, mode = ask._replace(replicas=0, window=""), ASLEEP
            elif override is not None and (least := spec.asked_by(override)) >= ask.replicas:
                window = ask.window if least == ask.replicas else ""
                ask = ask._replace(replicas=least, warm=True, window=window)
            if is_shut and not ask.replicas:
                parking = None
            there, after = _followed(ask, begin, stop, mode, parking)
            yield Step(there, ask, mode)
            begin, mode = there.end, after


def _followed(
    ask: Ask, begin: datetime, end: datetime, mode: Mode, parking: Parked | None
) -> tuple[Stretch, Mode]:
    """The pods from a time on in which the same is asked for, and the mode after that.

    They may be others before its end. `parking` is None for a pool whose pods are not parked.
    """
    replicas, is_new = ask.replicas, not mode.is_parked or mode.replicas < ask.replicas
    if mode.until is not None and not mode.is_parked:  # not idle yet
        stretch = Stretch(begin, min(end, mode.until), max(replicas, mode.replicas))
        return stretch, Mode(mode.replicas) if mode.until <= end else mode
    if parking is None:
        return Stretch(begin, end, replicas), ASLEEP
    if replicas and ask.warm:
        return Stretch(begin, end, replicas), Mode(replicas)
    if max(mode.replicas, ask.started) < replicas:
        return Stretch(begin, end, replicas), ASLEEP  # they start
    until = begin + parking.lasting if is_new else mode.until
    if replicas:
        stays = until if until is not None and until > end else None
        return Stretch(begin, end, replicas, is_parked=True), Mode(replicas, True, stays)
    if not mode.replicas or until is None or until <= begin:
        return Stretch(begin, end), ASLEEP
    after = Mode(1, is_parked=True, until=until) if until > end else ASLEEP
    return Stretch(begin, min(until, end), 1, is_parked=True), after


class _Begun:
    """The openings for which pods have started, and which are not over."""

    def __init__(self) -> None:
        self._number = count()
        self._by_end: list[tuple[datetime, int, Occurrence]] = []
        self._by_size: list[tuple[int, timedelta, int, Occurrence]] = []
        self._warm_until = _EPOCH
        self._starting: list[tuple[datetime, int, Occurrence]] = []
        self._started: list[tuple[int, timedelta, int, Occurrence]] = []

    def add(self, opening: Occurrence, ready: datetime | None) -> None:
        """One more; `ready` is when its pods can be parked, None for one of warm pods."""
        number = next(self._number)
        heappush(self._by_end, (opening.end, number, opening))
        heappush(self._by_size, _sized(opening, number))
        if ready is None:
            self._warm_until = max(self._warm_until, opening.end)
        else:
            heappush(self._starting, (ready, number, opening))

    def closed(self, at: datetime) -> list[Occurrence]:
        """Those that are over now."""
        found = []
        while self._by_end and self._by_end[0][0] <= at:
            found.append(heappop(self._by_end)[-1])
        return found

    def ask(self, at: datetime, most: int, happened: Sequence[tuple[Occurrence, str]]) -> Ask:
        """What all of them ask for, of at most `most` pods."""
        while self._starting and self._starting[0][0] <= at:
            _, number, opening = heappop(self._starting)
            heappush(self._started, _sized(opening, number))
        largest, started = _first(self._by_size, at), _first(self._started, at)
        if largest is None:
            return Ask(at, happened=happened)
        replicas, parked = min(largest.replicas, most), 0 if started is None else started.replicas
        is_warm = self._warm_until > at
        return Ask(at, replicas, is_warm, min(parked, replicas), largest.window, happened)

    def changes(self) -> list[datetime]:
        """When one of them closes next, and when the next pods can be parked."""
        return [heap[0][0] for heap in (self._by_end, self._starting) if heap]


def _sized(opening: Occurrence, number: int) -> tuple[int, timedelta, int, Occurrence]:
    return -opening.replicas, _EPOCH - opening.end, number, opening


def _first(heap: list[tuple[int, timedelta, int, Occurrence]], at: datetime) -> Occurrence | None:
    """The largest opening that is not over."""
    while heap and heap[0][-1].end <= at:
        heappop(heap)
    return heap[0][-1] if heap else None


def _openings(
    windows: Iterable[Window], zone: ZoneInfo, begin: datetime, end: datetime
) -> Iterator[Occurrence]:
    """The openings in [begin, end) by their starts, computed as they are needed.

    The last one is none: it is LONGEST later.
    """
    known = tuple(windows)
    a_day = sum(openings_a_day(w.schedule) for w in known if w.schedule is not None)
    part, after = timedelta(days=max(_AT_ONCE // max(a_day, 1), 1)), begin
    while after < end:
        found = occurrences(known, zone, after, min(after + part, end))
        yield from (o for o in found if after == begin or o.start >= after)
        after += part
    never = end + LONGEST
    yield Occurrence(never, never, "", 0)
