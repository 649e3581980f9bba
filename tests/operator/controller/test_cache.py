"""What the operator has seen, and what it asks of that."""

from decimal import Decimal
from functools import partial

import pytest
from rows import each

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.core.objects import selects
from kotatsu_operator.core.protocol import ACTIVATOR_LABELS, HOME_LABEL
from kotatsu_operator.kube import informer as pods
from tests.operator.cluster import (
    MINE,
    NAMESPACE,
    VOICE,
    activator_pod,
    deployment,
    horizontal_pod_autoscaler,
    keep,
    native_slice,
    pod,
    published,
    served,
    service,
    warm_pool,
    was_ready,
)
from tests.operator.core.values import t

FEED = ("demo", "feed")
SELECTOR = {"matchLabels": {"app": "voice"}}


def at(version, obj):
    obj["metadata"]["resourceVersion"] = str(version)
    return obj


@pytest.fixture
def cache():
    return Cache(served())


# --- pools ---


def test_the_newest_version_of_a_pool_is_kept_also_of_one_made_again(cache):
    assert cache.keep_pool(at(9, warm_pool()))
    for older in (8, 9):
        assert not cache.keep_pool(at(older, warm_pool(suspend=True)))
    assert cache.pools[VOICE]["spec"].get("suspend") is None
    assert cache.keep_pool(at(10, warm_pool(suspend=True)))
    assert cache.pools[VOICE]["spec"]["suspend"]
    assert not cache.keep_pool(at(7, warm_pool(uid="before")))
    assert cache.keep_pool(at(11, warm_pool(uid="new")))


def test_of_the_pools_of_a_namespace_that_is_too_large_a_part_is_kept(cache):
    schedule = [{"name": "day", "schedule": "0 9 * * *", "duration": "1h"}]
    cache.keep_pool(at(9, warm_pool(windows=schedule, service="web", status=MINE)))
    cache.retained.full[NAMESPACE] = "Pod"
    cache.reduce(NAMESPACE)
    cache.keep_pool(at(10, warm_pool("feed", windows=schedule)))
    for name, more in (("voice", {"service": "web"}), ("feed", {})):
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
        assert cache.pools[NAMESPACE, name]["spec"] == {"targetRef": target} | more
    assert cache.pools[VOICE]["status"]
    assert cache.is_reduced(NAMESPACE)


def test_they_are_whole_again_once_they_are_listed_again(cache):
    cache.retained.full[NAMESPACE] = "Pod"
    cache.keep_pool(at(9, warm_pool(suspend=True, idleAfter="1m")))
    assert not cache.keep_pool(at(8, warm_pool()))
    cache.retained.full.clear()
    assert cache.keep_pool(at(9, warm_pool(suspend=True, idleAfter="1m")))
    assert cache.pools[VOICE]["spec"]["idleAfter"] == "1m"
    assert not cache.is_reduced(NAMESPACE)
    assert not cache.keep_pool(at(9, warm_pool()))


def test_a_pool_in_another_namespace_does_not_share_its_targets_name(cache):
    elsewhere = warm_pool()
    elsewhere["metadata"]["namespace"] = "elsewhere"
    cache.keep_pool(elsewhere)
    assert cache.pools_of_target("Deployment", VOICE) == []


# --- pods ---


def test_a_pod_is_never_replaced_by_an_older_version_of_it(cache):
    """The answer to a resize may come before what the watch still has to tell."""
    newer = at(9, pod("a", resources={"requests": {"cpu": "5m"}}))
    cache.keep_pod(newer)
    assert cache.keep_pod(at(8, pod("a"))) == ()
    (found,) = cache.target_pods("demo", SELECTOR)
    assert (found.version, found.billed.requests) == (9, {"cpu": Decimal("0.005")})
    cache.keep_pod(at(10, pod("a")))
    cache.keep_pod(at(9, newer))
    (found,) = cache.target_pods("demo", SELECTOR)
    assert (found.version, found.billed.requests) == (10, {})


