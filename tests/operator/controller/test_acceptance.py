"""Which pools can be acted on, and what people are told of the others."""

import pytest

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.deployment import SCALED
from kotatsu_operator.controller.target import accept
from kotatsu_operator.core.budget.limit import Ends
from tests.operator.cluster import (
    NAMESPACE,
    VOICE,
    deployment,
    horizontal_pod_autoscaler,
    native_slice,
    owned,
    service,
    warm_pool,
)
from tests.operator.controller.test_cache import published


@pytest.fixture
def cache():
    cache = Cache()
    cache.keep_workload("Deployment", deployment())
    cache.keep_service(service())
    return cache


def judge(cache, pool):
    cache.keep_pool(pool)
    return accept((NAMESPACE, pool["metadata"]["name"]), pool, cache, SCALED)


STILL = {
    "InvalidSpec": (True, Ends.SLEEP),
    "TargetClaimed": (False, Ends.NOTHING),
    "TargetNotFound": (True, Ends.NOTHING),
    "ClaimsDeleted": (True, Ends.NOTHING),
    "KindNotPermitted": (True, Ends.NOTHING),
    "ServiceNotFound": (True, Ends.LOWER),
    "ServiceClaimed": (True, Ends.LOWER),
    "ServiceHeadless": (True, Ends.LOWER),
    "ServiceSelectsOthers": (True, Ends.LOWER),
    "ServicePublishesNotReady": (True, Ends.LOWER),
    "ForeignAutoscaler": (True, Ends.NOTHING),
    "TwoAutoscalers": (True, Ends.NOTHING),
}
"""By reason: whether the pods of a refused pool are charged, and what may still be done to them."""


def refusal(cache, pool):
    """Why a pool is refused; None for one that is accepted."""
    refused = judge(cache, pool)[1]
    if refused is not None and refused.reason in STILL:
        assert (refused.counts, refused.ends) == STILL[refused.reason], refused.reason
    return refused


def twin(name, since):
    """Another pool for the same Deployment."""
    made = warm_pool(name)
    made["metadata"]["creationTimestamp"] = since
    made["spec"]["targetRef"]["name"] = "voice"
    return made


def test_a_pool_with_a_target_of_its_own_is_accepted(cache):
    target, refused = judge(cache, warm_pool(maxReplicas=4))
    assert refused is None
    assert target.spec.max_replicas == 4
    assert target.workload is cache.workloads[VOICE]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"timeZone": "Mars/Base"}, "Mars/Base"),
        ({"windows": [{"name": "w", "schedule": "* *", "duration": "1h", "replicas": 1}]}, "w"),
        ({"budget": {"limit": "cheap"}}, "cheap"),
    ],
)
def test_what_the_schema_cannot_see_is_refused_with_a_sentence(cache, spec, said):
    judged = refusal(cache, warm_pool(**spec))
    assert judged.reason == "InvalidSpec"
    assert judged.message.startswith("spec.")
    assert said in judged.message


def test_a_missing_target_is_named_with_its_namespace(cache):
    cache.workloads.clear()
    judged = refusal(cache, warm_pool())
    assert judged.reason == "TargetNotFound"
    assert "Deployment voice in namespace demo" in judged.message


@pytest.mark.parametrize("name", ["kotatsu-operator", "kotatsu-activator"])
def test_kotatsu_itself_is_no_target(cache, name):
    cache.keep_workload("Deployment", deployment(name))
    judged = refusal(cache, warm_pool(name))
    assert judged.reason == "TargetIsKotatsu"
    assert f"Deployment {name} is Kotatsu itself" in judged.message


@pytest.mark.parametrize("component", ["operator", "activator"])
def test_kotatsu_under_another_name_is_no_target_either(cache, component):
    own = deployment("platform")
    labels = {"app.kubernetes.io/name": "kotatsu", "app.kubernetes.io/component": component}
    own["spec"]["template"]["metadata"]["labels"] |= labels
    cache.keep_workload("Deployment", own)
    judged = refusal(cache, warm_pool("platform"))
    assert judged.reason == "TargetIsKotatsu"


def test_of_two_pools_with_one_target_the_older_has_it(cache):
    old, young = twin("zz", "2026-11-25T08:00:00Z"), twin("aa", "2026-11-25T09:00:00Z")
    cache.keep_pool(old)
    judged = refusal(cache, young)
    assert judged.reason == "TargetClaimed"
    assert "older WarmPool zz" in judged.message
    assert refusal(cache, old) is None


def test_of_two_pools_of_the_same_second_the_first_by_name_has_it(cache):
    pools = [twin(name, "2026-11-25T08:00:00Z") for name in ("aa", "bb")]
    for pool in pools:
        cache.keep_pool(pool)
    first, second = (refusal(cache, pool) for pool in pools)
    assert first is None
    assert second is not None


