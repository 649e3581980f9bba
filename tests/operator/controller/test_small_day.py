"""A day of one pool: windows, requests, restarts."""

from datetime import timedelta

import pytest

from kotatsu_operator.controller.reconciler import RETRY, WAKE_GOES_FIRST
from kotatsu_operator.controller.scale_down import SleepStep, no_hook
from kotatsu_operator.core.pool.decision import Demand, Wake
from kotatsu_operator.core.pool.memory import read_warm_ups
from kotatsu_operator.core.pool.news import Claim
from tests.operator.cluster import VOICE, deployment
from tests.operator.controller.test_reconciler import SOON
from tests.operator.core.values import MINUTE, SECOND, once, t
from tests.operator.day import PUNCTUAL, READY_AFTER, Day


async def test_a_day_with_a_window_and_a_late_request():
    day = Day.begin(t("08:00"), windows=[once("demo", "10:00", "10:10", 3)], **SOON)
    await day.until(t("10:00"), late=PUNCTUAL)
    assert (day.phase, day.replicas, day.status["readyReplicas"]) == ("Warm", 3, 3)
    assert day.status["activeWindow"] == "demo"
    assert day.condition("Warm")["status"] == "True"

    await day.until(t("10:15"), late=PUNCTUAL)
    assert (day.phase, day.replicas) == ("Asleep", 0)
    assert day.condition("Ready")["status"] == "True"

    day.now = t("15:00")
    day.wake()
    await day.until(t("15:00:09"), late=PUNCTUAL)
    assert (day.phase, day.status["reason"], day.replicas) == ("Warm", "Request", 1)
    assert day.status["route"]["target"] == "Native"
    await day.until(t("15:05"), late=PUNCTUAL)
    assert (day.phase, day.replicas) == ("Asleep", 0)

    up, down = ["Warming", "Warm"], ["Draining", "Sleeping", "Asleep"]
    assert day.phases() == ["Asleep", *up, *down, *up, *down]
    assert day.events == [*up, "Proven", *down, *up, *down]
    assert [call[2] for call in day.kube.called("put_scale")] == [3, 0, 0]


async def test_a_request_between_the_steps_keeps_it_awake():
    day = Day.begin(t("10:00"), replicas=1, ready=True, **SOON)
    requests = []

    async def request(_, step):
        if step is SleepStep.BEFORE_ANNOUNCING and not requests:
            requests.append(day.now)
            day.ticket()

    day.hook = request
    await day.until(t("10:01:30"))
    assert requests
    assert (day.phase, day.replicas) == ("Warm", 1)
    assert day.kube.called("put_scale") == []
    await day.until(t("10:05"))
    assert (day.phase, day.replicas) == ("Asleep", 0)


async def test_a_pool_that_wakes_while_its_last_pod_ends_is_warm_with_the_new_one():
    day = Day.begin(t("10:00"), replicas=1, ready=True, **SOON)
    while day.replicas:
        await day.until(day.now + SECOND)
    day.wake()
    await day.until(day.now + SECOND)
    assert [made.ended is None for made in day.pods] == [False, True]
    assert (day.phase, day.status["readyReplicas"]) == ("Warming", 0)
    await day.until(day.now + 8 * SECOND)
    assert (day.phase, day.status["readyReplicas"]) == ("Warm", 1)


async def test_an_operator_that_dies_between_announcing_and_lowering_goes_down_again():
    day = Day.begin(t("10:00"), replicas=1, ready=True, **SOON)

    async def die(_, step):
        if step is SleepStep.BEFORE_LOWERING:
            raise KeyboardInterrupt

    day.hook = die
    with pytest.raises(KeyboardInterrupt):
        await day.until(t("10:02"))
    assert (day.phase, day.replicas) == ("Sleeping", 1)
    epoch = day.status["route"]["epoch"]
    day.restart()
    day.hook = no_hook
    await day.until(day.now + MINUTE)
    assert (day.phase, day.replicas) == ("Asleep", 0)
    assert day.status["route"]["epoch"] == epoch + 1


async def test_a_watch_that_lags_behind_the_lowering_is_not_taken_for_an_interrupted_sleep():
    day = await Day.lived("10:00", "10:00:59", replicas=1, ready=True, **SOON)
    day.now = t("10:01:01")
    while day.phase != "Sleeping":
        await day.look()
        day.now += RETRY
    day.cache.keep_workload("Deployment", deployment(replicas=1))
    await day.reconciler.reconcile(VOICE)
    assert day.phase == "Sleeping"
    assert day.status["route"]["epoch"] == 1