def test_the_pods_of_a_target_are_those_its_selector_picks(cache):
    keep(cache, pod("voice-1"), pod("voice-2", terminating=True), pod("feed-1", app="feed"))
    assert [p.key[1] for p in cache.target_pods("demo", SELECTOR)] == ["voice-1", "voice-2"]
    assert cache.target_pods("elsewhere", SELECTOR) == []


def test_activators_are_the_ready_pods_that_stay(cache):
    keep(cache, activator_pod("activator-1"), activator_pod("activator-2", ready=False))
    keep(cache, activator_pod("activator-3", terminating=True), pod(ready=True))
    assert [p.key[1] for p in cache.activators.ready(VOICE)] == ["activator-1"]


def draining(name):
    return warm_pool(name, status={"phase": "Draining", "route": {"target": "Activator"}})


def test_a_change_of_an_activator_concerns_the_pools_that_wait_for_it(cache):
    routed = warm_pool("routed", status=MINE, route="Activator")
    keep(cache, draining("voice"), warm_pool("feed", status=MINE), routed)
    cache.keep_pod(activator_pod("activator-1"))
    waiting = [VOICE, ("demo", "routed")]
    assert list(cache.keep_pod(activator_pod("activator-2"))) == waiting
    assert list(cache.keep_pod(ending("activator-2"))) == waiting
    assert list(cache.forget_pod(("demo", "activator-2"))) == waiting


def test_the_first_activator_and_the_loss_of_the_last_one_concern_all_pools_of_the_set(cache):
    elsewhere = warm_pool("else", status={"internal": {"activators": "kotatsu/0"}})
    keep(cache, draining("voice"), warm_pool("feed", status=MINE), elsewhere)
    assert set(cache.keep_pod(activator_pod("activator-1"))) == {VOICE, FEED}
    assert set(cache.forget_pod(("demo", "activator-1"))) == {VOICE, FEED}


# --- acknowledgement ---


def ending(name):
    return activator_pod(name, terminating=True)


def starting(name):
    return activator_pod(name, ready=False)


def lost_one(name):
    return was_ready(activator_pod(name))


@each(
    "why, pods, slices, acknowledged",
    [
        ("without a Ready activator nothing is", [], [(1, 5)], None),
        ("nor of one that starts", [(1, starting)], [(1, 5)], None),
        ("the lowest epoch of all is", [1, 2], [(1, 5), (2, 4)], 4),
        ("one that has published nothing holds it up", [1, 2], [(1, 5)], 0),
        ("one that leaves does not", [1, (2, ending)], [(1, 5), (2, 3, "leaving")], 5),
        ("a lost one with a Ready endpoint does", [1, (2, lost_one)], [(1, 5), (2, 5)], 0),
        ("until that is withdrawn", [1, (2, lost_one)], [(1, 5), (2, 5, "lost")], 5),
        ("one that starts and has published does not", [1, (2, starting)], [(1, 5), (2, 4)], 5),
        ("an endpoint that leaves is none", [1], [(1, 5, "leaving")], 0),
        ("nor one that is lost", [1], [(1, 5, "lost")], 0),
        ("nor an empty slice", [1], [(1, 5, "empty")], 0),
        ("nor the slice of a pod that was replaced", [1], [(0, 5)], 0),
        ("nor another pool's", [1], [(1, 5, "serving", "feed")], 0),
    ],
)
def test_an_epoch_is_acknowledged_by_the_ready_endpoints_of_all_activators(
    why, pods, slices, acknowledged
):
    cache = Cache(served())
    for number, make in (p if isinstance(p, tuple) else (p, activator_pod) for p in pods):
        cache.keep_pod(make(f"activator-{number}"))
    for number, epoch, *how in slices:
        how = dict(zip(("state", "pool"), how, strict=False))
        cache.keep_slice(published(f"activator-{number}", epoch, **how))
    assert cache.acknowledged(VOICE) == acknowledged, why


