"""The plan says what the operator will do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from plugin.kit import cron, once, pool

from kotatsu_demo_mode.pools import Pool
from kotatsu_demo_mode.timeline import Timeline, timeline
from kotatsu_operator.core.decide.decide import decide
from kotatsu_operator.core.plan.lead import LONGEST
from kotatsu_operator.core.pool.decision import Observation

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
SEEN = Observation(replicas=0, ready=0, pods=0)

# Hours before a change of clocks, a leap day or the turn of the year. Not the day that Samoa left
# out: of a window's own openings, the operator forgets those of "yesterday" that close early.
PLACES = [
    ("Europe/Berlin", "2026-03-28T12:00"),
    ("Europe/Berlin", "2026-10-24T12:00"),
    ("America/New_York", "2026-03-07T20:00"),
    ("Australia/Lord_Howe", "2026-10-03T04:00"),
    ("Asia/Kathmandu", "2028-02-28T06:00"),
    ("Asia/Tokyo", "2026-12-30T12:00"),
]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def random_pool(die: Random) -> tuple[Pool, datetime]:
    zone, text = die.choice(PLACES)
    begin = utc(text) + die.randint(0, 24 * 60) * timedelta(minutes=1)
    windows: list[dict[str, Any]] = []
    for n in range(die.randint(1, 4)):
        replicas = die.randint(1, 8)
        if die.random() < 0.4:
            start = begin.replace(tzinfo=None) + die.randint(-20 * 3600, 60 * 3600) * SECOND
            end = start + die.randint(60, 30 * 3600) * SECOND
            form = "%Y-%m-%dT%H:%M:%S"
            windows.append(once(f"w{n}", f"{start:{form}}", f"{end:{form}}", replicas))
        else:
            minute, hours = die.randint(0, 59), die.choice(["*", "*/6", "2", "9-17/4"])
            days = die.choice(["*", "1-5", "0,3"])
            length = f"{die.randint(5, 300)}m"
            windows.append(cron(f"w{n}", f"{minute} {hours} * * {days}", length, replicas))
    status: dict[str, Any] = {}
    if die.random() < 0.6:
        warm_ups = [[die.uniform(1, 1500), die.randint(1, 4), 0] for _ in range(die.randint(1, 4))]
        status = {"internal": {"warmUps": warm_ups}, "lead": f"{die.randint(0, 2000)}s"}
    lead = die.choice([None, None, "0s", "90s", "20h"])
    made = pool(status=status, timeZone=zone, windows=windows, lead=lead)
    return made, begin


def floor_at(t: Timeline, at: datetime) -> int:
    return next(s.replicas for s in t.stretches if s.begin <= at < s.end)


@pytest.mark.slow
@pytest.mark.parametrize(
    "batch", [0, 1, *(pytest.param(n, marks=pytest.mark.nightly) for n in range(2, 10))]
)
def test_for_a_thousand_random_schedules_the_plan_is_what_the_operator_decides(batch: int):
    for seed in range(batch * 100, batch * 100 + 100):
        made, begin = random_pool(Random(seed))
        end = begin + 2 * timedelta(days=1)
        planned = timeline(made, begin, end)
        changes = [c.at for c in planned.changes]
        moments = {begin + n * HOUR for n in range(0, 48, 5)} | set(changes)
        moments |= {at - SECOND for at in changes if at - SECOND > begin}
        memory = made.memory
        for at in sorted(moments):
            decision = decide(made.spec, SEEN, memory, at)
            memory = replace(memory, lead=decision.memory.lead)
            assert floor_at(planned, at) == decision.floor, (seed, at)
            here = [c for c in planned.changes if c.at == at + SECOND]
            near = {c.at - LONGEST for c in planned.changes if c.kind == "open"}
            # A second before, the operator names as next just what the plan has there; except when
            # a bigger window has come near at this very moment and makes the pods start earlier.
            if here and at + SECOND not in near:
                coming = decision.next
                assert coming is not None
                known = {(c.at, c.kind, c.window) for c in here}
                assert (coming.at, coming.kind, coming.window) in known, (seed, at)


def test_simultaneous_transitions_count_their_pods_once():
    made = pool(
        windows=[
            once("a", "2026-11-25T10:00", "2026-11-25T12:00", 5),
            once("b", "2026-11-25T10:00", "2026-11-25T12:00", 3),
        ]
    )
    t = timeline(made, utc("2026-11-25T00:00"), utc("2026-11-26T00:00"))
    assert sum(c.cost for c in t.changes if c.cost is not None) == t.cost


def test_pods_that_cannot_be_parked_are_warm_in_the_plan():
    failed = {"type": "ParkingWorks", "status": "False", "reason": "Guaranteed"}
    window = cron("m", "0 8 * * *", "1h") | {"mode": "Parked"}
    made = pool(status={"conditions": [failed]}, windows=[window], lead="1m", parkedFor="20m")
    begin = utc("2026-11-25T00:00")
    found = timeline(made, begin, begin + 24 * HOUR).stretches
    assert [(s.replicas, s.is_parked, s.end - s.begin) for s in found if s.replicas] == [
        (2, False, HOUR + 60 * SECOND)
    ]
