"""Route Activator takes the selector of the pool's Service over, and gives it back."""

import pytest

from kotatsu_operator.controller.restore import Records
from kotatsu_operator.core.protocol import ROUTE_LABEL
from kotatsu_operator.core.report.record import read_entry
from tests.operator.cluster import (
    NAMESPACE,
    RECORD,
    VOICE,
    config_map,
    deployment,
    native_slice,
    service,
    warm_pool,
)
from tests.operator.controller.test_retarget import named
from tests.operator.core.values import MINUTE, SECOND, t
from tests.operator.day import Day

PODS = {"app": "voice"}
TAKEN = {"app": "voice", ROUTE_LABEL: "Activator"}


def begun(**spec):
    """A pool with route Activator, whose Service selects two Ready pods."""
    day = Day.begin(t("10:00"), replicas=2, ready=True, route="Activator", **spec)
    day.kube.put(config_map())
    day.records = Records(day.kube, NAMESPACE)
    day.remember = day.records.remember
    return day


async def taken(**spec):
    day = begun(**spec)
    await day.until(t("10:01"))
    assert selector(day) == TAKEN
    return day


def selector(day, name="voice"):
    return day.kube.stored("Service", name)["spec"]["selector"]


def recorded(day):
    data = day.kube.stored("ConfigMap", RECORD).get("data") or {}
    return [read_entry(text, "demo").owed.get("takenService") for text in data.values()]


# --- the way there ---


async def test_a_service_is_taken_once_the_activators_are_its_endpoints():
    day = begun()
    day.activator = False
    await day.until(t("10:02"))
    assert selector(day) == PODS
    assert "takenService" not in day.status["internal"]
    day.activator = True
    await day.until(t("10:03"))
    assert selector(day) == TAKEN
    assert day.phase == "Warm"


async def test_status_and_record_name_the_service_before_its_selector_is_changed():
    day, seen = begun(), []

    def look(*_):
        seen.append((day.status["internal"]["takenService"], recorded(day)))

    day.kube.on("put_route", look)
    await day.until(t("10:01"))
    assert seen == [("voice", ["voice"])]


async def test_an_operator_that_ends_between_the_two_writes_is_followed_by_one_that_takes_it():
    day = begun()
    day.kube.on("put_route", OSError("the operator is killed"))
    with pytest.raises(OSError, match="killed"):
        await day.until(t("10:01"))
    assert (day.status["internal"]["takenService"], selector(day)) == ("voice", PODS)
    day.kube.on("put_route", None)
    day.restart()
    await day.until(t("10:02"))
    assert selector(day) == TAKEN


async def test_a_suspended_pool_takes_nothing():
    day = begun(suspend=True)
    await day.until(t("10:02"))
    assert selector(day) == PODS


@pytest.mark.parametrize("bypass", ["its selector", "an endpoint"])
async def test_it_does_not_sleep_while_connections_bypass_the_activators(bypass):
    day = await taken(idleAfter="1m")
    if bypass == "its selector":
        day.kube.on("put_route", OSError("rejected"))
        day.kube.edit("Service", "voice", spec={"selector": {ROUTE_LABEL: None}})
        day.watch()
    else:
        day.cache.keep_slice(native_slice(True))
    assert day.cache.acknowledged(VOICE) == 0
    assert day.cache.published(VOICE) > 0


# --- the way back ---


async def test_a_pool_that_leaves_the_route_gives_the_selector_back():
    day = await taken()
    day.edit(route="Auto")
    await day.until(t("10:02"))
    assert selector(day) == PODS
    assert "takenService" not in day.status["internal"]
    assert recorded(day) in ([], [None])


async def test_an_operator_that_ends_before_the_status_says_so_gives_it_back_again():
    day = await taken()
    day.edit(route="Auto")
    day.kube.on("patch_status", OSError("the operator is killed"))
    with pytest.raises(OSError, match="killed"):
        await day.look()
    assert (selector(day), day.status["internal"]["takenService"]) == (PODS, "voice")
    day.kube.on("patch_status", None)
    day.restart()
    await day.until(t("10:02"))
    assert (selector(day), "takenService" in day.status["internal"]) == (PODS, False)


async def test_a_pool_that_gets_another_service_gives_the_first_one_back():
    day = await taken()
    day.kube.put(service() | {"metadata": service("front")["metadata"]})
    day.edit(service="front")
    await day.look()
    assert selector(day) == PODS


@pytest.mark.parametrize("running", [True, False], ids=["seen", "not seen"])
async def test_a_deleted_pool_leaves_the_selector_as_it_was(running):
    day = await taken()
    pool = day.kube.stored("WarmPool", "voice")
    day.kube.remove("WarmPool", "voice")
    if running:
        await day.records.gone(pool, {})
    else:
        await Records(day.kube, NAMESPACE).settle()
    assert selector(day) == PODS


async def test_a_pool_that_is_made_again_with_route_auto_gives_it_back():
    day = await taken()
    day.kube.remove("WarmPool", "voice")
    day.kube.put(warm_pool(uid="another"))
    await day.records.settle()
    assert day.status["internal"]["takenService"] == "voice"
    await day.until(t("10:03"))
    assert (selector(day), "takenService" in day.status["internal"]) == (PODS, False)


async def without_the_permission():
    """A pool that took a Service, and an operator that may not patch Services any more."""
    day = await taken(idleAfter="1m")
    day.kube.on("put_route", OSError("rejected"))
    day.patches_services = False
    day.restart()
    return day


async def test_a_pool_that_has_a_service_sleeps_and_wakes_without_the_permission():
    day = await without_the_permission()
    await day.until(t("10:10"))
    assert (day.phase, selector(day)) == ("Asleep", TAKEN)
    day.wake()
    await day.until(t("10:11"))
    assert (day.phase, day.condition("Accepted")["status"]) == ("Warm", "True")


@pytest.mark.parametrize("spec", [{"route": "Auto"}, {"service": "front"}])
async def test_a_service_that_cannot_be_given_back_is_named_until_its_selector_is_as_it_was(spec):
    day = await without_the_permission()
    day.kube.put(service() | {"metadata": service("front")["metadata"]})
    day.kube.edit("Service", "front", spec={"selector": {ROUTE_LABEL: "Activator"}})
    day.edit(**spec)
    await day.look()
    refused = day.condition("Accepted")
    assert (refused["status"], refused["reason"]) == ("False", "SelectorNotPermitted")
    assert "may not give Service voice its pods back: set the chart value" in refused["message"]
    assert day.status["internal"]["takenService"] == "voice"
    day.kube.edit("Service", "voice", spec={"selector": {ROUTE_LABEL: None}})
    await day.until(t("10:03"))
    assert day.condition("Accepted")["status"] == "True"
    assert "takenService" not in day.status["internal"]


async def test_a_former_target_has_its_service_again_before_the_next_one_is_taken():
    day = await taken(idleAfter="1m")
    await day.until(t("10:10"))
    assert day.phase == "Asleep"
    day.kube.put(deployment("feed", replicas=0))
    day.kube.put(service("feed"))
    day.edit(targetRef=named("feed"))
    await day.look()
    assert (selector(day), day.status["internal"]["target"]["name"]) == (PODS, "voice")
    await day.until(day.now + MINUTE + 30 * SECOND)
    assert day.status["internal"]["target"]["name"] == "feed"
    assert selector(day) == PODS
