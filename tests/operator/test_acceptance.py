"""Which pools can be acted on, and what people are told of the others."""

import pytest

from kotatsu_operator.acceptance import Accepted, Refusal, accept
from kotatsu_operator.world import World
from tests.operator.cluster import NAMESPACE, VOICE, deployment, service, warm_pool


@pytest.fixture
def world():
    world = World()
    world.keep_deployment(deployment())
    world.keep_service(service())
    return world


def judge(world, pool):
    world.keep_pool(pool)
    return accept((NAMESPACE, pool["metadata"]["name"]), pool, world)


def twin(name, since):
    """Another pool for the same Deployment."""
    made = warm_pool(name)
    made["metadata"]["creationTimestamp"] = since
    made["spec"]["targetRef"]["name"] = "voice"
    return made


def test_a_pool_with_a_target_of_its_own_is_accepted(world):
    judged = judge(world, warm_pool(scaling={"maxReplicas": 4}))
    assert isinstance(judged, Accepted)
    assert judged.spec.scaling.max_replicas == 4
    assert judged.deployment is world.deployments[VOICE]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"timeZone": "Mars/Base"}, "Mars/Base"),
        ({"windows": [{"name": "w", "schedule": "* *", "duration": "1h", "replicas": 1}]}, "w"),
        ({"budget": {"currency": "JPY", "prices": {"cpuHour": "cheap"}}}, "cheap"),
    ],
)
def test_what_the_schema_cannot_see_is_refused_with_a_sentence(world, spec, said):
    judged = judge(world, warm_pool(**spec))
    assert isinstance(judged, Refusal)
    assert judged.reason == "InvalidSpec"
    assert judged.message.startswith("spec.")
    assert said in judged.message


def test_a_missing_target_is_named_with_its_namespace(world):
    world.deployments.clear()
    judged = judge(world, warm_pool())
    assert isinstance(judged, Refusal)
    assert judged.reason == "TargetNotFound"
    assert "Deployment voice in namespace demo" in judged.message


def test_of_two_pools_with_one_target_the_older_has_it(world):
    old, young = twin("zz", "2026-11-25T08:00:00Z"), twin("aa", "2026-11-25T09:00:00Z")
    world.keep_pool(old)
    judged = judge(world, young)
    assert isinstance(judged, Refusal)
    assert judged.reason == "TargetClaimed"
    assert "older WarmPool zz" in judged.message
    assert isinstance(judge(world, old), Accepted)


def test_of_two_pools_of_the_same_second_the_first_by_name_has_it(world):
    pools = [twin(name, "2026-11-25T08:00:00Z") for name in ("aa", "bb")]
    for pool in pools:
        world.keep_pool(pool)
    first, second = (judge(world, pool) for pool in pools)
    assert isinstance(first, Accepted)
    assert isinstance(second, Refusal)


def test_when_the_older_pool_is_deleted_the_other_has_the_target(world):
    old, young = twin("zz", "2026-11-25T08:00:00Z"), twin("aa", "2026-11-25T09:00:00Z")
    world.keep_pool(old)
    world.keep_pool(young)
    del world.pools[NAMESPACE, "zz"]
    assert isinstance(judge(world, young), Accepted)
