"""Which pools can be acted on, and what people are told of the others."""

from dataclasses import replace
from functools import partial

import pytest
from rows import each

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.scaled import nothing_awaited, scaled
from kotatsu_operator.controller.target import accept
from kotatsu_operator.core.budget.limit import Ends
from kotatsu_operator.core.pool.spec import BUILT_IN, PLATFORM, Platform, ScaledKind
from kotatsu_operator.core.scope import Scope
from tests.operator.cluster import (
    SCOPE,
    VOICE,
    deployment,
    horizontal_pod_autoscaler,
    keep,
    native_slice,
    owned,
    pod,
    published,
    served,
    service,
    warm_pool,
)

ROLLOUT = ScaledKind("argoproj.io/v1alpha1", "Rollout", "rollouts")


def cache_of(*objects, scope=SCOPE):
    """What there is: besides these, a Deployment and a Service of the pool's name."""
    cache = Cache(replace(served(), scope=scope), scaled={**BUILT_IN, "Rollout": ROLLOUT})
    keep(cache, deployment(), service(), *objects)
    return cache


@pytest.fixture
def cache():
    return cache_of()


def judge(cache, made, awaits=nothing_awaited, platform=PLATFORM):
    keep(cache, made)
    key = (made["metadata"]["namespace"], made["metadata"]["name"])
    return accept(key, made, cache, scaled(awaits), platform=platform)


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
    "Isolated": (True, Ends.LOWER),
    "SelectorNotPermitted": (True, Ends.LOWER),
    "ForeignAutoscaler": (True, Ends.NOTHING),
    "TwoAutoscalers": (True, Ends.NOTHING),
}
"""By reason: whether the pods of a refused pool are charged, and what may still be done to them."""


def refusal(cache, made, platform=PLATFORM):
    """Why a pool is refused; None for one that is accepted."""
    refused = judge(cache, made, platform=platform)[1]
    if refused is not None and refused.reason in STILL:
        assert (refused.counts, refused.ends) == STILL[refused.reason], refused.reason
    return refused


def of(made, meta=None, **spec):
    """An object with other fields; those of None are left out."""
    fields = {k: v for k, v in (made["spec"] | spec).items() if v is not None}
    return made | {"spec": fields, "metadata": made["metadata"] | (meta or {})}


def pool_of(kind, version="apps/v1", **spec):
    return warm_pool(targetRef={"apiVersion": version, "kind": kind, "name": "voice"}, **spec)


of_rollout = partial(pool_of, "Rollout", ROLLOUT.api_version)
by_activator = partial(warm_pool, route="Activator")


def stateful_set(**spec):
    return of(deployment(replicas=2), **spec) | {"kind": "StatefulSet"}


def rollout(text="app=voice", **spec):
    status = {"selector": text, "observedGeneration": "1"}
    return of(deployment(replicas=2), **spec) | {"kind": "Rollout", "status": status}


def twin(name, since="2026-11-25T08:00:00Z"):
    """Another pool for the same Deployment."""
    made = pool_of("Deployment") | {"metadata": warm_pool(name)["metadata"]}
    made["metadata"]["creationTimestamp"] = since
    return made


def own(component):
    """A Deployment of Kotatsu under another name."""
    labels = {"app.kubernetes.io/name": "kotatsu", "app.kubernetes.io/component": component}
    made = deployment("platform")
    made["spec"]["template"]["metadata"]["labels"] |= labels
    return made


def scaler(name="voice", target="voice", kind="Deployment", **meta):
    made = of(horizontal_pod_autoscaler(name, target), meta)
    made["spec"]["scaleTargetRef"] = made["spec"]["scaleTargetRef"] | {"kind": kind}
    return made


def owner(kind, name):
    return {"ownerReferences": [{"kind": kind, "name": name, "controller": True}]}


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


OPEN = of(service(), selector=None)
DELETES = {"whenScaled": "Delete", "whenDeleted": "Retain"}
UDP = {"port": 53, "protocol": "UDP"}
HOW_KEDA = (
    "kubectl annotate scaledobject orders -n demo --overwrite autoscaling.keda.sh/paused=true"
)


