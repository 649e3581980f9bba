"""Days on which the budget is spent: what each policy lets go on, and what begins again."""

import functools
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from rows import each

from kotatsu_operator.core.budget.limit import sentence
from kotatsu_operator.core.budget.podtime import PodPrice
from kotatsu_operator.core.pool.memory import Phase, Reason
from kotatsu_operator.core.pool.spec import PoolSpec
from tests.operator.core.values import HOUR, MINUTE, SECOND, once, override, pool_spec, t
from tests.operator.core.walk import Walk, walk

MORNING = once("morning", "10:00", "12:00", 2)
NOON = once("noon", "11:30", "13:00", 4)
AFTERNOON = once("afternoon", "15:00", "16:00", 1)


def pool(limit: str | None, policy: str = "BlockStarts", **fields: Any) -> PoolSpec:
    """A pool whose pods cost 1 a minute, with a limit for the day."""
    budget = {"period": "Day"}
    if limit is not None:
        budget |= {"limit": limit, "onExhausted": policy}
    fields.setdefault("windows", [MORNING, NOON, AFTERNOON])
    return pool_spec(
        prices={"currency": "JPY", "cpuHour": "60"}, budget=budget, lead="15s", **fields
    )


def day(spec: PoolSpec, **how: object) -> Walk:
    return walk(spec, t("09:50"), **how)


def most(w: Walk, start: str, end: str) -> int:
    return max(m.replicas for m in w.log if t(start) <= m.at <= t(end))


def spent_at(w: Walk) -> datetime:
    """When the limit was first seen to be reached."""
    return next(m.at for m in w.log if any(n.reason == "BudgetExhausted" for n in m.notes))


def test_the_limit_is_seen_within_two_seconds_without_any_other_event():
    """Two pods since 09:59:45."""
    w = day(pool("60")).until(t("12:00"))
    assert t("10:29:45") <= spent_at(w) <= t("10:29:47")


@pytest.mark.slow
def test_a_new_day_is_told_of_again():
    nightly = {"name": "n", "schedule": "0 10 * * *", "duration": "1h", "replicas": 2}
    w = day(pool("100", "Warn", windows=[nightly]), tick=60).until(t("23:00") + 24 * HOUR)
    assert w.told("BudgetExhausted") == ["BudgetExhausted"] * 2


def test_warn_changes_nothing():
    limited, free = (day(pool(limit, "Warn")).until(t("17:00")) for limit in ("30", None))
    assert limited.told("BudgetExhausted")
    for phase in Phase:
        assert limited.times(phase) == free.times(phase)
    assert most(limited, "10:00", "17:00") == most(free, "10:00", "17:00") == 4


# --- BlockStarts ---


def test_an_open_window_finishes_and_no_other_opens():
    w = day(pool("60")).until(t("17:00"))
    assert w.lowest(t("10:01"), t("11:59:59")) == 2
    assert most(w, "11:30", "12:00") == 2
    assert w.reached(0, after=t("12:00")) <= t("12:00:10")
    assert most(w, "12:00:10", "17:00") == 0
    assert (w.phase, w.memory.reason) == (Phase.ASLEEP, Reason.BUDGET)
    assert w.told("WindowCold", "WindowLate") == []


@each("windows", {
    "of warm pods": [MORNING],
    "and another that opens too late": [MORNING, NOON],
    "one in another": [MORNING, once("short", "10:15", "10:45", 3)],
})  # fmt: skip
def test_the_condition_says_how_much_an_open_window_costs_beyond_the_limit(windows):
    spec = pool("60", windows=windows)
    w = day(spec).until(t("10:31"))
    said = sentence(w.ledger, spec, PodPrice(Decimal(60)))
    beyond = Decimal(said.partition("then finish: ")[2].partition(" JPY beyond it")[0])
    w.until(t("14:00"))
    assert 0 <= w.ledger.accrued - 60 - beyond < 2  # seconds until the limit is seen, and a drain


def test_before_the_limit_an_opening_that_is_dearer_than_all_of_it_is_named():
    price = PodPrice(Decimal(60), parked=Decimal(6))
    three_hours = once("pitch", "10:00", "13:00", 5)

    def said(policy: str, **fields: Any) -> str:
        spec = pool("300", policy, windows=[MORNING, three_hours | fields])
        return sentence(day(spec).until(t("09:51")).ledger, spec, price)

    assert said("BlockStarts").endswith(
        "; an opening of pitch finishes beyond it, and costs 900.00 JPY"
    )
    assert "opening" not in said("Sleep") + said("Warn") + said("BlockStarts", mode="Parked")


