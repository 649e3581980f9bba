"""An activator's slices after others have written to them, and after a restart."""

import socket

import pytest

from kotatsu_operator.activator import publisher
from kotatsu_operator.activator.pool import PodIdentity
from kotatsu_operator.activator.publisher import PORT_REST
from kotatsu_operator.activator.slices import slice_name
from tests.operator.activator.published import (
    ME,
    NAME,
    OTHER,
    PublisherFixture,
    epoch_of,
    is_listened_on,
    leave,
    pool,
    restart,
)
from tests.operator.cluster import (
    SET,
    FakeKube,
    activator_pod,
    denied,
    forbidden,
    native_slice,
    service,
)

FEED = slice_name("feed", ME, "IPv4")


@pytest.fixture
async def activator(make_activator):
    return make_activator()


# --- when others interfere ---


async def test_a_conflict_is_read_again_and_written_over(activator):
    await activator.sync(pool(epoch=1))
    activator.kube.edit("EndpointSlice", NAME, metadata={"labels": {"somebody": "else"}})
    activator.see("WarmPool", pool(epoch=2))
    assert await activator.publisher.sync() < 0.1  # the watch has not told yet
    assert not activator.is_complete
    await activator.publisher.sync()
    assert epoch_of(activator.slice()) == "2"
    assert activator.is_complete


async def test_a_slice_that_exists_already_is_taken_over(activator):
    left = PublisherFixture(FakeKube())
    await left.sync(pool(epoch=1))
    left.crash()
    activator.kube.put(left.slice(), "EndpointSlice")
    await activator.publisher.sync()
    activator.see("WarmPool", pool(epoch=2))
    await activator.publisher.sync()
    assert not activator.is_complete
    await activator.publisher.sync()
    assert epoch_of(activator.slice()) == "2"
    assert is_listened_on(activator.port())


async def test_a_slice_that_somebody_empties_or_deletes_is_published_again_on_its_port(activator):
    port = await activator.publish(pool())
    activator.kube.edit("EndpointSlice", NAME, endpoints=[])
    await activator.sync()
    assert activator.slice()["endpoints"]
    activator.kube.remove("EndpointSlice", NAME)
    await activator.sync()
    assert activator.slice()["endpoints"]
    assert activator.port() == port


@pytest.mark.parametrize("serves", [True, False])
async def test_a_slice_that_somebody_deletes_as_the_pool_leaves_leaves_no_listener_behind(
    activator, serves
):
    port = await activator.publish(pool())
    await (activator.sync() if serves else leave(activator))
    await activator.sync()
    activator.kube.remove("EndpointSlice", NAME)
    await activator.go_native()
    await activator.after(PORT_REST)
    assert not is_listened_on(port)


async def test_a_watch_that_lags_behind_our_own_write_changes_nothing(activator):
    activator.see("WarmPool", pool(epoch=1))
    await activator.publisher.sync()
    old = activator.slice()
    activator.see("WarmPool", pool(epoch=2))
    await activator.publisher.sync()
    activator.see("EndpointSlice", old)
    await activator.publisher.sync()
    assert activator.kube.writes == ["create", "replace"]


async def test_while_the_api_server_is_away_it_is_not_complete_and_tries_again(activator):
    activator.kube.down = True
    assert await activator.sync(pool()) < 0.3
    assert not activator.is_complete
    activator.kube.down = False
    await activator.sync()
    assert activator.is_complete
    assert activator.slice()["endpoints"]


async def test_one_pool_that_cannot_be_published_keeps_no_other_from_it(activator):
    activator.see("Service", service("feed"))
    activator.kube.on("create", OSError("no"), times=1)
    await activator.sync(pool(name="feed"), pool())
    assert [s["metadata"]["name"] for s in activator.kube.all("EndpointSlice")] == [NAME]
    assert not activator.is_complete


async def test_a_pool_whose_slice_is_refused_keeps_the_activator_from_nothing_else(activator):
    activator.see("Service", service("feed"))
    activator.kube.on("create", denied(), times=1)
    await activator.sync(pool(name="feed"), pool())
    assert [s["metadata"]["name"] for s in activator.kube.all("EndpointSlice")] == [NAME]
    assert activator.is_complete
    assert len(activator.kube.called("create")) == 2
    await activator.sync()
    assert len(activator.kube.called("create")) == 2, "it is not asked for again at once"


@pytest.mark.parametrize("error", [forbidden(), OSError("no")])
async def test_an_activator_whose_every_slice_is_refused_or_fails_is_not_ready(activator, error):
    activator.kube.on("create", error)
    await activator.sync(pool())
    assert not activator.is_complete


# --- a restart in place ---


@pytest.mark.parametrize("name", ["voice", "p" * 64, "p" * 253, "a.b"])
async def test_after_a_restart_it_listens_again_on_the_same_port(activator, make_activator, name):
    port = await activator.publish(pool(name=name, service="voice"))
    again = await restart(activator, make_activator, adopts=False)
    assert not is_listened_on(port)
    await again.publisher.adopt()
    assert is_listened_on(port)
    assert await again.publish(pool(name=name, service="voice")) == port
    assert again.kube.writes == ["create"]


