"""What asks for nodes ahead of a window: made at its time, like the pods, and removed."""

import json
from dataclasses import replace
from datetime import timedelta

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.feature import After, Report, Turn, kinds_of
from kotatsu_operator.controller.target import Tools, accept
from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.pool.decision import Decision, Observation
from kotatsu_operator.core.pool.memory import Memory
from kotatsu_operator.core.protocol import CAPACITY_LABEL
from kotatsu_operator.features.capacity import CapacityOptions, Placeholders, placeholder
from kotatsu_operator.kube.fields import used
from kotatsu_operator.kube.objects import Deployment
from tests.operator.cluster import FakeKube, deployment, pod, served, warm_pool
from tests.operator.core.values import t

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


class World:
    """A pool asleep, its Deployment, and the feature."""

    def __init__(self):
        made = deployment()
        made["spec"]["template"] = TEMPLATE
        self.pool = warm_pool()
        self.kube = FakeKube(self.pool, made)
        self.cache = Cache(served())
        self.cache.keep_pool(self.pool)
        self.feature = Placeholders(PLACEHOLDER)

    async def hold(self, before, wanted, *, grows=True):
        """Reconcile a decision that wants nodes for so many pods; before, the status had others."""
        key = ("demo", "voice")
        target, _ = accept(key, self.pool, self.cache, kinds_of(()))
        turn = Turn(self.pool, target, None, Memory(capacity=before), [], {}, NOW)
        decision = Decision(Memory(capacity=wanted), None, recheck=t("10:00"), grows=grows)
        report = Report(Observation(0, 0, 0, acknowledged=0), decision, Ledger(), {}, ())
        return await self.feature.after(Tools(self.kube, None, lambda: NOW), turn, report)

    def watch(self):
        """Let the watch show the pods that there are."""
        there = {made["metadata"]["name"]: made for made in self.kube.all("Pod")}
        for view in self.cache.target_pods("demo", {"matchLabels": {CAPACITY_LABEL: "voice"}}):
            if view.key[1] not in there:
                self.cache.forget_pod(view.key)
        for name, made in there.items():
            meta = {"namespace": "demo", "uid": f"uid-{name}"} | made["metadata"]
            self.cache.keep_pod(made | {"metadata": meta, "status": {"phase": "Pending"}})

    @property
    def pods(self):
        return sorted(made["metadata"]["name"] for made in self.kube.all("Pod"))


def test_a_placeholder_needs_the_room_of_a_pod_on_the_nodes_of_a_pod_and_nothing_else():
    made = placeholder(warm_pool(), "voice-capacity-0", as_read(TEMPLATE), PLACEHOLDER, LAST)
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
    assert "serviceAccountName" not in spec
    assert spec["volumes"] == container["volumeMounts"] == []
    assert list(made["metadata"]["labels"]) == [CAPACITY_LABEL], "no Service selects it"
    assert made["metadata"]["ownerReferences"][0]["uid"] == "pool-voice"
    assert spec["activeDeadlineSeconds"] == LAST.total_seconds(), "if no operator is left"
    assert json.loads(json.dumps(made)) == made, "plain JSON"


def as_read(template):
    """A template with the fields that the operator keeps of a Deployment."""
    made = deployment()
    made["spec"]["template"] = template
    return used(Deployment, made)["spec"]["template"]


def test_a_placeholder_mounts_the_images_that_may_be_pulled():
    web = {"image": "mirror/team/web@sha256:1", "imagePullPolicy": "IfNotPresent"}
    first = {"image": "mirror/team/first:2", "imagePullPolicy": "Always"}
    spec = {
        "initContainers": [first],
        "containers": [web, {"image": "mirror/other"}, {"image": "elsewhere/mirror/team/web"}, web],
        "imagePullSecrets": [{"name": "registry"}],
    }
    options = replace(PLACEHOLDER, pull_images=("mirror/team/", "mirror/llm:"))
    made = placeholder(warm_pool(), "voice-capacity-0", as_read({"spec": spec}), options, LAST)[
        "spec"
    ]
    assert [volume["image"] for volume in made["volumes"]] == [
        {"reference": "mirror/team/first:2", "pullPolicy": "Always"},
        {"reference": "mirror/team/web@sha256:1", "pullPolicy": "IfNotPresent"},
    ]
    [container] = made["containers"]
    names = [volume["name"] for volume in made["volumes"]]
    assert [mount["name"] for mount in container["volumeMounts"]] == names
    assert made["imagePullSecrets"] == [{"name": "registry"}]


def test_a_long_name_of_a_pool_fits_into_a_label():
    made = placeholder(warm_pool("x" * 253), "p", TEMPLATE, PLACEHOLDER, LAST)
    assert len(made["metadata"]["labels"][CAPACITY_LABEL]) <= 63


async def test_placeholders_come_go_and_are_not_made_twice():
    world = World()
    await world.hold(0, 2)
    assert await world.hold(0, 2) == After()  # the watch lags
    assert world.pods == ["voice-capacity-0", "voice-capacity-1"]
    world.watch()
    await world.hold(2, 1)
    assert world.pods == ["voice-capacity-0"]
    await world.hold(1, 0)
    assert world.pods == []


async def test_a_lost_placeholder_is_replaced_before_the_pods_start_and_not_after():
    world = World()
    await world.hold(0, 2)
    world.watch()
    world.kube.remove("Pod", "voice-capacity-1")
    world.watch()
    await world.hold(2, 2, grows=False)
    assert world.pods == ["voice-capacity-0"]
    await world.hold(2, 2)
    assert world.pods == ["voice-capacity-0", "voice-capacity-1"]


async def test_many_placeholders_are_made_in_turns():
    world = World()
    await world.hold(0, 50)
    assert len(world.pods) == 20
    world.watch()
    await world.hold(50, 50)
    assert len(world.pods) == 40


async def test_other_pods_of_the_namespace_are_left_alone():
    world = World()
    world.kube.put(pod("voice-1"))
    await world.hold(0, 1)
    world.watch()
    await world.hold(1, 0)
    assert world.pods == ["voice-1"]


async def test_placeholders_that_there_are_cost_no_call():
    world = World()
    await world.hold(0, 3)
    world.watch()
    calls = len(world.kube.calls)
    for _ in range(10):
        await world.hold(3, 3)
    assert len(world.kube.calls) == calls


async def test_a_pool_whose_target_has_another_kind_now_gives_up_its_placeholders():
    world = World()
    await world.hold(0, 3)
    world.watch()
    target = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "voice"}
    world.pool["spec"]["targetRef"] = target
    assert (await world.hold(3, 3)).notes == ()
    assert world.pods == []
    [trouble] = (await world.hold(0, 2)).notes
    assert "StatefulSet" in trouble.message
