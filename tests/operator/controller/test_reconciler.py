"""One look at one pool, and a small day of looks: what is called, written and told."""

from datetime import timedelta
from decimal import Decimal

import pytest

from kotatsu_operator.controller.act.scale_down import SleepStep, no_hook
from kotatsu_operator.controller.observe.scraper import Passing
from kotatsu_operator.controller.reconciler import BEAT, RETRY, WAKE_GOES_FIRST
from kotatsu_operator.core.budget.prices import parse_table
from kotatsu_operator.core.pool.decision import Claim
from kotatsu_operator.core.pool.spec import parse
from kotatsu_operator.kube.errors import ConflictError, NotFoundError
from tests.operator.cluster import VOICE, deployment, pod, warm_pool
from tests.operator.core.values import MINUTE, SECOND, once, override, t
from tests.operator.day import Day

PRICES = {"currency": "JPY", "prices": {"cpuHour": "60"}}
SOON = {"idleAfter": "1m"}


# --- a first look ---


async def test_a_sleeping_target_is_put_behind_the_activator():
    day = Day.begin(t("08:00"))
    await day.settle()
    route = {"target": "Activator", "epoch": 1, "service": "voice"}
    assert (day.phase, day.status["route"]) == ("Asleep", route)
    assert [day.condition(c)["status"] for c in ("Accepted", "Ready", "Warm")] == [
        "True",
        "True",
        "False",
    ]
    assert day.kube.writes == ["patch_status"]


async def test_a_target_that_runs_is_taken_over_warm_and_untouched():
    day = Day.begin(t("08:00"), replicas=3, ready=True)
    await day.settle()
    assert (day.phase, day.replicas) == ("Warm", 3)
    assert day.status["readyReplicas"] == 3
    assert day.kube.called("put_scale") == []


async def test_a_pool_that_is_gone_is_forgotten_with_its_series():
    day = Day.begin(t("08:00"))
    await day.settle()
    assert day.metric("kotatsu_pool_phase", phase="Asleep") == 1
    day.kube.remove("WarmPool", "voice")
    day.watch()
    assert await day.reconciler.look(VOICE) is None
    assert day.metric("kotatsu_pool_phase", phase="Asleep") is None
    assert day.reconciler._memory == {}


# --- no call without a change ---


async def test_a_sleeping_pool_costs_no_call_at_all():
    day = Day.begin(t("08:00"))
    await day.settle()
    day.kube.calls.clear()
    day.scraper.asked = 0
    await day.until(t("20:00"))
    assert day.kube.calls == []
    assert day.scraper.asked == 0


async def test_a_warm_pool_is_asked_at_every_beat_and_nothing_is_called():
    day = Day.begin(t("10:00"), replicas=1, ready=True, windows=[once("w", "09:00", "12:00", 1)])
    await day.until(t("10:01"))
    day.kube.calls.clear()
    day.scraper.asked = 0
    await day.until(t("10:04"))
    assert day.kube.calls == []
    assert day.scraper.asked >= 2 * (3 * MINUTE / BEAT)


async def test_a_pool_stays_up_until_the_cluster_has_caught_up_with_an_outage():
    day = Day.begin(t("10:00"), replicas=1, ready=True, windows=[once("w", "09:00", "10:10", 1)])
    day.catching_up = 30.0
    await day.until(t("10:20"))
    assert (day.phase, day.replicas) == ("Draining", 1)
    day.catching_up = 0.0
    await day.until(t("10:21"))
    assert day.replicas == 0


async def test_activity_is_written_down_once_a_minute():
    day = Day.begin(t("10:00"), replicas=1, ready=True)
    await day.until(t("10:01"))
    day.kube.calls.clear()
    for seconds in range(0, 600, 10):
        day.now = day.scraper.last_request = t("10:01") + seconds * SECOND
        await day.look()
    assert 9 <= len(day.kube.writes) <= 11
    assert set(day.kube.writes) == {"patch_status"}


async def test_a_change_is_written_at_once_with_what_is_quiet_otherwise():
    day = Day.begin(t("10:00"), replicas=1, ready=True, scaling={"maxReplicas": 3})
    await day.settle()
    day.kube.calls.clear()
    day.now += 5 * SECOND
    day.scraper.in_flight = 3
    await day.until(t("10:00:09"))
    assert day.replicas == 3
    assert day.kube.writes.count("patch_status") == 1
    assert day.status["lastActive"] > "2026-11-25T10:00:05"


