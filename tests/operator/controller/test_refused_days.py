"""A refused pool begins nothing; its override, its windows and its money come to their ends."""

from datetime import timedelta
from decimal import Decimal

import pytest

from kotatsu_operator.core.pool.parse import parse, salvage
from tests.operator.cluster import horizontal_pod_autoscaler, owned, warm_pool
from tests.operator.core.values import HOUR, MINUTE, once, override, t
from tests.operator.day import Day

PRICES = {"currency": "JPY", "cpuHour": "60"}
CORE = {"resources": {"requests": {"cpu": "1"}}}
PITCH = once("pitch", "10:00", "10:20", 5)
LATER = once("later", "11:00", "11:10", 5)


def broken_zone(day):
    day.edit(timeZone="Mars/Base")


async def warm(end="10:10", **spec):
    """A pool that has been accepted and runs its window's five pods."""
    day = Day.begin(t("09:55"), windows=[PITCH, LATER], prices=PRICES, **spec)
    day.container = CORE
    await day.until(t(end))
    assert (day.phase, day.replicas) == ("Warm", 5)
    return day


def spent(day):
    return Decimal(day.status["cost"]["accrued"])


async def test_29_hours_after_a_typo_nothing_runs_and_all_was_charged():
    """Before: 5 pods ran, 0 was charged, and the override had not ended."""
    asked = override("Warm", t("10:20"), replicas=5)
    day = Day.begin(t("10:00"), override=asked, prices=PRICES)
    day.container = CORE
    await day.until(t("10:10"))
    broken_zone(day)
    await day.until(t("10:30"))
    await day.until(t("10:10") + 29 * HOUR, late=9 * MINUTE)
    assert (day.replicas, day.pods) == (0, [])
    # Five cores at 60 an hour for twenty minutes and the seconds of the way down.
    assert Decimal(99) <= spent(day) <= Decimal(112)
    assert day.condition("Accepted")["status"] == "False"
    assert day.metric("kotatsu_pool_override_end_timestamp_seconds", mode="Warm") is None
    assert day.metric("kotatsu_cost_accrued", currency="JPY") == pytest.approx(float(spent(day)))


async def test_an_open_window_is_kept_to_its_end_and_the_next_one_does_not_open():
    day = await warm()
    broken_zone(day)
    await day.until(t("10:19"))
    assert day.replicas == 5
    await day.until(t("11:05"))
    assert day.replicas == 0
    assert max((n for at, _, n in day.history if at > t("10:25")), default=0) == 0


async def test_a_mended_pool_goes_on():
    day = await warm()
    broken_zone(day)
    await day.until(t("10:50"))
    day.edit(timeZone="UTC")
    await day.until(t("11:05"))
    assert (day.phase, day.replicas) == ("Warm", 5)
    assert day.condition("Accepted")["status"] == "True"


async def test_without_its_service_one_pod_stays_and_is_charged():
    day = await warm()
    day.kube.remove("Service", "voice")
    await day.until(t("10:30"))
    assert day.replicas == 1
    before = spent(day)
    await day.until(t("10:40"))
    assert spent(day) - before == pytest.approx(Decimal(10), abs=2)
    said = day.condition("Accepted")["message"]
    assert "1 of its pods still run at 60.00 JPY an hour" in said
    assert "no request could wake it" in said


async def test_what_an_autoscaler_of_others_scales_is_charged_and_left_alone():
    day = await warm()
    for name in ("one", "two"):
        day.kube.put(horizontal_pod_autoscaler(name))
    before = spent(day)
    await day.until(t("11:10"))
    assert day.replicas == 5
    assert spent(day) - before == pytest.approx(Decimal(300), abs=5)
    assert "Kotatsu does not scale them" in day.condition("Ready")["message"]


async def test_replicas_that_another_manager_has_set_are_left_alone():
    day = await warm()
    broken_zone(day)
    fields = [owned("replicas", "kubectl")]
    day.kube.edit("Deployment", "voice", metadata={"managedFields": fields})
    await day.until(t("10:40"))
    assert day.replicas == 5
    assert "(kubectl has set the replicas)" in day.condition("Ready")["message"]


async def test_a_spent_budget_with_policy_sleep_stops_a_refused_pool():
    day = await warm("10:03", budget={"limit": "30", "onExhausted": "Sleep"})
    broken_zone(day)
    await day.until(t("10:10"))
    assert day.replicas == 0
    assert day.condition("BudgetAvailable")["reason"] == "Exhausted"
    assert spent(day) < Decimal(42)


async def test_the_pods_of_a_deleted_target_are_charged_until_they_are_gone():
    day = await warm()
    day.kube.remove("Deployment", "voice")
    before = spent(day)
    await day.until(t("10:20"))
    assert day.condition("Accepted")["reason"] == "TargetNotFound"
    assert len(day.pods) == 0
    rest = spent(day) - before
    await day.until(t("11:00"))
    assert spent(day) - before == rest


async def test_a_pool_that_was_never_accepted_changes_nothing():
    day = Day.begin(t("09:55"), replicas=3, ready=True, windows=[PITCH], timeZone="Mars/Base")
    await day.until(t("13:00"))
    assert day.replicas == 3
    assert day.kube.called("put_scale") == []
    assert "phase" not in day.status
    assert day.condition("Accepted")["reason"] == "InvalidSpec"


async def test_a_restarted_operator_ends_what_it_can_read():
    asked = override("Warm", t("10:25"), replicas=5)
    day = await Day.lived("10:00", "10:10", override=asked, windows=[LATER], prices=PRICES)
    broken_zone(day)
    await day.until(t("10:20"))
    day.restart()
    await day.until(t("10:24"))
    assert day.replicas == 5
    await day.until(t("10:35"))
    assert day.replicas == 0


async def test_an_unreadable_budget_takes_nothing_of_the_ledger():
    day = await warm()
    before = spent(day)
    day.edit(budget={"limit": "cheap"})
    day.restart()
    await day.until(t("10:12"))
    assert spent(day) >= before


# --- what is left of a spec ---


def test_what_cannot_be_read_is_as_it_was_or_left_out():
    target = {"targetRef": warm_pool()["spec"]["targetRef"]}
    good = target | {"windows": [PITCH], "timeZone": "Asia/Tokyo", "holdTimeout": "10s"}
    last = parse(good)
    read = salvage(good | {"timeZone": "Mars/Base"}, last)
    assert read == last
    alone = salvage(good | {"timeZone": "Mars/Base"})
    assert (alone.windows, str(alone.zone)) == ((), "UTC")
    assert alone.hold_timeout == timedelta(seconds=10)
