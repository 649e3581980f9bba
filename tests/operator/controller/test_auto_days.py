"""Days of pools on route Auto whose pods have no gauge: all connections pass the activators."""

from dataclasses import replace

from kotatsu_operator.controller.scale_down import SleepStep
from kotatsu_operator.core.pool.decision import Demand
from kotatsu_operator.core.protocol import ROUTE_LABEL
from tests.operator.cluster import owned
from tests.operator.core.values import t
from tests.operator.day import Day

PODS = {"app": "voice"}
TAKEN = PODS | {ROUTE_LABEL: "Activator"}
FLUX = {"managedFields": [owned("selector", "kustomize-controller", operation="Apply")]}


def without_a_gauge(*, flux=False, **spec):
    """A pool whose one Ready pod has no gauge; Flux may apply the selector of its Service."""
    day = Day.begin(t("10:00"), replicas=1, ready=True, **spec)
    day.scraper.lacks = True
    if flux:
        day.kube.edit("Service", "voice", metadata=FLUX)
    return day


def of_the_version_before(**spec):
    """The same pool asleep, as the operator has left it that counted a share of connections."""
    day = Day.begin(t("10:00"), **spec)
    day.scraper.lacks = True
    status = {
        "phase": "Asleep",
        "observedGeneration": 1,
        "route": {"target": "Activator", "epoch": 3, "service": "voice", "counted": True},
        "phaseSince": "2026-11-25T09:00:00Z",
        "foundReplicas": 1,
        "internal": {"template": {"hash": "", "metered": False}},
    }
    day.kube.edit("WarmPool", "voice", status=status)
    day.kube.edit("Service", "voice", metadata=FLUX)
    return day


def selector(day):
    return day.kube.stored("Service", "voice")["spec"]["selector"]


async def test_the_service_of_pods_without_a_gauge_leads_to_the_activators_and_one_event_says_so():
    day = without_a_gauge()
    await day.until(t("10:01"))
    known = day.condition("DemandKnown")
    assert (known["status"], known["reason"]) == ("True", "Known")
    assert known["message"].startswith("the pods have no gauge of requests in flight: the act")
    assert selector(day) == TAKEN
    assert day.metric("kotatsu_pool_demand_known") == 1
    await day.until(t("10:05"))
    assert day.phase == "Asleep"
    day.restart()
    await day.until(t("10:06"))
    assert day.events.count("RouteDecided") == 1


async def test_a_connection_in_an_activator_keeps_such_a_pool_from_step_5():
    day = without_a_gauge()

    async def look(key, step):
        if step is SleepStep.BEFORE_LOOKING:
            day.scraper.passing_now = Demand(passing=1, last_passed=day.now)

    day.hook = look
    await day.until(t("10:10"))
    assert (day.replicas, day.phase) == (1, "Warm")


async def test_no_pod_is_asked_once_it_is_decided():
    day = without_a_gauge()
    await day.until(t("10:01"))
    asked = day.scraper.looks

    async def none(*_, **__):
        raise AssertionError("a pod was asked")

    day.scraper.pods = none
    await day.until(t("10:05"))
    assert day.phase == "Asleep"
    assert day.scraper.looks > asked


async def test_a_gauge_that_an_edit_names_gives_the_service_back():
    day = without_a_gauge()
    await day.until(t("10:01"))
    day.scraper.lacks = False
    day.edit(inFlightMetric={"port": "metrics"})
    await day.until(t("10:01:30"))
    assert (selector(day), day.status["route"]["target"]) == (PODS, "Native")


async def test_a_new_pool_whose_selector_another_manager_writes_is_refused_with_what_to_do():
    day = without_a_gauge(flux=True)
    await day.until(t("10:05"))
    refused = day.condition("Accepted")
    assert (refused["status"], refused["reason"]) == ("False", "SelectorContested")
    assert f"add `{ROUTE_LABEL}: Activator` to spec.selector" in refused["message"]
    assert "name a gauge of the pods in spec.inFlightMetric" in refused["message"]
    assert (selector(day), day.replicas) == (PODS, 1)


async def test_a_pool_that_ran_before_wakes_and_sleeps_as_it_did_with_a_warning():
    day = of_the_version_before(idleAfter="1m")
    await day.until(t("10:01"))
    assert (day.phase, day.condition("Accepted")["status"]) == ("Asleep", "True")
    day.wake()
    await day.until(t("10:01:30"))
    known = day.condition("DemandKnown")
    assert (day.phase, known["reason"], selector(day)) == ("Warm", "SelectorContested", PODS)
    assert day.status["route"]["counted"] is True
    day.scraper.passing_now = replace(day.scraper.passing_now, passing=1)
    await day.until(t("10:10"))
    assert day.phase == "Warm"
    day.scraper.passing_now = replace(day.scraper.passing_now, passing=0)
    await day.until(t("10:15"))
    assert day.phase == "Asleep"
    assert day.events.count("SelectorContested") == 1


async def test_such_a_pool_is_refused_once_it_is_edited():
    day = of_the_version_before()
    await day.until(t("10:01"))
    day.edit(idleAfter="3m")
    await day.until(t("10:02"))
    refused = day.condition("Accepted")
    assert (refused["status"], refused["reason"]) == ("False", "SelectorContested")
    await day.until(t("10:03"))
    assert day.condition("Accepted")["status"] == "False"


async def test_such_a_pool_takes_its_service_once_nobody_else_writes_the_selector():
    day = of_the_version_before(idleAfter="1m")
    await day.until(t("10:01"))
    day.kube.edit("Service", "voice", metadata={"managedFields": []})
    await day.until(t("10:02"))
    assert selector(day) == TAKEN
    assert "counted" not in day.status["route"]
    assert day.condition("DemandKnown")["status"] == "True"