@each(
    "objects, made, reason, said",
    [
        # What the schema cannot see.
        ([], warm_pool(timeZone="Mars/Base"), "InvalidSpec", "Mars/Base"),
        # The target.
        ([], warm_pool("web"), "TargetNotFound", "Deployment web in namespace demo"),
        ([own("operator")], warm_pool("platform"), "TargetIsKotatsu", "is Kotatsu itself"),
        ([own("activator")], warm_pool("platform"), "TargetIsKotatsu", "is Kotatsu itself"),
        ([twin("zz")], twin("aa", "2026-11-25T09:00:00Z"), "TargetClaimed", "older WarmPool zz"),
        ([twin("aa")], twin("bb"), "TargetClaimed", "older WarmPool aa"),
        ([stateful_set(persistentVolumeClaimRetentionPolicy=DELETES)], pool_of("StatefulSet"),
         "ClaimsDeleted", "whenScaled to Retain"),
        ([], pool_of("Rollout", "argoproj.io/v1"), "KindNotPermitted",
         "{apiVersion: argoproj.io/v1, kind: Rollout, resource: …}"),
        ([], pool_of("Fleet", "agones.dev/v1"), "KindNotPermitted", "chart value `targets`"),
        ([], pool_of("DaemonSet", "apps/v1"), "KindNotPermitted", "a DaemonSet has no scale; name"),
        ([rollout("app in (a, b)", selector={})], of_rollout(), "TargetHasNoSelector", ""),
        # The Service.
        ([], warm_pool(service="web"), "ServiceNotFound", "no Service web in namespace demo"),
        ([of(service(), clusterIP="None")], warm_pool(), "ServiceHeadless",
         "Service voice is headless"),
        ([of(service(), type="ExternalName", externalName="x.example")], warm_pool(),
         "ServiceExternalName", "name a ClusterIP Service"),
        ([of(service(), ports=[])], warm_pool(), "ServiceWithoutTCP", "has no TCP port"),
        ([of(service(), ports=[UDP])], warm_pool(), "ServiceWithoutTCP", "has no TCP port"),
        ([OPEN], warm_pool(), "ServiceHasNoSelector", "or set route: Activator"),
        ([of(service(), selector={"app": "x"})], warm_pool(), "ServiceSelectsOthers",
         "selects app=x, but"),
        ([of(service(), selector={"app": "x"})], by_activator(), "ServiceSelectsOthers",
         "selects app=x, but"),
        ([of(service(), publishNotReadyAddresses=True)], warm_pool(), "ServicePublishesNotReady",
         ""),
        ([deployment("other"), twin("zz")], warm_pool("other", service="voice"), "ServiceClaimed",
         "older WarmPool zz"),
        ([OPEN, native_slice(True)], by_activator(), "ServiceHasEndpoints",
         "managed by endpointslice-controller.k8s.io, so"),
        ([OPEN, native_slice(False)], by_activator(), "ServiceHasEndpoints",
         "create the Service anew"),
        ([OPEN, mirrored(True)], by_activator(), "ServiceHasEndpoints",
         "delete that EndpointSlice and Endpoints voice"),
        ([OPEN, by_hand()], by_activator(), "ServiceHasEndpoints",
         "in EndpointSlice voice-native-ipv4, so connections would bypass"),
        # The autoscaler.
        ([scaler(**owner("Scaler", "v"))], warm_pool(), "ForeignAutoscaler",
         "belongs to Scaler v"),
        ([scaler(labels={"app.kubernetes.io/managed-by": "keda-operator"})], warm_pool(),
         "ForeignAutoscaler", "belongs to KEDA"),
        ([scaler(**owner("ScaledObject", "orders"))], warm_pool(), "ForeignAutoscaler", HOW_KEDA),
        ([scaler("one"), scaler("two")], warm_pool(), "TwoAutoscalers", "one and two"),
        # The order.
        ([], warm_pool(dependsOn=["db"]), "DependencyNotFound", "no WarmPool db in namespace demo"),
        ([], warm_pool(dependsOn=["voice"]), "DependencyCycle", "(voice → voice)"),
        ([warm_pool("api", dependsOn=["db"]), warm_pool("db", dependsOn=["voice"])],
         warm_pool(dependsOn=["api"]), "DependencyCycle", "(voice → api → db → voice)"),
    ],
)  # fmt: skip
def test_a_pool_that_cannot_be_used_is_refused_with_a_sentence(objects, made, reason, said):
    judged = refusal(cache_of(*objects), made)
    assert judged is not None
    assert judged.reason == reason
    assert said in judged.message


