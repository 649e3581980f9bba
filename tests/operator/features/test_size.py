"""How large a WarmPool is at most: every reconcile and every watch has it as a whole."""

import json
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from kotatsu_operator.core.budget.ledger import Ledger, Spent
from kotatsu_operator.core.calendar.schedule import Window
from kotatsu_operator.core.plan.lead import KEEP
from kotatsu_operator.core.pool.decision import Decision, Observation, Parking
from kotatsu_operator.core.pool.memory import (
    Announced,
    Contest,
    Followed,
    KnownOverride,
    Memory,
    Opening,
    Original,
    Parts,
    Phase,
    Reason,
    Route,
    Routing,
    Tally,
    Template,
    WarmUp,
)
from kotatsu_operator.core.pool.news import Transition
from kotatsu_operator.core.report.conditions import (
    date_conditions,
    pool_conditions,
    target_conditions,
)
from kotatsu_operator.core.report.episodes import (
    Cause,
    Counts,
    Episode,
    LedgerPeriod,
    StoredHistory,
    Why,
    outbox_status,
)
from kotatsu_operator.core.report.status import decided_status
from kotatsu_operator.core.schema import joined
from kotatsu_operator.features.history import BATCH
from kotatsu_operator.features.notices.notices import Notice, notices_status
from tests.operator.core.values import HOUR, MINUTE, SECOND, override, pool_spec, t

MOST = 6360
"""Bytes of a status as compact JSON, with all that a pool can have at once."""

AT = t("10:00:00.123456")


def followed(name: str) -> Followed:
    """A calendar with an event on each working day of two weeks, and some holidays."""
    begin = AT.replace(tzinfo=None, microsecond=0)
    days = [begin + timedelta(days=day) for day in range(10)]
    windows = [
        Window(f"Demo: customer {n}", 3, start=at, end=at + HOUR, calendar=name)
        for n, at in enumerate(days)
    ]
    closed = frozenset(date(2026, 12, day) for day in (24, 25, 26, 31))
    return Followed(name, AT, tuple(windows), closed)


def full() -> dict:
    """The status of a pool with all that a pool can have."""
    held = override("Warm", AT + HOUR, replicas=3)
    spec = pool_spec(override=held)
    warm_up = WarmUp(61.234, 3, "6f1c2d3e4a", Parts(12.001, 1.5, 40.123, 7.61), window=True)
    memory = Memory(
        phase=Phase.WARM, reason=Reason.OVERRIDE, since=AT,
        route=Routing(Route.ACTIVATOR, 12345, beside=True),
        override=KnownOverride(spec.override.key, AT), announced=Announced(AT, AT),
        template=Template("6f1c2d3e4a", proven=True, metered=False),
        last_active=AT, unknown_since=AT,
        warm_ups=tuple(replace(warm_up, seconds=61.234 + n) for n in range(KEEP)),
        opening=Opening("window-12", AT, AT - MINUTE, cold=True, replicas=3, excused=True),
        windows=Tally(123, 45, 6), first_start=4 * MINUTE, lead=75 * SECOND, ahead=15 * SECOND,
        capacity=3, parked_since=AT, reduced=True, original=Original("voice", 2),
        contest=Contest("argocd-controller", AT, AT, 5, applied=True),
        calendars=(followed("team"), replace(followed("holidays"), windows=())), woken_soon=1,
    )  # fmt: skip
    seen = Observation(3, 3, 3, acknowledged=12345, parking=Parking())
    coming = Transition(AT, "window-13", "prewarm")
    decision = Decision(memory, 3, AT, floor=3, window="window-12", next=coming)
    ledger = Ledger(
        "JPY", AT, Decimal("2710.123456"), AT, rate=Decimal("90.123456"),
        pod_hour=Decimal("30.123456"), parked_hour=Decimal("0.123456"), period_end=AT,
        limit=Decimal(3000), exhausted_at=AT, forecast=Decimal("2999.12"),
        previous=Spent("JPY", AT, Decimal("1234.123456")),
    )  # fmt: skip
    counts = Counts(Decimal("10800.123"), 1, 1, 1)
    cause, period = Cause(Why.WINDOW, "window-12"), LedgerPeriod("JPY", AT)
    episode = Episode(AT, cause, period, AT + HOUR, 3, counts, Decimal("90.123456"))
    waiting = tuple(replace(episode, begin=AT + n * SECOND) for n in range(BATCH - 1))
    outbox = StoredHistory(AT, replace(episode, end=None), waiting)
    notice = Notice("uid/WindowReady/2026", "WindowReady", "window a: 3 replicas are Ready", AT)
    conditions = pool_conditions(spec, seen, decision)
    conditions += target_conditions(spec, seen, decision, AT)
    inner = {
        "notices": notices_status([notice]),
        "reported": {"unused": "2026-11-25T10:00:00Z", "rehearsal": "2026-11-25T10:00:00Z"},
        "foundReplicas": 2,
        "takenService": "voice",
    }
    return joined(
        decided_status(spec, seen, decision, ledger),
        outbox_status(outbox),
        {"internal": inner, "foundReplicas": 2, "observedGeneration": 123},
        {"lastWake": {"at": "2026-11-25T10:00:00.123456Z", "duration": "1.823s"}},
        {"demand": {"at": "2026-11-25T10:00:00.123456Z"}},
        {"conditions": date_conditions(conditions, {}, 123, AT)},
    )


def size(status: object) -> int:
    """Bytes in the API server, which keeps no field that is written as None."""
    return len(json.dumps(_kept(status), separators=(",", ":"), ensure_ascii=False).encode())


def _kept(value: object) -> object:
    if isinstance(value, dict):
        return {name: _kept(inner) for name, inner in value.items() if inner is not None}
    return value


def test_a_pool_with_everything_in_it_is_small():
    assert size(full()) <= MOST


def test_what_it_remembers_of_warm_ups_is_short():
    assert size(full()["internal"]["warmUps"]) <= 30 * KEEP