async def test_the_status_is_written_at_the_version_that_was_decided_on():
    day = Day.begin(t("08:00"))
    day.watch()
    day.kube.edit("WarmPool", "voice", spec={"suspend": True})
    assert await day.reconciler.look(VOICE) == day.now + RETRY
    assert "phase" not in day.status
    assert day.events == []


async def test_a_pool_that_the_watch_does_not_tell_of_is_read_when_it_has_changed():
    """The watch may have gone silent without closing: every write would lose its race."""
    day = Day.begin(t("08:00"))
    day.watch()
    day.kube.edit("WarmPool", "voice", spec={"suspend": True})
    await day.reconciler.look(VOICE)
    day.now += RETRY
    await day.reconciler.look(VOICE)
    assert (
        day.status["observedGeneration"]
        == day.kube.stored("WarmPool", "voice")["metadata"]["generation"]
    )


async def test_a_pool_that_was_deleted_while_it_was_looked_at_is_no_error():
    day = Day.begin(t("08:00"))
    day.watch()
    day.kube.on(
        "patch_status", lambda *_: day.kube.edit("WarmPool", "voice", spec={"suspend": True})
    )
    day.kube.on("get", lambda *_: day.kube.remove("WarmPool", "voice"))
    assert await day.reconciler.look(VOICE) == day.now + RETRY


# --- scaling ---


async def test_the_scale_is_written_at_the_version_read():
    day = Day.begin(t("10:00"), windows=[once("w", "10:00", "12:00", 2)])
    await day.look()
    assert day.kube.called("get_scale", "put_scale") == [
        ("get_scale", "voice"),
        ("put_scale", "voice", 2),
    ]
    assert (day.replicas, day.phase) == (2, "Warming")


async def test_a_scale_that_changed_meanwhile_is_decided_on_again():
    day = Day.begin(t("10:00"), windows=[once("w", "10:00", "12:00", 2)])

    def somebody_else(*_):
        day.kube.on("put_scale", None)
        day.kube.edit("Deployment", "voice", spec={"replicas": 1})

    day.kube.on("put_scale", somebody_else)
    assert await day.look() == day.now + RETRY
    assert day.replicas == 1
    assert "phase" not in day.status  # nothing was written of a decision that failed
    await day.look()
    assert day.replicas == 2


async def test_a_target_that_already_has_the_replicas_is_not_written():
    """The watch is a moment behind."""
    day = Day.begin(t("10:00"), windows=[once("w", "10:00", "12:00", 2)])
    day.watch()
    day.kube.edit("Deployment", "voice", spec={"replicas": 2})
    await day.reconciler.look(VOICE)
    assert day.kube.called("put_scale") == []


async def test_a_target_that_vanishes_during_the_look_is_looked_for_later(caplog):
    for verb in ("get_scale", "put_scale"):
        day = Day.begin(t("10:00"), windows=[once("w", "10:00", "12:00", 2)])

        def gone(*_):
            raise NotFoundError("gone")

        day.kube.on(verb, gone)
        assert await day.look() > day.now
    day = Day.begin(t("10:00"))
    await day.settle()
    day.kube.edit("Deployment", "voice", spec={"replicas": 1})
    day.watch()
    day.kube.remove("Deployment", "voice")
    assert await day.reconciler.look(VOICE) > day.now


async def test_an_api_server_that_is_away_is_the_planners_to_wait_for():
    day = Day.begin(t("10:00"), windows=[once("w", "10:00", "12:00", 2)])
    day.kube.down = True
    day.watch()
    with pytest.raises(OSError, match="away"):
        await day.reconciler.look(VOICE)
    day.kube.down = False
    await day.settle()
    assert day.replicas == 2


async def test_a_suspended_pool_is_left_alone():
    day = Day.begin(t("09:00"), suspend=True, windows=[once("w", "10:00", "12:00", 2)])
    await day.until(t("11:00"))
    assert day.replicas == 0
    assert day.condition("Accepted")["reason"] == "Suspended"
    day.edit(suspend=False)
    await day.settle()
    assert day.replicas == 2


# --- what is seen ---


async def demand(day, **answers):
    for name, value in answers.items():
        setattr(day.scraper, name, value)
    day.watch()
    spec = warm_pool()["spec"]
    pods = day.cache.target_pods("demo", {"matchLabels": {"app": "voice"}})
    return await day.observer.demand(VOICE, parse(spec), pods)