@each(
    "why, objects, made",
    [
        ("the older pool", [twin("bb", "2026-11-25T09:00:00Z")], twin("zz")),
        ("the first by name", [twin("bb")], twin("aa")),
        ("no selector, on route Activator", [OPEN], by_activator()),
        ("TCP beside UDP", [of(service(), ports=[UDP, {"port": 53}])], warm_pool()),
        ("sticky", [of(service(), sessionAffinity="ClientIP")], warm_pool()),
        ("a load balancer", [of(service(), type="LoadBalancer")], warm_pool()),
        ("as Argo Rollouts select",
         [of(service(), selector={"app": "voice", "rollouts-pod-template-hash": "7"})],
         warm_pool()),
        ("an unnamed port", [service("voice", {"port": 80, "targetPort": 8080})], warm_pool()),
        ("the same number", [service("voice", {"port": 80})], warm_pool()),
        ("several ports",
         [service("voice", {"name": "http", "port": 80, "targetPort": "http"},
                  {"name": "grpc", "port": 90, "targetPort": 9000}, {"name": "dns"} | UDP)],
         warm_pool()),
        ("early pods without a selector", [of(OPEN, publishNotReadyAddresses=True)],
         by_activator()),
        ("a slice with no endpoint", [OPEN, native_slice()], by_activator()),
        ("another Service's", [OPEN, native_slice(True, of="other")], by_activator()),
        ("an activator's", [OPEN, published("activator-1", 5)], by_activator()),
        ("Kubernetes' own, on route Auto", [native_slice(True)], warm_pool()),
        ("that kubectl applies, and waits for its endpoints",
         [of(service(), {"managedFields": [owned("selector", "kubectl", operation="Apply")]}),
          native_slice(True)], by_activator()),
        ("depends on one that is there", [warm_pool("db")], warm_pool(dependsOn=["db"])),
    ],
)  # fmt: skip
def test_a_pool_that_can_be_used_is_accepted(why, objects, made):
    assert refusal(cache_of(*objects), made) is None, why


@pytest.mark.parametrize("name", ["kotatsu-operator", "kotatsu-activator"])
def test_kotatsu_itself_is_no_target(cache, name):
    keep(cache, deployment(name))
    judged = refusal(cache, warm_pool(name))
    assert judged.reason == "TargetIsKotatsu"
    assert f"Deployment {name} is Kotatsu itself" in judged.message


def test_a_pool_is_judged_each_time_by_what_there_is_now(cache):
    """Each refusal ends when its reason does."""
    old, young = twin("zz"), twin("aa", "2026-11-25T09:00:00Z")
    keep(cache, old, young)
    assert refusal(cache, young).reason == "TargetClaimed"
    cache.forget_pool(("demo", "zz"))
    assert refusal(cache, young) is None
    cache = cache_of(OPEN, mirrored(True))
    assert refusal(cache, by_activator()).reason == "ServiceHasEndpoints"
    keep(cache, mirrored())
    assert refusal(cache, by_activator()) is None
    cache.forget_service(VOICE)
    assert refusal(cache, by_activator()).reason == "ServiceNotFound"
    keep(cache, OPEN)
    assert refusal(cache, by_activator()) is None


@each(
    "meta, by",
    [
        ({"managedFields": [owned("selector", "kustomize-controller", operation="Apply")]},
         "kustomize-controller"),
        (owner("Cluster", "db"), "Cluster db"),
    ],
)  # fmt: skip
def test_route_activator_leaves_a_selector_that_a_program_writes_and_names_it(meta, by):
    made = of(service(), meta)
    cache = cache_of(made)
    judged = refusal(cache, by_activator())
    assert judged.reason == "SelectorContested"
    assert judged.message.startswith(f"{by} writes the selector of Service voice")
    assert "add `kotatsu.dev/route: Activator` to spec.selector in its manifest" in judged.message
    assert refusal(cache, warm_pool()) is None
    keep(cache, of(made, selector=made["spec"]["selector"] | {"kotatsu.dev/route": "Activator"}))
    assert refusal(cache, by_activator()) is None