@pytest.mark.parametrize("first", ["IPv4", "IPv6"])
def test_a_dual_stack_pool_is_acknowledged_once_both_families_are(cache, first):
    """As it goes to sleep the slices of both are empty; one of them has an endpoint first."""
    [second] = {"IPv4", "IPv6"} - {first}
    empty = published("activator-1", 4, state="empty", family=second, dual=True)
    keep(cache, activator_pod(), empty, published("activator-1", 5, family=first, dual=True))
    assert cache.acknowledged(VOICE) == 0
    cache.keep_slice(published("activator-1", 5, family=second, dual=True))
    assert cache.acknowledged(VOICE) == 5


def test_a_slice_from_before_families_were_told_acknowledges_its_own(cache):
    cache.keep_pod(activator_pod("activator-1"))
    older = published("activator-1", 5)
    del older["metadata"]["annotations"]["kotatsu.dev/families"]
    cache.keep_slice(older)
    assert cache.acknowledged(VOICE) == 5


# --- the slices of others ---


def test_slices_of_kubernetes_are_no_activators(cache):
    cache.keep_pool(warm_pool())
    assert list(cache.keep_slice(native_slice(True))) == []
    assert cache.activators.slices == {}
    assert cache.slices_in("demo") == [("demo", "voice-native-ipv4")]


def test_endpoints_of_others_concern_the_pools_on_route_activator_as_they_come_and_go(cache):
    keep(cache, warm_pool(route="Activator"), warm_pool("feed"))
    assert list(cache.keep_slice(native_slice())) == []
    assert list(cache.keep_slice(native_slice(True))) == [VOICE]
    assert list(cache.keep_slice(native_slice(False))) == []
    assert list(cache.keep_slice(native_slice(of="feed"))) == []
    assert list(cache.keep_slice(native_slice())) == [VOICE]
    assert cache.slices_in("demo") == []
    assert list(cache.keep_slice(native_slice(True))) == [VOICE]
    assert list(cache.forget_slice(("demo", "voice-native-ipv4"))) == [VOICE]


def test_a_slice_that_leads_to_another_service_concerns_both(cache):
    made = native_slice(True)
    keep(cache, warm_pool(route="Activator"), warm_pool("feed", route="Activator"), made)
    moved = {**made["metadata"], "labels": {"kubernetes.io/service-name": "feed"}}
    assert set(cache.keep_slice(made | {"metadata": moved})) == {VOICE, FEED}