def test_when_the_older_pool_is_deleted_the_other_has_the_target(cache):
    old, young = twin("zz", "2026-11-25T08:00:00Z"), twin("aa", "2026-11-25T09:00:00Z")
    cache.keep_pool(old)
    cache.keep_pool(young)
    del cache.pools[NAMESPACE, "zz"]
    assert refusal(cache, young) is None


# --- the Service ---


def serving(cache, **spec):
    """The Service voice, changed."""
    made = service()
    made["spec"] |= spec
    cache.keep_service(made)


@pytest.mark.parametrize(
    ("change", "route", "reason", "said"),
    [
        ({"clusterIP": "None"}, "Auto", "ServiceHeadless", "name a Service with a cluster IP"),
        (
            {"type": "ExternalName", "externalName": "x.example"},
            "Auto",
            "ServiceExternalName",
            "name a ClusterIP Service",
        ),
        ({"ports": []}, "Auto", "ServiceWithoutTCP", "has no TCP port"),
        (
            {"ports": [{"port": 53, "protocol": "UDP"}]},
            "Auto",
            "ServiceWithoutTCP",
            "has no TCP port",
        ),
        ({"selector": None}, "Auto", "ServiceHasNoSelector", "or set route: Always"),
        ({"selector": {"app": "x"}}, "Auto", "ServiceSelectsOthers", "selects app=x, but"),
        ({"selector": {"app": "x"}}, "Always", "ServiceSelectsOthers", "selects app=x, but"),
    ],
)
def test_a_service_that_cannot_wake_is_refused_with_a_sentence(cache, change, route, reason, said):
    serving(cache, **change)
    judged = refusal(cache, warm_pool(route=route))
    assert judged.reason == reason
    assert judged.message.startswith("Service voice ")
    assert said in judged.message


@pytest.mark.parametrize(
    ("metadata", "by"),
    [
        (
            {"managedFields": [owned("selector", "kustomize-controller", operation="Apply")]},
            "kustomize-controller",
        ),
        (
            {"ownerReferences": [{"kind": "Cluster", "name": "db", "controller": True}]},
            "Cluster db",
        ),
    ],
)
def test_route_always_leaves_a_selector_that_a_program_writes_and_names_it(cache, metadata, by):
    made = service()
    made["metadata"] |= metadata
    cache.keep_service(made)
    judged = refusal(cache, warm_pool(route="Always"))
    assert judged.reason == "SelectorContested"
    assert judged.message.startswith(f"{by} writes the selector of Service voice")
    assert "add `kotatsu.dev/route: Always` to spec.selector in its manifest" in judged.message
    assert refusal(cache, warm_pool()) is None
    made["spec"]["selector"]["kotatsu.dev/route"] = "Always"
    cache.keep_service(made)
    assert refusal(cache, warm_pool(route="Always")) is None


def test_route_always_takes_a_selector_that_kubectl_applies_and_waits_for_its_endpoints(cache):
    made = service()
    made["metadata"]["managedFields"] = [owned("selector", "kubectl", operation="Apply")]
    cache.keep_service(made)
    cache.keep_slice(native_slice(True))
    assert refusal(cache, warm_pool(route="Always")) is None


