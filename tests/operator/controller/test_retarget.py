"""A pool that gets another target: the one that it had is restored first."""

import pytest

from kotatsu_operator.controller.restore import LEFT_WITHIN, Records
from kotatsu_operator.core.report.record import entry_of, read_entry
from kotatsu_operator.kube.objects import key_of
from tests.operator.cluster import (
    NAMESPACE,
    RECORD,
    VOICE,
    config_map,
    deployment,
    forbidden,
    pool_view,
    service,
    warm_pool,
)
from tests.operator.core.values import MINUTE, SECOND, once, t
from tests.operator.day import Day


def named(name, kind="Deployment"):
    return {"apiVersion": "apps/v1", "kind": kind, "name": name}


async def asleep(*, replicas=3, **spec):
    """A pool whose Deployment voice had some replicas and sleeps now; feed is another one."""
    day = Day.begin(t("10:00"), replicas=replicas, ready=True, **spec)
    day.kube.put(config_map())
    day.kube.put(deployment("feed", replicas=0))
    day.kube.put(service("feed"))
    day.records = Records(day.kube, NAMESPACE)
    day.remember = day.records.remember
    await day.until(t("10:10"))
    assert (day.phase, day.replicas) == ("Asleep", 0)
    return day


def replicas(day, name):
    return day.kube.stored("Deployment", name)["spec"]["replicas"]


def recorded(day):
    [text] = day.kube.stored("ConfigMap", RECORD)["data"].values()
    return read_entry(text, "demo")


async def test_the_activators_stay_in_front_of_it_until_a_pod_is_ready():
    day = await asleep()
    day.edit(targetRef=named("feed"))
    await day.look()
    assert (replicas(day, "voice"), day.status["internal"]["target"]["name"]) == (3, "voice")
    view = pool_view(day.kube.stored("WarmPool", "voice"))
    assert (view.target, view.service, view.phase.value) == ("voice", "voice", "Asleep")
    await day.until(day.now + 20 * SECOND)
    view = pool_view(day.kube.stored("WarmPool", "voice"))
    assert (view.target, view.service) == ("feed", "feed")


async def test_its_service_has_its_own_pods_for_the_settle_time_before_the_next_target_comes():
    day = await asleep(settle=20)
    day.edit(targetRef=named("feed"))
    native = []
    while day.status["internal"]["target"]["name"] == "voice":
        await day.until(day.now + SECOND)
        if day.status["route"]["target"] == "Native":
            view = pool_view(day.kube.stored("WarmPool", "voice"))
            native.append((view.service, day.cache.activators.is_in_front(("demo", "voice"))))
    assert native[0] == ("voice", False)
    assert len(native) >= 20


async def test_a_former_target_that_never_gets_ready_is_left_after_a_minute(monkeypatch):
    day = await asleep()
    monkeypatch.setattr("tests.operator.day.READY_AFTER", 60 * MINUTE)
    day.edit(targetRef=named("feed"))
    await day.until(day.now + LEFT_WITHIN / 2)
    assert day.status["internal"]["target"]["name"] == "voice"
    await day.until(day.now + LEFT_WITHIN)
    assert (replicas(day, "voice"), day.status["internal"]["target"]["name"]) == (3, "feed")


async def test_the_record_names_the_former_target_until_it_is_restored():
    day = await asleep()
    day.kube.on("put_scale", OSError("the API server is away"))
    day.edit(targetRef=named("feed"))
    with pytest.raises(OSError, match="away"):
        await day.look()
    day.restart()
    with pytest.raises(OSError, match="away"):
        await day.look()
    assert (recorded(day).target, recorded(day).owed["foundReplicas"]) == ("voice", 3)
    day.kube.on("put_scale", None)
    await day.until(day.now + 2 * MINUTE)
    assert replicas(day, "voice") == 3


async def test_what_the_former_target_had_is_never_given_to_the_next_one():
    window = once("w", "10:30", "11:00", 5)
    day = await asleep(windows=[window])
    day.edit(targetRef=named("feed"))
    await day.until(t("10:40"))
    assert replicas(day, "feed") == 5
    assert day.status["foundReplicas"] == 0
    assert entry_of(day.kube.stored("WarmPool", "voice")).owed["foundReplicas"] == 0


async def test_a_pool_that_is_deleted_at_once_restores_the_target_that_it_had():
    day = await asleep()
    day.edit(targetRef=named("feed"))
    pool = day.kube.stored("WarmPool", "voice")
    day.kube.remove("WarmPool", "voice")
    await day.records.gone(pool, {})
    assert (replicas(day, "voice"), replicas(day, "feed")) == (3, 0)


async def test_a_target_that_the_pool_found_at_0_stays_there():
    day = Day.begin(t("10:00"), replicas=0)
    day.kube.put(deployment("feed", replicas=0))
    day.kube.put(service("feed"))
    await day.until(t("10:01"))
    day.edit(targetRef=named("feed"))
    await day.until(t("10:03"))
    assert (replicas(day, "voice"), day.status["internal"]["target"]["name"]) == (0, "feed")


async def test_a_former_target_that_is_deleted_holds_up_nothing():
    day = await asleep()
    day.kube.remove("Deployment", "voice")
    day.edit(targetRef=named("feed"))
    await day.until(t("10:12"))
    assert day.status["internal"]["target"]["name"] == "feed"


async def test_a_former_target_is_restored_although_the_next_one_does_not_exist():
    day = await asleep()
    day.edit(targetRef=named("nothing"))
    await day.until(t("10:12"))
    assert replicas(day, "voice") == 3
    assert day.condition("Accepted")["reason"] == "TargetNotFound"


async def test_another_pool_cannot_have_the_former_target_before_it_is_restored():
    day = await asleep()
    day.edit(targetRef=named("feed"))
    day.watch()
    other = warm_pool("younger", targetRef=named("voice"))
    day.cache.keep_pool(day.kube.put(other))
    assert day.cache.pools_of_target("Deployment", VOICE) == [("demo", "voice"), key_of(other)]
    await day.until(day.now + 2 * MINUTE)
    assert day.cache.pools_of_target("Deployment", VOICE) == [key_of(other)]


@pytest.mark.parametrize("why", ["suspended", "rejects it"])
async def test_a_target_that_cannot_be_restored_is_named_and_the_pool_waits(why):
    day = await asleep()
    if why == "suspended":
        day.edit(targetRef=named("feed"), suspend=True)
    else:
        day.kube.on("put_scale", forbidden())
        day.edit(targetRef=named("feed"))
    for _ in range(5):
        day.now = await day.look()
    accepted = day.condition("Accepted")
    assert accepted["reason"] == "FormerTarget"
    assert "Deployment voice must be restored" in accepted["message"]
    assert why in accepted["message"]
    assert day.events.count("NotAccepted") == 1
    assert (recorded(day).target, day.status["foundReplicas"]) == ("voice", 3)
    day.kube.on("put_scale", None)
    day.edit(suspend=False)
    await day.until(day.now + 2 * MINUTE)
    assert (replicas(day, "voice"), day.status["internal"]["target"]["name"]) == (3, "feed")