async def test_demand_is_what_all_pods_serve_and_all_activators_hold():
    day = Day.begin(t("10:00"), replicas=3, ready=True)
    seen = await demand(day, in_flight=2, held_now=4, last_request=t("09:59"))
    assert (seen.in_flight, seen.held, seen.concurrency) == (6, 4, 10)
    assert (seen.known, seen.last_request) == (True, t("09:59"))


async def test_a_ready_pod_that_does_not_answer_makes_demand_unknown():
    day = Day.begin(t("10:00"), replicas=1, ready=True)
    assert not (await demand(day, in_flight=None)).known


async def test_a_starting_pod_that_does_not_answer_does_not():
    day = Day.begin(t("10:00"), replicas=1)
    assert (await demand(day, in_flight=None)).known


async def test_a_pod_that_has_lost_its_readiness_may_still_have_requests():
    day = Day.begin(t("10:00"), replicas=1, ready=True)
    await day.until(t("10:00:30"))
    lost = pod("voice-1", ready=False)
    lost["status"]["startTime"] = "2026-11-25T09:20:00Z"
    day.cache.keep_pod(lost)
    day.scraper.in_flight = None
    spec = parse(day.kube.stored("WarmPool", "voice")["spec"])
    pods = day.cache.target_pods("demo", {"matchLabels": {"app": "voice"}})
    found = await day.observer.demand(VOICE, spec, pods)
    assert (found.known, found.silent[:12]) == (False, "pod voice-1 ")


async def test_an_activator_that_does_not_answer_makes_demand_unknown():
    day = Day.begin(t("10:00"), replicas=1, ready=True)
    assert not (await demand(day, held_now=None)).known


async def test_pods_that_terminate_are_not_asked():
    day = Day.begin(t("10:00"), replicas=1, ready=True)
    day.kube.edit("Deployment", "voice", spec={"replicas": 0})
    assert (await demand(day, in_flight=7)).in_flight == 0


async def test_activators_are_asked_before_pods():
    """A request on its way from the one to the other is then seen at least once."""
    day = Day.begin(t("10:00"), replicas=1, ready=True)
    order = []
    pod, passing = day.scraper.pod, day.scraper.passing

    async def ask_pod(*args):
        order.append("pod")
        return await pod(*args)

    async def ask_activators(*args, **how):
        order.append("activators")
        return await passing(*args, **how)

    day.scraper.pod, day.scraper.passing = ask_pod, ask_activators
    await demand(day)
    assert order == ["activators", "pod"]


async def test_only_a_pool_that_may_sleep_on_the_answer_is_named_to_the_activators():
    """What an activator is asked about, it announces afterwards: see docs/protocol.md, step 5."""
    day = Day.begin(t("10:00"), replicas=1, ready=True)
    await day.until(t("10:01:58"))
    assert (day.phase, day.scraper.looks) == ("Draining", 0)
    assert day.scraper.asked
    await day.until(t("10:02:10"))
    assert (day.phase, day.scraper.looks) == ("Asleep", 1)


async def test_a_pool_that_is_suspended_on_its_way_down_is_not_looked_at():
    day = Day.begin(t("10:00"), replicas=1, ready=True)
    await day.until(t("10:01:58"))
    day.edit(suspend=True)
    for _ in range(5):
        day.now += MINUTE
        day.ticket()
        await day.settle()
    assert (day.phase, day.replicas, day.scraper.looks) == ("Draining", 1, 0)


# --- a refused pool ---


async def test_a_refused_pool_is_told_why_once():
    day = Day.begin(t("10:00"), timeZone="Mars/Base")
    await day.until(t("11:00"))
    assert day.condition("Accepted")["reason"] == "InvalidSpec"
    assert [day.condition(c)["status"] for c in ("Ready", "Warm")] == ["False", "False"]
    assert day.events == ["NotAccepted"]
    assert day.kube.writes == ["patch_status"]


async def test_a_refused_pool_that_is_refused_for_something_else_is_told_that_too():
    day = Day.begin(t("10:00"), timeZone="Mars/Base")
    await day.settle()
    day.edit(timeZone="Venus/Base")
    await day.settle()
    assert day.events == ["NotAccepted", "NotAccepted"]
    assert "Venus/Base" in day.condition("Accepted")["message"]


