"""What asks for nodes ahead of a window: made at its time, like the pods, and removed."""

import json
from datetime import timedelta

import pytest

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.feature import After
from kotatsu_operator.core.pool.decision import Decision
from kotatsu_operator.core.pool.memory import Memory
from kotatsu_operator.core.pool.parse import parse
from kotatsu_operator.core.protocol import CAPACITY_LABEL
from kotatsu_operator.features.capacity import (
    TRY_AGAIN,
    Capacity,
    CapacityOptions,
    placeholder,
)
from tests.operator.cluster import FakeKube, denied, deployment, pod, warm_pool
from tests.operator.core.values import pool_spec, t

PLACEHOLDER = CapacityOptions("mirror/pause", "kotatsu-capacity")
LAST = timedelta(minutes=5)
NOW = t("09:55")

TEMPLATE = {
    "metadata": {"labels": {"app": "voice"}},
    "spec": {
        "containers": [
            {"resources": {"requests": {"cpu": "250m", "memory": "320Mi"}}},
            {"resources": {"requests": {"cpu": "1", "nvidia.com/gpu": "1"}}},
        ],
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "volumes": [{"name": "models"}],
        "serviceAccountName": "voice",
    },
}


def decided(capacity, *, grows=True):
    """A decision that wants capacity for so many pods."""
    return Decision(Memory(capacity=capacity), None, recheck=t("10:00"), grows=grows)


class World:
    """A pool asleep, its Deployment, and the operator's hands."""

    def __init__(self, options):
        made = deployment()
        made["spec"]["template"] = TEMPLATE
        self.pool = warm_pool()
        self.kube = FakeKube(self.pool, made)
        self.cache = Cache()
        self.cache.keep_pool(self.pool)
        self.capacity = Capacity(self.kube, self.cache, options)

    async def hold(self, before, wanted, *, grows=True):
        assert await self.follow(before, wanted, grows=grows) == After()

    async def follow(self, before, wanted, *, grows=True, spec=None):
        decision = decided(wanted, grows=grows)
        return await self.capacity.follow(self.pool, spec or pool_spec(), before, decision, NOW)

    def refuse(self, verb, kind):
        """The API server rejects a verb for a kind, until something else is said of the verb."""

        def act(of, *_):
            if of == kind:
                raise denied()

        self.kube.on(verb, act)

    def restart(self):
        """Another operator leads: it knows what the watch has shown."""
        self.cache = Cache()
        self.cache.keep_pool(self.pool)
        self.capacity = Capacity(self.kube, self.cache, self.capacity.options)
        self.watch()

    def watch(self):
        """Let the watch show the pods that there are."""
        there = {made["metadata"]["name"]: made for made in self.kube.all("Pod")}
        for view in self.capacity.placeholders(("demo", "voice")):
            if view.key[1] not in there:
                self.cache.forget_pod(view.key)
        for name, made in there.items():
            meta = {"namespace": "demo", "uid": f"uid-{name}"} | made["metadata"]
            self.cache.keep_pod(made | {"metadata": meta, "status": {"phase": "Pending"}})

    @property
    def pods(self):
        return sorted(made["metadata"]["name"] for made in self.kube.all("Pod"))


def test_a_placeholder_needs_the_room_of_a_pod_on_the_nodes_of_a_pod_and_nothing_else():
    made = placeholder(warm_pool(), "voice-capacity-0", TEMPLATE, PLACEHOLDER, LAST)
    spec, [container] = made["spec"], made["spec"]["containers"]
    wants = container["resources"]
    assert {name: float(amount) for name, amount in wants["requests"].items()} == {
        "cpu": 1.25,
        "memory": 320 * 2**20,
        "nvidia.com/gpu": 1,
    }
    assert list(wants["limits"]) == ["nvidia.com/gpu"], "extended resources need a limit"
    assert spec["nodeSelector"] == {"pool": "gpu"}
    assert spec["tolerations"] == TEMPLATE["spec"]["tolerations"]
    assert (container["image"], spec["priorityClassName"]) == ("mirror/pause", "kotatsu-capacity")
    assert not {"volumes", "serviceAccountName"} & spec.keys()
    assert list(made["metadata"]["labels"]) == [CAPACITY_LABEL], "no Service selects it"
    assert made["metadata"]["ownerReferences"][0]["uid"] == "pool-voice"


