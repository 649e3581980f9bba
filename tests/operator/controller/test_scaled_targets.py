"""Targets besides Deployments: StatefulSets, and kinds with a scale subresource."""

from functools import partial

import pytest

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.core.pool.spec import BUILT_IN, ScaledKind
from tests.operator.cluster import (
    deployment,
    horizontal_pod_autoscaler,
    pod,
    service,
    warm_pool,
)
from tests.operator.controller.test_acceptance import judge, refusal

ROLLOUT = ScaledKind("argoproj.io/v1alpha1", "Rollout", "rollouts")


def stateful_set(**spec):
    made = deployment(replicas=2)
    return made | {"kind": "StatefulSet", "spec": made["spec"] | spec}


def rollout(**spec):
    made = deployment(replicas=2)
    status = {"selector": "app=voice", "observedGeneration": "1"}
    return made | {"kind": "Rollout", "spec": made["spec"] | spec, "status": status}


def pool(kind, version="apps/v1", **spec):
    made = warm_pool(**spec)
    made["spec"]["targetRef"] = {"apiVersion": version, "kind": kind, "name": "voice"}
    return made


of_rollout = partial(pool, "Rollout", ROLLOUT.api_version)


@pytest.fixture
def cache():
    cache = Cache(scaled={**BUILT_IN, "Rollout": ROLLOUT})
    cache.keep_service(service())
    return cache


def test_a_stateful_set_is_accepted_with_its_pods_and_its_scale(cache):
    cache.keep_workload("StatefulSet", stateful_set())
    target, refused = judge(cache, pool("StatefulSet"))
    assert refused is None
    assert (target.place, target.replicas) == (("demo", "StatefulSet/voice"), 2)
    assert list(cache.keep_pod(pod())) == [target.key]
    assert cache.target_pods("demo", target.selector)


def test_a_deployment_of_the_same_name_is_another_target(cache):
    cache.keep_workload("StatefulSet", stateful_set())
    refused = refusal(cache, warm_pool())
    assert refused.reason == "TargetNotFound"
    assert list(cache.keep_workload("Deployment", deployment(replicas=1))) == [("demo", "voice")]
    assert refusal(cache, warm_pool()) is None


def test_a_stateful_set_that_would_lose_its_volumes_is_refused(cache):
    policy = {"whenScaled": "Delete", "whenDeleted": "Retain"}
    cache.keep_workload("StatefulSet", stateful_set(persistentVolumeClaimRetentionPolicy=policy))
    refused = refusal(cache, pool("StatefulSet"))
    assert refused.reason == "ClaimsDeleted"
    assert "whenScaled to Retain" in refused.message


def test_a_headless_service_of_a_stateful_set_is_refused_as_any(cache):
    cache.keep_workload("StatefulSet", stateful_set())
    headless = service()
    headless["spec"]["clusterIP"] = "None"
    cache.keep_service(headless)
    assert refusal(cache, pool("StatefulSet")).reason == "ServiceHeadless"


def test_a_kind_of_the_chart_is_accepted(cache):
    cache.keep_workload("Rollout", rollout())
    target, refused = judge(cache, of_rollout())
    assert refused is None
    assert target.replicas == 2


@pytest.mark.parametrize(
    ("kind", "version"), [("Rollout", "argoproj.io/v1"), ("Fleet", "agones.dev/v1")]
)
def test_any_other_kind_is_refused_with_the_value_to_set(cache, kind, version):
    refused = refusal(cache, pool(kind, version))
    assert refused.reason == "KindNotPermitted"
    assert f"{{apiVersion: {version}, kind: {kind}, resource: …}}" in refused.message
    assert "chart value `targets`" in refused.message


def test_a_rollout_without_a_template_is_known_by_the_selector_in_its_status(cache):
    """Argo Rollouts can take their template from a Deployment (workloadRef)."""
    made = rollout()
    del made["spec"]["template"], made["spec"]["selector"]
    cache.keep_workload("Rollout", made)
    target, refused = judge(cache, of_rollout())
    assert refused is None
    assert target.selector == {"matchLabels": {"app": "voice"}}


def test_a_workload_whose_pods_are_unknown_is_refused(cache):
    made = rollout(selector={})
    made["status"]["selector"] = "app in (a, b)"
    cache.keep_workload("Rollout", made)
    assert refusal(cache, of_rollout()).reason == "TargetHasNoSelector"


def test_a_kind_that_is_not_listed_yet_is_unknown_and_not_missing(cache):
    cache.is_awaited = lambda namespace, kind: (namespace, kind) == ("demo", "Rollout")
    assert judge(cache, of_rollout())[0].is_unknown
    assert not judge(cache, pool("StatefulSet"))[0].is_unknown


def test_an_autoscaler_belongs_to_the_kind_that_it_names(cache):
    cache.keep_workload("Rollout", rollout())
    cache.keep_workload("Deployment", deployment())
    scaler = horizontal_pod_autoscaler()
    scaler["spec"]["scaleTargetRef"]["kind"] = "Rollout"
    judge(cache, of_rollout())
    assert list(cache.keep_autoscaler(scaler)) == [("demo", "voice")]
    assert judge(cache, of_rollout())[0].autoscalers == [scaler]
    assert judge(cache, warm_pool("other") | {})[0].autoscalers == []


# --- KEDA ---


def test_the_autoscaler_of_keda_is_refused_with_the_command_that_pauses_it(cache):
    cache.keep_workload("Deployment", deployment())
    scaler = horizontal_pod_autoscaler()
    owner = {"kind": "ScaledObject", "name": "orders", "controller": True}
    scaler["metadata"]["ownerReferences"] = [owner]
    cache.keep_autoscaler(scaler)
    refused = refusal(cache, warm_pool())
    assert refused.reason == "ForeignAutoscaler"
    command = (
        "kubectl annotate scaledobject orders -n demo --overwrite autoscaling.keda.sh/paused=true"
    )
    assert command in refused.message


# --- the Service ---


def test_a_service_that_publishes_pods_before_they_are_ready_is_refused(cache):
    cache.keep_workload("Deployment", deployment())
    early = service()
    early["spec"]["publishNotReadyAddresses"] = True
    cache.keep_service(early)
    refused = refusal(cache, warm_pool())
    assert refused.reason == "ServicePublishesNotReady"
    del early["spec"]["selector"]
    cache.keep_service(early)
    assert refusal(cache, warm_pool(route="Always")) is None


@pytest.mark.parametrize(
    "ports",
    [
        [{"port": 80, "targetPort": 8080}],
        [{"port": 80}],
        [
            {"name": "http", "port": 80, "targetPort": "http"},
            {"name": "grpc", "port": 90, "targetPort": 9000},
            {"name": "dns", "port": 53, "protocol": "UDP"},
        ],
    ],
    ids=["unnamed", "the same number", "several, and one of UDP"],
)
def test_ports_may_be_named_or_not_and_several(cache, ports):
    cache.keep_workload("Deployment", deployment())
    cache.keep_service(service("voice", *ports))
    assert refusal(cache, warm_pool()) is None
