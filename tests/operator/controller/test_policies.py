"""Which pools have a NetworkPolicy that limits their clients only while they are awake."""

import pytest

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.core.protocol import ACTIVATOR_LABELS
from tests.operator.cluster import VOICE, warm_pool

VOICES = {"app": "voice"}
FROM_GATEWAY = {"from": [{"podSelector": {"matchLabels": {"app": "gateway"}}}]}
POOL_PORTS = {"ports": [{"protocol": "TCP", "port": 1024, "endPort": 65535}]}
METRICS = {"ports": [{"protocol": "TCP", "port": 8080}]}


def policy(name, labels, *ingress, types=("Ingress", "Egress")):
    spec = {"podSelector": {"matchLabels": labels} if labels else {}, "ingress": list(ingress)}
    if types:
        spec["policyTypes"] = list(types)
    return {"metadata": {"namespace": "demo", "name": name}, "spec": spec}


CHART = policy("kotatsu-activator", ACTIVATOR_LABELS, POOL_PORTS)
NARROW = policy("kotatsu-activator", ACTIVATOR_LABELS, POOL_PORTS | FROM_GATEWAY, METRICS)


def bypassed(*policies):
    cache = Cache()
    for obj in policies:
        cache.keep_policy(obj)
    return cache.bypassed_policy("demo", VOICES)


@pytest.mark.parametrize(
    "of_the_app",
    [
        policy("app", VOICES, FROM_GATEWAY),
        policy("app", VOICES, FROM_GATEWAY | METRICS, types=()),
        policy("app", {}),
    ],
    ids=["its clients", "without types", "nobody"],
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
    cache = Cache()
    cache.keep_pool(warm_pool())
    assert list(cache.keep_policy(CHART)) == [VOICE]
    assert list(cache.keep_policy(CHART)) == []
    assert list(cache.keep_policy(NARROW)) == [VOICE]
    assert list(cache.forget_policy(("demo", "kotatsu-activator"))) == [VOICE]
    assert cache.policies == {}