def test_a_placeholder_ends_by_itself_if_no_operator_is_left():
    made = placeholder(warm_pool(), "voice-capacity-0", TEMPLATE, PLACEHOLDER, LAST)
    assert made["spec"]["activeDeadlineSeconds"] == LAST.total_seconds()


async def test_placeholders_come_go_and_are_not_made_twice():
    world = World(PLACEHOLDER)
    await world.hold(0, 2)
    await world.hold(0, 2)  # the watch lags
    assert world.pods == ["voice-capacity-0", "voice-capacity-1"]
    world.watch()
    await world.hold(2, 1)
    assert world.pods == ["voice-capacity-0"]
    await world.hold(1, 0)
    assert world.pods == []


async def test_a_lost_placeholder_is_replaced_before_the_pods_start_and_not_after():
    world = World(PLACEHOLDER)
    await world.hold(0, 2)
    world.watch()
    world.kube.remove("Pod", "voice-capacity-1")
    world.watch()
    await world.hold(2, 2, grows=False)
    assert world.pods == ["voice-capacity-0"]
    await world.hold(2, 2)
    assert world.pods == ["voice-capacity-0", "voice-capacity-1"]


async def test_many_placeholders_are_made_in_turns():
    world = World(PLACEHOLDER)
    await world.hold(0, 50)
    assert len(world.pods) == 20
    world.watch()
    await world.hold(50, 50)
    assert len(world.pods) == 40


async def test_other_pods_of_the_namespace_are_left_alone():
    world = World(PLACEHOLDER)
    world.kube.put(pod("voice-1"))
    await world.hold(0, 1)
    world.watch()
    await world.hold(1, 0)
    assert world.pods == ["voice-1"]


async def test_of_a_kind_whose_pods_are_not_known_the_pool_is_told_so():
    target = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "voice"}
    spec = parse({"targetRef": target})
    [trouble] = (await World(PLACEHOLDER).follow(0, 2, spec=spec)).notes
    assert "StatefulSet" in trouble.message


async def test_a_refused_placeholder_is_an_event_and_stops_nothing():
    world = World(PLACEHOLDER)

    world.refuse("create", "Pod")
    held = await world.follow(0, 1)
    [trouble] = held.notes
    assert "denied request" in trouble.message
    assert held.again == NOW + TRY_AGAIN
    assert (await world.follow(1, 1)).notes == (), "it is said once"


# --- what there is, compared with what is wanted ---


async def test_placeholders_that_there_are_cost_no_call():
    world = World(PLACEHOLDER)
    await world.hold(0, 3)
    world.watch()
    calls = len(world.kube.calls)
    for _ in range(10):
        await world.hold(3, 3)
    assert len(world.kube.calls) == calls


async def test_a_pool_whose_target_has_another_kind_now_gives_up_its_placeholders():
    world = World(PLACEHOLDER)
    await world.hold(0, 3)
    world.watch()
    target = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "voice"}
    await world.follow(3, 3, spec=parse({"targetRef": target}))
    assert world.pods == []


def test_what_is_made_is_plain_json():
    json.dumps(placeholder(warm_pool(), "voice-capacity-0", TEMPLATE, PLACEHOLDER, LAST))


@pytest.mark.parametrize("name", ["x" * 253])
def test_a_long_name_of_a_pool_fits_into_a_label(name):
    made = placeholder(warm_pool(name), "p", TEMPLATE, PLACEHOLDER, LAST)
    assert len(made["metadata"]["labels"][CAPACITY_LABEL]) <= 63
