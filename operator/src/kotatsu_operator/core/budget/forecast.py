"""The forecast: the cost of a pool at the end of its period, by the current schedule.

The amount spent, and for the rest of the period: the windows, each with its lead and drain; a Warm
override until its end; the current pods until they are idle; and pods that stay parked after each
of these. Without the limit and future requests: the forecast is what the schedule asks for.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from kotatsu_operator.core.budget.ledger import Ledger, money
from kotatsu_operator.core.budget.levels import ASLEEP, Levels, Mode, PodTime, laid_out
from kotatsu_operator.core.calendar.schedule import Window
from kotatsu_operator.core.plan.activity import idle_at, in_force, override_end, parked_until
from kotatsu_operator.core.plan.kept import Kept
from kotatsu_operator.core.pool.memory import Memory, Phase, Reason
from kotatsu_operator.core.pool.spec import OverrideMode, Parked, PoolSpec


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
    levels = _levels(spec, parking, memory.lead, now, end)
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
    tuple[Window, ...], ZoneInfo, timedelta, timedelta, int, tuple[int, timedelta] | None
]

_known: Kept[_Schedule, tuple[datetime, Levels]] = Kept(
    100_000, lambda _, known: 1 + known[1].steps
)
"""The levels of the current period by schedule, so that a month of cron is walked once: at most
about 40 MiB."""


def _levels(
    spec: PoolSpec, parking: Parked | None, lead: timedelta, now: datetime, end: datetime
) -> Levels:
    tail, most = spec.platform.route_settle, spec.max_replicas
    staying = None if parking is None else (parking.replicas, parking.lasting)
    schedule = (spec.windows, spec.zone, lead, tail, most, staying)
    until, levels = _known.get(schedule) or (None, None)
    if levels is None or until != end or levels.begin > now:
        levels = laid_out(spec, parking, lead, now, end)
        _known.put(schedule, (end, levels))
    return levels
