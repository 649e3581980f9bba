"""An activator that many namespaces share: a room for each, in one process."""

import asyncio
import logging
from dataclasses import replace

import pytest
from prometheus_client import generate_latest
from rows import each

from kotatsu_operator.activator import app, publisher
from kotatsu_operator.activator.__main__ import identity, reading
from kotatsu_operator.activator.slices import WRITTEN_AT_ONCE, Slices
from kotatsu_operator.core.pool.spec import BUILT_IN, ScaledKind
from kotatsu_operator.core.protocol import COST, HELD, LOOKED_AT, MARK, SHARD_LABEL
from kotatsu_operator.kube.errors import NotFoundError
from kotatsu_operator.runtime.settings import ActivatorSettings
from tests.operator.activator.running import ASLEEP, RunningActivator, of
from tests.operator.cluster import (
    FakeKube,
    activator_pod,
    denied,
    deployment,
    eventually,
    native_slice,
    pod,
    service,
    warm_pool,
)

pytestmark = pytest.mark.timeout(60)

SETTINGS = ActivatorSettings(
    namespace="home",
    activators="home/0",
    pod_name="activator-1",
    pod_uid="uid-activator-1",
    pod_ips=("127.0.0.1",),
    node_name="node-a",
)
ME = identity(SETTINGS)
OURS = "home/0"


def pool_of(namespace, *, activators=OURS):
    status = ASLEEP | {"internal": {"activators": activators}}
    return of(namespace, warm_pool(status=status))


def app_in(namespace, **how):
    """The sleeping pool voice with its Service and Deployment."""
    made = [service(), deployment(replicas=0)]
    return [pool_of(namespace, **how), *(of(namespace, obj) for obj in made)]


def peer(name="activator-1", shard="0", **how):
    made = of("home", activator_pod(name, **how))
    made["metadata"]["labels"] = made["metadata"]["labels"] | {SHARD_LABEL: shard}
    return made


class SharedActivator(RunningActivator):
    """One that many namespaces share."""

    def __init__(self, *objects, **how):
        super().__init__(ME, peer(), *objects, read=reading(SETTINGS), **how)

    def epoch(self, namespace):
        return self.slice(namespace)["metadata"]["annotations"]["kotatsu.dev/epoch"]

    @property
    def serving(self):
        """The namespaces whose pool has an endpoint."""
        slices = self.kube.all("EndpointSlice")
        return {s["metadata"]["namespace"] for s in slices if s["endpoints"]}


@pytest.fixture
async def make_shared(monkeypatch):
    monkeypatch.setattr(app, "QUIET_FOR", 0.05)
    monkeypatch.setattr(app, "SWEEP_EVERY", 0.02)
    monkeypatch.setattr(publisher, "PORT_REST", 0.1)
    monkeypatch.setattr(publisher, "CARRIED_REST", 0.05)
    made = []

    def make(*objects, **how):
        made.append(SharedActivator(*objects, **how))
        return made[-1]

    yield make
    for one in made:
        await one.close()


@pytest.fixture
async def shared(make_shared):
    """It serves the namespaces red and blue."""
    made = make_shared(*app_in("red"), *app_in("blue"))
    await made.start()
    return made


@pytest.fixture
async def alone(make_shared):
    """It serves the namespace red."""
    made = make_shared(*app_in("red"))
    await made.start()
    return made


async def test_one_activator_wakes_the_pools_of_many_namespaces(shared):
    await shared.pods_start_when_raised()
    assert await asyncio.gather(shared.ask("red"), shared.ask("blue")) == [b"warm", b"warm"]
    assert shared.slice("red")["metadata"]["namespace"] == "red"
    assert shared.count("kotatsu_activator_wakes_total", "blue") == 1


async def test_without_a_connection_it_acknowledges_the_marks_of_pods(alone):
    marked = pod(ready=True)
    marked["metadata"]["annotations"] = {COST: MARK}
    alone.kube.put(of("red", marked))
    name = "kotatsu_activator_marked_pod_connections"
    await eventually(lambda: alone.count(name, "red", pod="voice-1") == 0)