@pytest.mark.parametrize("shown_first", [Day.raised, Day.ticket])
async def test_while_an_activator_wakes_the_pool_the_operator_neither_asks_nor_writes(shown_first):
    day = await Day.lived("08:00")
    day.kube.calls.clear()
    shown_first(day)
    await day.look()
    day.wake()
    await day.look()
    assert (day.kube.calls, day.due) == ([], day.now + WAKE_GOES_FIRST)
    day.now = day.due
    await day.look()
    assert day.phase == "Warming"


async def test_a_short_wake_costs_the_operator_one_write_and_one_event():
    """Besides the raise and what two activators publish: five writes in all."""
    day = await Day.lived("08:00", "08:10", replicas=1, ready=True, **SOON)
    assert day.phase == "Asleep"
    day.wake()
    await day.settle()
    day.kube.calls.clear()
    day.pods[-1].born = day.now - READY_AFTER
    day.scraper.passing_now = Demand(last_wake=Wake(day.now, SECOND))
    await day.until(day.now + 10 * SECOND, late=PUNCTUAL)
    assert (day.phase, day.status["reason"]) == ("Warm", "Request")
    assert day.events == ["Warm"]
    assert day.kube.writes == ["patch_status"]


async def test_the_last_wake_is_written_with_what_is_written_anyway():
    day = await Day.lived("08:00", **SOON)
    day.wake()
    day.scraper.passing_now = Demand(last_wake=Wake(day.now, 1.5 * SECOND))
    await day.until(day.now + 3 * MINUTE)
    assert day.phase == "Asleep"
    assert day.status["lastWake"] == {"at": "2026-11-25T08:00:00Z", "duration": "1.500s"}


async def test_requests_that_wake_the_pool_soon_after_each_sleep_are_flapping():
    """The scale that the operator has set to 0 has no owner, and gets none."""
    day = await Day.lived("08:00", "08:10", replicas=1, ready=True, **SOON)
    for _ in range(3):
        assert day.phase == "Asleep"
        day.wake()
        await day.until(day.now + SECOND, late=PUNCTUAL)
        assert day.status["reason"] == "Request"
        while day.phase != "Asleep":
            await day.until(day.now + SECOND, late=PUNCTUAL)
    assert "Flapping" in day.events


async def test_a_scale_from_0_that_no_activator_has_set_is_no_request():
    day = await Day.lived("08:00", **SOON)
    day.wake()
    woken = Wake(day.now, SECOND)
    day.scraper.passing_now = Demand(last_wake=woken)
    await day.until(day.now + 3 * MINUTE)
    assert day.phase == "Asleep"
    day.raised()
    await day.until(day.now + SECOND)
    assert (day.phase, day.status["reason"]) == ("Warming", "Demand")


async def test_a_wake_without_an_operator_is_in_the_status_once_it_is_back():
    day = await Day.lived("08:00")
    day.wake()
    day.watch()
    day.now += 5 * MINUTE
    day.scraper.passing_now = Demand(last_wake=Wake(t("08:00"), SECOND))
    day.restart()
    await day.until(day.now + 2 * MINUTE)
    assert (day.phase, day.status["reason"]) == ("Warm", "Request")
    assert day.status["lastWake"]["at"] == "2026-11-25T08:00:00Z"


async def test_a_wake_puts_the_operator_off_once_whatever_is_announced():
    day = await Day.lived("08:00")
    for _ in range(5):
        day.wake()
        await day.look()
        day.now += WAKE_GOES_FIRST / 4
    assert day.phase == "Warming"


async def test_a_clock_that_is_set_back_puts_the_operator_off_no_longer():
    day = await Day.lived("08:00")
    day.wake()
    await day.look()
    day.now -= timedelta(hours=1)
    await day.look()
    assert day.phase == "Warming"


async def test_conditions_keep_their_time_over_the_day():
    day = await Day.lived("08:00", "10:30", windows=[once("demo", "10:00", "10:05", 1)], **SOON)
    assert day.condition("Accepted")["lastTransitionTime"] == "2026-11-25T08:00:00Z"
    assert "T10:05" in day.condition("Warm")["lastTransitionTime"]