@pytest.mark.parametrize(
    ("change", "route"),
    [
        ({"selector": None}, "Always"),
        ({"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}]}, "Auto"),
        ({"sessionAffinity": "ClientIP"}, "Auto"),
        ({"type": "LoadBalancer"}, "Auto"),
        ({"selector": {"app": "voice", "rollouts-pod-template-hash": "7d4b"}}, "Auto"),
    ],
)
def test_a_service_that_can_wake_is_accepted(cache, change, route):
    serving(cache, **change)
    assert refusal(cache, warm_pool(route=route)) is None


def always(cache, *slices):
    """How a pool on route Always is judged whose Service has these slices."""
    serving(cache, selector=None)
    for obj in slices:
        cache.keep_slice(obj)
    return refusal(cache, warm_pool(route="Always"))


def mirrored(*ready):
    """What Kubernetes makes of an Endpoints object."""
    made = native_slice(*ready)
    keeper = "endpointslicemirroring-controller.k8s.io"
    made["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = keeper
    return made


def by_hand():
    made = native_slice(True)
    del made["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"]
    return made


@pytest.mark.parametrize(
    ("obj", "said"),
    [
        (native_slice(True), "managed by endpointslice-controller.k8s.io, so"),
        (native_slice(False), "create the Service anew"),
        (mirrored(True), "delete that EndpointSlice and Endpoints voice"),
        (by_hand(), "in EndpointSlice voice-native-ipv4, so connections would bypass"),
    ],
    ids=["left behind by a selector", "and not ready", "mirrored", "by hand"],
)
def test_on_route_always_a_service_with_endpoints_of_others_is_refused(cache, obj, said):
    judged = always(cache, obj)
    assert judged.reason == "ServiceHasEndpoints"
    assert said in judged.message


@pytest.mark.parametrize(
    "obj",
    [native_slice(), native_slice(True, of="other"), published("activator-1", 5)],
    ids=["none in it", "another Service's", "an activator's"],
)
def test_on_route_always_a_service_without_endpoints_of_others_is_accepted(cache, obj):
    assert always(cache, obj) is None


def test_a_pool_is_accepted_again_once_the_endpoints_of_others_are_gone(cache):
    assert always(cache, mirrored(True)) is not None
    assert always(cache, mirrored()) is None


def test_on_route_auto_the_endpoints_are_kubernetes_own(cache):
    cache.keep_slice(native_slice(True))
    assert refusal(cache, warm_pool()) is None


@pytest.mark.parametrize("route", ["Auto", "Always"])
def test_the_service_of_the_api_server_is_refused_whatever_has_been_seen(cache, route):
    made, obj = warm_pool(route=route, service="kubernetes"), service("kubernetes")
    made["metadata"]["namespace"] = obj["metadata"]["namespace"] = "default"
    target = deployment()
    target["metadata"]["namespace"] = "default"
    del obj["spec"]["selector"]
    cache.keep_workload("Deployment", target)
    cache.keep_service(obj)
    cache.keep_pool(made)
    _, judged = accept(("default", "voice"), made, cache, SCALED)
    assert judged.reason == "ServiceHasEndpoints"
    assert "API server" in judged.message


def test_a_service_that_is_deleted_and_made_again_is_judged_each_time(cache):
    cache.services.clear()
    refused = refusal(cache, warm_pool())
    assert refused.reason == "ServiceNotFound"
    assert "no Service voice in namespace demo" in refused.message
    cache.keep_service(service())
    assert refusal(cache, warm_pool()) is None


def test_of_two_pools_with_one_service_the_older_has_it(cache):
    cache.keep_workload("Deployment", deployment("other"))
    cache.keep_pool(twin("zz", "2026-11-25T08:00:00Z"))
    young = warm_pool("other", service="voice")
    judged = refusal(cache, young)
    assert judged.reason == "ServiceClaimed"
    assert "older WarmPool zz" in judged.message


# --- the autoscaler ---


def scaled_by(cache, name="voice", **meta):
    made = horizontal_pod_autoscaler(name)
    made["metadata"] |= meta
    cache.keep_autoscaler(made)
    return made


def test_a_persons_autoscaler_comes_with_the_target(cache):
    made = scaled_by(cache)
    target, refused = judge(cache, warm_pool())
    assert refused is None
    assert target.autoscalers == [made]


@pytest.mark.parametrize(
    ("meta", "owner"),
    [
        (
            {"ownerReferences": [{"kind": "Scaler", "name": "v", "controller": True}]},
            "Scaler v",
        ),
        ({"labels": {"app.kubernetes.io/managed-by": "keda-operator"}}, "KEDA"),
    ],
)
def test_an_autoscaler_of_another_program_is_refused_with_a_sentence(cache, meta, owner):
    scaled_by(cache, **meta)
    judged = refusal(cache, warm_pool())
    assert judged.reason == "ForeignAutoscaler"
    assert f"belongs to {owner}" in judged.message


def test_two_autoscalers_on_one_target_are_refused_by_name(cache):
    scaled_by(cache, "one")
    scaled_by(cache, "two")
    judged = refusal(cache, warm_pool())
    assert judged.reason == "TwoAutoscalers"
    assert "one and two" in judged.message
    cache.services.clear()
    both = judge(cache, warm_pool())[1]
    assert (both.reason, both.ends) == ("ServiceNotFound", Ends.NOTHING), "the stricter end"


def test_an_autoscaler_of_something_else_does_not_matter(cache):
    of_another_kind, of_another_name = scaled_by(cache), scaled_by(cache, "elsewhere")
    of_another_kind["spec"]["scaleTargetRef"]["kind"] = "StatefulSet"
    of_another_name["spec"]["scaleTargetRef"]["name"] = "other"
    for changed in (of_another_kind, of_another_name):
        cache.keep_autoscaler(changed)
    target, refused = judge(cache, warm_pool())
    assert refused is None
    assert target.autoscalers == []


def depending(name, *others):
    return warm_pool(name, dependsOn=list(others))


def test_a_pool_that_depends_on_a_missing_one_is_told_its_name(cache):
    cache.keep_pool(depending("voice", "db"))
    judged = refusal(cache, depending("voice", "db"))
    assert judged.reason == "DependencyNotFound"
    assert "no WarmPool db in namespace demo" in judged.message
    cache.keep_pool(warm_pool("db"))
    assert refusal(cache, depending("voice", "db")) is None


@pytest.mark.parametrize("others", [["voice"], ["api"]])
def test_a_pool_that_depends_on_itself_is_shown_the_way(cache, others):
    for pool in (depending("voice", *others), depending("api", "db"), depending("db", "voice")):
        cache.keep_pool(pool)
    judged = refusal(cache, depending("voice", *others))
    assert judged.reason == "DependencyCycle"
    way = "voice → voice" if others == ["voice"] else "voice → api → db → voice"
    assert f"({way})" in judged.message