async def test_a_pool_that_is_not_assigned_to_it_is_left_alone(make_shared):
    shared = make_shared(*app_in("red"), *app_in("none", activators=""))
    for obj in app_in("other", activators="home/1"):
        shared.kube.put(obj)
    await shared.start()
    shared.kube.edit("WarmPool", "none/voice", spec={"idleAfter": "7s"})
    await asyncio.sleep(0.05)
    assert shared.serving == {"red"}
    assert set(shared.activator.rooms) == {"red"}


async def test_a_namespace_whose_pool_is_assigned_later_is_listed_once_and_served(make_shared):
    shared = make_shared(*app_in("red"), *app_in("blue", activators=""))
    await shared.start()
    assert not shared.kube.called("listed")
    shared.edit("blue", internal={"activators": OURS})
    await eventually(lambda: shared.serving == {"red", "blue"})
    await shared.pods_start_when_raised()
    assert await shared.ask("blue") == b"warm"
    kinds = [call[1] for call in shared.kube.called("listed")]
    assert sorted(kinds) == sorted(set(kinds)), "each kind once"


async def test_a_kind_that_the_cluster_does_not_have_keeps_no_namespace_waiting(make_shared):
    colors = [f"color-{n}" for n in range(2 * app.ENTERED_AT_ONCE)]
    scaled = BUILT_IN | {"Flock": ScaledKind("example.org/v1", "Flock", "flocks")}
    apps = (obj for name in colors for obj in app_in(name, activators=""))
    shared = make_shared(*app_in("red"), *apps, scaled=scaled)

    def follow(kind):
        if kind == "Flock":
            raise NotFoundError("404 page not found")

    shared.kube.on("follow", follow)
    await shared.start()
    for name in colors:
        shared.edit(name, internal={"activators": OURS})
    await eventually(lambda: shared.serving == {"red", *colors})
    for kind in ("Service", "WarmPool"):
        shared.kube.remove(kind, f"{colors[0]}/voice")
    await eventually(lambda: colors[0] not in shared.activator.rooms)


async def test_a_namespace_without_pools_of_its_own_is_forgotten(shared):
    shared.kube.remove("Service", "blue/voice")
    shared.kube.remove("WarmPool", "blue/voice")
    await eventually(lambda: set(shared.activator.rooms) == {"red"})
    assert shared.serving == {"red"}
    assert shared.count("kotatsu_activator_held", "blue") is None


async def test_a_namespace_that_is_gone_keeps_no_other_from_being_served(alone):
    """Its slices can not be written; that must not make the activator of all unready."""

    def gone(_, obj):
        if obj["metadata"]["namespace"] == "blue":
            raise NotFoundError("namespaces blue not found")

    alone.kube.on("create", gone)
    for obj in app_in("blue"):
        alone.kube.put(obj)
    rooms = alone.activator.rooms
    await eventually(lambda: "blue" in rooms and rooms["blue"].publisher.has_synced)
    assert len(alone.kube.called("create")) == 2
    assert not alone.activator.why_not_ready()
    alone.edit("red", route={"epoch": 2})
    await eventually(lambda: alone.epoch("red") == "2")


async def test_a_namespace_whose_slices_are_all_rejected_does_not_make_it_unready(make_shared):
    def reject(_, obj):
        if obj["metadata"]["namespace"] == "blue":
            raise denied()

    shared = make_shared(*app_in("red"), *app_in("blue"))
    shared.kube.on("create", reject)
    await shared.start()
    assert shared.serving == {"red"}


async def test_after_a_restart_it_closes_what_it_had_published_of_a_deleted_pool(make_shared):
    """No pool of that namespace is left which would lead to the slice."""
    shared = make_shared(*app_in("red"), *app_in("blue"))
    await shared.start()
    left = shared.slice("blue")
    await shared.close()
    again = make_shared(*app_in("red"), of("blue", service()), left)
    await again.start()
    await eventually(lambda: again.serving == {"red"})
    await eventually(lambda: set(again.activator.rooms) == {"red"})


