"""Weeks of use of made-up apps, and what they cost when the real decisions are made for them.

Synthetic: the same seed makes the same weeks. An app has a kind, a time zone, and a habit of its
own (hours, rates and lengths are drawn once for each app), and each day is drawn anew from it. So
two halves of the same app are alike, and never the same.
"""

import random
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from kotatsu_operator.core.decide.decide import decide
from kotatsu_operator.core.formats import format_duration
from kotatsu_operator.core.plan.activity import parked_until
from kotatsu_operator.core.pool.decision import Demand, Observation, Parking
from kotatsu_operator.core.pool.memory import Memory, Phase, changed
from kotatsu_operator.core.pool.spec import PoolSpec, mode_field
from kotatsu_operator.core.report.usage import NOTHING, QUIET, Usage, slot_of
from kotatsu_operator.core.suggest import Expected, Settings
from tests.operator.core.values import pool_spec

BEGIN = datetime(2026, 9, 7, tzinfo=UTC)
"""A Monday. Clocks of Berlin and New York go back within the weeks that follow."""

WEEK = timedelta(weeks=1)

ZONES = ("Asia/Tokyo", "Europe/Berlin", "America/New_York", "UTC")

Session = tuple[datetime, datetime]
"""From the beginning of a request, or of several that overlap, to its end."""


@dataclass(frozen=True)
class App:
    """An app, and what it is used for."""

    name: str
    zone: ZoneInfo
    sessions: Sequence[Session]
    """Without overlaps, oldest first."""

    @property
    def spec(self) -> PoolSpec:
        """Its pool, without the settings that are tried."""
        return pool_spec(timeZone=self.zone.key)

    def between(self, begin: datetime, end: datetime) -> list[Session]:
        """The sessions that begin in some time."""
        return [one for one in self.sessions if begin <= one[0] < end]


