"""What the operator has seen, and what it asks of that."""

import pytest

from kotatsu_operator.activator.slices import Self, make_slice
from kotatsu_operator.activator.view import pool_view
from kotatsu_operator.world import World
from tests.operator.cluster import (
    VOICE,
    activator_pod,
    deployment,
    native_slice,
    pod,
    service,
    warm_pool,
)
from tests.operator.core.values import t

SELECTOR = {"matchLabels": {"app": "voice"}}


def at(version, obj):
    obj["metadata"]["resourceVersion"] = str(version)
    return obj


def published(activator, epoch, *, pool="voice", state="serving"):
    """The slice that an activator's pod has published for a pool."""
    me = Self("demo", activator, f"uid-{activator}", ("10.0.0.9",), "node-a")
    route = {"target": "Activator", "epoch": epoch}
    view = pool_view(warm_pool(pool, status={"route": route}))
    return make_slice(view, service(pool), me, "IPv4", {"http": 1}, state=state)


@pytest.fixture
def world():
    return World()


# --- pools ---


def test_the_newest_version_of_a_pool_is_kept(world):
    assert world.keep_pool(at(9, warm_pool()))
    assert not world.keep_pool(at(8, warm_pool(suspend=True)))
    assert not world.keep_pool(at(9, warm_pool(suspend=True)))
    assert world.pools[VOICE]["spec"].get("suspend") is None
    assert world.keep_pool(at(10, warm_pool(suspend=True)))
    assert world.pools[VOICE]["spec"]["suspend"]


def test_versions_are_compared_as_numbers(world):
    world.keep_pool(at(99, warm_pool()))
    assert world.keep_pool(at(100, warm_pool()))


def test_a_pool_made_again_replaces_the_old_one_whatever_its_version(world):
    world.keep_pool(at(100, warm_pool(uid="old")))
    assert world.keep_pool(at(7, warm_pool(uid="new")))


def test_the_pools_of_a_deployment_come_oldest_first_then_by_name(world):
    for name, since in (("c", "10:00"), ("a", "11:00"), ("b", "11:00"), ("other", "09:00")):
        made = warm_pool(name)
        made["metadata"]["creationTimestamp"] = f"2026-11-25T{since}:00Z"
        made["spec"]["targetRef"]["name"] = "x" if name == "other" else "voice"
        world.keep_pool(made)
    assert [name for _, name in world.pools_of_deployment(VOICE)] == ["c", "a", "b"]


def test_a_pool_in_another_namespace_does_not_share_its_targets_name(world):
    elsewhere = warm_pool()
    elsewhere["metadata"]["namespace"] = "elsewhere"
    world.keep_pool(elsewhere)
    assert world.pools_of_deployment(VOICE) == []


# --- pods ---


def test_the_pods_of_a_target_are_those_its_selector_picks(world):
    for made in (pod("voice-1"), pod("voice-2", terminating=True), pod("feed-1", app="feed")):
        world.keep_pod(made)
    assert [p.key[1] for p in world.target_pods("demo", SELECTOR)] == ["voice-1", "voice-2"]
    assert world.target_pods("elsewhere", SELECTOR) == []


def test_a_pod_that_is_gone_is_forgotten(world):
    world.keep_pod(pod("voice-1"))
    world.forget_pod(("demo", "voice-1"))
    world.forget_pod(("demo", "never-seen"))
    assert world.target_pods("demo", SELECTOR) == []


def test_activators_are_the_ready_pods_that_stay(world):
    for made in (
        activator_pod("activator-1"),
        activator_pod("activator-2", ready=False),
        activator_pod("activator-3", terminating=True),
        pod(ready=True),
    ):
        world.keep_pod(made)
    assert [p.key[1] for p in world.activators("demo")] == ["activator-1"]


# --- acknowledgement ---


def test_without_a_ready_activator_nothing_is_acknowledged(world):
    world.keep_slice(published("activator-1", 5))
    assert world.acknowledged(VOICE) is None
    world.keep_pod(activator_pod("activator-1", ready=False))
    assert world.acknowledged(VOICE) is None


