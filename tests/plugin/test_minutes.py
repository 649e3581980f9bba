"""The plan, the forecast and the floors of proposals against a second opinion, minute by minute.

Openings are those that the wall clock shows (as in the schedule's own second opinion). The pods are
those that the pages say of a pool without requests: how-to/demo.md of overrides, budgets.md of a
spent budget, parked.md of parked pods.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
from kotatsu_operator.core.report.usage import SLOT
from kotatsu_operator.core.suggest import KnownUse, floors_of
from tests.operator.core.calendar.test_schedule_oracle import NaiveCron, naive_starts, walls
from tests.operator.core.values import HOUR, MINUTE, cron, examples, override, pool_spec, utc

WARM, PARKED = Decimal(60), Decimal(6)  # 1 a minute, and a tenth of it
SPAN = 30 * HOUR
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
    """What decides about a pool from some time on, in minutes and words."""

    begin: datetime
    fields: dict[str, Any]
    """Of its manifest."""
    openings: list[Opening]
    lead: timedelta
    starts: timedelta
    """How long pods start before they can be parked."""
    parked_for: timedelta | None
    """None for a pool that is never parked."""
    override: tuple[str, int, datetime]
    policy: str
    """Of a budget that is spent; empty if none is."""
    spent_at: datetime
    renews: datetime
    idle: datetime
    """When the pods of now are idle."""
    pods: int = 0
    parked_since: datetime | None = None

    def pool(self) -> Pool:
        spec = pool_spec(maxReplicas=MOST, idleAfter="1h", **self.fields)
        memory = Memory(phase=Phase.ASLEEP, warm_ups=(WarmUp(self.starts.total_seconds(), 1, ""),))
        if since := self.parked_since:
            memory = replace(memory, phase=Phase.PARKED, parked_since=since)
        elif self.pods:
            memory = replace(memory, phase=Phase.WARM, last_active=self.idle - HOUR)
        ledger = Ledger(
            "JPY", self.begin, pod_hour=WARM, parked_hour=PARKED, period_end=self.renews,
            exhausted_at=self.spent_at if self.policy else None,
            pods=dict.fromkeys(map(str, range(self.pods)), WARM),
        )  # fmt: skip
        return Pool("demo", "voice", spec, memory, ledger, {"status": {"readyReplicas": self.pods}})


def any_case(seed: int) -> Case:
    die = Random(seed)
    zone, noon = die.choice(PLACES)
    begin = utc(noon) + die.randint(0, 8) * 30 * MINUTE
    windows, openings = [], list[Opening]()
    modes = die.choice([["Warm"], ["Warm", "Parked"]])
    for name in ("a", "b", "c", "d")[: die.randint(0, 4)]:
        replicas, mode, minutes = die.randint(1, MOST), die.choice(modes), die.randint(1, 300)
        if die.random() < 0.3:
            start = utc(noon).replace(tzinfo=None) + die.randint(-600, 1800) * MINUTE
            end = start + 4 * minutes * MINUTE
            window = {"name": name, "start": start.isoformat(), "end": end.isoformat()}
            times = single(zone, begin, start, end)
        else:
            # Where clocks go back, the next start is never near: it would lengthen an opening.
            hours = ["2", "23"] if "10-24" in noon else ["*", "*/5", "2", "9-17/4", "0,1,2"]
            schedule = f"{die.randint(0, 59)} {die.choice(hours)} * * {die.choice(['*', '0,3,6'])}"
            window = cron(schedule, f"{minutes}m", replicas, name)
            starts = naive_starts(NaiveCron(schedule), zone, begin)
            times = [(at, at + minutes * MINUTE) for at in starts]
        windows.append(window | {"replicas": replicas, "mode": mode})
        openings += [Opening(*time, name, replicas, mode == "Parked") for time in times]
    lead, lasting = die.choice([0, 1, 25, 90]), die.choice([None, 7, 90, 600])
    fields = {"timeZone": zone, "windows": windows, "lead": f"{lead}m"}
    if len(modes) == 2 and lasting is not None:
        fields["parkedFor"] = f"{lasting}m"
    elif any(window["mode"] == "Parked" for window in windows):
        lasting = 0
    else:
        lasting = None
    asked = die.choice(["", "", "Warm", "Asleep"]), die.randint(1, MOST)
    until = begin + die.randint(1, 1300) * MINUTE
    if asked[0]:
        more = {"replicas": asked[1]} if asked[0] == "Warm" else {}
        fields["override"] = override(asked[0], until, **more)
    if policy := die.choice(["", "", "Warn", "BlockStarts", "Sleep"]):
        fields["budget"] = {"limit": "0", "onExhausted": policy}
    case = Case(
        begin, fields, openings, lead * MINUTE, die.randint(0, lead) * MINUTE,
        None if lasting is None else lasting * MINUTE, (*asked, until), policy,
        spent_at=begin - die.randint(0, 200) * MINUTE,
        renews=begin + die.choice([SPAN // MINUTE, die.randint(1, 1500)]) * MINUTE, idle=begin,
    )  # fmt: skip
    match die.choice(["asleep", "warm", "parked"]):
        case "warm":
            case.pods, case.idle = die.randint(1, MOST), begin + die.randint(-5, 60) * MINUTE
        case "parked" if lasting is not None:
            case.pods, case.parked_since = 1, begin - die.randint(0, 100) * MINUTE
    return case


def single(
    zone: str, begin: datetime, start: datetime, end: datetime
) -> list[tuple[datetime, datetime]]:
    """A window from one wall-clock time to another: from its first minute to its last."""
    there = [
        at
        for at, wall, _ in walls(zone, begin - 48 * HOUR, begin + 96 * HOUR)
        if start <= wall < end and at.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == wall
    ]
    return [(there[0], there[-1] + MINUTE)] if there else []


def minutes_of(case: Case) -> Iterator[tuple[datetime, int, bool]]:
    """The pods at each minute, and whether they are parked."""
    mode, asked_for, until = case.override
    parked_since, busy_until = case.parked_since, case.idle
    pods = case.pods if parked_since or busy_until > case.begin else 0
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
def test_plan_and_forecast_are_sums_over_the_same_minutes(seed):
    case = any_case(seed)
    pool, end, minutes = case.pool(), case.begin + SPAN, list(minutes_of(case))
    planned = timeline(pool, case.begin, end)
    assert minutes == [
        (at, s.replicas, s.is_parked and s.replicas > 0)
        for s in planned.stretches
        for at in (s.begin + n * MINUTE for n in range((s.end - s.begin) // MINUTE))
    ]
    assert planned.cost is not None
    assert round(planned.cost, 9) == cost(minutes, end)
    price = PodPrice(WARM, None if case.parked_for is None else PARKED)
    for later in (0, 45):  # the second time from what is known of the first
        now = case.begin + later * MINUTE
        if now < case.renews and (not later or (case.pods, minutes[later - 1][1]) == (0, 0)):
            expected = forecast(pool.spec, pool.memory, pool.ledger, price, now)
            assert expected is not None
            assert round(expected, 9) == cost(minutes, case.renews) - cost(minutes, now)


@examples(50)
@given(st.integers(0, 2**32))
def test_every_opening_is_in_the_plan(seed):
    case = any_case(seed)
    pool, end = replace(case.pool(), ledger=Ledger()), case.begin + SPAN
    expected = [
        (at, kind, o.window)
        for o in case.openings
        for at, kind in ((o.start - case.lead, "prewarm"), (o.start, "open"), (o.end, "close"))
        if case.begin < at < end
    ]
    changes = timeline(pool, case.begin, end).changes
    assert sorted((c.at, c.kind, c.window) for c in changes) == sorted(expected)


@examples(30)
@given(st.integers(0, 2**32))
def test_a_proposal_is_priced_with_the_windows_of_the_plan(seed):
    case = any_case(seed)
    past = KnownUse(int(case.begin.timestamp()) // 300, bytes(SPAN // SLOT), 1.0)
    for number, (pods, each) in enumerate(floors_of(past, case.pool().spec, 0.1)):
        open_ = [o for o in case.openings if o.start <= case.begin + number * SLOT < o.end]
        assert pods == max((o.replicas for o in open_), default=0)
        assert each == (0 if not open_ else 0.1 if all(o.is_parked for o in open_) else 1)