def app(kind: str, weeks: int, seed: int, zone: str = "") -> App:
    """An app of some kind: office, morning, shop, nightly, demo, weekend, random, always, timer
    (each seven minutes), never, holiday (office with the fifth week off), or one of UNSEEN."""
    draw = random.Random(f"{kind}/{seed}")
    where = ZoneInfo(zone or ZONES[seed % len(ZONES)])
    uniform = draw.uniform
    habit = 7 + uniform(0, 3), 16 + uniform(0, 3), uniform(0.6, 1.6), uniform(2, 10)
    found: list[Session] = []
    for day in range(-1, weeks * 7 + 1):
        midnight = (BEGIN + timedelta(days=day)).astimezone(where).replace(hour=0)
        for hour, minutes in _day(kind, draw, midnight.weekday(), day // 7, habit):
            at = midnight.replace(tzinfo=None) + timedelta(hours=hour)
            begin = at.replace(tzinfo=where).astimezone(UTC)
            found.append((begin, begin + timedelta(minutes=minutes)))
    kept = (one for one in sorted(found) if BEGIN <= one[0] < BEGIN + weeks * WEEK)
    return App(f"{kind}-{seed}", where, _joined(kept))


def _joined(sessions: Iterator[Session]) -> list[Session]:
    found: list[Session] = []
    for begin, end in sessions:
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((begin, end))
    return found


def _visits(draw, first, last, rate, length):
    """Visits at random times of a day: hours since midnight, and minutes."""
    hour = first + draw.expovariate(rate)
    while hour < last:
        yield hour, draw.expovariate(1 / length)
        hour += draw.expovariate(rate)


def _day(kind, draw, weekday, week, habit):
    """The visits of a day, by what kind of app it is and its habit."""
    first, last, rate, length = habit
    is_workday = weekday < 5
    match kind:
        case "holiday" if week == 4:
            pass
        case "office" | "holiday" if is_workday:
            yield from _visits(draw, *habit)
        case "morning" if is_workday:
            yield draw.gauss(first, 0.25), 2 * length
            yield from _visits(draw, first, last, rate / 8, length)
        case "shop":
            yield from _visits(draw, first, last + 4, 2 * rate, length)
        case "nightly":
            yield first - 5 + draw.uniform(0, 0.1), 3 * length
        case "demo" if weekday == 3:
            yield from _visits(draw, last - 3, last, 3 * rate, length)
        case "weekend" if not is_workday:
            yield from _visits(draw, *habit)
        case "random":
            yield from _visits(draw, 0, 24, rate / 8, length)
        case "always":
            yield from _visits(draw, 0, 24, 30, 10)
        case "poll" if is_workday:  # each three minutes of working hours
            yield from ((first + minute / 60, 0.1) for minute in range(0, 8 * 60, 3))
        case "ended" | "begun" if is_workday and (week < 6) == (kind == "ended"):
            yield from _visits(draw, *habit)
        case "fortnight" if is_workday and week % 2:
            yield from _visits(draw, *habit)
        case "month" if week % 4 == 3 and weekday >= 2:
            yield from _visits(draw, first, last, 2 * rate, length)
        case "drift":  # 15 minutes later each week
            yield first - 5 + week / 4 + draw.uniform(0, 0.1), 3 * length
        case "shift":
            begin = 6 if week % 2 else 14
            yield from _visits(draw, begin, begin + 8, rate, length)
        case "lunch":
            yield from _visits(draw, 11.5, 13.5, 2 * rate, length)
        case "evening":
            yield from _visits(draw, 18, 23, rate * (1 + weekday) / 4, length)
        case "rare" if draw.random() < 0.3:
            yield draw.uniform(0, 24), length
        case "bursts" if draw.random() < 0.5:
            begin = draw.uniform(0, 22)
            yield from _visits(draw, begin, begin + draw.paretovariate(1.2), 6 * rate, length)
        case "hourly":
            yield from ((hour + draw.uniform(0, 0.05), 1) for hour in range(24))
        case "timer":
            yield from ((minute / 60, 0.1) for minute in range(0, 24 * 60, 7))


MIX = {"office": 6, "morning": 4, "shop": 2, "nightly": 2, "demo": 3, "weekend": 2, "random": 4,
       "timer": 1}  # fmt: skip
"""How many apps of a kind there are in a cluster, of 24."""

UNSEEN = dict.fromkeys(
    ("poll", "ended", "begun", "fortnight", "month", "drift", "shift", "lunch", "evening", "rare",
     "bursts", "hourly"), 2)  # fmt: skip
"""The same of kinds that were made after the way to learn was chosen."""


def cluster(apps: int, weeks: int, seed: int = 1, mix: Mapping[str, int] = MIX) -> list[App]:
    """Some apps of all kinds, as in `mix`."""
    kinds = [kind for kind, count in mix.items() for _ in range(count)]
    return [app(kinds[n % len(kinds)], weeks, seed * 1000 + n) for n in range(apps)]


def usage_of(sessions: Sequence[Session], begin: datetime, end: datetime) -> Usage:
    """What the operator would have recorded of these sessions."""
    made = NOTHING.knowing(slot_of(begin), slot_of(end) - 1)
    used, busy, until = 0, timedelta(), begin
    for first, last in sessions:
        for slot in range(slot_of(first), min(slot_of(last), made.last) + 1):
            used |= 1 << (made.last - slot)
        lingers = last + timedelta(seconds=30)
        busy += max(lingers - max(first, until), timedelta())
        until = max(until, lingers)
    return Usage(made.last, used, made.known, busy)


# --- what the real decisions make of it ---

PARKING = Parking(requests={})


def replayed(
    app: App, settings: Settings, begin: datetime, end: datetime, parked: float
) -> Expected:
    """A week's cold starts and price, on average, with `decide` at each request and each look.

    A pod is Ready at once and ends at once: what is measured is the policy. A pool without parking
    has `parked` 1.
    """
    windows = [
        {
            "name": window.name,
            "schedule": window.schedule,
            "duration": format_duration(window.duration),
            "replicas": window.replicas,
            **mode_field(parked=window.parked),
        }
        for window in settings.windows
    ]
    fields = {"parkedFor": format_duration(settings.kept)} if parked < 1 and settings.kept else {}
    spec = pool_spec(
        settle=0, idleAfter=format_duration(settings.idle_after), timeZone=app.zone.key,
        windows=windows, **fields,
    )  # fmt: skip
    sessions = app.between(begin, end)
    starts = [first for first, _ in sessions]
    now, memory, replicas = begin, Memory(lead=timedelta(0), first_start=timedelta(0)), 0
    hours, cold, coming = 0.0, 0, 0
    while now < end:
        at = bisect_right(starts, now) - 1
        is_busy = at >= 0 and now < sessions[at][1]
        last = min(now, sessions[at][1]) if at >= 0 else None
        ticket = None
        if coming <= at:  # a request has come, and the activator announces it
            coming = at + 1
            cold += replicas == 0
            replicas = max(replicas, 1)
            ticket = starts[at] if memory.phase in QUIET else None
        demand = Demand(in_flight=int(is_busy), last_request=last, ticket=ticket, metered=True)
        seen = Observation(
            replicas, replicas, replicas, acknowledged=memory.route.epoch, demand=demand,
            parking=PARKING if parked < 1 else Parking("No", "no"),
        )  # fmt: skip
        decision = decide(spec, seen, memory, now)
        memory = decision.memory
        if decision.sleep:
            replicas, memory = 0, changed(memory, phase=Phase.ASLEEP, since=now)
        elif decision.replicas is not None and decision.replicas != replicas:
            replicas = min(decision.replicas, 1)
            continue
        following = starts[coming] if coming < len(starts) else end
        ends = sessions[at][1] if is_busy else end
        recheck = decision.recheck
        if memory.phase in QUIET and ticket is None:
            # It also looks every fifteen minutes, for nothing as long as nobody edits the pool.
            changes = [decision.next and decision.next.at, parked_until(spec, memory)]
            recheck = min((at for at in changes if at is not None and at > now), default=end)
        after = max(min(recheck, following, ends, end), now + timedelta(seconds=1))
        price = parked if memory.phase is Phase.PARKED else 1.0
        hours += replicas * price * ((after - now) / timedelta(hours=1))
        now = after
    weeks = (end - begin) / WEEK
    return Expected(cold / weeks, hours / weeks)
