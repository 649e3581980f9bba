"""An install in a cluster: which namespaces its operator serves, enters, leaves and takes over."""

import asyncio
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from kotatsu_operator.controller import app as operator_module
from kotatsu_operator.controller import namespaces, pool_watch, unserved, work_queue
from kotatsu_operator.controller import restore as restore_module
from kotatsu_operator.controller.app import Operator, Options
from kotatsu_operator.core.pool.spec import Platform
from kotatsu_operator.core.protocol import (
    HOME_LABEL,
    INSTALL_LABEL,
    LEASE_NAME,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    RECORD,
    RECORD_PARTS,
    SET_ANNOTATION,
    SHARD_LABEL,
    SHARED_ANNOTATION,
    own_set,
)
from kotatsu_operator.core.scope import Scope
from kotatsu_operator.kube.client import EVERYWHERE
from kotatsu_operator.kube.informer import Watch
from kotatsu_operator.kube.objects import WarmPool, key_of
from tests.operator.cluster import (
    FakeKube,
    activator_pod,
    deployment,
    eventually,
    forbidden,
    pod,
    published,
    service,
    warm_pool,
)

pytestmark = pytest.mark.timeout(60)

HOME = "kotatsu-system"
SHOP = {"matchLabels": {"team": "shop"}}


def within(namespace, obj):
    obj["metadata"] |= {"namespace": namespace}
    obj["metadata"]["uid"] = f"{namespace}-{obj['kind']}-{obj['metadata']['name']}"
    return obj


def named(name, **labels):
    return {"kind": "Namespace", "metadata": {"name": name, "uid": name, "labels": labels}}


def app_in(namespace, *, replicas=1, **spec):
    """A Deployment with its pod, Service and pool."""
    status = spec.pop("status", None)
    pool = warm_pool(**spec) | ({} if status is None else {"status": status})
    found = [deployment(replicas=replicas), service(), pool]
    if replicas:
        found.append(pod(ready=True))
    return [within(namespace, obj) for obj in found]


def activator(namespace=HOME, **label):
    """A pod of the activators that namespaces share, or one with another label."""
    made = within(namespace, activator_pod())
    del made["metadata"]["labels"][HOME_LABEL]
    made["metadata"]["labels"] |= label or {SHARD_LABEL: "0"}
    return made


def record(home=HOME):
    made = [{"kind": "ConfigMap", "metadata": {"name": f"{RECORD}-{n:x}"}}
            for n in range(RECORD_PARTS)]  # fmt: skip
    return [within(home, obj) for obj in made]


class Running:
    """An operator over a fake API server."""

    def __init__(self, *objects, kube=None, home=HOME, **scope):
        self.kube = kube or FakeKube(named(home), *record(home), *objects)
        options = Options(platform=Platform())
        self.operator = Operator(self.kube, Scope(home, **scope), CollectorRegistry(), options)
        self.operator._pools.run = self._show_pools
        self.stop = asyncio.Event()

    async def _show_pools(self, *_):
        """In the place of kopf."""
        self.operator._pools._begun.set()

        async def show(_, change, obj):
            for item in obj["items"] if change == "LIST" else [obj]:
                kind = "DELETED" if change == "DELETED" else "MODIFIED"
                await self.operator._pools.show(kind, item)

        await Watch(self.kube, WarmPool, EVERYWHERE, show).run()

    async def end(self, task):
        """Stop it, and wait for its end."""
        self.stop.set()
        await task

    def status(self, namespace):
        return self.kube.stored("WarmPool", f"{namespace}/voice").get("status") or {}

    def accepted(self, namespace):
        found = self.status(namespace).get("conditions") or ()
        return next((c["reason"] for c in found if c["type"] == "Accepted"), None)

    async def says(self, namespace, reason):
        await eventually(lambda: self.accepted(namespace) == reason)

    def replicas(self, namespace):
        return self.kube.stored("Deployment", f"{namespace}/voice")["spec"]["replicas"]

    def writes(self, namespace):
        """The writes that concern a namespace."""
        reads = ("get", "get_scale", "find", "follow", "listed", "serves")
        calls = [call for call in self.kube.calls if call[0] not in reads]
        return [c for c in calls if any(str(part).startswith(f"{namespace}/") for part in c)]

    def add(self, *objects):
        for obj in objects:
            self.kube.put(obj)