@each(
    "platform, why",
    [
        (Platform(patches_services=False),
         "the operator may not change Service voice: set the chart value `rbac.patchServices`"),
        (Platform(home="demo"), "Service voice is in the namespace of Kotatsu itself"),
    ],
)  # fmt: skip
def test_a_pool_that_needs_a_selector_which_the_operator_may_not_change_is_refused(platform, why):
    cache = cache_of()
    judged = refusal(cache, by_activator(), platform)
    assert judged.reason == "SelectorNotPermitted"
    assert judged.message.startswith(why)
    assert "add `kotatsu.dev/route: Activator` to spec.selector in its manifest" in judged.message
    assert refusal(cache, warm_pool(), platform) is None
    led = service()["spec"]["selector"] | {"kotatsu.dev/route": "Activator"}
    keep(cache, of(service(), selector=led))
    assert refusal(cache, by_activator(), platform) is None
    keep(cache, OPEN)
    assert refusal(cache, by_activator(), platform) is None


@each("route", ["Auto", "Activator"])
def test_the_service_of_the_api_server_is_refused_whatever_has_been_seen(route):
    there = {"namespace": "default"}
    objects = of(deployment(), there), of(service("kubernetes"), there, selector=None)
    made = of(warm_pool(route=route, service="kubernetes"), there)
    judged = refusal(cache_of(*objects), made)
    assert judged.reason == "ServiceHasEndpoints"
    assert "API server" in judged.message


def test_of_several_reasons_the_first_is_told_and_the_strictest_end_counts(cache):
    keep(cache, scaler("one"), scaler("two"))
    cache.forget_service(VOICE)
    both = judge(cache, warm_pool())[1]
    assert (both.reason, both.ends) == ("ServiceNotFound", Ends.NOTHING)


def test_a_persons_autoscaler_comes_with_the_target_and_no_other(cache):
    keep(cache, scaler("a", kind="StatefulSet"), scaler("b", "other"))
    target, refused = judge(cache, warm_pool())
    assert (refused, target.autoscalers) == (None, [])
    mine = scaler()
    keep(cache, mine)
    assert judge(cache, warm_pool())[0].autoscalers == [mine]


# --- other kinds ---


def test_a_stateful_set_is_accepted_with_its_pods_and_its_scale():
    cache = Cache(served())
    keep(cache, service(), stateful_set())
    target, refused = judge(cache, pool_of("StatefulSet"))
    assert refused is None
    assert (target.place, target.replicas) == (("demo", "StatefulSet/voice"), 2)
    assert list(cache.keep_pod(pod())) == [target.key]
    assert cache.target_pods("demo", target.selector)
    assert refusal(cache, warm_pool()).reason == "TargetNotFound"


@each("made", [rollout(), rollout(template=None, selector=None)])
def test_a_rollout_is_accepted_also_by_the_selector_in_its_status(made):
    """Argo Rollouts can take their template from a Deployment (workloadRef)."""
    target, refused = judge(cache_of(made), of_rollout())
    assert refused is None
    assert (target.replicas, target.selector) == (2, {"matchLabels": {"app": "voice"}})


def test_a_kind_that_is_not_listed_yet_is_unknown_and_not_missing(cache):
    def awaits(namespace, kind):
        return (namespace, kind) == ("demo", "Rollout")

    assert judge(cache, of_rollout(), awaits)[0].is_unknown
    assert not judge(cache, pool_of("StatefulSet"), awaits)[0].is_unknown


def test_an_autoscaler_belongs_to_the_kind_that_it_names(cache):
    keep(cache, rollout())
    made = scaler(kind="Rollout")
    judge(cache, of_rollout())
    assert list(cache.keep_autoscaler(made)) == [VOICE]
    assert judge(cache, of_rollout())[0].autoscalers == [made]
    assert judge(cache, warm_pool("other"))[0].autoscalers == []


# --- whom its clients are limited to ---


def test_a_policy_that_limits_clients_is_no_obstacle_to_activators_of_the_namespace(cache):
    limits = {"podSelector": {"matchLabels": {"app": "voice"}}, "ingress": []}
    made = {"metadata": {"namespace": "demo", "name": "app"}, "spec": limits}
    assert list(cache.keep_policy(made)) == []
    assert refusal(cache, warm_pool()) is None

    shared = cache_of(scope=Scope("kotatsu"))
    assert list(shared.keep_policy(made)) == []
    assert refusal(shared, warm_pool()).reason == "Isolated"
    shared.forget_policy(("demo", "app"))
    assert refusal(shared, warm_pool()) is None


def test_a_pool_with_shared_activators_waits_for_the_list_of_policies(cache):
    def awaits(_, kind):
        return kind == "NetworkPolicy"

    assert not judge(cache, warm_pool(), awaits)[0].is_unknown
    assert judge(cache_of(scope=Scope("kotatsu")), warm_pool(), awaits)[0].is_unknown