async def test_an_emptied_slice_is_listened_for_again_until_its_rest_is_over(
    activator, make_activator
):
    port = await activator.publish(pool())
    await leave(activator)
    again = await restart(activator, make_activator)
    await again.go_native()
    assert is_listened_on(port)
    await again.after(PORT_REST)
    assert not is_listened_on(port)
    assert again.kube.all("EndpointSlice") == []


async def test_a_slice_whose_port_is_taken_goes_before_anything_is_bound(activator, make_activator):
    port = await activator.publish(pool())
    again = await restart(activator, make_activator, adopts=False)
    with socket.create_server(("127.0.0.1", port)):
        await again.publisher.adopt()
        assert again.kube.all("EndpointSlice") == []
        again.watch()
        await again.sync(pool())
        assert again.port() != port


async def test_a_slice_that_cannot_be_deleted_yet_is_waited_for_while_the_others_serve(
    activator, make_activator, monkeypatch
):
    monkeypatch.setattr(publisher, "DELETE_AGAIN", 0.0)
    activator.see("Service", service("feed"))
    await activator.sync(pool(), pool(name="feed"))
    port, other = activator.port(), activator.port(FEED)
    again = await restart(activator, make_activator, adopts=False)
    served = []

    def delete(*_):
        served.append(is_listened_on(other))
        if len(served) < 3:
            raise OSError("away")

    again.kube.on("delete", delete)
    with socket.create_server(("127.0.0.1", port)):
        await again.publisher.adopt()
    assert served == [True] * 3
    assert [s["metadata"]["name"] for s in again.kube.all("EndpointSlice")] == [FEED]


async def test_a_slice_that_may_not_be_deleted_is_published_anew(activator, make_activator):
    port = await activator.publish(pool())
    again = await restart(activator, make_activator, adopts=False)
    again.kube.on("delete", forbidden())
    with socket.create_server(("127.0.0.1", port)):
        await again.publisher.adopt()
        await again.sync(pool())
        assert again.port() != port
    assert is_listened_on(again.port())


async def test_of_a_slice_with_one_port_taken_no_other_is_kept(activator, make_activator):
    activator.see("Service", service("voice", {"name": "a", "port": 1}, {"name": "b", "port": 2}))
    await activator.sync(pool())
    first, second = (p["port"] for p in activator.slice()["ports"])
    again = await restart(activator, make_activator, adopts=False)
    with socket.create_server(("127.0.0.1", second)):
        await again.publisher.adopt()
        assert again.publisher.published == {}
        assert not is_listened_on(first)


@pytest.mark.parametrize("number", [None, 0])
async def test_a_slice_whose_port_somebody_has_edited_goes(activator, make_activator, number):
    await activator.sync(pool())
    activator.kube.edit("EndpointSlice", NAME, ports=[{"name": "http", "port": number}])
    again = await restart(activator, make_activator)
    assert again.publisher.published == {}
    assert again.kube.all("EndpointSlice") == []


async def test_slices_of_other_activators_and_of_kubernetes_are_not_adopted(make_activator):
    other = make_activator(FakeKube(), OTHER)
    await other.sync(pool())
    me = make_activator(other.kube)
    me.see("EndpointSlice", native_slice(True))
    me.watch()
    await me.publisher.adopt()
    assert me.publisher.published == {}
    assert len(me.kube.all("EndpointSlice")) == 1


# --- sweeping ---


async def test_only_the_slices_of_activators_whose_pod_is_gone_are_swept(make_activator):
    kube = FakeKube()
    third = PodIdentity("demo", "activator-3", "uid-activator-3", ("127.0.0.1",), "node-a", SET)
    first, second, gone = (make_activator(kube, me) for me in (ME, OTHER, third))
    for activator in (first, second, gone):
        await activator.sync(pool())
    first.see("Pod", activator_pod("activator-2", terminating=True, phase="Failed"))
    first.see("EndpointSlice", native_slice(True))
    first.watch()
    await first.publisher.sweep({})
    names = [s["metadata"]["name"] for s in kube.all("EndpointSlice")]
    assert names == [slice_name("voice", activator.me, "IPv4") for activator in (first, second)]


@pytest.fixture
async def sweeping(make_activator):
    """An activator that has not seen the pod of another one, which has published a slice."""
    other = make_activator(FakeKube(), OTHER)
    await other.sync(pool())
    me = make_activator(other.kube)
    me.watch()
    return me


async def test_a_sweep_that_the_api_server_refuses_is_tried_again_another_time(sweeping):
    sweeping.kube.down = True
    await sweeping.publisher.sweep({})
    assert len(sweeping.kube.all("EndpointSlice")) == 1
    sweeping.kube.down = False
    await sweeping.publisher.sweep({})
    assert sweeping.kube.all("EndpointSlice") == []


@pytest.mark.parametrize(("uid", "left"), [("uid-activator-2", 1), ("another", 0)])
async def test_the_api_server_is_asked_for_the_pod_first(sweeping, uid, left):
    """The watch of pods may be behind that of slices; another pod may have the name by now."""
    there = activator_pod("activator-2")
    there["metadata"]["uid"] = uid
    sweeping.kube.put(there)
    await sweeping.publisher.sweep({})
    assert len(sweeping.kube.all("EndpointSlice")) == left


async def test_its_own_slices_are_not_swept_before_it_has_seen_its_own_pod(activator):
    await activator.sync(pool())
    activator.view.on_change("Pod")("LIST", {"items": []})
    activator.watch()
    await activator.publisher.sweep({})
    assert activator.slice()