@pytest.fixture
async def make(monkeypatch):
    monkeypatch.setattr(restore_module, "_PAUSE", 0.001)
    monkeypatch.setattr(operator_module, "SWEEP_SECONDS", 0.02)
    monkeypatch.setattr(pool_watch, "LIST_AGAIN_SECONDS", 0.001)
    running = []

    async def begin(*objects, accepts="", **how):
        made = Running(activator(), *objects, **how)
        running.append((made, asyncio.create_task(made.operator.run(made.stop))))
        await eventually(lambda: made.operator._term is not None)
        if accepts:
            await made.says(accepts, "Accepted")
        return made

    yield begin
    for made, task in running:
        await made.end(task)


async def test_a_pool_that_comes_before_its_namespace_is_shown_works(make):
    made = await make()
    made.add(*app_in("shop"))
    await eventually(lambda: ("shop", "voice") in made.operator.cache.pools)
    made.add(named("shop"))
    await made.says("shop", "Accepted")


async def test_the_activators_of_a_pool_are_in_the_first_status_that_accepts_it(make):
    made = await make(named("shop"), *app_in("shop"), accepts="shop")
    patches = [status for _, _, status in made.kube.called("patch_status")]
    first = next(status for status in patches if status.get("conditions"))
    assert first["internal"]["activators"] == f"{HOME}/0"


async def test_another_number_of_shards_moves_pools_at_the_next_start(make):
    status = {"internal": {"activators": f"{HOME}/7"}, "phase": "Warm"}
    made = await make(named("shop"), *app_in("shop", status=status))
    await eventually(lambda: made.status("shop")["internal"]["activators"] == f"{HOME}/0")


async def test_at_the_start_no_namespace_is_listed_by_itself(make):
    made = await make(named("shop"), *app_in("shop"), accepts="shop")
    assert made.kube.called("listed") == []


async def test_objects_of_namespaces_that_are_not_in_use_are_not_kept(make):
    idle = within("idle", pod())
    others = activator("others", **{SHARD_LABEL: "0"})
    made = await make(named("shop"), *app_in("shop"), named("idle"), idle, others, accepts="shop")
    made.add(*(within("idle", obj) for obj in (pod("voice-2"), deployment(), service())))
    made.add(within("shop", pod("voice-2")))
    cache = made.operator.cache
    await eventually(lambda: "voice-2" in cache.pods["shop"])
    assert not cache.pods.get("idle")
    assert {key[0] for key in cache.workloads} == {"shop"}
    assert {key[0] for key in cache.activators.pods} == {HOME}


async def test_labels_of_activators_and_their_slices_mean_nothing_on_other_objects(make):
    """Whoever creates pods in a namespace writes their labels."""
    idle = [activator("idle"), activator("idle")]
    idle[1]["metadata"] |= {"name": "activator-2", "labels": {MANAGED_BY_LABEL: MANAGED_BY}}
    made = await make(named("shop"), *app_in("shop"), named("idle"), *idle, accepts="shop")
    made.add(*idle, within("shop", pod("voice-2")))
    cache = made.operator.cache
    await eventually(lambda: "voice-2" in cache.pods["shop"])
    assert not cache.pods.get("idle")
    assert not [key for key in cache.activators.pods if key[0] == "idle"]


async def test_pods_with_their_labels_go_with_the_rest_of_a_namespace(make):
    made = await make(named("shop"), *app_in("shop"), activator("shop"), accepts="shop")
    cache = made.operator.cache
    await eventually(lambda: cache.pods.get("shop"))
    made.kube.remove("WarmPool", "shop/voice")
    await eventually(lambda: not cache.pods.get("shop"))
    assert not [key for key in cache.activators.pods if key[0] == "shop"]


async def test_the_activators_of_an_install_that_has_a_pool_are_known(make):
    """They may carry its connections after this install has got it."""
    theirs = activator("older")
    shop = named("shop", **{INSTALL_LABEL: "older"})
    made = await make(theirs, named("feed"), *app_in("feed"), accepts="feed")
    pods = made.operator.cache.activators.pods
    assert not [key for key in pods if key[0] == "older"]
    made.add(shop, *app_in("shop", status=THEIRS))
    await eventually(lambda: [key for key in pods if key[0] == "older"])