async def test_the_slices_of_a_lost_peer_are_withdrawn_in_every_namespace(shared):
    for name in ("red", "blue"):
        other = shared.slice(name)
        uid = other["endpoints"][0]["targetRef"]["uid"] = "uid-activator-2"
        other["metadata"]["name"] = "of-another"
        other["metadata"]["annotations"]["kotatsu.dev/activator"] = f"home/activator-2/{uid}"
        shared.kube.put(other)
    shared.kube.put(peer("activator-2"))
    shared.kube.put(peer("activator-2", ready=False, phase="Failed"))

    def ready():
        slices = [shared.kube.stored("EndpointSlice", f"{n}/of-another") for n in ("red", "blue")]
        return [s["endpoints"][0]["conditions"]["ready"] for s in slices]

    await eventually(lambda: ready() == [False, False])
    shared.kube.remove("Pod", "home/activator-2")
    await eventually(lambda: len(shared.kube.all("EndpointSlice")) == 2)
    gone = [call for call in shared.kube.called("get") if call[1:] == ("Pod", "home/activator-2")]
    assert len(gone) <= 4, "the pod is read once for all namespaces, and once more to delete"


async def test_a_change_of_a_peer_that_withdraws_nothing_touches_no_pool(alone):
    view = alone.activator.rooms["red"].view
    await eventually(view.ours)  # its own slice has come back
    news = view.mailbox()
    changed = peer()
    changed["metadata"]["labels"]["other"] = "label"
    alone.kube.put(changed)
    alone.kube.put(peer("activator-2", ready=False))
    alone.kube.put(peer("activator-2", ready=True))
    alone.kube.put(peer("activator-9", shard="1"))
    await eventually(lambda: set(alone.activator._peers) == {"activator-1", "activator-2"})
    await asyncio.sleep(0.02)
    assert not news


async def test_slices_of_a_namespace_are_written_by_a_few_at_a_time_and_keep_none_of_another():
    kube, written, gate = FakeKube(), [], asyncio.Event()

    async def wait(namespace, *_):
        written.append(namespace)
        await gate.wait()

    kube.create = lambda _, namespace, __: wait(namespace)
    crowd, other = Slices(kube, "crowd"), Slices(kube, "other")
    writes = [asyncio.create_task(slices.create({})) for slices in [*[crowd] * 60, other]]
    await asyncio.sleep(0)
    assert written == ["crowd"] * WRITTEN_AT_ONCE + ["other"]
    gate.set()
    await asyncio.gather(*writes)
    assert len(written) == 61


async def test_what_fails_in_one_namespace_for_no_foreseen_reason_ends_no_other(
    shared, caplog, monkeypatch
):
    caplog.set_level(logging.ERROR)
    room = shared.activator.rooms["blue"]
    monkeypatch.setattr(room.publisher, "_sync_pool", None)
    shared.edit("blue", route={"epoch": 2})
    await eventually(lambda: "blue: the work failed" in caplog.text)
    shared.edit("red", route={"epoch": 2})
    await eventually(lambda: shared.epoch("red") == "2")
    assert not shared.task.done()


@each(
    "pools, noted",
    {
        "one": (["red/voice"], {"red"}),
        "both": (["red/voice", "blue/voice"], {"red", "blue"}),
        "another": (["red/feed"], set()),
        "none": ([], set()),
        "of no namespace that it serves": (["none/voice", "voice", "", "/", "/voice"], set()),
    },
)
async def test_a_look_counts_for_the_pools_that_it_names(shared, pools, noted):
    made = {name: room._connections("voice") for name, room in shared.activator.rooms.items()}
    for connections in made.values():
        connections._announcements._asked = False
    shared.activator.asked(pools)
    assert noted == {name for name, of in made.items() if of._announcements._asked}


async def test_the_operator_reads_of_the_pools_that_it_names_and_of_no_other(shared):
    for room in shared.activator.rooms.values():
        room._connections("voice")
    page = generate_latest(shared.activator._shared.metrics.part(["red/voice", "none/voice"]))
    text = page.decode()
    labels = '{name="voice",namespace="red"}'
    assert f"{HELD}{labels} 0.0" in text
    assert "blue" not in text
    assert {line.split("{")[0] for line in text.splitlines() if line[0] != "#"} <= set(LOOKED_AT)


