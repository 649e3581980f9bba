"""What a pool costs, and what its budget does."""

from decimal import Decimal

import pytest

from kotatsu_operator.core.formats import instant
from tests.operator.cluster import warm_pool
from tests.operator.controller.test_reconciler import SOON
from tests.operator.core.values import once, t
from tests.operator.day import Day

PRICES = {"currency": "JPY", "cpuHour": "60"}


async def running(end, **spec):
    """A pool whose pods request a core each, so that a pod costs 1 a minute, some time later."""
    window = once("w", "10:00", "11:00", 1)
    day = Day.begin(t("10:00"), **{"windows": [window], "prices": PRICES} | spec)
    day.container = {"resources": {"requests": {"cpu": "1"}}}
    await day.until(t(end))
    return day


# --- what it costs ---


async def test_only_a_pool_that_is_awake_says_until_when_it_is_charged():
    """The alert KotatsuLedgerStalled leaves out sleeping pools, which are seldom looked at."""
    charged = "kotatsu_cost_ledger_timestamp_seconds"
    day = await Day.lived("09:00", "09:30", windows=[once("w", "10:00", "11:00", 1)], prices=PRICES)
    assert day.metric(charged) is None
    await day.until(t("10:30"))
    assert t("10:28").timestamp() <= day.metric(charged) <= t("10:30").timestamp()
    await day.until(t("12:00"))
    assert day.metric(charged) is None


async def test_a_sleeping_pool_is_foreseen_by_its_targets_template():
    day = Day.begin(t("08:00"), windows=[once("w", "10:00", "11:00", 2)], prices=PRICES)
    template = {"spec": {"containers": [{"resources": {"requests": {"cpu": "500m"}}}]}}
    day.kube.edit("Deployment", "voice", spec={"template": template})
    await day.settle()
    assert 60 <= Decimal(day.status["cost"]["forecast"]) <= 62
    assert day.metric("kotatsu_cost_forecast", currency="JPY") == pytest.approx(60, abs=2)


async def test_pods_cost_from_scheduled_until_gone():
    day = await running("10:20", windows=[once("w", "10:00", "10:05", 1)])
    born, ended = t("10:00"), day.history[-1][0]
    assert (day.phase, day.replicas) == ("Asleep", 0)
    minutes = Decimal((ended - born).total_seconds()) / 60
    assert Decimal(day.status["cost"]["accrued"]) == pytest.approx(minutes, abs=Decimal("0.01"))


async def test_a_clock_that_was_put_back_does_not_keep_the_costs_from_being_written():
    day = await running("10:05", windows=[once("w", "08:00", "20:00", 1)])
    day.now = t("09:55")
    await day.settle()
    assert day.status["internal"]["cost"]["at"] == "2026-11-25T09:55:00Z"


async def test_a_pool_made_again_under_its_name_begins_its_ledger_anew():
    day = await running("10:10")
    day.kube.put(warm_pool(uid="another"))
    await day.settle()
    assert Decimal(day.status["cost"]["accrued"]) == 0


# --- its budget ---

LIMITED = {"limit": "5", "period": "Day"}


async def limited_day():
    """A window from 10:00 to 10:10; the limit of 5 is reached halfway."""
    window = once("w", "10:00", "10:10", 1)
    day = await running("10:04:50", windows=[window], budget=LIMITED, **SOON)
    assert "exhaustedAt" not in day.status["internal"]["cost"]
    assert day.metric("kotatsu_cost_exhausted") == 0
    assert day.condition("BudgetAvailable")["reason"] == "NearLimit"
    await day.until(t("10:05:05"))
    return day


async def test_a_reached_limit_is_written_at_once_and_told_once():
    day = await limited_day()
    assert day.status["cost"]["limit"] == "5"
    inner = day.status["internal"]["cost"]
    assert t("10:05") <= instant(inner["exhaustedAt"]) <= t("10:05:05")
    assert inner["periodEnd"] == "2026-11-26T00:00:00Z"
    assert day.condition("BudgetAvailable")["status"] == "False"
    assert day.metric("kotatsu_cost_exhausted") == 1
    assert day.metric("kotatsu_cost_limit", currency="JPY") == 5
    assert day.metric("kotatsu_cost_rate_per_hour", currency="JPY") == 60
    day.restart()
    await day.until(t("10:30"))
    told = [e for e in day.events if e.startswith("Budget")]
    assert told == ["BudgetNearLimit", "BudgetExhausted"]


async def test_a_limit_that_is_near_again_in_the_next_period_has_another_event():
    """No operator ran when the period ended, so the status has the standing of the last one."""
    windows = [once("w", "09:00", "12:00", 1)]
    day = Day.begin(t("10:00"), replicas=1, windows=windows, prices=PRICES, budget=LIMITED)
    day.container = {"resources": {"requests": {"cpu": "1"}}}
    day.pods[0].born = t("09:55:40")
    yesterday = {"currency": "JPY", "accrued": "4.5", "periodStart": "2026-11-24T00:00:00Z"}
    inner = {"period": "Day", "at": "2026-11-24T23:59:00Z", "periodEnd": "2026-11-25T00:00:00Z"}
    near = {"type": "BudgetAvailable", "status": "True", "reason": "NearLimit"}
    near["lastTransitionTime"] = "2026-11-24T23:00:00Z"
    status = {"cost": yesterday, "internal": {"cost": inner}, "conditions": [near]}
    day.kube.edit("WarmPool", "voice", status=status)
    await day.look()
    assert day.condition("BudgetAvailable")["reason"] == "NearLimit"
    assert day.status["cost"]["periodStart"] == "2026-11-25T00:00:00Z"
    assert "BudgetNearLimit" in day.events


async def test_a_pool_that_its_budget_holds_asleep_is_not_ready():
    day = await limited_day()
    await day.until(t("10:30"))
    assert (day.phase, day.status["reason"]) == ("Asleep", "Budget")
    ready = day.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "BudgetExhausted")
    day.edit(budget={"limit": "500"})
    await day.settle()
    assert (day.status["reason"], day.condition("Ready")["status"]) == ("Idle", "True")
    assert "exhaustedAt" not in day.status["internal"]["cost"]


async def test_a_limit_that_is_taken_away_takes_its_condition_and_series_along():
    day = await limited_day()
    day.edit(budget={"limit": None})
    await day.settle()
    assert "BudgetAvailable" not in {c["type"] for c in day.status["conditions"]}
    assert "exhaustedAt" not in day.status["internal"]["cost"]
    assert day.metric("kotatsu_cost_limit", currency="JPY") is None
    assert day.metric("kotatsu_cost_exhausted") is None


async def test_a_limit_without_prices_says_what_is_missing():
    day = await Day.lived("10:00", budget={"limit": "5"})
    condition = day.condition("BudgetAvailable")
    assert (condition["status"], condition["reason"]) == ("Unknown", "NoPrices")
    assert "no effect without prices" in condition["message"]