async def test_a_pool_whose_clients_are_limited_needs_its_namespaces_consent(make):
    policy = {"kind": "NetworkPolicy", "metadata": {"name": "mine"}, "spec": {"podSelector": {}}}
    home = {"kubernetes.io/metadata.name": HOME}
    policy["spec"]["ingress"] = [{"from": [{"namespaceSelector": {"matchLabels": home}}]}]
    shop = named("shop")
    made = await make(named(HOME, **home), shop, within("shop", policy))
    made.add(*app_in("shop"))
    await made.says("shop", "Isolated")
    shop["metadata"]["annotations"] = {SHARED_ANNOTATION: "true"}
    made.add(shop)
    await made.says("shop", "Accepted")


# --- leaving ---


def asleep():
    """A pool that sleeps behind the activators of this install."""
    status = {
        "phase": "Asleep",
        "phaseSince": "2026-11-25T10:00:00Z",
        "foundReplicas": 3,
        "route": {"target": "Native", "epoch": 2},
        "cost": {"currency": "JPY"},
        "conditions": [],
        "internal": {"version": 1, "activators": f"{HOME}/0",
                     "target": {"kind": "Deployment", "name": "voice"}},
    }  # fmt: skip
    return app_in("shop", replicas=0, status=status)


async def test_a_policy_that_comes_while_a_pool_sleeps_brings_its_pods_back_first(make):
    made = await make(named("shop"), *asleep())
    await eventually(lambda: made.operator._namespaces.shows("shop"))
    policy = {"kind": "NetworkPolicy", "metadata": {"name": "mine"}, "spec": {"podSelector": {}}}
    made.add(within("shop", policy))
    await eventually(lambda: made.replicas("shop") == 3)
    made.add(within("shop", pod(ready=True)))
    await made.says("shop", "Isolated")
    assert "phase" not in made.status("shop")
    made.kube.remove("NetworkPolicy", "shop/mine")
    await made.says("shop", "Accepted")


async def test_a_namespace_without_its_label_gets_back_what_its_targets_had(make):
    made = await make(named("shop", team="shop"), *asleep(), selector=SHOP)
    await eventually(lambda: made.operator._namespaces.shows("shop"))
    made.add(named("shop"))
    await eventually(lambda: made.replicas("shop") == 3)
    made.add(within("shop", pod(ready=True)))
    await made.says("shop", "NamespaceNotSelected")
    status = made.status("shop")
    # What it has cost stays.
    assert status.keys() - {"cost"} == {"conditions", "internal"}
    assert status["internal"] == {"version": 1}
    await eventually(lambda: not any(c.get("data") for c in made.kube.all("ConfigMap")))
    assert "namespaceSelector" in status["conditions"][0]["message"]
    await eventually(lambda: "shop" not in made.operator.cache.pods)
    assert made.operator._namespaces.used == []
    made.add(named("shop", team="shop"))
    await made.says("shop", "Accepted")


async def test_an_operator_that_starts_leaves_what_another_one_has_not(make):
    made = await make(named("shop"), *asleep(), selector=SHOP)
    await eventually(lambda: made.replicas("shop") == 3)


async def test_a_label_that_comes_and_goes_ends_as_it_was_left_last(make):
    made = await make(named("shop", team="shop"), *app_in("shop"), selector=SHOP)
    for _ in range(10):
        made.add(named("shop"))
        await asyncio.sleep(0.02)
        made.add(named("shop", team="shop"))
        await asyncio.sleep(0.02)
    await made.says("shop", "Accepted")
    made.add(named("shop"))
    await made.says("shop", "NamespaceNotSelected")


async def test_in_a_namespace_that_is_being_deleted_nothing_is_given_back(make):
    ending = named("shop")
    ending["metadata"]["deletionTimestamp"] = "2026-11-25T10:00:00Z"
    made = await make(named("shop"), *app_in("shop"), named("feed"), accepts="shop")
    made.add(ending)
    await eventually(lambda: not made.operator.cache.served.serves("shop"))
    before = len(made.writes("shop"))
    made.add(*app_in("feed"))
    await made.says("feed", "Accepted")
    assert len(made.writes("shop")) == before
    made.kube.remove("WarmPool", "shop/voice")
    await eventually(lambda: made.operator._namespaces.used == ["feed"])


# --- what is not served ---