def test_the_next_thing_the_schedule_does_is_the_end_of_what_is_open():
    w = day(pool("60")).until(t("10:45"))
    assert (w.last.window, w.last.next and w.last.next.window) == ("morning", "morning")
    assert (w.last.next.at, w.last.next.kind) == (t("12:00"), "close")
    w.until(t("13:00"))
    assert (w.last.next, w.last.window) == (None, "")


def test_pods_that_serve_are_left_to_become_idle():
    w = day(pool("60", windows=[MORNING])).until(t("11:59"))
    w.ask(t("11:59:30"), seconds=600).until(t("12:09"))
    assert w.replicas >= 1
    w.until(t("12:30"))
    assert w.reached(0, after=t("12:09")) == t("12:09:30") + 2 * MINUTE


def test_a_pod_that_somebody_starts_is_left_until_it_is_idle():
    """With kubectl scale, or an activator that did not know yet."""
    w = day(pool("60", windows=[MORNING])).until(t("13:00"))
    w.scale(1)
    w.look()
    w.until(t("14:00"))
    assert (w.phase, w.replicas) == (Phase.ASLEEP, 0)
    assert w.told("Warming") == ["Warming", "Warming"]


def test_a_warm_override_runs_to_its_end():
    asked = override("Warm", t("15:30"), replicas=3)
    w = day(pool("60", override=asked)).until(t("17:00"))
    assert w.lowest(t("10:01"), t("15:29:59")) == 3
    assert most(w, "15:30:10", "17:00") == 0


def test_a_window_that_is_only_being_warmed_for_does_not_open():
    spec = replace(pool("60"), lead=20 * MINUTE)
    w = day(replace(spec, windows=spec.windows[1:2])).until(t("14:00"))  # 4 pods from 11:10
    assert t("11:25") <= spent_at(w) <= t("11:26")
    assert most(w, "11:28", "14:00") == 0


# --- Sleep ---


def test_sleep_ends_an_open_window_at_once():
    w = day(pool("60", "Sleep")).until(t("17:00"))
    assert w.reached(0, after=spent_at(w)) <= spent_at(w) + 6 * SECOND
    assert most(w, "10:31", "17:00") == 0
    assert (w.phase, w.memory.reason) == (Phase.ASLEEP, Reason.BUDGET)
    assert w.told("WindowCold", "WindowLate") == []


def test_sleep_waits_for_requests_in_flight_no_longer_than_the_drain_timeout():
    w = day(pool("60", "Sleep")).until(t("10:29"))
    w.ask(t("10:29:30"), seconds=3600).until(t("10:40"))
    assert w.reached(0, after=t("10:29")) - spent_at(w) == 60 * SECOND


# --- and again ---


@pytest.mark.parametrize("policy", ["BlockStarts", "Sleep"])
def test_a_raised_limit_opens_the_window_again(policy):
    w = day(pool("60", policy)).until(t("15:10"))
    assert w.replicas == 0
    w.edit(pool("600", policy))
    assert (w.replicas, w.memory.reason) == (1, Reason.WINDOW)
    w.until(t("15:30"))
    assert w.phase is Phase.WARM
    assert w.told("WindowCold", "WindowLate") == []


@pytest.mark.parametrize("policy", ["BlockStarts", "Sleep"])
def test_a_raised_limit_lets_requests_wake_the_pool(policy):
    w = day(pool("60", policy)).until(t("14:00")).edit(pool("600", policy))
    assert w.memory.reason is Reason.IDLE
    w.ask(t("14:01")).until(t("14:02"))
    assert (w.phase, w.memory.reason) == (Phase.WARM, Reason.REQUEST)


@pytest.mark.parametrize("policy", ["BlockStarts", "Sleep"])
def test_a_new_period_opens_the_window_that_is_due(policy):
    late = {"name": "late", "schedule": "0 22 * * *", "duration": "4h", "replicas": 1}
    w = day(pool("60", policy, windows=[MORNING, late])).until(t("23:59:59"))
    assert w.replicas == 0
    w.until(t("00:00") + 24 * HOUR)
    assert (w.replicas, w.memory.reason) == (1, Reason.WINDOW)
    assert Decimal(60) <= w.ledger.previous.accrued <= Decimal(250)


@functools.cache
def without_a_restart(policy: str) -> Walk:
    """A walk that stays as it is."""
    return day(pool("60", policy)).until(t("17:00"))


@pytest.mark.parametrize("policy", ["BlockStarts", "Sleep"])
@pytest.mark.parametrize("minute", range(28, 33))
def test_a_restart_around_the_limit_decides_the_same(policy, minute):
    straight = without_a_restart(policy)
    w = day(pool("60", policy)).until(t("10:00") + minute * MINUTE).restart().until(t("17:00"))
    assert w.times(Phase.ASLEEP)[1:] == straight.times(Phase.ASLEEP)[1:]
    assert abs(w.ledger.accrued - straight.ledger.accrued) < Decimal("0.001")
