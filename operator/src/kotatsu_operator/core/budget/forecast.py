"""The forecast: the cost of a pool at the end of its period, by the current schedule.

The amount spent, and for the rest of the period what `Simulation` says: the windows that open, each
with its lead; an override until its end; the current pods until they are idle; and pods that stay
parked after each of these. A suspended pool stays as it is.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from kotatsu_operator.core.budget.ledger import Ledger, money
from kotatsu_operator.core.budget.limit import allowed
from kotatsu_operator.core.budget.podtime import PodPrice, PodTime
from kotatsu_operator.core.budget.simulate import Ask, Mode, Simulation, asks, mode_of
from kotatsu_operator.core.plan.activity import in_force
from kotatsu_operator.core.plan.kept import Kept
from kotatsu_operator.core.pool.memory import Memory
from kotatsu_operator.core.pool.spec import PoolSpec

MOST_CHANGES = 3000
"""The changes of openings to simulate, of which each opening has three. The rest of the period is
assumed to be the same on average."""


def forecast(
    spec: PoolSpec, memory: Memory, ledger: Ledger, price: PodPrice, now: datetime
) -> Decimal | None:
    """The cost of the whole period; None for a ledger without one, or whose period is over."""
    end = ledger.period_end
    if end is None or now >= end:
        return None
    if spec.suspend:
        return ledger.accrued + money(ledger.rate, end - now)
    parking = None if price.parked is None else spec.parked
    simulation = Simulation(spec, memory, parking, allowed(ledger, spec.budget, now))
    known, total = _known_ahead(simulation, now, end), PodTime()
    mode = mode_of(spec, memory, len(ledger.pods), now)
    for step in simulation.run(known.asked, now, known.until, mode):
        is_free = in_force(spec.override, memory, step.stretch.begin) is None
        rest = known.rest.get((step.stretch.begin, step.mode)) if is_free else None
        if rest is not None:
            total += rest
            break
        total += step.stretch.time
    return ledger.accrued + price.of(total + known.later)


class _Ahead(NamedTuple):
    """The time ahead of a pool that sleeps at its begin and has no override."""

    asked: Sequence[Ask]
    until: datetime
    """Until when it is simulated."""
    rest: Mapping[tuple[datetime, Mode], PodTime]
    """The pod time up to then, from each step on."""
    later: PodTime
    """That from then to the end of the period, if it is the same on average."""


_known: Kept[Hashable, _Ahead] = Kept(100_000, lambda _, known: 1 + len(known.asked))
"""The current period by what decides about it, so that a month of cron is simulated once: at most
about 60 MiB."""


def _known_ahead(simulation: Simulation, now: datetime, end: datetime) -> _Ahead:
    spec, memory, allowed = simulation.spec, simulation.memory, simulation.allowed
    lasting = None if simulation.parking is None else simulation.parking.lasting
    budget = None if allowed.begins else (allowed.policy, allowed.exhausted_at)
    leads = memory.lead, memory.ahead, memory.warm_ups, memory.template.hash, memory.first_start
    given = spec.windows, spec.zone, spec.lead, bool(spec.depends_on)
    bounds = spec.least, spec.max_replicas
    key = (*given, *bounds, spec.platform.route_settle, lasting, budget, leads, end)
    known = _known.get(key)
    if known is None or not known.asked[0].at <= now < known.until:
        known = _simulated(simulation, now, end)
        _known.put(key, known)
    return known


def _simulated(simulation: Simulation, now: datetime, end: datetime) -> _Ahead:
    spec, memory, until = simulation.spec, simulation.memory, end
    asked = list[Ask]()
    for number, ask in enumerate(asks(spec, memory, now, end, simulation.allowed)):
        if number == MOST_CHANGES:
            until = ask.at
            break
        if not asked or ask[1:4] != asked[-1][1:4]:
            asked.append(Ask(*ask[:4]))
    free = replace(simulation, spec=replace(spec, override=None))
    rest, total = dict[tuple[datetime, Mode], PodTime](), PodTime()
    for step in reversed(list(free.run(asked, now, until))):
        total += step.stretch.time
        rest[step.stretch.begin, step.mode] = total
    return _Ahead(asked, until, rest, total * ((end - until) / (until - now)))
