"""An awake pool has the pods that its owner ran, and lowers none without an event."""

import re
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.core.report.record import entry_of
from kotatsu_operator.jobs.uninstalled import native_status
from kotatsu_operator.kube.errors import ConflictError
from tests.operator.cluster import horizontal_pod_autoscaler
from tests.operator.core.values import MINUTE, SECOND, cron, examples, once, override, t
from tests.operator.day import Day

SOON = {"idleAfter": "30s"}


@pytest.mark.parametrize("lacks", [False, True])
async def test_a_pool_with_a_target_alone_keeps_the_three_pods_that_ran(lacks):
    day = Day.begin(t("10:00"), replicas=3, ready=True)
    day.scraper.lacks, day.scraper.in_flight = lacks, 1
    day.scraper.passing_now = day.scraper.passing_now.__class__(passing=1)
    await day.until(t("10:20"))
    assert (day.phase, day.replicas, day.status["foundReplicas"]) == ("Warm", 3, 3)
    assert "ReplicasLowered" not in day.events


async def test_a_night_and_a_morning_give_it_three_pods_again():
    day = await Day.lived("10:00", "10:10", replicas=3, ready=True)
    assert (day.phase, day.replicas) == ("Asleep", 0)
    await day.wake().until(t("10:11"))
    assert (day.phase, day.replicas) == ("Warm", 3)
    assert entry_of(day.kube.stored("WarmPool", "voice")).owed["foundReplicas"] == 3


@each("found, spec, least", [
    (3, {}, 3),
    (3, {"minReplicas": 2}, 2),
    (3, {"minReplicas": 5}, 5),
    (3, {"maxReplicas": 2}, 2),
    (0, {}, 1),
    (1, {}, 1),
])  # fmt: skip
async def test_an_awake_pool_has_its_least_pods(found, spec, least):
    day = await Day.lived("10:00", "10:20", replicas=found, ready=True, **spec)
    await day.wake().until(t("10:21"))
    assert (day.phase, day.replicas) == ("Warm", least)


async def test_adoption_lowers_nothing_and_a_lower_maximum_is_said_then_and_as_it_acts():
    day = Day.begin(t("10:00"), replicas=12, ready=True)
    day.scraper.in_flight, day.scraper.busy_pods = 1, 1
    await day.until(t("10:00:50"))
    assert (day.replicas, day.events.count("FoundAboveMaximum")) == (12, 1)
    await day.until(t("10:03"))
    assert day.replicas == 10
    [said] = day.messages("ReplicasLowered")
    assert said.startswith("from 12 to 10 replicas: ")


async def test_a_lowering_says_from_to_and_why():
    windows = [once("pitch", "09:00", "10:05", 5)]
    day = Day.begin(t("10:00"), replicas=3, ready=True, windows=windows)
    day.scraper.in_flight, day.scraper.busy_pods = 1, 1
    await day.until(t("10:10"))
    assert day.replicas == 3
    [said] = day.messages("ReplicasLowered")
    assert said == (
        "from 5 to 3 replicas: windows and overrides ask for 0, the requests of the last minute "
        "for 1, and an awake pool has 3 to 10"
    )


async def test_an_edit_that_lowers_the_least_lowers_the_pool_and_is_said():
    day = Day.begin(t("10:00"), replicas=3, ready=True)
    day.scraper.in_flight, day.scraper.busy_pods = 1, 1
    await day.until(t("10:05"))
    day.edit(minReplicas=1)
    await day.until(t("10:07"))
    assert day.replicas == 1
    [said] = day.messages("ReplicasLowered")
    assert said.startswith("from 3 to 1 replicas: ")


async def test_a_lowering_is_said_once_though_the_write_of_the_status_fails():
    windows = [once("pitch", "09:00", "10:05", 5)]
    day = Day.begin(t("10:00"), replicas=3, ready=True, windows=windows)
    day.scraper.in_flight, day.scraper.busy_pods = 1, 1
    await day.until(t("10:04"))
    before = len(day.kube.called("put_scale"))
    while len(day.kube.called("put_scale")) == before:
        day.now += SECOND
        day.kube.on("patch_status", ConflictError("changed"), times=1)
        await day.look()
    day.kube.on("patch_status", None)
    await day.until(t("10:20"))
    assert (day.replicas, len(day.messages("ReplicasLowered"))) == (3, 1)


async def test_a_window_below_the_least_keeps_the_least_and_opens_with_it():
    windows = [once("small", "10:30", "10:40", 1)]
    day = await Day.lived("10:00", "10:35", replicas=3, ready=True, windows=windows)
    assert (day.status["activeWindow"], day.replicas) == ("small", 3)
    assert day.condition("Warm")["message"] == "3 of 3 replicas are Ready"


async def test_an_override_without_replicas_asks_for_the_least():
    day = await Day.lived("10:00", "10:20", replicas=3, ready=True)
    day.edit(override=override("Warm", t("11:00")))
    await day.until(t("10:25"))
    assert day.replicas == 3