def test_a_slice_that_is_made_out_to_be_anothers_is_no_activators_any_more(cache):
    made = published("activator-1", 5)
    cache.keep_slice(made)
    made["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = "somebody"
    assert list(cache.keep_slice(made)) == [VOICE]
    assert cache.activators.slices == {}


# --- orphans ---


def test_an_orphan_is_a_slice_whose_pod_is_gone(cache):
    cache.keep_pod(activator_pod("activator-1", ready=False, terminating=True))
    keep(cache, published("activator-1", 1), published("activator-2", 1))
    assert [s.pod_name for s in cache.activators.orphans({"demo"}.__contains__)] == ["activator-2"]


def test_before_the_pods_of_a_namespace_are_known_no_slice_is_an_orphan(cache):
    cache.keep_slice(published("activator-1", 1))
    assert cache.activators.orphans({"elsewhere"}.__contains__) == []


# --- lost activators ---


def left_by_lost(*more):
    """The slices to be removed where the only activator of a warm pool with a Ready pod is lost."""
    cache = Cache(served())
    keep(cache, warm_pool(), deployment(replicas=1), pod(ready=True))
    keep(cache, was_ready(activator_pod("activator-1")), published("activator-1", 5), *more)
    return [slice_.pod_name for slice_ in cache.activators.lost(cache.answers)]


def test_a_lost_activators_slice_is_left_to_nobody_where_no_other_is_ready():
    assert left_by_lost() == ["activator-1"]


@each(
    "there",
    {
        "another activator that is Ready": activator_pod("activator-2"),
        "no pod that is Ready, so it is the last endpoint": was_ready(pod()),
        "a pod that ends": pod(ready=True, terminating=True),
        "route Activator, where no pod is an endpoint": at(2, warm_pool(route="Activator")),
        "an endpoint that leaves": published("activator-1", 5, state="leaving"),
        "one that was withdrawn": published("activator-1", 5, state="lost"),
        "an empty slice": published("activator-1", 5, state="empty"),
    },
)
def test_a_lost_activators_slice_stays_where_there_is(there):
    assert left_by_lost(there) == []


# --- what is news ---


@pytest.fixture
def pools(cache):
    keep(cache, warm_pool(), warm_pool("feed"), deployment(), deployment("feed"))
    return cache


def changed(obj):
    """An object at a newer version."""
    return obj | {"metadata": obj["metadata"] | {"resourceVersion": "99"}}


@pytest.mark.parametrize(
    ("keep", "obj"),
    [
        (partial(Cache.keep_workload, kind="Deployment"), deployment(replicas=1)),
        (Cache.keep_pod, pod("voice-1")),
        (Cache.keep_slice, published("activator-1", 5)),
        (Cache.keep_service, service()),
        (Cache.keep_autoscaler, horizontal_pod_autoscaler()),
    ],
)
def test_what_tells_nothing_new_concerns_no_pool(pools, keep, obj):
    assert list(keep(pools, obj=obj)) == [VOICE]
    assert list(keep(pools, obj=changed(obj))) == []


def test_a_deployment_is_news_when_its_replicas_or_its_rollout_change(pools):
    rolled_out = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}
    counted = rolled_out | {"observedGeneration": 7, "conditions": [{"type": "Progressing"}]}
    for status, news in (({}, [VOICE]), (rolled_out, [VOICE]), (counted, [])):
        made = deployment(replicas=2) | {"status": status}
        assert list(pools.keep_workload("Deployment", made)) == news


def test_a_pod_whose_label_names_its_target_is_news_to_its_pool(cache):
    cache.pod_labels = {"Service": "serving.knative.dev/service"}
    target = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "talk"}
    cache.keep_pool(warm_pool("talk", targetRef=target))
    made = pod("talk-1", labels={"serving.knative.dev/service": "talk"})
    assert list(cache.keep_pod(made)) == [("demo", "talk")]


def test_an_autoscaler_that_leaves_a_pool_is_news_to_both(pools):
    remembered = warm_pool(status={"internal": {"hpa": {"name": "voice", "minReplicas": 1}}})
    pools.keep_pool(at(2, remembered))
    pools.keep_autoscaler(horizontal_pod_autoscaler())
    assert set(pools.keep_autoscaler(horizontal_pod_autoscaler("voice", "feed"))) == {VOICE, FEED}
    assert set(pools.forget_autoscaler(VOICE)) == {VOICE, FEED}


def test_an_autoscaler_is_kept_at_the_newest_version_even_when_that_is_no_news(pools):
    pools.keep_autoscaler(horizontal_pod_autoscaler())
    pools.keep_autoscaler(changed(horizontal_pod_autoscaler()))
    assert pools.autoscalers[VOICE]["metadata"]["resourceVersion"] == "99"


def test_what_is_gone_is_forgotten_and_is_news(pools):
    keep(pools, pod("voice-1"), service(), published("activator-1", 5))
    slice_ = ("demo", published("activator-1", 5)["metadata"]["name"])
    assert list(pools.forget_pod(("demo", "voice-1"))) == [VOICE]
    assert list(pools.forget_service(VOICE)) == [VOICE]
    assert list(pools.forget_slice(slice_)) == [VOICE]
    assert list(pools.forget_workload("Deployment", VOICE)) == [VOICE]
    assert (pools.services, pools.activators.slices, list(pools.workloads)) == ({}, {}, [FEED])
    assert pools.target_pods("demo", SELECTOR) == []


# --- pods that are gone ---