async def test_a_pool_that_nobody_serves_says_so_once(make):
    made = await make(named("feed"), *app_in("feed"), selector=SHOP)
    await made.says("feed", "NamespaceNotSelected")
    made.kube.edit("WarmPool", "feed/voice", spec={"idleAfter": "5m"})
    made.add(named("shop", team="shop"), *app_in("shop"))
    await made.says("shop", "Accepted")
    assert len(made.writes("feed")) == 1
    assert made.operator.cache.pods.get("feed") is None


async def test_what_another_install_has_said_of_a_pool_that_nobody_serves_stays(make):
    said = [{"type": "Accepted", "status": "False", "reason": "NamespaceNotSelected"}]
    feed = app_in("feed", status={"conditions": said})
    made = await make(named("feed"), *feed, selector=SHOP)
    made.add(named("shop", team="shop"), *app_in("shop"))
    await made.says("shop", "Accepted")
    assert made.writes("feed") == []


# --- several installs ---


async def test_a_namespace_is_served_by_the_install_that_its_label_names(make):
    shop, feed = named("shop", **{INSTALL_LABEL: "other"}), named("feed", **{INSTALL_LABEL: HOME})
    apps = [*app_in("shop"), *app_in("feed"), named("mail"), *app_in("mail")]
    made = await make(shop, feed, *apps, accepts="feed", unlabeled=False)
    assert made.writes("shop") == made.writes("mail") == []
    assert dict(made.operator._readable()) == {"feed": True}
    made.add(named("shop", **{INSTALL_LABEL: HOME}))
    await made.says("shop", "Accepted")


async def test_a_label_that_names_another_install_is_a_give_back(make):
    made = await make(named("shop"), *asleep())
    await eventually(lambda: made.operator._namespaces.shows("shop"))
    made.add(named("shop", **{INSTALL_LABEL: "other"}))
    await eventually(lambda: made.replicas("shop") == 3)
    made.add(within("shop", pod(ready=True)))
    await made.says("shop", "NamespaceNotSelected")
    status = made.status("shop")
    assert "activators" not in status["internal"]
    assert status["conditions"][0]["message"] == "the Kotatsu of namespace other serves it now"


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(unserved, "ASK_AGAIN", timedelta(seconds=0.02))
    monkeypatch.setattr(unserved, "GONE_AFTER", timedelta(seconds=0.1))
    monkeypatch.setattr(work_queue, "REST", 0.01)


THEIRS = {"phase": "Warm", "internal": {"activators": "older/0"}}


def lease_of(home):
    spec = {"holderIdentity": "operator-1", "renewTime": "2026-11-25T10:00:00.000000Z"}
    return {"kind": "Lease", "metadata": {"name": LEASE_NAME, "namespace": home}, "spec": spec}


@pytest.mark.usefixtures("quick")
async def test_a_pool_that_another_install_still_has_is_left_until_it_is_given_back(make):
    made = await make(lease_of("older"), named("shop"), *app_in("shop", status=THEIRS))
    await eventually(lambda: len([c for c in made.kube.called("get") if c[1] == "Lease"]) > 12)
    assert made.writes("shop") == []
    made.kube.edit("WarmPool", "shop/voice", status={"phase": None, "internal": None})
    await made.says("shop", "Accepted")
    assert made.status("shop")["internal"]["activators"] == f"{HOME}/0"


@pytest.mark.usefixtures("quick")
async def test_the_pools_of_an_install_without_a_lease_are_taken_over(make):
    made = await make(lease_of("older"), named("shop"), *app_in("shop", status=THEIRS))
    await eventually(lambda: made.kube.called("get"))
    made.kube.remove("Lease", f"older/{LEASE_NAME}")
    await made.says("shop", "Accepted")
    assert made.status("shop")["internal"]["activators"] == f"{HOME}/0"


@pytest.mark.usefixtures("quick")
async def test_without_an_answer_about_the_other_installs_lease_its_pools_stay(make):
    older = lease_of("older")
    made = await make(older, named("shop"), named("feed"), *app_in("shop", status=THEIRS))

    def refuse(kind, name):
        if (kind, name) == ("Lease", f"older/{LEASE_NAME}"):
            raise forbidden()

    made.kube.on("get", refuse)
    made.kube.remove("Lease", f"older/{LEASE_NAME}")
    await asyncio.sleep(0.3)
    made.add(*app_in("feed"))
    await made.says("feed", "Accepted")
    assert made.writes("shop") == []


