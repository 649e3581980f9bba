"""The plan, the forecast and the floors of proposals against a second opinion.

It walks every minute. Openings are those that the wall clock shows (as in the schedule's own second
opinion), and the pods are those that the pages say of a pool without requests: how-to/demo.md of
overrides, how-to/budgets.md of a limit, how-to/parked.md of parked pods.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from kotatsu_demo_mode.pools import Pool
from kotatsu_demo_mode.timeline import timeline
from kotatsu_operator.core.budget.forecast import forecast
from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.budget.podtime import PodPrice
from kotatsu_operator.core.pool.memory import Memory, Phase, WarmUp
from kotatsu_operator.core.pool.spec import PoolSpec
from kotatsu_operator.core.report.usage import SLOT
from kotatsu_operator.core.suggest import Past, floors_of
from tests.operator.core.calendar.test_schedule_oracle import NaiveCron, naive_starts, walls
from tests.operator.core.values import HOUR, MINUTE, cron, examples, override, pool_spec, utc

PRICE = PodPrice(Decimal(60), parked=Decimal(6))
"""A warm pod costs 1 a minute, and ten parked ones too."""
SPAN = 30 * HOUR
NEVER = utc("2000-01-01T00:00")
MOST = 5
PLACES = [
    ("Europe/Berlin", "2026-03-28T12:00"),
    ("Europe/Berlin", "2026-10-24T12:00"),
    ("Australia/Lord_Howe", "2026-10-03T04:00"),
    ("Asia/Kathmandu", "2028-02-28T06:00"),
    ("UTC", "2026-12-30T12:00"),
]


class Opening(NamedTuple):
    """One opening of a window."""

    start: datetime
    end: datetime
    window: str
    replicas: int
    is_parked: bool


@dataclass
class Case:
    """A pool at some time: as a manifest has it, and as people would say it."""

    zone: str
    begin: datetime
    openings: list[Opening] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    lead: timedelta = timedelta()
    starts: timedelta = timedelta()
    """How long pods for a parked window start, of the lead."""
    parked_for: timedelta | None = None
    """None for a pool that is never parked."""
    override: tuple[str, int, datetime] = ("", 0, NEVER)
    policy: str = ""
    """Of a budget that is spent; empty if none is."""
    spent_at: datetime = NEVER
    renews: datetime = NEVER
    pods: int = 0
    idle: datetime = NEVER
    """When the pods of now are idle."""
    parked_since: datetime | None = None

    @property
    def end(self) -> datetime:
        return self.begin + SPAN

    @property
    def spec(self) -> PoolSpec:
        return pool_spec(timeZone=self.zone, maxReplicas=MOST, **self.fields)

    @property
    def memory(self) -> Memory:
        took = (WarmUp(self.starts.total_seconds(), 1, ""),)
        memory = Memory(phase=Phase.ASLEEP, since=self.begin, warm_ups=took)
        if self.parked_since is not None:
            since = self.parked_since
            return replace(memory, phase=Phase.PARKED, since=since, parked_since=since)
        if self.pods:
            active = self.idle - self.spec.idle_after
            return replace(memory, phase=Phase.WARM, last_active=active)
        return memory

    @property
    def ledger(self) -> Ledger:
        return Ledger(
            "JPY", self.begin, at=self.begin, pod_hour=PRICE.warm, parked_hour=PRICE.parked,
            period_end=self.renews, exhausted_at=self.spent_at if self.policy else None,
            pods={str(n): PRICE.warm for n in range(self.pods)},
        )  # fmt: skip

    def pool(self) -> Pool:
        """It as commands see it."""
        raw = {"metadata": {}, "status": {"readyReplicas": self.pods}}
        return Pool("demo", "voice", self.spec, self.memory, self.ledger, raw)


def any_case(seed: int) -> Case:
    die = Random(seed)
    zone, noon = die.choice(PLACES)
    case = Case(zone, utc(noon) + die.randint(0, 8) * 30 * MINUTE)
    windows = []
    can_park = die.random() < 0.7
    for number in range(die.randint(0, 4)):
        name, replicas = f"w{number}", die.randint(1, MOST + 1)
        is_parked = can_park and die.random() < 0.5
        if die.random() < 0.3:
            wall = utc(noon).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
            start = wall + die.randint(-600, 1800) * MINUTE
            end = start + die.randint(1, 1200) * MINUTE
            spoken = {"start": start.isoformat(), "end": end.isoformat()}
            window = {"name": name, "replicas": replicas, **spoken}
            times = list(single(zone, case.begin, start, end))
        else:
            # In the night in which clocks go back, the next start is never near: it would lengthen
            # an opening.
            hours = ["2", "23"] if "10-24" in noon else ["*", "*/5", "2", "9-17/4", "0,1,2"]
            schedule = f"{die.randint(0, 59)} {die.choice(hours)} * * {die.choice(['*', '0,3,6'])}"
            minutes = die.randint(1, 300)
            window = cron(schedule, f"{minutes}m", replicas, name)
            times = [
                (at, at + minutes * MINUTE)
                for at in naive_starts(NaiveCron(schedule), zone, case.begin)
            ]
        windows.append(window | ({"mode": "Parked"} if is_parked else {}))
        case.openings += [Opening(*time, name, min(replicas, MOST), is_parked) for time in times]
    case.lead = die.choice([0, 1, 25, 90]) * MINUTE
    case.starts = die.randint(0, case.lead // MINUTE) * MINUTE
    case.fields = {"windows": windows, "lead": f"{case.lead // MINUTE}m"}
    if can_park and die.random() < 0.7:
        case.parked_for = die.choice([7, 90, 600]) * MINUTE
        case.fields["parkedFor"] = f"{case.parked_for // MINUTE}m"
    elif any(o.is_parked for o in case.openings) or any("mode" in w for w in windows):
        case.parked_for = timedelta()
    mode, pods = die.choice(["", "", "Warm", "Asleep"]), die.randint(1, MOST)
    if mode:
        until = case.begin + die.randint(1, 1300) * MINUTE
        case.override = (mode, pods, until)
        more = {"replicas": pods} if mode == "Warm" else {}
        case.fields["override"] = override(mode, until, **more)
    case.renews = case.begin + die.choice([SPAN // MINUTE, die.randint(1, 1500)]) * MINUTE
    case.policy = die.choice(["", "", "Warn", "BlockStarts", "Sleep"])
    if case.policy:
        case.fields["budget"] = {"limit": "0", "onExhausted": case.policy}
        case.spent_at = case.begin - die.randint(0, 200) * MINUTE
    match die.choice(["asleep", "warm", "parked"]):
        case "warm":
            case.pods, case.idle = die.randint(1, MOST), case.begin + die.randint(1, 60) * MINUTE
            case.fields["idleAfter"] = "1h"
        case "parked" if case.parked_for is not None:
            case.pods, case.parked_since = 1, case.begin - die.randint(0, 100) * MINUTE
    return case


def single(
    zone: str, begin: datetime, start: datetime, end: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """A window from one wall-clock time to another: from its first minute to its last."""
    minutes = [
        at
        for at, wall, _ in walls(zone, begin - 48 * HOUR, begin + 96 * HOUR)
        if start <= wall < end and at.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == wall
    ]
    if minutes:
        yield minutes[0], minutes[-1] + MINUTE


def minutes_of(case: Case) -> Iterator[tuple[datetime, int, bool]]:
    """The pods at each minute, and whether they are parked."""
    mode, asked_for, until = case.override
    pods, parked_since, busy_until = case.pods, case.parked_since, case.idle
    blocks = case.policy in ("BlockStarts", "Sleep")
    for n in range(SPAN // MINUTE):
        at = case.begin + n * MINUTE
        is_spent, is_overridden = blocks and at < case.renews, at < until
        open_ = [
            o
            for o in case.openings
            if o.start - case.lead <= at < o.end and not (is_spent and o.start > case.spent_at)
        ]
        asked, is_warm = (
            max((o.replicas for o in open_), default=0),
            not all(o.is_parked for o in open_),
        )
        if mode == "Warm" and is_overridden and asked_for >= asked:
            asked, is_warm = asked_for, True
        if (mode == "Asleep" and is_overridden) or (is_spent and case.policy == "Sleep"):
            asked, pods, busy_until = 0, 0, at
        can_park = case.parked_for is not None and (asked > 0 or not is_spent)
        if can_park and not is_warm and asked > pods:
            pods, parked_since, busy_until = asked, None, max(busy_until, at + case.starts)
        if at < busy_until:
            yield at, max(asked, pods), False
        elif is_warm or not can_park:
            yield at, asked, False
            pods, parked_since = asked, None
        else:
            parked_since = parked_since or at
            stays = pods > 0 and at < parked_since + case.parked_for
            pods = asked or int(stays)
            yield at, pods, pods > 0
            parked_since = parked_since if pods else None


def cost(minutes: Sequence[tuple[datetime, int, bool]], until: datetime) -> Decimal:
    """What these pods cost until then."""
    return sum(
        (pods * (Decimal("0.1") if is_parked else 1) for at, pods, is_parked in minutes
         if at < until), Decimal(0)
    )  # fmt: skip


@examples(150)
@given(st.integers(0, 2**32))
def test_plan_forecast_and_proposals_are_sums_over_the_same_minutes(seed):
    case = any_case(seed)
    minutes = list(minutes_of(any_case(seed)))
    planned = timeline(case.pool(), case.begin, case.end)
    found = [
        (at, s.replicas, s.is_parked and s.replicas > 0)
        for s in planned.stretches
        for at in (s.begin + n * MINUTE for n in range((s.end - s.begin) // MINUTE))
    ]
    assert found == minutes
    assert planned.cost is not None
    assert round(planned.cost, 9) == cost(minutes, case.end)
    price = PRICE if case.parked_for is not None else PodPrice(PRICE.warm)
    for later in (0, 45):  # the second one from what is known of the first
        now = case.begin + later * MINUTE
        if now < case.renews and (not later or (case.pods, minutes[later - 1][1]) == (0, 0)):
            expected = forecast(case.spec, case.memory, case.ledger, price, now)
            assert expected is not None
            assert round(expected, 9) == cost(minutes, case.renews) - cost(minutes, now)


@examples(50)
@given(st.integers(0, 2**32))
def test_every_opening_is_in_the_plan(seed):
    case = replace(any_case(seed), policy="")
    changes = timeline(case.pool(), case.begin, case.end).changes
    times = ((o.start - case.lead, o.start, o.end, o.window) for o in case.openings)
    expected = [
        (at, kind, window)
        for *moments, window in times
        for at, kind in zip(moments, ("prewarm", "open", "close"), strict=True)
        if case.begin < at < case.end
    ]
    assert sorted((c.at, c.kind, c.window) for c in changes) == sorted(expected)


@examples(30)
@given(st.integers(0, 2**32))
def test_a_proposal_is_priced_with_the_windows_of_the_plan(seed):
    case = any_case(seed)
    past = Past(int(case.begin.timestamp()) // 300, bytes(SPAN // SLOT), 1.0)
    for number, (pods, each) in enumerate(floors_of(past, case.spec, 0.1)):
        at = case.begin + number * SLOT
        current = [o for o in case.openings if o.start <= at < o.end]
        parked = all(o.is_parked for o in current)
        assert pods == max((o.replicas for o in current), default=0)
        assert each == (0 if not current else 0.1 if parked else 1)
