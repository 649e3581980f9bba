"""An activator's slices in step with its pools: published, emptied, remembered, deleted."""

import asyncio
from functools import partial

import pytest

from kotatsu_operator.activator.pool import PodIdentity
from kotatsu_operator.activator.publisher import DELETED_REST, LOOK_AGAIN, PORT_REST
from kotatsu_operator.activator.slices import slice_name
from tests.operator.activator.published import (
    ME,
    OTHER,
    epoch_of,
    is_listened_on,
    leave,
    pool,
    ports_of,
    restart,
)
from tests.operator.cluster import SET, FakeKube, eventually, native_slice, pool_view, service

FEED = slice_name("feed", ME, "IPv4")


@pytest.fixture
async def activator(make_activator):
    return make_activator()


async def came_in(activator, port, address="127.0.0.1"):
    """Connect, and wait until that has come in."""
    before = len(activator.clients)
    _, writer = await asyncio.open_connection(address, port)
    writer.close()
    await eventually(lambda: len(activator.clients) > before)
    return activator.clients[-1]


# --- publishing ---


async def test_every_tcp_port_of_the_service_has_a_listener_of_its_own(activator):
    ports = [{"name": "a", "port": 1}, {"name": "b", "port": 2}]
    udp = {"name": "c", "port": 3, "protocol": "UDP"}
    activator.see("Service", service("voice", *ports, udp))
    await activator.sync(pool())
    published = ports_of(activator.slice())
    assert set(published) == {"a", "b"}
    assert published["a"] != published["b"]
    assert all(is_listened_on(p) for p in published.values())


async def test_a_new_epoch_is_acknowledged_on_the_same_port_and_written_once(activator):
    port = await activator.publish(pool(epoch=1))
    for _ in range(3):
        assert await activator.publish(pool(epoch=2)) == port
    assert epoch_of(activator.slice()) == "2"
    assert activator.kube.writes == ["create", "replace"]


async def test_a_pool_without_a_ready_pod_is_published_on_the_native_route_too(activator):
    activator.see("EndpointSlice", native_slice(False))
    await activator.sync(pool("Native"))
    assert activator.slice()["endpoints"]


async def test_a_service_that_does_not_exist_yet_is_published_when_it_does(activator):
    activator.see("Service", service(), "DELETED")
    await activator.sync(pool())
    assert activator.kube.writes == []
    activator.see("Service", service())
    await activator.sync()
    assert activator.kube.writes == ["create"]


def ports(*named):
    return [{"name": name, "port": port} if name else {"port": port} for name, port in named]


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ([("http", 80)], [("http", 80), ("admin", 81)],
         {"http": "http", "admin": None}),
        ([("", 80)], [("http", 80), ("b", 81)], {"http": "", "b": None}),
        ([("http", 80)], [("http", 8080)], {"http": "http"}),
        ([("a", 80), ("b", 81)], [("b", 80), ("a", 81)], {"b": "a", "a": "b"}),
        # A kube-proxy that lags behind still sends clients of the old one to the old listener.
        ([("a", 80)], [("b", 81)], {"b": None}),
    ],
    ids=["another is added", "named", "renumbered", "swapped names", "another in its place"],
)  # fmt: skip
async def test_an_edited_port_keeps_its_listener(activator, before, after, kept):
    activator.see("Service", service("voice", *ports(*before)))
    await activator.sync(pool())
    old = {number: name for name, number in ports_of(activator.slice()).items()}
    activator.see("Service", service("voice", *ports(*after)))
    await activator.sync()
    new = ports_of(activator.slice())
    assert {name: old.get(number) for name, number in new.items()} == kept
    for name, number in new.items():
        assert await came_in(activator, number) == ("voice", name)
    assert all(is_listened_on(number) for number in (*old, *new.values()))


# --- address families ---

DUAL = PodIdentity("demo", "activator-1", "uid-activator-1", ("127.0.0.1", "::1"), "node-a", SET)


def dual_stack(*of_service):
    made = service()
    made["spec"]["ipFamilies"] = list(of_service)
    return made