async def test_a_refused_pool_that_is_corrected_is_acted_on():
    day = Day.begin(t("10:00"), timeZone="Mars/Base", windows=[once("w", "09:00", "12:00", 2)])
    await day.settle()
    day.edit(timeZone="UTC")
    await day.settle()
    assert day.condition("Accepted")["status"] == "True"
    assert day.replicas == 2


async def test_a_pool_that_becomes_refused_keeps_the_pods_that_serve():
    day = Day.begin(t("10:00"), replicas=2, ready=True)
    await day.settle()
    day.scraper.in_flight = 2
    day.edit(timeZone="Mars/Base")
    await day.until(t("10:05"))
    assert day.replicas == 2


async def test_a_pool_that_becomes_refused_leaves_only_that_in_the_metrics():
    day = Day.begin(t("10:00"), replicas=2, ready=True)
    await day.settle()
    assert day.metric("kotatsu_pool_accepted") == 1
    day.edit(timeZone="Mars/Base")
    await day.settle()
    assert day.metric("kotatsu_pool_accepted") == 0
    assert day.metric("kotatsu_pool_replicas_ready") is None
    day.edit(timeZone="UTC")
    await day.settle()
    assert day.metric("kotatsu_pool_accepted") == 1
    assert day.metric("kotatsu_pool_replicas_ready") == 2


async def test_a_refusal_that_meets_an_edit_is_not_told_of():
    day = Day.begin(t("10:00"), timeZone="Mars/Base")
    day.watch()
    day.edit(timeZone="UTC")
    await day.reconciler.look(VOICE)
    assert day.events == []


# --- what it costs ---


async def test_pods_cost_from_scheduled_until_gone():
    day = Day.begin(t("10:00"), windows=[once("w", "10:00", "11:00", 1)], budget=PRICES)
    day.container = {"resources": {"requests": {"cpu": "1"}}}
    await day.until(t("10:10"))
    accrued = Decimal(day.status["cost"]["accrued"])
    assert Decimal(9) <= accrued <= Decimal(10)
    assert day.status["cost"]["currency"] == "JPY"
    assert day.metric("kotatsu_cost_rate_per_hour", currency="JPY") == 60


async def test_what_was_spent_survives_a_restart_of_the_operator():
    day = Day.begin(t("10:00"), windows=[once("w", "10:00", "11:00", 1)], budget=PRICES)
    day.container = {"resources": {"requests": {"cpu": "1"}}}
    await day.until(t("10:03"))
    day.restart()
    day.now = t("10:08")  # it was away for five minutes
    await day.until(t("10:10"))
    assert Decimal(9) <= Decimal(day.status["cost"]["accrued"]) <= Decimal(10)


async def test_pods_without_prices_show_no_cost():
    day = Day.begin(t("10:00"), replicas=1, ready=True, budget={"currency": "JPY"})
    await day.until(t("10:10"))
    assert "cost" not in day.status
    assert day.metric("kotatsu_cost_accrued", currency="JPY") is None


async def test_the_operators_price_table_is_for_pools_without_their_own():
    day = Day.begin(t("10:00"), windows=[once("w", "10:00", "11:00", 1)])
    day.prices = parse_table({"currency": "EUR", "cpuHour": "0.6"})
    day.container = {"resources": {"requests": {"cpu": "1"}}}
    day.restart()
    await day.until(t("10:10"))
    assert (day.status["cost"]["currency"], day.status["cost"]["ratePerHour"]) == (
        "EUR",
        "0.600000",
    )


async def test_a_sleeping_pool_is_foreseen_by_its_targets_template():
    day = Day.begin(t("08:00"), windows=[once("w", "10:00", "11:00", 2)], budget=PRICES)
    container = {"resources": {"requests": {"cpu": "500m"}}}
    template = {"spec": {"containers": [container]}}
    day.kube.edit("Deployment", "voice", spec={"template": template})
    await day.settle()
    assert 60 <= Decimal(day.status["cost"]["forecast"]) <= 62
    assert day.metric("kotatsu_cost_forecast", currency="JPY") == pytest.approx(60, abs=2)


async def test_the_last_seconds_of_pods_that_go_are_charged():
    day = Day.begin(t("10:00"), windows=[once("w", "10:00", "10:05", 1)], budget=PRICES)
    day.container = {"resources": {"requests": {"cpu": "1"}}}
    await day.until(t("10:20"))
    born, ended = t("10:00"), day.history[-1][0]
    assert (day.phase, day.replicas) == ("Asleep", 0)
    minutes = Decimal((ended - born).total_seconds()) / 60
    assert Decimal(day.status["cost"]["accrued"]) == pytest.approx(minutes, abs=Decimal("0.01"))