# --- from one set of activators to another ---


def slice_of(shared, namespace, activators, *, ready=True):
    """As the activators of another set would publish it, beside this one's."""
    made = shared.slice(namespace)
    made["metadata"]["name"] = "of-another"
    made["metadata"]["annotations"] |= {
        "kotatsu.dev/activator": "red/activator-7/uid-activator-7",
        "kotatsu.dev/activators": activators,
    }
    if not activators:
        del made["metadata"]["annotations"]["kotatsu.dev/activators"]
    made["endpoints"][0]["conditions"]["ready"] = ready
    return made


@pytest.mark.parametrize("activators", ["home/1", ""], ids=["another shard", "of the namespace"])
async def test_a_pool_is_served_on_until_the_activators_that_got_it_are_there(alone, activators):
    await alone.pods_start_when_raised()
    room = alone.activator.rooms["red"]
    room.view.read = lambda obj: replace(reading(SETTINGS)(obj), settle=0.2)
    alone.edit("red", internal={"activators": activators}, route={"epoch": 2})
    alone.kube.put(slice_of(alone, "red", activators, ready=False))
    await asyncio.sleep(0.4)
    assert await alone.ask("red") == b"warm"
    assert alone.slice("red")["endpoints"]
    alone.kube.put(slice_of(alone, "red", activators))
    began = asyncio.get_running_loop().time()
    await eventually(lambda: not alone.slice("red")["endpoints"])
    assert asyncio.get_running_loop().time() - began >= 0.15
    await eventually(lambda: alone.activator.rooms == {})


async def test_a_pool_that_was_handed_over_is_not_published_anew(alone):
    """Also not if its slice is deleted: the operator may have done so."""
    alone.edit("red", internal={"activators": "home/1"})
    await eventually(lambda: not alone.activator.rooms["red"].view.pools["voice"].mine)
    alone.kube.remove("EndpointSlice", f"red/{alone.slice_name}")
    await eventually(lambda: alone.activator.rooms == {})
    assert alone.kube.all("EndpointSlice") == []


async def test_a_pool_that_comes_back_before_it_was_taken_stays(alone):
    for activators in ("home/1", OURS):
        alone.edit("red", internal={"activators": activators})
    await asyncio.sleep(0.1)
    assert alone.serving == {"red"}
    assert not [call for call in alone.kube.writes if call == "replace"]


async def test_its_emptied_slice_stays_as_a_record_while_it_carries_a_connection(alone):
    room = alone.activator.rooms["red"]
    room.view.read = lambda obj: replace(reading(SETTINGS)(obj), settle=0.0)
    port = alone.slice("red")["ports"][0]["port"]
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await eventually(lambda: room.busy)
    alone.edit("red", internal={"activators": "home/1"})
    alone.kube.put(slice_of(alone, "red", "home/1"))
    await eventually(lambda: not alone.slice("red")["endpoints"])
    await asyncio.sleep(0.3)
    assert not alone.slice("red")["endpoints"]
    writer.transport.abort()
    await eventually(lambda: alone.activator.rooms == {})
    assert len(alone.kube.all("EndpointSlice")) == 1


async def test_an_activator_that_ends_stays_until_each_pool_has_another_endpoint(make_shared):
    shared = make_shared(*app_in("red"), *app_in("blue"))
    await shared.start(drain_timeout=30.0)
    shared.kube.put(slice_of(shared, "red", "home/1"))
    shared.stop.set()
    await eventually(lambda: not shared.slice("blue")["endpoints"][0]["conditions"]["ready"])
    await asyncio.sleep(0.3)
    assert not shared.task.done()
    shared.kube.put(of("blue", native_slice(True)))
    await shared.task
    left = {s["metadata"]["name"] for s in shared.kube.all("EndpointSlice")}
    assert shared.slice_name not in left, "it withdraws in every namespace"