@pytest.fixture
async def dual(make_activator):
    activator = make_activator(FakeKube(), DUAL)
    activator.see("Service", dual_stack("IPv6", "IPv4"))
    await activator.sync(pool())
    return activator


async def test_a_dual_stack_service_gets_a_slice_and_a_listener_for_each_family(dual):
    made = {s["addressType"]: s for s in dual.kube.all("EndpointSlice")}
    assert set(made) == {"IPv4", "IPv6"}
    for family, address in (("IPv4", "127.0.0.1"), ("IPv6", "::1")):
        assert made[family]["endpoints"][0]["addresses"] == [address]
        assert await came_in(dual, made[family]["ports"][0]["port"], address) == ("voice", "http")
    dual.see("Service", dual_stack("IPv4"))
    await dual.sync()
    assert dual.serving() == ["IPv4"]


async def test_a_family_is_left_only_once_a_pod_is_ready_in_it(dual):
    """Kubernetes writes the slices of the two one after the other."""
    await dual.go_native()
    await dual.after(6)
    assert dual.serving() == ["IPv6"]
    dual.see("EndpointSlice", native_slice(True, family="IPv6"))
    await dual.sync()
    await dual.after(6)
    assert dual.serving() == []


async def test_after_a_restart_it_listens_again_in_both_families(dual, make_activator):
    ports = {s["addressType"]: s["ports"] for s in dual.kube.all("EndpointSlice")}
    again = await restart(dual, make_activator)
    again.see("Service", dual_stack("IPv4", "IPv6"))
    await again.sync(pool())
    assert {s["addressType"]: s["ports"] for s in again.kube.all("EndpointSlice")} == ports


# --- pools that are refused ---


async def test_a_pool_refused_while_it_sleeps_keeps_an_endpoint_as_activators_are_replaced(
    make_activator,
):
    old = make_activator()
    asleep = pool("Activator", accepted="False")
    await old.sync(pool("Activator"))
    await old.sync(asleep)
    new = make_activator(old.kube, OTHER)
    await new.sync(asleep)
    old.view.leaving = True
    await old.publisher.sync()
    await old.publisher.withdraw()
    [left] = new.kube.all("EndpointSlice")
    assert left["metadata"]["name"] == slice_name("voice", OTHER, "IPv4")
    assert left["endpoints"][0]["conditions"]["ready"]


async def test_an_edit_leads_to_another_service_once_it_is_accepted(activator):
    activator.see("Service", service("other"))
    await activator.sync(pool())
    edited = pool(service="other")
    for accepted in ("voice", "other"):
        edited["status"]["route"]["service"] = accepted
        await activator.sync(edited)
        labels = activator.slice()["metadata"]["labels"]
        assert labels["kubernetes.io/service-name"] == accepted


# --- leaving the route ---


async def test_it_stays_until_a_pod_has_been_ready_for_the_settle_time(activator):
    activator.view.read = partial(pool_view, settle=500)
    await activator.sync(pool("Activator"))
    await activator.go_native()
    assert 0.05 <= await activator.after(440) < 70, "it looks again when that time is over"
    assert activator.slice()["endpoints"]
    await activator.after(200)
    assert activator.slice()["endpoints"] == []


async def test_a_pod_that_fails_meanwhile_begins_the_settle_time_again(activator):
    await activator.sync(pool("Activator"))
    for ready in (True, False, True):
        await activator.go_native(ready=ready)
        activator.later(2.6)  # two of three times: more than the settle time of 5 s
    await activator.sync()
    assert activator.slice()["endpoints"]


@pytest.mark.parametrize("route_mode", ["Auto", "Activator"])
async def test_beside_ready_pods_it_stays_while_the_route_is_the_activator(activator, route_mode):
    activator.see("EndpointSlice", native_slice(True))
    await activator.sync(pool("Activator", route_mode=route_mode))
    assert await activator.after(3600) == pytest.approx(LOOK_AGAIN, abs=1), (
        "it does not look all the time"
    )
    assert activator.slice()["endpoints"]