async def test_a_clock_that_steps_is_measured_past():
    day = Day.begin(t("10:00"), windows=[once("w", "08:00", "20:00", 1)], budget=PRICES)
    day.container = {"resources": {"requests": {"cpu": "1"}}}
    ticks = [0.0]
    day.monotonic = lambda: ticks[0]
    day.restart()
    await day.settle()
    for step in (60, 3600 + 60, -3600 + 60, -3600 + 60):
        day.now += step * SECOND
        ticks[0] += 60
        await day.settle()
    assert day.reconciler.accounts._kept[VOICE][1].accrued == 4


async def test_a_clock_that_was_put_back_does_not_keep_the_costs_from_being_written():
    day = Day.begin(t("10:00"), windows=[once("w", "08:00", "20:00", 1)], budget=PRICES)
    day.container = {"resources": {"requests": {"cpu": "1"}}}
    await day.until(t("10:05"))
    day.now = t("09:55")
    await day.settle()
    assert day.status["cost"]["at"] == "2026-11-25T09:55:00Z"


async def test_a_pool_made_again_under_its_name_begins_its_ledger_anew():
    day = Day.begin(t("10:00"), replicas=1, ready=True, budget=PRICES)
    day.container = {"resources": {"requests": {"cpu": "1"}}}
    await day.until(t("10:10"))
    day.kube.put(warm_pool(uid="another", budget=PRICES))
    await day.settle()
    assert Decimal(day.status["cost"]["accrued"]) == 0


# --- its budget ---

LIMITED = PRICES | {"limit": "5", "period": "Day"}


async def limited_day(**budget):
    """A window from 10:00 to 10:10 at 1 a minute; the limit of 5 is reached halfway."""
    day = Day.begin(
        t("10:00"), windows=[once("w", "10:00", "10:10", 1)], scaling=SOON, budget=LIMITED | budget
    )
    day.container = {"resources": {"requests": {"cpu": "1"}}}
    await day.until(t("10:04:50"))
    assert (day.status["cost"]["exhausted"], day.metric("kotatsu_cost_exhausted")) == (False, 0)
    assert day.condition("BudgetAvailable")["reason"] == "NearLimit"
    await day.until(t("10:05:05"))
    return day


async def test_a_reached_limit_is_written_at_once_and_told_once():
    day = await limited_day()
    cost = day.status["cost"]
    assert (cost["exhausted"], cost["limit"], cost["periodEnd"]) == (
        True,
        "5",
        "2026-11-26T00:00:00Z",
    )
    assert day.condition("BudgetAvailable")["status"] == "False"
    assert day.metric("kotatsu_cost_exhausted") == 1
    assert day.metric("kotatsu_cost_limit", currency="JPY") == 5
    day.restart()
    await day.until(t("10:30"))
    told = [e for e in day.events if e.startswith("Budget")]
    assert told == ["BudgetNearLimit", "BudgetExhausted"]


async def test_a_limit_that_is_near_again_in_the_next_period_has_another_event():
    """No operator ran when the period ended, so the status has the standing of the last one."""
    day = Day.begin(
        t("10:00"), replicas=1, windows=[once("w", "09:00", "12:00", 1)], budget=LIMITED
    )
    day.container = {"resources": {"requests": {"cpu": "1"}}}
    day.pods[0].born = t("09:55:40")
    yesterday = {"currency": "JPY", "period": "Day", "accrued": "4.5", "at": "2026-11-24T23:59:00Z"}
    yesterday |= {"periodStart": "2026-11-24T00:00:00Z", "periodEnd": "2026-11-25T00:00:00Z"}
    near = {"type": "BudgetAvailable", "status": "True", "reason": "NearLimit"}
    near["lastTransitionTime"] = "2026-11-24T23:00:00Z"
    day.kube.edit("WarmPool", "voice", status={"cost": yesterday, "conditions": [near]})
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
    assert day.status["cost"].get("exhaustedAt") is None


async def test_a_budget_that_sleeps_ends_the_window():
    day = await limited_day(onExhausted="Sleep")
    await day.until(t("10:06"))
    assert (day.phase, day.replicas) == ("Asleep", 0)


