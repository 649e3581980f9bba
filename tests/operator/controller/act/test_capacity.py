"""What asks for nodes ahead of a window: made at its time, like the pods, and removed."""

import json
from datetime import timedelta

import pytest

from kotatsu_operator.controller.act.capacity import (
    Capacity,
    CapacityOptions,
    buffer,
    placeholder,
)
from kotatsu_operator.controller.cache.store import Cache
from kotatsu_operator.core.plan.plan import CapacityKind
from kotatsu_operator.core.pool.decision import Decision
from kotatsu_operator.core.pool.memory import Memory
from kotatsu_operator.core.pool.parse import parse
from kotatsu_operator.core.protocol import CAPACITY_LABEL
from tests.operator.cluster import FakeKube, denied, deployment, pod, warm_pool
from tests.operator.core.values import pool_spec, t

PLACEHOLDER = CapacityOptions(CapacityKind.PLACEHOLDER, "mirror/pause", "kotatsu-capacity")
BUFFER = CapacityOptions(CapacityKind.BUFFER)
LAST = timedelta(minutes=5)

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
        decision = decided(wanted, grows=grows)
        assert await self.capacity.follow(self.pool, pool_spec(), before, decision) is None

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


async def test_a_buffer_refers_to_a_template_of_the_pods():
    world = World(BUFFER)
    await world.hold(0, 3)
    [made] = world.kube.all("CapacityBuffer")
    assert made["spec"] == {"podTemplateRef": {"name": "voice-capacity"}, "replicas": 3}
    [template] = world.kube.all("PodTemplate")
    assert template["template"]["spec"] == TEMPLATE["spec"]
    await world.hold(3, 3)
    await world.hold(3, 0)
    assert world.kube.all("CapacityBuffer") == world.kube.all("PodTemplate") == []


async def test_a_buffer_costs_a_call_only_when_it_changes():
    world = World(BUFFER)
    await world.hold(0, 3)
    calls = len(world.kube.calls)
    for _ in range(10):
        await world.hold(3, 3)
    assert len(world.kube.calls) == calls


async def test_a_pool_that_asks_where_the_chart_permits_nothing_is_told_once_what_to_set():
    capacity = World(CapacityOptions()).capacity
    trouble = await capacity.follow(warm_pool(), pool_spec(), 0, decided(2))
    assert trouble is not None
    assert "capacityAhead.enabled" in trouble.message
    assert await capacity.follow(warm_pool(), pool_spec(), 2, decided(2)) is None


async def test_of_a_kind_whose_pods_are_not_known_the_pool_is_told_so():
    target = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "voice"}
    capacity = World(PLACEHOLDER).capacity
    spec = parse({"targetRef": target})
    trouble = await capacity.follow(warm_pool(), spec, 0, decided(2))
    assert trouble is not None
    assert "StatefulSet" in trouble.message


async def test_a_refused_placeholder_is_an_event_and_stops_nothing():
    world = World(PLACEHOLDER)

    def refuse(*_):
        raise denied()

    world.kube.on("create", refuse)
    trouble = await world.capacity.follow(world.pool, pool_spec(), 0, decided(1))
    assert trouble is not None
    assert "denied request" in trouble.message


async def test_a_pool_that_asks_for_nothing_costs_no_call():
    world = World(PLACEHOLDER)
    assert await world.capacity.follow(world.pool, pool_spec(), 0, decided(0)) is None
    assert world.kube.calls == []


def test_what_is_made_is_plain_json():
    for _, made in buffer(warm_pool(), "voice-capacity", TEMPLATE, 3):
        json.dumps(made)


@pytest.mark.parametrize("name", ["x" * 253])
def test_a_long_name_of_a_pool_fits_into_a_label(name):
    made = placeholder(warm_pool(name), "p", TEMPLATE, PLACEHOLDER, LAST)
    assert len(made["metadata"]["labels"][CAPACITY_LABEL]) <= 63
