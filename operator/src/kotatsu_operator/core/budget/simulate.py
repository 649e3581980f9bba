"""A pool through the time ahead, if no request comes: its pods, and what asks for them.

The forecast of a budget, the plugin's plan and the windows of its proposals are sums over this.
`asks` says what the windows ask for, with the lead of each opening (`Leads`), and without
those that a spent budget keeps shut. `Simulation.run` follows the pods through that as
`core.decide` does: an override goes before windows, warm pods are parked when no window asks for
warm ones, and a parked pool sleeps when parkedFor is over. The few seconds of a drain are left out,
and so is the limit of a budget that is not spent yet.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import chain
from typing import NamedTuple

from kotatsu_operator.core.budget.limit import EVERYTHING, Allowed
from kotatsu_operator.core.budget.podtime import Stretch
from kotatsu_operator.core.calendar.schedule import Occurrence, openings
from kotatsu_operator.core.plan.activity import idle_at, in_force, override_end, parked_until
from kotatsu_operator.core.plan.lead import LONGEST, LONGEST_AHEAD, Leads, usual_start
from kotatsu_operator.core.plan.plan import floor_of
from kotatsu_operator.core.pool.memory import Memory, Phase, Reason
from kotatsu_operator.core.pool.spec import Parked, PoolSpec


class Ask(NamedTuple):
    """What the windows ask for from a time on."""

    at: datetime
    replicas: int = 0
    """The most pods of any window that is open, or that pods start for."""
    warm: bool = False
    """Whether one of these windows needs warm pods."""
    lead: timedelta = timedelta()
    """How long before an opening its pods start now."""
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
    """What the windows ask for in [begin, end): at its begin, and whenever an opening changes."""
    at, shut_until = begin, begin if allowed.begins else allowed.until or end
    leads, early = Leads(spec, memory), timedelta()
    # An opening with more pods may count for the lead of others when it is LONGEST away.
    is_mixed = spec.lead is None and len({w.replicas for w in spec.windows}) > 1
    sight = LONGEST if is_mixed else timedelta()
    reach = LONGEST_AHEAD + (LONGEST if spec.lead is None else spec.lead)
    never = end + reach + LONGEST
    none = Occurrence(never, never, "", 0)
    coming = chain(map(spec.raised, openings(spec.windows, spec.zone, begin, end + reach)), [none])
    known = [next(coming)]
    opened = begun = seen = 0  # so many of them are open, have pods, may count
    shut: list[Occurrence] = []  # open ones that have no pods
    by_end, by_size, warm_until = [(never, none)], [(0, begin - never, none)], begin
    while at < end:
        while known[-1].start <= at + reach:
            known.append(next(coming))
        before = opened, seen
        while known[opened].start <= at:
            opened += 1
        while known[seen].start - sight <= at:
            seen += 1
        if at == begin or before != (opened, seen) or leads.kept_ahead:
            early = leads.early(known[opened : max(seen, opened + 1)], at)
        is_shut, opening = at < shut_until, known[before[0] : opened]
        new: list[Occurrence] = []
        if opening or shut:
            shut += known[max(before[0], begun) : opened]
            new = [o for o in shut if o.end > at and (allowed.opens(o) or not is_shut)]
            shut = [o for o in shut if is_shut and not allowed.opens(o)]
            begun = max(begun, opened)
        while not is_shut and known[begun].start - early <= at:
            new.append(known[begun])
            begun += 1
        for o in new:
            heappush(by_end, (o.end, o))
            heappush(by_size, (-o.replicas, begin - o.end, o))
            warm_until = warm_until if o.parked else max(warm_until, o.end)
        happened: list[tuple[Occurrence, str]] = []
        if at > begin:
            happened += [(o, "prewarm") for o in new if o.start >= at]
            happened += [(o, "open") for o in opening if o not in shut]
            happened += [(o, "open") for o in new if o.start < at]
        while by_end[0][0] <= at:
            happened.append((heappop(by_end)[1], "close"))
        while by_size[0][-1].end <= at:
            heappop(by_size)
        if happened or at in (begin, shut_until):
            o = by_size[0][-1]
            replicas = min(o.replicas, spec.max_replicas)
            yield Ask(at, replicas, at < warm_until, leads.lead, o.window, happened)
        following = shut_until if is_shut else known[begun].start - early
        at = min(known[opened].start, known[seen].start - sight, following, by_end[0][0])


class Mode(NamedTuple):
    """The pods that a pool has when a time begins."""

    replicas: int = 0
    is_parked: bool = False
    until: datetime | None = None
    """When warm pods have started or are idle, or parked ones go, unless a window needs them; None:
    as soon as none does."""


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


class Span(NamedTuple):
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
    ) -> Iterator[Span]:
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
            is_spent = is_shut and allowed.sleeps
            floor, reason = floor_of(spec, override, ask.replicas, spent=is_spent)
            if reason is not Reason.WINDOW:
                window, mode = (
                    ask.window if floor == ask.replicas else "",
                    mode if floor else ASLEEP,
                )
                ask = ask._replace(replicas=floor, warm=True, window=window)
            elif is_shut and not floor:
                parking = None
            there, after = self._followed(ask, begin, stop, mode, parking)
            yield Span(there, ask, mode)
            begin, mode = there.end, after

    def _followed(
        self, ask: Ask, begin: datetime, end: datetime, mode: Mode, parking: Parked | None
    ) -> tuple[Stretch, Mode]:
        """The pods from a time on in which the same is asked for, and the mode after that.

        They may be others before its end.
        """
        replicas, is_warm = ask.replicas, ask.warm and ask.replicas > 0
        busy_until = begin if mode.is_parked or mode.until is None else mode.until
        if parking is not None and not is_warm and replicas > mode.replicas:  # they start first
            warm_ups, template = self.memory.warm_ups, self.memory.template.hash
            busy_until = max(busy_until, begin + usual_start(warm_ups, template, ask.lead))
            mode = Mode(replicas, until=busy_until)
        if busy_until > begin:
            there = Stretch(begin, min(end, busy_until), max(replicas, mode.replicas))
            return there, mode if busy_until > end else Mode(mode.replicas)
        if parking is None or is_warm:
            return Stretch(begin, end, replicas), ASLEEP if parking is None else Mode(replicas)
        until = mode.until if mode.is_parked else begin + parking.lasting
        if replicas:
            stays = until if until is not None and until > end else None
            return Stretch(begin, end, replicas, is_parked=True), Mode(replicas, True, stays)
        if not mode.replicas or until is None or until <= begin:
            return Stretch(begin, end), ASLEEP
        after = Mode(1, is_parked=True, until=until) if until > end else ASLEEP
        return Stretch(begin, min(until, end), 1, is_parked=True), after