async def test_a_limit_that_is_taken_away_takes_its_condition_and_series_along():
    day = await limited_day()
    day.edit(budget={"limit": None})
    await day.settle()
    assert "BudgetAvailable" not in {c["type"] for c in day.status["conditions"]}
    assert "exhausted" not in day.status["cost"]
    assert day.metric("kotatsu_cost_limit", currency="JPY") is None
    assert day.metric("kotatsu_cost_exhausted") is None


async def test_a_limit_without_prices_says_what_is_missing():
    day = Day.begin(t("10:00"), budget={"limit": "5"})
    await day.settle()
    condition = day.condition("BudgetAvailable")
    assert (condition["status"], condition["reason"]) == ("Unknown", "NoPrices")
    assert "no effect without prices" in condition["message"]


async def test_another_currency_takes_the_series_of_the_old_one_away():
    day = Day.begin(t("10:00"), budget=PRICES)
    await day.settle()
    day.edit(budget={"currency": "USD"})
    await day.settle()
    assert day.metric("kotatsu_cost_accrued", currency="JPY") is None
    assert day.metric("kotatsu_cost_accrued", currency="USD") == 0
    assert day.status["cost"]["previous"]["currency"] == "JPY"


# --- a small day ---


async def test_a_day_with_a_window_and_a_late_request():
    day = Day.begin(t("08:00"), windows=[once("demo", "10:00", "10:10", 3)], scaling=SOON)
    await day.until(t("10:00"))
    assert (day.phase, day.replicas, day.status["readyReplicas"]) == ("Warm", 3, 3)
    assert day.status["activeWindow"] == "demo"
    assert day.condition("Warm")["status"] == "True"

    await day.until(t("10:15"))
    assert (day.phase, day.replicas) == ("Asleep", 0)
    assert day.condition("Ready")["status"] == "True"

    day.now = t("15:00")
    day.wake()
    await day.until(t("15:00:09"))
    assert (day.phase, day.status["reason"], day.replicas) == ("Warm", "Request", 1)
    assert day.status["route"]["target"] == "Native"
    await day.until(t("15:05"))
    assert (day.phase, day.replicas) == ("Asleep", 0)

    assert day.phases() == [
        "Asleep",
        "Warming",
        "Warm",
        "Draining",
        "Sleeping",
        "Asleep",
        "Warming",
        "Warm",
        "Draining",
        "Sleeping",
        "Asleep",
    ]
    down = ["Draining", "Sleeping", "Asleep"]
    assert day.events == ["Warming", "Warm", "Proven", *down, "Warming", "Warm", *down]
    scales = [call[2] for call in day.kube.called("put_scale")]
    assert scales == [3, 0, 0]


async def test_the_scale_is_lowered_when_the_idle_time_is_over_and_not_before():
    day = Day.begin(t("10:00"), replicas=1, ready=True, scaling={"idleAfter": "2m"})
    await day.until(t("10:03"))
    (asleep_at,) = [at for at, phase, _ in day.history if phase == "Sleeping"]
    assert t("10:02") <= asleep_at <= t("10:02") + 2 * SECOND


async def test_without_an_activator_it_does_not_sleep():
    day = Day.begin(t("10:00"), replicas=1, ready=True, scaling=SOON)
    day.activator = False
    await day.until(t("10:05"))
    assert (day.phase, day.replicas) == ("Draining", 1)
    assert day.condition("Ready")["reason"] == "NoActivator"
    day.activator = True
    await day.until(t("10:06"))
    assert day.replicas == 0


async def test_a_request_between_the_steps_keeps_it_awake():
    day = Day.begin(t("10:00"), replicas=1, ready=True, scaling=SOON)
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


async def test_a_request_in_flight_is_waited_for():
    day = Day.begin(t("10:00"), replicas=1, ready=True, scaling=SOON)
    day.scraper.in_flight = 1
    await day.until(t("10:05"))
    assert (day.phase, day.replicas) == ("Warm", 1)


async def test_requests_that_cannot_be_counted_are_waited_for_half_an_hour():
    day = Day.begin(t("10:00"), replicas=1, ready=True, scaling=SOON)
    day.scraper.in_flight = None
    await day.until(t("10:29"))
    assert day.replicas == 1
    await day.until(t("10:35"))
    assert day.replicas == 0


