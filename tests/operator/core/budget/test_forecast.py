"""What the period will have cost: spent, and the schedule's rest."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from cpu import loops
from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.core.budget import forecast as levels_module
from kotatsu_operator.core.budget.forecast import PodPrice, forecast, pod_price
from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.calendar.schedule import Occurrence, occurrences, spans
from kotatsu_operator.core.pool.memory import Memory, Phase
from kotatsu_operator.core.pool.spec import PoolSpec
from tests.operator.core.values import (
    HOUR,
    MINUTE,
    SECOND,
    cron,
    examples,
    once,
    override,
    pool_spec,
    t,
    utc,
)

END = utc("2026-12-01T00:00")
ASLEEP = Memory(phase=Phase.ASLEEP, since=t("00:00"))
NO_DRAIN = {"settle": 0}
ONE = Decimal(60)  # one pod: 60 an hour, 1 a minute
WARM = PodPrice(ONE)
PRICE = PodPrice(ONE, parked=ONE / 10)


def ledger(pods: int = 0, accrued: int = 100) -> Ledger:
    hours = {str(n): ONE for n in range(pods)}
    return Ledger(
        "JPY", t("00:00"), Decimal(accrued), t("08:00"), ONE * pods, period_end=END, pods=hours
    )


def to_come(
    spec: PoolSpec,
    now: str = "08:00",
    memory: Memory = ASLEEP,
    pods: int = 0,
    price: PodPrice = PRICE,
) -> Decimal:
    """Minutes of pods that the forecast adds to what is spent; ten parked pods cost as one."""
    expected = forecast(spec, memory, ledger(pods), price, t(now))
    assert expected is not None
    return expected - 100


def warm(since: str = "08:00", last: str | None = None) -> Memory:
    return Memory(phase=Phase.WARM, since=t(since), last_active=t(last or since))


def test_a_pool_without_windows_will_cost_what_it_has_cost() -> None:
    assert to_come(pool_spec()) == 0


def test_a_window_to_come_costs_its_pods() -> None:
    assert to_come(pool_spec(windows=[once("w", "10:00", "11:00", 2)], **NO_DRAIN)) == 120


def test_the_lead_before_and_the_drain_after_a_window_cost_too() -> None:
    spec = pool_spec(windows=[once("w", "10:00", "11:00", 2)], settle=30)
    assert to_come(spec, memory=replace(ASLEEP, lead=2 * MINUTE)) == 2 * Decimal("62.5")


def test_a_warm_override_costs_until_its_end() -> None:
    spec = pool_spec(
        override=override("Warm", t("10:00"), replicas=3),
        windows=[once("w", "09:00", "11:00", 1)],
        **NO_DRAIN,
    )
    assert to_come(spec, memory=warm(), pods=3) == 360 + 60


def test_an_asleep_override_saves_the_windows_until_its_end() -> None:
    spec = pool_spec(
        override=override("Asleep", t("10:00")),
        windows=[once("w", "09:00", "11:00", 1)],
        **NO_DRAIN,
    )
    assert to_come(spec) == 60


def test_the_pods_there_are_now_cost_until_they_would_be_idle() -> None:
    spec = pool_spec(idleAfter="10m", settle=30)
    assert to_come(spec, memory=warm(last="07:55"), pods=2) == 2 * Decimal("5.5")


def test_pods_beyond_the_window_cost_until_they_would_be_idle() -> None:
    spec = pool_spec(windows=[once("w", "07:00", "09:00", 1)], idleAfter="10m", **NO_DRAIN)
    assert to_come(spec, memory=warm(last="08:00"), pods=3) == 60 + 2 * 10


def test_the_last_pods_of_a_sleeping_pool_are_as_good_as_gone() -> None:
    memory = Memory(phase=Phase.SLEEPING, since=t("08:00"), last_active=t("08:00"))
    assert to_come(pool_spec(), memory=memory, pods=2) == 0


def test_a_suspended_pool_stays_as_it_is() -> None:
    spec = pool_spec(suspend=True, windows=[once("w", "10:00", "11:00", 2)])
    assert to_come(spec, pods=1) == (END - t("08:00")) // MINUTE


def test_there_is_no_forecast_without_a_period() -> None:
    assert forecast(pool_spec(), ASLEEP, Ledger(), WARM, t("08:00")) is None


def test_a_clock_that_steps_back_gets_its_hours_again() -> None:
    spec = pool_spec(windows=[once("w", "06:00", "11:00", 1)], **NO_DRAIN)
    assert to_come(spec, "10:00") == 60
    assert to_come(spec, "07:00") == 240
    assert to_come(spec, "10:00") == 60


def by_minutes(spec: PoolSpec, lead: timedelta, now: datetime, end: datetime) -> int:
    """Pod-minutes, counted one minute after the other."""
    tail, most = spec.platform.route_settle, spec.max_replicas
    found = occurrences(spec.windows, spec.zone, now - tail, end + lead)
    total, at = 0, now
    while at < end:
        total += max(
            (min(o.replicas, most) for o in found if o.start - lead <= at < o.end + tail), default=0
        )
        at += MINUTE
    return total


def any_window(die: Random, number: int) -> dict[str, Any]:
    """A repeating window with numbers by chance."""
    return cron(
        f"{die.randint(0, 59)} */{die.randint(1, 23)} * * *",
        f"{die.randint(1, 300)}m",
        die.randint(1, 6),
        f"w{number}",
    )


@examples(30)
@given(st.integers(0, 2**32))
def test_any_schedule_is_summed_up_as_counting_does(seed: int) -> None:
    die = Random(seed)
    windows: list[dict[str, Any]] = [any_window(die, n) for n in range(die.randint(0, 4))]
    spec = pool_spec(
        windows=windows,
        settle=die.choice([0, 60]),
        maxReplicas=5,
    )
    lead = die.randint(0, 90) * MINUTE
    for clock in ("2026-11-29T00:00", "2026-11-29T13:07"):  # the second one from the same staircase
        now = utc(clock)
        expected = forecast(spec, replace(ASLEEP, lead=lead), ledger(), WARM, now)
        assert expected is not None
        assert round(expected - 100, 12) == by_minutes(spec, lead, now, END)


def test_a_month_is_walked_once_and_not_at_each_look(monkeypatch: pytest.MonkeyPatch) -> None:
    walks = []

    def counted(*args: Any) -> Any:
        walks.append(args)
        return spans(*args)

    monkeypatch.setattr(levels_module, "spans", counted)
    spec = pool_spec(windows=[cron("7 */2 * * *", "17m", 3, "counted")])
    for second in range(3600):
        forecast(spec, ASLEEP, ledger(), WARM, t("08:00") + second * SECOND)
    assert len(walks) == 1


def test_a_month_of_dense_openings_is_laid_out_in_part_and_taken_to_be_alike() -> None:
    spec = pool_spec(windows=[cron("* * * * *", "30s", 2)], **NO_DRAIN)
    lead = replace(ASLEEP, lead=timedelta())
    levels = levels_module.laid_out(spec, None, lead.lead, t("08:00"), END)
    assert len(levels._asks) < 2 * levels_module.MOST_SPANS + 10
    minutes = (END - t("08:00")) // MINUTE
    assert abs(to_come(spec, memory=lead) - minutes) < 1


@pytest.mark.slow
def test_hundreds_of_pools_are_foreseen_within_a_beat() -> None:
    specs = [
        pool_spec(windows=[cron(f"{n % 60} {n // 60 % 24} * * 1-5", "90m", 2, f"w{n}")])
        for n in range(300)
    ]
    for spec in specs:
        forecast(spec, ASLEEP, ledger(), WARM, t("08:00"))

    def beat() -> None:
        for spec in specs:
            forecast(spec, warm(), ledger(2), WARM, t("08:00:02"))

    assert loops(beat) < 20, "a second of the machine on which the loop takes 50 ms"


# --- parked pods ---


def parking(**fields: Any) -> PoolSpec:
    """A pool that parks one pod for 20 minutes; it drains in no time."""
    return pool_spec(**{"parkedFor": "20m", **NO_DRAIN, **fields})


def for_parked(name: str, start: str, end: str, replicas: int = 2) -> dict[str, Any]:
    return once(name, start, end, replicas) | {"mode": "Parked"}


def parked(since: str = "08:00") -> Memory:
    return Memory(phase=Phase.PARKED, since=t(since), last_active=t("07:00"), reduced=True)


def test_pods_stay_parked_after_a_window() -> None:
    spec = parking(windows=[once("w", "10:00", "11:00", 2)])
    assert to_come(spec) == 120 + 20 / Decimal(10)


def test_a_pool_stays_parked_for_its_time_from_when_it_was_parked() -> None:
    """The window for parked pods in between does not begin it again."""
    windows = [once("a", "10:00", "11:00", 1), for_parked("b", "11:10", "11:15", 1)]
    assert to_come(parking(windows=windows)) == 60 + 2


def test_an_idle_warm_pool_costs_the_full_price_until_it_is_parked() -> None:
    spec = parking(idleAfter="10m")
    assert to_come(spec, memory=warm(last="07:55"), pods=3) == 3 * 5 + 2


def test_pods_stay_parked_after_a_warm_override() -> None:
    spec = parking(override=override("Warm", t("10:00"), replicas=3))
    assert to_come(spec, memory=parked(), pods=1) == 360 + 2


def test_an_asleep_override_ends_the_time_of_parked_pods() -> None:
    spec = parking(override=override("Asleep", t("10:00")))
    assert to_come(spec, memory=parked(), pods=1) == 0


def test_a_suspended_pool_stays_parked_at_the_rate_it_has() -> None:
    spec = parking(suspend=True)
    at_rest = replace(ledger(1), rate=ONE / 10)
    expected = forecast(spec, parked(), at_rest, PRICE, t("08:00"))
    assert expected == 100 + at_rest.rate * ((END - t("08:00")) // HOUR)


def test_where_no_pod_can_be_parked_all_windows_are_warm() -> None:
    spec = parking(windows=[for_parked("w", "10:00", "11:00")])
    assert to_come(spec, price=WARM) == 120


def one_after_the_other(
    spec: PoolSpec, lead: timedelta, now: datetime, end: datetime, since: datetime | None
) -> tuple[int, int]:
    """Minutes of warm and of parked pods, decided at each minute as for a pool without requests.

    `since` is when the one pod that is there was parked; None for a pool that is asleep.
    """
    assert spec.parked is not None
    tail, most = spec.platform.route_settle, spec.max_replicas
    every = occurrences(spec.windows, spec.zone, now - lead - tail, end + lead)
    # The pods of one opening stay for the next one of its window, if it is near.
    began: dict[Occurrence, datetime] = {}
    for o in every:
        near = [b for b in began if b.window == o.window and b.end + tail >= o.start - lead]
        began[o] = min((began[b] for b in near), default=o.start)
    there, is_parked, warm_minutes, parked_minutes, at = int(since is not None), True, 0, 0, now
    while at < end:
        current = [o for o in every if o.start - lead <= at < o.end + tail]
        asked = max((min(o.replicas, most) for o in current), default=0)
        opened = [o for o in current if began[o] <= at]
        has_started = asked <= max((min(o.replicas, most) for o in opened), default=0)
        if not all(o.parked for o in current):
            there, is_parked, since = asked, False, None
        elif asked and asked > there and not has_started:
            there, is_parked, since = 0, False, None
            warm_minutes += asked
        elif asked:
            since = since if is_parked and asked <= there else at
            there, is_parked = asked, True
        elif there:
            since = since if is_parked and since else at
            there = min(there, spec.parked.replicas) if at < since + spec.parked.lasting else 0
            is_parked = True
        if is_parked:
            parked_minutes += there
        else:
            warm_minutes += there
        at += MINUTE
    return warm_minutes, parked_minutes


@examples(60)
@given(st.integers(0, 2**32))
def test_any_schedule_with_parked_pods_is_summed_up_as_deciding_each_minute_does(
    seed: int,
) -> None:
    die = Random(seed)
    windows: list[dict[str, Any]] = [
        any_window(die, n) | {"mode": die.choice(["Warm", "Parked"])}
        for n in range(die.randint(0, 4))
    ]
    spec = pool_spec(
        windows=windows,
        settle=die.choice([0, 60]),
        maxReplicas=5,
        parkedReplicas=die.randint(1, 3),
        parkedFor=f"{die.choice([0, 7, 90, 600])}m",
    )
    lead = die.randint(0, 90) * MINUTE
    for clock in ("2026-11-29T00:00", "2026-11-29T13:07"):  # the second one from the same levels
        now = utc(clock)
        memory, pods, since = replace(ASLEEP, lead=lead), 0, None
        if die.random() < 0.5:
            since = now - die.randint(0, 100) * MINUTE
            memory, pods = replace(parked(), since=since, lead=lead), 1
        expected = forecast(spec, memory, ledger(pods), PRICE, now)
        assert expected is not None
        warm_minutes, parked_minutes = one_after_the_other(spec, lead, now, END, since)
        assert round(expected - 100, 12) == warm_minutes + parked_minutes / Decimal(10)


# --- the price of a pod ---


@each(
    "why, pods, rate, reduced, price",
    [
        ("as the current ones do", 2, 140, 0, (70, None)),
        ("without pods as the template says", 0, 0, 0, (60, 6)),
        ("while they are parked the template has the warm price", 2, 12, 2, (60, 6)),
        ("while some are parked both stay", 2, 66, 1, (60, 6)),
        ("a sidecar that was injected costs the same while parked", 1, 9, 1, (63, 9)),
    ],
)
def test_a_pod_costs(
    why: str, pods: int, rate: int, reduced: int, price: tuple[int, int | None]
) -> None:
    parked_price = None if price[1] is None else ONE / 10
    found = pod_price(replace(ledger(pods), rate=Decimal(rate)), ONE, parked_price, reduced)
    assert (found.warm, found.parked) == price, why