async def test_the_slice_is_emptied_not_deleted_and_comes_back_on_its_port(activator):
    port = await activator.publish(pool(epoch=1))
    await leave(activator)
    assert activator.kube.writes == ["create", "replace"]
    assert activator.port() == port
    assert is_listened_on(port)
    await activator.after(PORT_REST - 10)
    assert await activator.publish(pool("Activator", epoch=2)) == port
    assert activator.slice()["endpoints"]
    await activator.after(PORT_REST)
    assert is_listened_on(port)


async def test_after_the_rest_the_slice_is_deleted_and_then_its_listener_closed(activator):
    port = await activator.publish(pool())
    await leave(activator)
    seen = []
    activator.kube.on("delete", lambda *_: seen.append(is_listened_on(port)))
    activator.kube.down = True
    await activator.after(PORT_REST)
    assert is_listened_on(port), "the API server is away: the slice is still there"
    activator.kube.down = False
    await activator.sync()
    assert (seen[-1], is_listened_on(port)) == (True, False)
    assert activator.kube.all("EndpointSlice") == []
    await activator.sync()
    assert activator.publisher.published == {}


# --- pools that are deleted ---


async def delete(activator, made):
    activator.see("WarmPool", made, "DELETED")
    await activator.sync()


@pytest.mark.parametrize("route_mode", ["Auto", "Activator"])
async def test_a_deleted_pools_clients_are_kept_until_its_pods_answer(activator, route_mode):
    made = pool(route_mode=route_mode)
    await activator.sync(made)
    await delete(activator, made)
    assert activator.slice()["endpoints"]
    activator.see("EndpointSlice", native_slice(True))
    await activator.sync()
    await activator.after(30)
    assert activator.slice()["endpoints"] == []


async def test_clients_of_a_deleted_pool_are_served_while_kube_proxy_still_sends_them_here(
    activator,
):
    activator.see("EndpointSlice", native_slice(True))
    await activator.sync(pool())
    activator.later(10)
    await delete(activator, pool())
    assert activator.slice()["endpoints"] == []
    assert activator.view.pools["voice"].deleted
    await activator.after(PORT_REST)
    await activator.sync()
    assert activator.view.pools == {}
    assert activator.publisher.published == {}


async def test_a_deleted_pool_whose_pods_never_come_is_given_up(activator):
    await activator.sync(pool())
    await delete(activator, pool())
    await activator.after(DELETED_REST)
    assert activator.slice()["endpoints"] == []
    await activator.after(PORT_REST)
    assert activator.kube.all("EndpointSlice") == []


async def test_a_deleted_pool_that_was_awake_is_not_begun_to_be_stood_in_for(activator):
    await activator.go_native()
    assert activator.kube.writes == []
    activator.see("EndpointSlice", native_slice())
    activator.see("WarmPool", pool("Native"), "DELETED")
    await activator.sync()
    assert activator.kube.writes == []


async def test_a_pool_made_again_is_stood_in_for_as_before(activator):
    await activator.sync(pool(epoch=5))
    await delete(activator, pool())
    await activator.sync(pool(epoch=1))
    await activator.after(DELETED_REST + 1)
    assert epoch_of(activator.slice()) == "1"
    assert activator.slice()["endpoints"]


# --- the end ---


async def test_an_activator_that_leaves_says_so_listens_on_and_takes_no_new_pool_on(activator):
    port = await activator.publish(pool())
    activator.view.leaving = True
    activator.see("Service", service("feed"))
    await activator.sync(pool(name="feed"))
    [only] = activator.kube.all("EndpointSlice")
    [endpoint] = only["endpoints"]
    assert endpoint["conditions"] == {"ready": False, "serving": True, "terminating": True}
    assert is_listened_on(port)


async def test_withdrawing_deletes_every_slice_that_it_can_and_publishes_none_again(activator):
    activator.see("Service", service("feed"))
    await activator.sync(pool(), pool(name="feed"))

    def refuse(_, name):
        if name == FEED:
            raise OSError("no")

    activator.kube.on("delete", refuse)
    for _ in range(2):
        await activator.publisher.withdraw()
        await activator.sync()
        assert [s["metadata"]["name"] for s in activator.kube.all("EndpointSlice")] == [FEED]