async def test_an_operator_that_starts_again_while_draining_goes_on():
    day = Day.begin(t("10:00"), replicas=1, ready=True, scaling=SOON)
    await day.until(t("10:00:57"))
    assert day.phase == "Draining"
    epoch = day.status["route"]["epoch"]
    day.restart()
    await day.until(t("10:02"))
    assert (day.phase, day.replicas) == ("Asleep", 0)
    assert day.status["route"]["epoch"] == epoch


async def test_an_operator_that_dies_between_announcing_and_lowering_goes_down_again():
    day = Day.begin(t("10:00"), replicas=1, ready=True, scaling=SOON)

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
    day = Day.begin(t("10:00"), replicas=1, ready=True, scaling=SOON)
    await day.until(t("10:00:59"))
    day.now = t("10:01:01")
    while day.phase != "Sleeping":
        await day.look()
        day.now += RETRY
    day.cache.keep_workload("Deployment", deployment(replicas=1))
    await day.reconciler.look(VOICE)
    assert day.phase == "Sleeping"
    assert day.status["route"]["epoch"] == 1


async def test_an_override_puts_it_to_sleep_at_once_and_a_request_wakes_it_again():
    day = Day.begin(t("10:00"), replicas=2, ready=True, windows=[once("w", "09:00", "12:00", 2)])
    await day.settle()
    day.edit(override=override("Asleep", t("13:00"), by="ada"))
    await day.until(t("10:01"))
    assert (day.phase, day.replicas) == ("Asleep", 0)
    assert day.status["override"]["done"]
    day.wake()
    await day.until(t("10:01:20"))
    assert (day.phase, day.replicas) == ("Warm", 1)


async def test_while_an_activator_wakes_the_pool_the_operator_neither_asks_nor_writes():
    day = Day.begin(t("08:00"))
    await day.settle()
    day.kube.calls.clear()
    day.wake()
    await day.look()
    assert (day.kube.calls, day.due) == ([], day.now + WAKE_GOES_FIRST)
    day.now = day.due
    await day.look()
    assert day.phase == "Warming"


async def test_a_wake_puts_the_operator_off_once_whatever_is_announced():
    day = Day.begin(t("08:00"))
    await day.settle()
    for _ in range(5):
        day.wake()
        await day.look()
        day.now += WAKE_GOES_FIRST / 4
    assert day.phase == "Warming"


async def test_a_clock_that_is_set_back_puts_the_operator_off_no_longer():
    day = Day.begin(t("08:00"))
    await day.settle()
    day.wake()
    await day.look()
    day.now -= timedelta(hours=1)
    await day.look()
    assert day.phase == "Warming"


async def test_conditions_keep_their_time_over_the_day():
    day = Day.begin(t("08:00"), windows=[once("demo", "10:00", "10:05", 1)], scaling=SOON)
    await day.until(t("10:30"))
    assert day.condition("Accepted")["lastTransitionTime"] == "2026-11-25T08:00:00Z"
    assert "T10:05" in day.condition("Warm")["lastTransitionTime"]


async def test_what_people_see_in_prometheus_is_the_decision():
    day = Day.begin(t("08:00"), windows=[once("demo", "10:00", "11:00", 2)])
    await day.until(t("08:30"))
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
    day = Day.begin(t("09:59"), windows=[once("demo", "10:00", "10:01", 1)])
    await day.settle()
    next_one = "kotatsu_pool_next_transition_timestamp_seconds"
    assert day.metric(next_one) == t("10:00").timestamp()
    await day.until(t("10:02"))
    assert day.metric(next_one) is None
    assert "nextTransition" not in day.status


async def test_an_event_that_cannot_be_posted_stops_nothing():
    day = Day.begin(t("09:59"), windows=[once("demo", "10:00", "11:00", 2)])

    def refuse(kind, _):
        if kind == "Event":
            raise ConflictError("no")

    day.kube.on("create", refuse)
    await day.until(t("10:01"))
    assert (day.phase, day.replicas) == ("Warm", 2)


async def test_a_sleeping_pool_is_looked_at_every_five_minutes_and_nothing_is_written():
    prices = {"currency": "JPY", "prices": {"cpuHour": "6"}}
    day = Day.begin(t("08:00"), windows=[once("demo", "20:00", "21:00", 2)], budget=prices)
    await day.settle()
    assert day.due == day.now + timedelta(minutes=5)
    calls = len(day.kube.calls)
    await day.until(t("09:00"))
    assert len(day.kube.calls) == calls