def test_a_pod_that_is_gone_is_billed_once_until_the_moment_it_went(pools):
    pools.clock = lambda: t("10:07")
    keep(pools, pod("voice-1"), pod("feed-1", app="feed"))
    for name in ("voice-1", "feed-1", "never-seen"):
        pools.forget_pod(("demo", name))
    [bill] = pools.departed(VOICE)
    assert (bill.uid, bill.gone_at) == ("uid-voice-1", t("10:07"))
    assert pools.departed(VOICE) == [bill]
    pools.settled(VOICE, [bill])
    assert pools.departed(VOICE) == []
    assert len(pools.departed(FEED)) == 1


def test_a_pod_made_again_under_its_name_was_gone_in_between(pools):
    pools.keep_pod(pod("voice-1"))
    again = pod("voice-1")
    again["metadata"]["uid"] = "another"
    pools.keep_pod(again)
    assert [bill.uid for bill in pools.departed(VOICE)] == ["uid-voice-1"]


def test_nobody_pays_for_an_activator(pools):
    pools.keep_pod(activator_pod())
    pools.forget_pod(("demo", "activator-1"))
    assert pools.departed(VOICE) == pools.departed(FEED) == []


def test_a_pod_that_was_over_before_it_is_deleted_is_not_billed_again(pools):
    made = pod("voice-1", phase="Failed")
    ended = {"terminated": {"finishedAt": "2026-11-25T10:00:00Z"}}
    made["status"]["containerStatuses"] = [{"state": ended}]
    pools.keep_pod(made)
    pools.forget_pod(("demo", "voice-1"))
    assert pools.departed(VOICE) == []


@pytest.mark.slow
def test_pods_that_nobody_pays_for_yet_are_not_kept_for_ever(pools):
    for n in range(3000):
        pools.keep_pod(pod(f"voice-{n}"))
        pools.forget_pod(("demo", f"voice-{n}"))
    assert len(pools.departed(VOICE)) == 1000


def test_deployments_that_are_gone_cost_no_pod_of_another_namespace_anything(cache, monkeypatch):
    """They are remembered for as long as they have pods, which may be for ever."""
    asked = 0

    def count(selector, labels):
        nonlocal asked
        asked += 1
        return selects(selector, labels)

    for number in range(30):
        made = deployment(f"gone-{number}")
        made["spec"]["selector"] = {"matchExpressions": [{"key": "app", "operator": "Exists"}]}
        keep(cache, made, pod(f"left-{number}", app="any"))
        of = {"kind": "Deployment", "name": f"gone-{number}"}
        cache.keep_pool(warm_pool(f"gone-{number}", targetRef=of))
    monkeypatch.setattr(pods, "selects", count)
    for number in range(30):
        cache.forget_workload("Deployment", ("demo", f"gone-{number}"))
    assert asked <= 30  # each finds one of its pods at once
    other = pod("web-1")
    other["metadata"]["namespace"] = "other"
    cache.keep_pod(other)
    asked = 0
    cache.forget_pod(("other", "web-1"))
    assert asked == 0


def test_the_selector_of_a_gone_deployment_is_kept_until_its_last_pod_is_gone(cache):
    keep(cache, deployment(), pod("voice-1"), pod("voice-2"))
    cache.keep_pool(warm_pool())
    cache.forget_workload("Deployment", VOICE)
    cache.forget_pod(("demo", "voice-1"))
    assert cache.selector_of(VOICE) == SELECTOR
    cache.forget_pod(("demo", "voice-2"))
    assert cache.selector_of(VOICE) is None


def test_nothing_is_kept_of_a_gone_deployment_without_a_pool(cache):
    """Any number of them may come and go beside one pod that they select."""
    keep(cache, deployment(), pod("voice-1"))
    cache.forget_workload("Deployment", VOICE)
    assert cache.selector_of(VOICE) is None