async def test_the_deleted_pool_of_another_install_is_not_restored(make):
    others = THEIRS | {"phase": "Asleep", "foundReplicas": 3}
    shop = named("shop", **{INSTALL_LABEL: "older"})
    made = await make(shop, *app_in("shop", replicas=0, status=others))
    made.kube.remove("WarmPool", "shop/voice")
    made.add(named("feed"), *app_in("feed"))
    await made.says("feed", "Accepted")
    assert made.replicas("shop") == 0


async def test_a_namespace_with_activators_of_its_own_is_served_by_them(make):
    own = activator("shop", **{HOME_LABEL: HOME})
    shop = [named("shop"), *app_in("shop"), own]
    made = await make(*shop, accepts="shop", own=frozenset(["shop"]))
    assert made.status("shop")["internal"]["activators"] == own_set(HOME, "shop")
    assert [p.key[0] for p in made.operator.cache.activators.ready(("shop", "voice"))] == ["shop"]


# --- many ---


async def test_many_namespaces_that_are_labeled_at_once_are_listed_a_few_at_a_time(
    make, monkeypatch
):
    monkeypatch.setattr(namespaces, "AT_ONCE", 2)
    names = [f"team-{n}" for n in range(40)]
    apps = [obj for name in names for obj in (named(name), *app_in(name))]
    made = await make(*apps, selector=SHOP)
    await made.says("team-39", "NamespaceNotSelected")
    busy, most = set(), []
    listed = FakeKube.listed

    async def noted(self, kind, namespace, *how, **more):
        busy.add((kind.__name__, namespace))
        most.append(len({place for of, place in busy if of in ("Pod", "Service")}))
        try:
            async for page in listed(self, kind, namespace, *how, **more):
                yield page
        finally:
            busy.discard((kind.__name__, namespace))

    monkeypatch.setattr(FakeKube, "listed", noted)
    for name in names:
        made.add(named(name, team="shop"))
    for name in names:
        await made.says(name, "Accepted")
    assert max(most) <= namespaces.AT_ONCE


# --- handover ---


def slice_of(activator, epoch=1, **notes):
    """What an activator has published for the pool in the namespace shop."""
    made = within("shop", published("activator-1", epoch))
    made["metadata"]["annotations"] |= {"kotatsu.dev/activator": activator, **notes}
    return made


MINE = f"{HOME}/activator-1/{HOME}-Pod-activator-1"
OTHERS = "shop/activator-1/shop-Pod-activator-1"
OWN = {SET_ANNOTATION: own_set(HOME, "shop")}


async def test_a_ready_slice_of_other_activators_keeps_a_pool_from_its_sleep(make):
    made = await make(named("shop"), *app_in("shop"), accepts="shop")
    cache, key = made.operator.cache, ("shop", "voice")
    cache.keep_slice(slice_of(MINE, 5, **{SET_ANNOTATION: f"{HOME}/0"}))
    assert cache.acknowledged(key) == 5
    theirs = slice_of(OTHERS, **OWN)
    theirs["metadata"]["name"] = "theirs"
    cache.keep_slice(theirs)
    assert cache.acknowledged(key) == 0
    assert {p.key[0] for p in cache.activators.of(key)} == {HOME}
    cache.keep_pod(activator("shop", **{HOME_LABEL: HOME}))
    assert {p.key[0] for p in cache.activators.of(key)} == {HOME, "shop"}


@pytest.mark.parametrize("is_ready", [False, True])
async def test_a_slice_of_other_activators_goes_once_those_of_the_pool_have_been_ready(
    make, monkeypatch, is_ready
):
    """Unless its activator is Ready, and so hands over by itself."""
    monkeypatch.setattr(operator_module, "STRANGERS_SECONDS", 0.1)
    pods = within("shop", activator_pod(ready=is_ready))
    made = await make(named("shop"), *app_in("shop"), pods, accepts="shop")
    made.add(slice_of(OTHERS, **OWN))
    if is_ready:
        await eventually(lambda: len(made.kube.called("get")) > 3)
        assert len(made.kube.all("EndpointSlice")) == 1
    else:
        await eventually(lambda: made.kube.all("EndpointSlice") == [])
    assert [key_of(p) for p in made.kube.all("Pod") if key_of(p) == ("shop", "activator-1")]