async def test_an_edit_of_an_open_window_is_excused_and_counted_once():
    day = Day.begin(t("09:00"), windows=[once("demo", "10:00", "10:30", 2)])
    await day.until(t("10:10"))
    day.edit(windows=[once("demo", "10:05", "10:30", 5)])
    await day.until(t("10:20"))
    assert "WindowCold" not in day.events
    assert day.status["windows"] == {"ready": 1, "cold": 0, "late": 0}
    assert day.metric("kotatsu_pool_windows_total", outcome="ready") == 1
    assert day.metric("kotatsu_pool_windows_total", outcome="cold") == 0


async def test_how_windows_did_is_remembered_over_a_restart():
    day = Day.begin(t("09:59:58"), windows=[once("demo", "10:00", "11:00", 2)])
    day.edit(windows=[once("demo", "10:30", "11:00", 2)])
    await day.until(t("10:35"))
    day.restart()
    day.edit(windows=[once("demo", "12:00", "13:00", 2)])
    await day.until(t("12:05"))
    assert day.status["windows"] == {"ready": 2, "cold": 0, "late": 0}


async def test_an_operator_that_was_away_still_tells_prometheus_that_the_window_opened_cold():
    day = Day.begin(t("08:00"), windows=[once("demo", "10:00", "11:00", 2)])
    await day.until(t("09:00"))
    assert day.metric("kotatsu_pool_cold_opening_timestamp_seconds") is None
    for after in ("10:01", "10:02"):
        day.now = t(after)
        day.restart()
        await day.settle()
        assert day.metric("kotatsu_pool_cold_opening_timestamp_seconds") == t("10:00").timestamp()


async def test_a_window_that_never_opens_is_named_in_the_status_and_told_once():
    gap = {"name": "w", "start": "2026-03-29T02:15", "end": "2026-03-29T02:45", "replicas": 1}
    day = Day.begin(t("08:00"), windows=[gap], timeZone="Europe/Berlin")
    await day.until(t("08:30"))
    assert day.condition("Accepted")["reason"] == "WindowNeverOpens"
    assert "window w never opens" in day.condition("Accepted")["message"]
    assert day.events == ["WindowNeverOpens"]


async def test_a_pool_claims_its_next_warm_up_and_starts_at_its_turn():
    day = Day.begin(t("08:00"), windows=[once("demo", "10:00", "11:00", 2)])
    await day.settle()
    others = {("demo", f"younger-{n}"): Claim(t("09:58:52"), 2) for n in range(100)}
    for key, claim in others.items():
        day.pacer.claim(key, claim)
    day.pacer.settle()
    ahead = day.pacer.ahead(VOICE)
    assert ahead == timedelta(seconds=40)
    assert (VOICE, t("09:58:52") - ahead) in day.hurried
    await day.until(t("10:01"))
    began = next(at for at, phase, _ in day.history if phase == "Warming")
    assert began == t("09:58:52") - ahead


async def test_awake_pools_are_asked_less_often_the_more_there_are():
    day = Day.begin(t("10:00"), windows=[once("demo", "09:00", "12:00", 1)])
    await day.until(t("10:01"))
    assert day.due == day.now + timedelta(seconds=2)
    day.reconciler._awake |= {("demo", f"other-{n}") for n in range(999)}
    await day.settle()
    assert day.due == day.now + timedelta(seconds=20)


# --- route Always ---


def always():
    day = Day.begin(t("10:00"), replicas=1, ready=True, route="Always", scaling=SOON)
    day.kube.edit("Service", "voice", spec={"selector": None})
    return day


async def test_on_route_always_the_activators_are_asked_and_no_pod_is():
    day = always()
    day.scraper.in_flight = None  # the pods say nothing
    day.scraper.passing_now = Passing(1, 0, None)
    await day.until(t("10:10"))
    assert (day.phase, day.status["route"]["target"]) == ("Warm", "Activator")
    day.scraper.passing_now = Passing(0, 0, t("10:10:30"))
    await day.until(t("10:11:20"))
    assert day.replicas == 1
    await day.until(t("10:12"))
    assert day.replicas == 0


async def test_on_route_always_a_silent_activator_keeps_the_pool_awake():
    day = always()
    day.scraper.passing_now = Passing(0, 0, None, silent="activator-1 does not answer")
    await day.until(t("10:10"))
    assert (day.phase, day.replicas) == ("Warm", 1)