def test_the_lowest_epoch_that_all_have_published_is_acknowledged(world):
    for name, epoch in (("activator-1", 5), ("activator-2", 4)):
        world.keep_pod(activator_pod(name))
        world.keep_slice(published(name, epoch))
    assert world.acknowledged(VOICE) == 4
    world.keep_slice(published("activator-2", 5))
    assert world.acknowledged(VOICE) == 5


def test_a_ready_activator_that_has_published_nothing_holds_it_up(world):
    for name in ("activator-1", "activator-2"):
        world.keep_pod(activator_pod(name))
    world.keep_slice(published("activator-1", 5))
    assert world.acknowledged(VOICE) == 0


def test_an_activator_that_leaves_holds_nothing_up(world):
    world.keep_pod(activator_pod("activator-1"))
    world.keep_slice(published("activator-1", 5))
    world.keep_pod(activator_pod("activator-2", terminating=True))
    world.keep_slice(published("activator-2", 3, state="leaving"))
    assert world.acknowledged(VOICE) == 5


@pytest.mark.parametrize("state", ["leaving", "empty"])
def test_only_an_endpoint_that_is_ready_acknowledges(world, state):
    world.keep_pod(activator_pod("activator-1"))
    world.keep_slice(published("activator-1", 5, state=state))
    assert world.acknowledged(VOICE) == 0


def test_a_slice_of_another_pool_acknowledges_nothing(world):
    world.keep_pod(activator_pod("activator-1"))
    world.keep_slice(published("activator-1", 5, pool="feed"))
    assert world.acknowledged(VOICE) == 0


def test_a_slice_of_a_pod_that_was_replaced_acknowledges_nothing(world):
    world.keep_slice(published("activator-0", 5))
    world.keep_pod(activator_pod("activator-1"))
    assert world.acknowledged(VOICE) == 0


def test_slices_of_kubernetes_are_not_kept(world):
    assert world.keep_slice(native_slice(True)) is None
    assert world.slices == {}


# --- orphans ---


def test_an_orphan_is_a_slice_whose_pod_is_gone(world):
    world.keep_pod(activator_pod("activator-1", ready=False, terminating=True))
    for name in ("activator-1", "activator-2"):
        world.keep_slice(published(name, 1))
    assert [s.pod_name for s in world.orphans(["demo"])] == ["activator-2"]
    assert list(world.orphans(["elsewhere"])) == []


def test_before_any_pod_has_been_seen_no_slice_is_an_orphan(world):
    world.keep_slice(published("activator-1", 1))
    assert list(world.orphans(["demo"])) == []


def test_deployments_are_kept_as_they_are(world):
    world.keep_deployment(deployment(replicas=3))
    assert world.deployments[VOICE]["spec"]["replicas"] == 3


# --- pods that are gone ---


def test_a_pod_that_is_gone_is_billed_once_until_the_moment_it_went(world):
    world.clock = lambda: t("10:07")
    world.keep_pod(pod("voice-1"))
    world.keep_pod(pod("feed-1", app="feed"))
    for name in ("voice-1", "feed-1", "never-seen"):
        world.forget_pod(("demo", name))
    [bill] = world.take_departed("demo", SELECTOR)
    assert (bill.uid, bill.gone_at) == ("uid-voice-1", t("10:07"))
    assert world.take_departed("demo", SELECTOR) == []
    assert len(world.take_departed("demo", {"matchLabels": {"app": "feed"}})) == 1


def test_a_pod_that_was_over_before_it_is_deleted_is_not_billed_again(world):
    made = pod("voice-1", phase="Failed")
    ended = {"terminated": {"finishedAt": "2026-11-25T10:00:00Z"}}
    made["status"]["containerStatuses"] = [{"state": ended}]
    world.keep_pod(made)
    world.forget_pod(("demo", "voice-1"))
    assert world.take_departed("demo", SELECTOR) == []


def test_pods_that_no_pool_pays_for_are_not_kept_for_ever(world):
    for n in range(3000):
        world.keep_pod(pod(f"job-{n}", app="job"))
        world.forget_pod(("demo", f"job-{n}"))
    assert len(world.take_departed("demo", {"matchLabels": {"app": "job"}})) == 1000