async def test_what_people_see_in_prometheus_is_the_decision():
    day = await Day.lived("08:00", "08:30", windows=[once("demo", "10:00", "11:00", 2)])
    assert day.metric("kotatsu_pool_phase", phase="Asleep") == 1
    assert day.metric("kotatsu_pool_next_transition_timestamp_seconds") < t("10:00").timestamp()
    await day.until(t("10:05"))
    assert day.metric("kotatsu_pool_phase", phase="Warm") == 1
    assert day.metric("kotatsu_pool_phase", phase="Asleep") == 0
    assert day.metric("kotatsu_pool_replicas_desired") == 2
    assert day.metric("kotatsu_pool_replicas_ready") == 2
    assert day.metric("kotatsu_pool_window_active") == 1
    assert day.metric("kotatsu_pool_window_ready_early_seconds") > 0


async def test_a_schedule_that_is_over_has_no_next_transition_any_more():
    day = await Day.lived("09:59", windows=[once("demo", "10:00", "10:01", 1)])
    next_one = "kotatsu_pool_next_transition_timestamp_seconds"
    assert day.metric(next_one) == t("10:00").timestamp()
    await day.until(t("10:02"))
    assert day.metric(next_one) is None
    assert "nextTransition" not in day.status


async def test_an_edit_of_an_open_window_is_excused_and_counted_once():
    day = await Day.lived("09:00", "10:10", windows=[once("demo", "10:00", "10:30", 2)])
    day.edit(windows=[once("demo", "10:05", "10:30", 5)])
    await day.until(t("10:20"))
    assert "WindowCold" not in day.events
    assert day.status["internal"]["windows"] == {"ready": 1, "cold": 0, "late": 0}
    assert day.metric("kotatsu_pool_windows_total", outcome="ready") == 1
    assert day.metric("kotatsu_pool_windows_total", outcome="cold") == 0


async def test_an_operator_that_was_away_still_tells_prometheus_that_the_window_opened_cold():
    day = await Day.lived("08:00", "09:00", windows=[once("demo", "10:00", "11:00", 2)])
    assert day.metric("kotatsu_pool_cold_opening_timestamp_seconds") is None
    for after in ("10:01", "10:02"):
        day.now = t(after)
        day.restart()
        await day.settle()
        assert day.metric("kotatsu_pool_cold_opening_timestamp_seconds") == t("10:00").timestamp()


async def test_a_window_that_never_opens_is_named_in_the_status_and_told_once():
    gap = {"name": "w", "start": "2026-03-29T02:15", "end": "2026-03-29T02:45", "replicas": 1}
    day = await Day.lived("08:00", "08:30", windows=[gap], timeZone="Europe/Berlin")
    assert day.condition("Accepted")["reason"] == "WindowNeverOpens"
    assert "window w never opens" in day.condition("Accepted")["message"]
    assert day.events == ["WindowNeverOpens"]


async def test_a_pool_claims_its_next_warm_up_and_starts_at_its_turn():
    day = await Day.lived("08:00", windows=[once("demo", "10:00", "11:00", 2)])
    others = {("demo", f"younger-{n}"): Claim(t("09:58:52"), 2) for n in range(100)}
    for key, claim in others.items():
        day.pacer.claim(key, claim)
    day.pacer.settle()
    ahead = day.pacer.ahead(VOICE)
    assert ahead == timedelta(seconds=40)
    assert (VOICE, t("09:58:52") - ahead) in day.hurried
    await day.until(t("10:01"), late=PUNCTUAL)
    began = next(at for at, phase, _ in day.history if phase == "Warming")
    assert began == t("09:58:52") - ahead


async def test_awake_pools_are_asked_less_often_the_more_there_are():
    day = await Day.lived("10:00", "10:01", windows=[once("demo", "09:00", "12:00", 1)])
    assert day.due == day.now + timedelta(seconds=2)
    day.reconciler._awake |= {("demo", f"other-{n}") for n in range(999)}
    await day.settle()
    assert day.due == day.now + timedelta(seconds=20)


async def test_an_operator_that_takes_over_goes_on_measuring_a_start():
    day = Day.begin(t("10:00"), windows=[once("pitch", "10:00", "10:10", 2)])
    await day.until(t("10:00:05"))
    day.restart()
    await day.until(t("10:00:20"))
    [took] = read_warm_ups(day.status)
    assert (day.phase, took.seconds) == ("Warm", READY_AFTER.total_seconds())
    assert "raisedAt" not in day.status["internal"]