def test_a_changed_phase_touches_the_pools_before_and_after():
    touched = []
    cache = Cache(served(), touch=touched.append)
    cache.keep_pool(at(1, warm_pool("api", dependsOn=["db"])))
    cache.keep_pool(at(2, warm_pool("web", dependsOn=["api"])))
    touched.clear()
    cache.keep_pool(at(3, warm_pool("api", dependsOn=["db"], status={"phase": "Warm"})))
    assert sorted(touched) == [("demo", "db"), ("demo", "web")]
    touched.clear()
    cache.keep_pool(at(4, warm_pool("api", dependsOn=["db"], status={"phase": "Warm", "x": 1})))
    assert touched == []
    suspended = {"dependsOn": ["db"], "suspend": True}
    cache.keep_pool(at(5, warm_pool("api", **suspended, status={"phase": "Warm"})))
    assert sorted(touched) == [("demo", "db"), ("demo", "web")]
    touched.clear()
    ready = {"phase": "Warm", "readyReplicas": 1}
    cache.keep_pool(at(6, warm_pool("api", **suspended, status=ready)))
    assert sorted(touched) == [("demo", "db"), ("demo", "web")]
    touched.clear()
    cache.forget_pool(("demo", "api"))
    assert sorted(touched) == [("demo", "db"), ("demo", "web")]


# --- policies that limit clients only while pools are awake ---


VOICES = {"app": "voice"}
FROM_GATEWAY = {"from": [{"podSelector": {"matchLabels": {"app": "gateway"}}}]}
POOL_PORTS = {"ports": [{"protocol": "TCP", "port": 1024, "endPort": 65535}]}
METRICS = {"ports": [{"protocol": "TCP", "port": 8080}]}


def policy(name, labels, *ingress, types=("Ingress", "Egress")):
    spec = {"podSelector": {"matchLabels": labels} if labels else {}, "ingress": list(ingress)}
    if types:
        spec["policyTypes"] = list(types)
    return {"metadata": {"namespace": "demo", "name": name}, "spec": spec}


OWN = ACTIVATOR_LABELS | {HOME_LABEL: NAMESPACE}
"""What the chart's policy for activators of one namespace selects."""
CHART = policy("kotatsu-activator", OWN, POOL_PORTS)
NARROW = policy("kotatsu-activator", OWN, POOL_PORTS | FROM_GATEWAY, METRICS)


def bypassed(*policies):
    cache = Cache(served())
    for obj in policies:
        cache.keep_policy(obj)
    return cache.bypassed_policy("demo", VOICES)


@each(
    "of_the_app",
    [
        policy("app", VOICES, FROM_GATEWAY),
        policy("app", VOICES, FROM_GATEWAY | METRICS, types=()),
        policy("app", {}),
    ],
)
def test_a_policy_of_the_app_is_bypassed_while_the_activators_admit_everybody(of_the_app):
    assert bypassed(CHART, of_the_app) == "app"
    assert bypassed(NARROW, of_the_app) == ""
    assert bypassed(NARROW, CHART, of_the_app) == "app"  # policies add up


def test_activators_that_no_policy_selects_admit_everybody():
    assert bypassed(policy("app", VOICES, FROM_GATEWAY)) == "app"


def test_a_policy_that_limits_no_client_is_not_bypassed():
    assert bypassed(CHART) == ""
    assert bypassed(CHART, policy("app", VOICES, {})) == ""
    assert bypassed(CHART, policy("app", VOICES, types=["Egress"])) == ""
    assert bypassed(CHART, policy("other", {"app": "feed"}, FROM_GATEWAY)) == ""


def test_a_changed_policy_concerns_the_pools_of_its_namespace():
    cache = Cache(served())
    cache.keep_pool(warm_pool())
    assert list(cache.keep_policy(CHART)) == [VOICE]
    assert list(cache.keep_policy(CHART)) == []
    assert list(cache.keep_policy(NARROW)) == [VOICE]
    assert list(cache.forget_policy(("demo", "kotatsu-activator"))) == [VOICE]
    assert cache.policies == {}