async def test_with_an_autoscaler_its_own_minimum_counts():
    day = Day.begin(t("10:00"), replicas=5, ready=True)
    day.kube.put(horizontal_pod_autoscaler(least=2))
    await day.until(t("10:20"))
    assert (day.phase, day.replicas) == ("Asleep", 0)
    await day.wake().until(t("10:21"))
    assert day.replicas == 1  # its autoscaler raises it to 2
    assert day.kube.stored("HorizontalPodAutoscaler", "voice")["spec"]["minReplicas"] == 2


async def test_a_spent_budget_starts_no_further_pods_for_the_least():
    prices = {"currency": "JPY", "cpuHour": 1}
    day = Day.begin(t("10:00"), replicas=3, ready=True, prices=prices, budget={"limit": "0"})
    await day.until(t("10:10"))
    assert day.phase == "Asleep"
    day.raised()  # by a client: the activator refuses requests
    await day.until(t("10:11"))
    assert day.replicas == 1


# --- pools that are older than the field ---


def older(day, **status):
    """The status as version 0.1 has written it."""
    known = day.status
    inner = {**known["internal"], "foundReplicas": 3}
    day.kube.edit("WarmPool", "voice", status={"foundReplicas": None, "internal": inner, **status})
    return day.restart()


@pytest.mark.parametrize("is_asleep", [False, True])
async def test_a_pool_that_is_older_keeps_one_pod_and_says_so_once(is_asleep):
    day = Day.begin(t("10:00"), replicas=3, ready=True, minReplicas=1)
    day.scraper.in_flight, day.scraper.busy_pods = 0 if is_asleep else 1, 1
    await day.until(t("10:10"))
    assert day.replicas == (0 if is_asleep else 1)
    before = len(day.kube.called("put_scale"))
    older(day).edit(minReplicas=None)
    await day.until(t("10:20"))
    assert len(day.kube.called("put_scale")) == before
    [said] = day.messages("KeepsOneReplica")
    assert "set minReplicas" in said
    day.restart()
    await day.wake().until(t("10:21")) if is_asleep else await day.until(t("10:21"))
    assert (day.replicas, len(day.messages("KeepsOneReplica"))) == (1, 1)
    assert entry_of(day.kube.stored("WarmPool", "voice")).owed["foundReplicas"] == 3


async def test_an_older_pool_with_a_minimum_of_its_own_has_that():
    day = await Day.lived("10:00", "10:10", replicas=3, ready=True)
    older(day).edit(minReplicas=2)
    await day.wake().until(t("10:11"))
    assert (day.replicas, "KeepsOneReplica" in day.events) == (2, False)


async def test_after_an_uninstall_the_target_is_found_anew():
    day = await Day.lived("10:00", "10:10", replicas=3, ready=True)
    day.kube.edit("Deployment", "voice", spec={"replicas": 4})
    day.kube.edit("WarmPool", "voice", status=native_status(day.status))
    assert "foundReplicas" not in day.status
    day.restart()
    await day.until(t("10:11"))
    assert (day.replicas, day.status["foundReplicas"]) == (4, 4)
    assert "KeepsOneReplica" not in day.events


# --- any day ---

_FROM_TO = re.compile(r"from (\d+) to (\d+) replicas: ")


async def steps_down(day, time):
    """The oracle: every step down to above 0 that the pool itself has set."""
    steps, before, end = [], day.replicas, day.now + time
    while day.now < end:
        day.now += 2 * SECOND
        await day.look()
        if 0 < day.replicas < before:
            steps.append(day.replicas)
        before = day.replicas
    return steps


@pytest.mark.slow
@examples(40)
@given(st.integers(0, 2**32))
async def test_whatever_happens_on_a_day_no_step_down_is_silent_and_none_goes_below_the_least(seed):
    """Windows, overrides, demand, restarts and writes that fail, against a sum of its own."""
    die = Random(seed)
    found, most = die.randint(0, 6), die.randint(1, 8)
    windows = [
        cron(f"{die.randint(0, 59)} * * * *", f"{die.randint(1, 30)}m", die.randint(1, most))
    ]
    day = Day.begin(
        t("10:00"), replicas=found, ready=True, windows=windows, maxReplicas=most, **SOON
    )
    steps, lowest = [], min(found, most)
    for _ in range(25):
        what = die.choice(["demand", "restart", "conflict", "scale fails", "override", "wait"])
        if what == "demand":
            day.scraper.in_flight = die.choice([0, 0, 1, 150, 450, None])
        elif what == "restart":
            day.restart()
        elif what == "conflict":
            day.kube.on("patch_status", ConflictError("changed"), times=die.randint(1, 3))
        elif what == "scale fails":
            day.kube.on("put_scale", ConflictError("changed"), times=die.randint(1, 3))
        elif what == "override":
            until = day.now + timedelta(minutes=die.randint(1, 5))
            day.edit(override=override("Warm", until, replicas=die.randint(1, most)))
        steps += await steps_down(day, timedelta(seconds=die.randint(1, 120)))
    # A write may fail three times more before what has happened is said.
    steps += await steps_down(day, 2 * MINUTE)
    assert all(step >= max(lowest, 1) for step in steps)
    said = [int(_FROM_TO.match(text)[2]) for text in day.messages("ReplicasLowered")]
    assert said == steps
