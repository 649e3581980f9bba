"""What people are told of a pool with a Knative Service."""

import pytest

from kotatsu_operator.activator.slices import wants_slice
from kotatsu_operator.controller.reconciler import RETRY
from tests.operator.cluster import (
    VOICE,
    deployment,
    knative_service,
    pool_view,
    revision,
    warm_pool,
)
from tests.operator.core.values import t
from tests.operator.features.knative.test_days import ONE, WINDOW, KnativeDay, knative_pool

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("suspend", [False, True])
async def test_a_service_that_knative_cannot_run_is_said_so(suspend):
    day = KnativeDay(t("10:10"), windows=[WINDOW], suspend=suspend)
    day.kube.put(knative_service(ready="False"))
    await day.look()
    ready = day.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "TargetNotReady")
    assert ready["message"].endswith("Because: it says so")
    assert day.kube.called("annotate") == []


@pytest.mark.parametrize("limit", ["max_scale", "activation_scale"])
async def test_a_floor_above_a_limit_is_warm_with_what_can_be_had_and_says_both_numbers(limit):
    day = KnativeDay(t("10:10"), revision(ONE, **{limit: "1"}), windows=[WINDOW])
    await day.until(t("10:11"))
    assert (day.min_scale(), day.phase) == ("1", "Warm")
    warm, limited = day.condition("Warm"), day.condition("ReplicasKept")
    assert warm["status"] == "True"
    assert warm["message"] == "1 of 1 replicas are Ready; 2 are requested, 1 are possible"
    assert limited["reason"] == "KnativeMaximum"
    assert "2 pods of Revision voice-00001 are requested" in limited["message"]
    assert day.status["desiredReplicas"] == 1
    assert "KnativeMaximum" in day.events
    assert not day.status["lastOpening"]["cold"]


async def test_a_knative_that_does_not_follow_is_said_so():
    day = KnativeDay(t("10:10"), windows=[WINDOW])
    day._knative = lambda: None
    await day.until(t("10:11"))
    assert "older than Serving 1.21" in day.condition("Ready")["message"]


async def test_a_service_that_is_not_there_is_named():
    day = KnativeDay(t("09:00"))
    day.kube.remove("Service", "voice")
    await day.look()
    accepted = day.condition("Accepted")
    assert accepted["reason"] == "TargetNotFound"
    assert "no Knative Service voice in namespace demo" in accepted["message"]


async def test_a_second_pool_for_the_same_service_is_refused_and_a_deployments_is_not():
    day = KnativeDay(t("09:00"))
    day.kube.put(knative_pool("zz"))
    day.kube.put(warm_pool("aa", targetRef=warm_pool()["spec"]["targetRef"]))
    day.kube.put(deployment())
    day.watch()
    for name in ("voice", "zz", "aa"):
        await day.reconciler.reconcile(("demo", name))
    reasons = {
        p["metadata"]["name"]: p["status"]["conditions"][0]["reason"]
        for p in day.kube.all("WarmPool")
    }
    assert reasons == {"voice": "Accepted", "zz": "TargetClaimed", "aa": "Accepted"}


async def test_without_knative_a_pool_is_told_what_is_missing():
    day = KnativeDay(t("09:00"))
    day.watch()
    day.knative.synced, day.knative.why_absent = False, "there is none"
    await day.reconciler.reconcile(VOICE)
    accepted = day.condition("Accepted")
    assert (accepted["reason"], accepted["message"]) == ("KnativeNotFound", "there is none")


async def test_no_pool_is_judged_before_it_is_known_whether_knative_is_there():
    day = KnativeDay(t("10:10"), windows=[WINDOW])
    day.watch()
    day.knative.synced = False
    assert await day.reconciler.reconcile(VOICE) == day.now + RETRY
    assert day.kube.writes == []


def test_the_activator_publishes_nothing_for_it():
    accepted = {"conditions": [{"type": "Accepted", "status": "True"}]}
    assert wants_slice(pool_view(warm_pool(status=accepted)), None, published=False)
    assert not wants_slice(pool_view(knative_pool(status=accepted)), None, published=False)
