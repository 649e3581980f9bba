"""An activator's slices in step with its pools: published, emptied, remembered, taken over."""

import asyncio
import contextlib
import socket
from unittest.mock import Mock

import httpx2
import pytest
from lightkube import ApiError

from kotatsu_operator.activator.cache.namespace import View
from kotatsu_operator.activator.cache.ports import PodIdentity
from kotatsu_operator.activator.endpoints import publisher
from kotatsu_operator.activator.endpoints.publisher import DELETED_REST, PORT_REST, Publisher
from kotatsu_operator.activator.endpoints.slices import slice_name
from tests.operator.cluster import (
    FakeKube,
    activator_pod,
    eventually,
    native_slice,
    service,
    warm_pool,
)

ME = PodIdentity("demo", "activator-1", "uid-activator-1", ("127.0.0.1",), "node-a")
OTHER = PodIdentity("demo", "activator-2", "uid-activator-2", ("127.0.0.1",), "node-b")
NAME = slice_name("voice", ME, "IPv4")


def pool(route="Activator", epoch=1, *, accepted="True", name="voice", route_mode="Auto", **spec):
    spec["route"] = route_mode
    status = {
        "phase": "Asleep" if route == "Activator" else "Warm",
        "route": {"target": route, "epoch": epoch},
        "conditions": [{"type": "Accepted", "status": accepted}],
    }
    return warm_pool(name, status=status, **spec)


class ActivatorFixture:
    """A publisher with the namespace it sees and the API server it writes to."""

    def __init__(self, kube=None, me=ME):
        self.kube = kube or FakeKube()
        self.me = me
        self.view = View()
        self.clients = []
        self.publisher = Publisher(self.kube, self.view, me, self._new_client)
        self.see("Service", service())
        self.see("Pod", activator_pod())

    def _new_client(self, pool, port):
        self.clients.append((pool, port.name))
        return asyncio.Protocol()

    def see(self, kind, obj, change="MODIFIED"):
        self.view.on_change(kind)(change, obj)

    def watch(self):
        """Let the watch of slices catch up with the API server."""
        native = [s for s in self.view.slices.values() if "native" in s["metadata"]["name"]]
        items = [*native, *self.kube.all("EndpointSlice")]
        self.view.on_change("EndpointSlice")("LIST", {"items": items})

    def later(self, seconds):
        """Let time pass for all that the publisher has noted."""
        for record in self.publisher.published.values():
            for field in ("emptied_at", "native_since", "deleted_since"):
                if getattr(record, field) is not None:
                    setattr(record, field, getattr(record, field) - seconds)

    async def sync(self, *pools):
        for obj in pools:
            self.see("WarmPool", obj)
        self.watch()
        return await self.publisher.sync()

    def slice(self, name=NAME):
        return self.kube.stored("EndpointSlice", name)

    def serving(self):
        """The families whose slice has an endpoint."""
        return [s["addressType"] for s in self.kube.all("EndpointSlice") if s["endpoints"]]

    def port(self, name=NAME):
        return self.slice(name)["ports"][0]["port"]

    def crash(self):
        """End the process without a word: the kernel closes its listeners."""
        for record in self.publisher.published.values():
            for listener in record.listeners:
                listener.server.close()


@pytest.fixture
async def make_activator():
    activators = []

    def make(*args):
        activators.append(ActivatorFixture(*args))
        return activators[-1]

    yield make
    for made in activators:
        made.crash()
    await asyncio.sleep(0.01)


@pytest.fixture
async def activator(make_activator):
    return make_activator()


def is_listened_on(port):
    with contextlib.closing(socket.socket()) as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def epoch_of(obj):
    return obj["metadata"]["annotations"]["kotatsu.dev/epoch"]


# --- publishing ---


async def test_a_pool_whose_route_is_the_activator_gets_a_slice_with_its_epoch(activator):
    await activator.sync(pool("Activator", epoch=7))
    made = activator.slice()
    assert epoch_of(made) == "7"
    assert [e["conditions"]["ready"] for e in made["endpoints"]] == [True]
    assert activator.publisher.complete


async def test_its_port_leads_to_the_pool_and_the_port_of_the_service(activator):
    await activator.sync(pool())
    _, writer = await asyncio.open_connection("127.0.0.1", activator.port())
    writer.close()
    await eventually(lambda: activator.clients == [("voice", "http")])


async def test_every_tcp_port_of_the_service_has_a_listener_of_its_own(activator):
    ports = [{"name": "a", "port": 1}, {"name": "b", "port": 2}]
    udp = {"name": "c", "port": 3, "protocol": "UDP"}
    activator.see("Service", service("voice", *ports, udp))
    await activator.sync(pool())
    published = {p["name"]: p["port"] for p in activator.slice()["ports"]}
    assert set(published) == {"a", "b"}
    assert published["a"] != published["b"]
    assert all(is_listened_on(p) for p in published.values())


async def test_nothing_is_written_while_nothing_changes(activator):
    await activator.sync(pool())
    for _ in range(3):
        await activator.sync()
    assert activator.kube.writes == ["create"]


async def test_a_new_epoch_is_acknowledged_on_the_same_port(activator):
    await activator.sync(pool(epoch=1))
    port = activator.port()
    await activator.sync(pool(epoch=2))
    assert (epoch_of(activator.slice()), activator.port()) == ("2", port)
    assert activator.kube.writes == ["create", "replace"]


async def test_a_pool_with_a_ready_pod_on_the_native_route_is_not_published(activator):
    activator.see("EndpointSlice", native_slice(True))
    await activator.sync(pool("Native"))
    assert activator.kube.writes == []
    assert activator.publisher.published == {}


@pytest.mark.parametrize("native", [[], [False], [False, False]])
async def test_a_pool_without_a_ready_pod_is_published_on_the_native_route_too(activator, native):
    activator.see("EndpointSlice", native_slice(*native))
    await activator.sync(pool("Native"))
    assert activator.slice()["endpoints"]


async def test_a_pod_that_terminates_does_not_count_as_ready(activator):
    activator.see("EndpointSlice", native_slice(True, terminating=True))
    await activator.sync(pool("Native"))
    assert activator.slice()["endpoints"]


async def test_a_service_that_does_not_exist_yet_is_published_when_it_does(activator):
    activator.see("Service", service(), "DELETED")
    await activator.sync(pool())
    assert activator.kube.writes == []
    activator.see("Service", service())
    await activator.sync()
    assert activator.kube.writes == ["create"]


async def test_a_pool_moved_to_another_service_is_published_there(activator):
    activator.see("Service", service("other"))
    await activator.sync(pool())
    await activator.sync(pool(service="other"))
    assert activator.slice()["metadata"]["labels"]["kubernetes.io/service-name"] == "other"


async def test_a_port_that_the_service_gets_later_is_published_too(activator):
    await activator.sync(pool())
    before = activator.port()
    more = [{"name": "http", "port": 80}, {"name": "admin", "port": 81}]
    activator.see("Service", service("voice", *more))
    await activator.sync()
    ports = {p["name"]: p["port"] for p in activator.slice()["ports"]}
    assert ports["http"] == before
    assert is_listened_on(ports["admin"])


def ports_of(obj):
    return {p["name"]: p["port"] for p in obj["ports"]}


async def test_a_port_that_gets_a_name_as_another_is_added_keeps_its_listener(activator):
    activator.see("Service", service("voice", {"port": 80}))
    await activator.sync(pool())
    before = activator.port()
    activator.see(
        "Service", service("voice", {"name": "http", "port": 80}, {"name": "b", "port": 81})
    )
    await activator.sync()
    assert ports_of(activator.slice())["http"] == before
    assert len({*ports_of(activator.slice()).values()}) == 2
    _, writer = await asyncio.open_connection("127.0.0.1", before)
    writer.close()
    await eventually(lambda: activator.clients == [("voice", "http")])


async def test_a_port_whose_number_changes_keeps_its_listener(activator):
    await activator.sync(pool())
    before = activator.port()
    activator.see("Service", service("voice", {"name": "http", "port": 8080}))
    await activator.sync()
    assert activator.port() == before


async def test_ports_that_swap_their_names_swap_no_listener(activator):
    activator.see("Service", service("voice", {"name": "a", "port": 80}, {"name": "b", "port": 81}))
    await activator.sync(pool())
    before = ports_of(activator.slice())
    activator.see("Service", service("voice", {"name": "b", "port": 80}, {"name": "a", "port": 81}))
    await activator.sync()
    assert ports_of(activator.slice()) == {"b": before["a"], "a": before["b"]}


async def test_a_port_that_takes_the_place_of_another_gets_a_listener_of_its_own(activator):
    """A kube-proxy that lags behind still sends clients of the old one to the old listener."""
    activator.see("Service", service("voice", {"name": "a", "port": 80}))
    await activator.sync(pool())
    before = activator.port()
    activator.see("Service", service("voice", {"name": "b", "port": 81}))
    await activator.sync()
    assert activator.port() != before
    assert is_listened_on(before)


# --- address families ---


DUAL = PodIdentity("demo", "activator-1", "uid-activator-1", ("127.0.0.1", "::1"), "node-a")


def dual_stack(*of_service):
    made = service()
    made["spec"]["ipFamilies"] = list(of_service)
    return made


async def test_a_dual_stack_service_gets_a_slice_and_a_listener_for_each_family(make_activator):
    activator = make_activator(FakeKube(), DUAL)
    activator.see("Service", dual_stack("IPv6", "IPv4"))
    await activator.sync(pool())
    made = {s["addressType"]: s for s in activator.kube.all("EndpointSlice")}
    assert set(made) == {"IPv4", "IPv6"}
    for family, address in (("IPv4", "127.0.0.1"), ("IPv6", "::1")):
        assert made[family]["endpoints"][0]["addresses"] == [address]
        _, writer = await asyncio.open_connection(address, made[family]["ports"][0]["port"])
        writer.close()
    await eventually(lambda: activator.clients == [("voice", "http")] * 2)


async def test_a_service_that_gives_up_a_family_keeps_the_other(make_activator):
    activator = make_activator(FakeKube(), DUAL)
    activator.see("Service", dual_stack("IPv4", "IPv6"))
    await activator.sync(pool())
    activator.see("Service", dual_stack("IPv4"))
    await activator.sync()
    assert activator.serving() == ["IPv4"]


async def test_a_family_is_left_only_once_a_pod_is_ready_in_it(make_activator):
    """Kubernetes writes the slices of the two one after the other."""
    activator = make_activator(FakeKube(), DUAL)
    activator.see("Service", dual_stack("IPv4", "IPv6"))
    await activator.sync(pool("Activator"))
    activator.see("EndpointSlice", native_slice(True))
    await activator.sync(pool("Native"))
    activator.later(6)
    await activator.sync()
    assert activator.serving() == ["IPv6"]
    activator.see("EndpointSlice", native_slice(True, family="IPv6"))
    await activator.sync()
    activator.later(6)
    await activator.sync()
    assert activator.serving() == []


async def test_after_a_restart_it_listens_again_in_both_families(make_activator):
    activator = make_activator(FakeKube(), DUAL)
    activator.see("Service", dual_stack("IPv4", "IPv6"))
    await activator.sync(pool())
    ports = {s["addressType"]: s["ports"] for s in activator.kube.all("EndpointSlice")}
    activator.crash()
    await asyncio.sleep(0)
    again = make_activator(activator.kube, DUAL)
    again.see("Service", dual_stack("IPv4", "IPv6"))
    again.watch()
    await again.publisher.adopt()
    await again.sync(pool())
    assert {s["addressType"]: s["ports"] for s in again.kube.all("EndpointSlice")} == ports


async def test_on_route_always_it_never_leaves(activator):
    activator.see("EndpointSlice", native_slice(True))
    await activator.sync(pool("Native", route_mode="Always"))
    activator.later(600)
    await activator.sync()
    assert activator.slice()["endpoints"]


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
    old.publisher.leaving = True
    await old.publisher.sync()
    await old.publisher.withdraw()
    [left] = new.kube.all("EndpointSlice")
    assert left["metadata"]["name"] == slice_name("voice", OTHER, "IPv4")
    assert left["endpoints"][0]["conditions"]["ready"]


async def test_a_pool_refused_for_another_service_keeps_the_one_it_had(activator):
    had = pool("Activator", accepted="False", service="others")
    had["status"]["route"]["service"] = "voice"
    activator.see("Service", service("others"))
    await activator.sync(had)
    assert activator.slice()["metadata"]["labels"]["kubernetes.io/service-name"] == "voice"


async def test_an_edit_leads_to_another_service_once_it_is_accepted(activator):
    activator.see("Service", service("other"))
    await activator.sync(pool())
    edited = pool(service="other")
    edited["status"]["route"]["service"] = "voice"
    await activator.sync(edited)
    assert activator.slice()["metadata"]["labels"]["kubernetes.io/service-name"] == "voice"
    edited["status"]["route"]["service"] = "other"
    await activator.sync(edited)
    assert activator.slice()["metadata"]["labels"]["kubernetes.io/service-name"] == "other"


async def test_a_pool_refused_from_the_beginning_gets_nothing(activator):
    made = pool(accepted="False")
    del made["status"]["route"], made["status"]["phase"]
    await activator.sync(made)
    assert activator.kube.writes == []


# --- leaving the route ---


async def test_it_stays_until_a_pod_has_been_ready_for_the_settle_time(activator):
    await activator.sync(pool("Activator"))
    activator.see("EndpointSlice", native_slice(True))
    await activator.sync(pool("Native"))
    activator.later(4)
    await activator.sync()
    assert activator.slice()["endpoints"]
    activator.later(2)
    await activator.sync()
    assert activator.slice()["endpoints"] == []


async def test_a_pod_that_fails_meanwhile_begins_the_settle_time_again(activator):
    await activator.sync(pool("Activator"))
    for ready in (True, False, True):
        activator.see("EndpointSlice", native_slice(ready))
        await activator.sync(pool("Native"))
        activator.later(4)
    await activator.sync()
    assert activator.slice()["endpoints"]


async def test_it_looks_again_when_the_settle_time_is_over(activator):
    await activator.sync(pool("Activator"))
    activator.see("EndpointSlice", native_slice(True))
    await activator.sync(pool("Native"))
    activator.later(4.4)
    assert 0.05 <= await activator.sync() < 0.7


async def test_it_does_not_look_all_the_time_while_the_route_is_the_activator(activator):
    activator.see("EndpointSlice", native_slice(True))
    await activator.sync(pool("Activator"))
    activator.later(3600)
    assert await activator.sync() == 1.0


async def leave(activator):
    """Let the pool's own pod take over."""
    activator.see("EndpointSlice", native_slice(True))
    await activator.sync(pool("Native"))
    activator.later(10)
    await activator.sync()
    assert activator.slice()["endpoints"] == []


async def test_the_slice_is_emptied_not_deleted_and_still_listened_for(activator):
    await activator.sync(pool())
    port = activator.port()
    await leave(activator)
    assert activator.kube.writes == ["create", "replace"]
    assert activator.port() == port
    assert is_listened_on(port)


async def test_it_comes_back_on_the_same_port_within_the_rest(activator):
    await activator.sync(pool(epoch=1))
    port = activator.port()
    await leave(activator)
    activator.later(PORT_REST - 1)
    await activator.sync(pool("Activator", epoch=2))
    assert activator.port() == port
    assert activator.slice()["endpoints"]
    activator.later(PORT_REST)
    await activator.sync()
    assert is_listened_on(port)


async def test_slice_and_listener_are_gone_after_the_rest(activator):
    await activator.sync(pool())
    port = activator.port()
    await leave(activator)
    activator.later(PORT_REST)
    await activator.sync()
    assert activator.kube.all("EndpointSlice") == []
    assert not is_listened_on(port)
    await activator.sync()
    assert activator.publisher.published == {}


async def test_the_slice_is_deleted_before_its_port_is_free(activator):
    await activator.sync(pool())
    port = activator.port()
    await leave(activator)
    seen = []
    activator.kube.on("delete", lambda *_: seen.append(is_listened_on(port)))
    activator.later(PORT_REST)
    await activator.sync()
    assert seen == [True]


async def test_an_api_server_that_is_away_after_the_rest_keeps_the_listener(activator):
    await activator.sync(pool())
    port = activator.port()
    await leave(activator)
    activator.later(PORT_REST)
    activator.kube.down = True
    await activator.sync()
    assert is_listened_on(port)
    activator.kube.down = False
    await activator.sync()
    assert not is_listened_on(port)


async def test_another_pool_never_gets_a_resting_port(activator):
    await activator.sync(pool())
    port = activator.port()
    await leave(activator)
    activator.see("Service", service("feed"))
    await activator.sync(pool(name="feed"))
    assert activator.port(slice_name("feed", ME, "IPv4")) != port


# --- pools that are deleted ---


async def test_a_deleted_pools_clients_are_kept_until_its_pods_answer(activator):
    await activator.sync(pool())
    activator.see("WarmPool", pool(), "DELETED")
    await activator.sync()
    assert activator.slice()["endpoints"]
    activator.see("EndpointSlice", native_slice(True))
    await activator.sync()
    activator.later(10)
    await activator.sync()
    assert activator.slice()["endpoints"] == []


async def test_clients_of_a_deleted_pool_are_served_while_kube_proxy_still_sends_them_here(
    activator,
):
    activator.see("EndpointSlice", native_slice(True))
    await activator.sync(pool())
    activator.later(10)
    activator.see("WarmPool", pool(), "DELETED")
    await activator.sync()
    assert activator.slice()["endpoints"] == []
    assert activator.view.pools["voice"].deleted
    activator.later(PORT_REST)
    await activator.sync()
    await activator.sync()
    assert activator.view.pools == {}
    assert activator.publisher.published == {}


async def test_a_deleted_pool_whose_pods_never_come_is_given_up(activator):
    await activator.sync(pool())
    activator.see("WarmPool", pool(), "DELETED")
    await activator.sync()
    activator.later(DELETED_REST)
    await activator.sync()
    assert activator.slice()["endpoints"] == []
    activator.later(PORT_REST)
    await activator.sync()
    assert activator.kube.all("EndpointSlice") == []


async def test_a_deleted_pool_that_was_awake_is_not_begun_to_be_stood_in_for(activator):
    activator.see("EndpointSlice", native_slice(True))
    await activator.sync(pool("Native"))
    activator.see("WarmPool", pool("Native"), "DELETED")
    activator.see("EndpointSlice", native_slice())
    await activator.sync()
    assert activator.kube.writes == []


async def test_a_pool_made_again_is_stood_in_for_as_before(activator):
    await activator.sync(pool(epoch=5))
    activator.see("WarmPool", pool(), "DELETED")
    await activator.sync(pool(epoch=1))
    activator.later(DELETED_REST + 1)
    await activator.sync()
    assert epoch_of(activator.slice()) == "1"
    assert activator.slice()["endpoints"]


# --- when others interfere ---


async def test_a_conflict_is_read_again_and_written_over(activator):
    await activator.sync(pool(epoch=1))
    activator.kube.edit("EndpointSlice", NAME, metadata={"labels": {"somebody": "else"}})
    activator.see("WarmPool", pool(epoch=2))
    assert await activator.publisher.sync() < 0.1  # the watch has not told yet
    assert not activator.publisher.complete
    await activator.publisher.sync()
    assert epoch_of(activator.slice()) == "2"
    assert activator.publisher.complete


async def test_a_slice_that_exists_already_is_taken_over(activator):
    left = ActivatorFixture(FakeKube())
    await left.sync(pool(epoch=1))
    left.crash()
    activator.kube.put(left.slice(), "EndpointSlice")
    await activator.publisher.sync()
    activator.see("WarmPool", pool(epoch=2))
    await activator.publisher.sync()
    assert not activator.publisher.complete
    await activator.publisher.sync()
    assert epoch_of(activator.slice()) == "2"
    assert is_listened_on(activator.port())


async def test_a_slice_that_somebody_deletes_is_published_again_on_its_port(activator):
    await activator.sync(pool())
    port = activator.port()
    await activator.sync()
    activator.kube.remove("EndpointSlice", NAME)
    await activator.sync()
    assert activator.slice()["endpoints"]
    assert activator.port() == port


async def test_a_slice_that_somebody_empties_is_filled_again(activator):
    await activator.sync(pool())
    activator.kube.edit("EndpointSlice", NAME, endpoints=[])
    await activator.sync()
    assert activator.slice()["endpoints"]


async def test_a_watch_that_lags_behind_our_own_write_changes_nothing(activator):
    activator.see("WarmPool", pool(epoch=1))
    await activator.publisher.sync()
    old = activator.slice()
    activator.see("WarmPool", pool(epoch=2))
    await activator.publisher.sync()
    activator.see("EndpointSlice", old)
    await activator.publisher.sync()
    assert activator.kube.writes == ["create", "replace"]


async def test_an_emptied_slice_that_somebody_deletes_leaves_no_listener_behind(activator):
    await activator.sync(pool())
    port = activator.port()
    await leave(activator)
    await activator.sync()
    activator.kube.remove("EndpointSlice", NAME)
    activator.later(PORT_REST)
    await activator.sync()
    assert not is_listened_on(port)


async def test_a_served_slice_deleted_as_the_pool_leaves_leaves_no_listener_behind(activator):
    await activator.sync(pool())
    port = activator.port()
    await activator.sync()
    activator.kube.remove("EndpointSlice", NAME)
    activator.see("EndpointSlice", native_slice(True))
    await activator.sync(pool("Native"))
    activator.later(PORT_REST)
    await activator.sync()
    assert not is_listened_on(port)


async def test_while_the_api_server_is_away_it_is_not_complete_and_tries_again(activator):
    activator.kube.down = True
    assert await activator.sync(pool()) < 0.3
    assert not activator.publisher.complete
    activator.kube.down = False
    await activator.sync()
    assert activator.publisher.complete
    assert activator.slice()["endpoints"]


async def test_one_pool_that_cannot_be_published_keeps_no_other_from_it(activator):
    activator.see("Service", service("feed"))

    def refuse(_, obj):
        if obj["metadata"]["name"] == slice_name("feed", ME, "IPv4"):
            raise OSError("no")

    activator.kube.on("create", refuse)
    await activator.sync(pool(name="feed"), pool())
    assert [s["metadata"]["name"] for s in activator.kube.all("EndpointSlice")] == [NAME]
    assert not activator.publisher.complete


def refused(code=422):
    """What a call raises when the API server says no."""
    answer = {"kind": "Status", "message": "no", "code": code, "reason": "Invalid"}
    request = httpx2.Request("POST", "http://api/")
    return ApiError(request, httpx2.Response(code, json=answer, request=request))


@pytest.mark.parametrize("code", [400, 403, 422])
async def test_a_pool_whose_slice_is_refused_keeps_the_activator_from_nothing_else(activator, code):
    activator.see("Service", service("feed"))

    def refuse(_, obj):
        if obj["metadata"]["name"] == slice_name("feed", ME, "IPv4"):
            raise refused(code)

    activator.kube.on("create", refuse)
    await activator.sync(pool(name="feed"), pool())
    assert activator.publisher.complete
    assert len(activator.kube.called("create")) == 2
    await activator.sync()
    assert len(activator.kube.called("create")) == 2, "it is not asked for again at once"


async def test_an_activator_whose_every_slice_is_refused_is_not_ready(activator):
    activator.kube.on("create", Mock(side_effect=refused(403)))
    await activator.sync(pool())
    assert not activator.publisher.complete


async def test_an_api_server_that_fails_refuses_nothing(activator):
    activator.see("Service", service("feed"))
    activator.kube.on("create", Mock(side_effect=refused(500)))
    await activator.sync(pool(name="feed"), pool())
    assert not activator.publisher.complete


@pytest.mark.parametrize("name", ["p" * 64, "p" * 253, "a.b"])
async def test_after_a_restart_a_pool_is_found_again_whatever_its_name(
    activator, make_activator, name
):
    await activator.sync(pool(name=name, service="voice"))
    port = activator.port(slice_name(name, ME, "IPv4"))
    again = await restart(activator, make_activator)
    await again.publisher.adopt()
    await again.sync(pool(name=name, service="voice"))
    assert again.port(slice_name(name, ME, "IPv4")) == port
    assert again.kube.writes == ["create"]


# --- a restart in place ---


async def restart(activator, make_activator):
    activator.crash()
    await asyncio.sleep(0)
    again = make_activator(activator.kube)
    again.watch()
    return again


async def test_after_a_restart_it_listens_again_on_the_same_port(activator, make_activator):
    await activator.sync(pool())
    port = activator.port()
    again = await restart(activator, make_activator)
    assert not is_listened_on(port)
    await again.publisher.adopt()
    assert is_listened_on(port)
    await again.sync(pool())
    assert again.port() == port
    assert again.kube.writes == ["create"]


async def test_an_emptied_slice_is_listened_for_again_until_its_rest_is_over(
    activator, make_activator
):
    await activator.sync(pool())
    port = activator.port()
    await leave(activator)
    again = await restart(activator, make_activator)
    await again.publisher.adopt()
    again.see("EndpointSlice", native_slice(True))
    await again.sync(pool("Native"))
    assert is_listened_on(port)
    again.later(PORT_REST)
    await again.sync()
    assert not is_listened_on(port)
    assert again.kube.all("EndpointSlice") == []


async def test_a_slice_whose_port_is_taken_goes_before_anything_is_bound(activator, make_activator):
    await activator.sync(pool())
    port = activator.port()
    again = await restart(activator, make_activator)
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
    port, other = activator.port(), activator.port(slice_name("feed", ME, "IPv4"))
    again = await restart(activator, make_activator)
    served = []

    def delete(*_):
        served.append(is_listened_on(other))
        if len(served) < 3:
            raise OSError("away")

    again.kube.on("delete", delete)
    with socket.create_server(("127.0.0.1", port)):
        await again.publisher.adopt()
    assert served == [True] * 3
    assert [s["metadata"]["name"] for s in again.kube.all("EndpointSlice")] == [
        slice_name("feed", ME, "IPv4")
    ]


async def test_a_slice_that_may_not_be_deleted_is_published_anew(activator, make_activator):
    await activator.sync(pool())
    port = activator.port()
    again = await restart(activator, make_activator)
    again.kube.on("delete", Mock(side_effect=refused(403)))
    with socket.create_server(("127.0.0.1", port)):
        await again.publisher.adopt()
        await again.sync(pool())
        assert again.port() != port
    assert is_listened_on(again.port())


async def test_of_a_slice_with_one_port_taken_no_other_is_kept(activator, make_activator):
    activator.see("Service", service("voice", {"name": "a", "port": 1}, {"name": "b", "port": 2}))
    await activator.sync(pool())
    first, second = (p["port"] for p in activator.slice()["ports"])
    again = await restart(activator, make_activator)
    with socket.create_server(("127.0.0.1", second)):
        await again.publisher.adopt()
        assert again.publisher.published == {}
        assert not is_listened_on(first)


async def test_an_epoch_that_somebody_has_edited_keeps_nobody_from_starting(
    activator, make_activator
):
    await activator.sync(pool())
    port = activator.port()
    annotations = {"kotatsu.dev/epoch": "soon"}
    activator.kube.edit("EndpointSlice", NAME, metadata={"annotations": annotations})
    again = await restart(activator, make_activator)
    await again.publisher.adopt()
    assert is_listened_on(port)
    await again.sync(pool())
    assert epoch_of(again.slice()) == "1"


@pytest.mark.parametrize("number", [None, 0])
async def test_a_slice_whose_port_somebody_has_edited_goes(activator, make_activator, number):
    await activator.sync(pool())
    activator.kube.edit("EndpointSlice", NAME, ports=[{"name": "http", "port": number}])
    again = await restart(activator, make_activator)
    await again.publisher.adopt()
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
    first, second, third = (
        make_activator(
            kube, PodIdentity("demo", f"activator-{n}", f"uid-activator-{n}", ("127.0.0.1",), "a")
        )
        for n in (1, 2, 3)
    )
    for activator in (first, second, third):
        await activator.sync(pool())
    first.see("Pod", activator_pod("activator-2", terminating=True, phase="Failed"))
    first.see("EndpointSlice", native_slice(True))
    first.watch()
    await first.publisher.sweep()
    names = [s["metadata"]["name"] for s in kube.all("EndpointSlice")]
    assert names == [slice_name("voice", activator.me, "IPv4") for activator in (first, second)]


async def test_the_slice_of_an_activator_whose_pod_it_has_not_seen_yet_is_not_swept(make_activator):
    """The watch of pods may be behind that of slices."""
    kube = FakeKube()
    other = make_activator(kube, OTHER)
    await other.sync(pool())
    kube.put(activator_pod("activator-2"))
    me = make_activator(kube)
    me.watch()
    await me.publisher.sweep()
    assert len(kube.all("EndpointSlice")) == 1


async def test_the_slice_of_a_pod_that_came_again_under_its_name_is_swept(make_activator):
    kube = FakeKube()
    other = make_activator(kube, OTHER)
    await other.sync(pool())
    again = activator_pod("activator-2")
    again["metadata"]["uid"] = "another"
    kube.put(again)
    me = make_activator(kube)
    me.watch()
    await me.publisher.sweep()
    assert kube.all("EndpointSlice") == []


async def test_its_own_slices_are_not_swept_before_it_has_seen_its_own_pod(activator):
    await activator.sync(pool())
    activator.view.on_change("Pod")("LIST", {"items": []})
    activator.watch()
    await activator.publisher.sweep()
    assert activator.slice()


async def test_a_sweep_the_api_server_refuses_is_tried_again_another_time(make_activator):
    other = make_activator(FakeKube(), OTHER)
    await other.sync(pool())
    me = make_activator(other.kube)
    me.watch()
    me.kube.down = True
    await me.publisher.sweep()
    me.kube.down = False
    await me.publisher.sweep()
    assert me.kube.all("EndpointSlice") == []


# --- the end ---


async def test_an_activator_that_leaves_says_so_and_listens_on(activator):
    await activator.sync(pool())
    activator.publisher.leaving = True
    await activator.sync()
    (endpoint,) = activator.slice()["endpoints"]
    assert endpoint["conditions"] == {"ready": False, "serving": True, "terminating": True}
    assert is_listened_on(activator.port())


async def test_an_activator_that_leaves_takes_no_new_pool_on(activator):
    activator.publisher.leaving = True
    await activator.sync(pool())
    assert activator.kube.all("EndpointSlice") == []


async def test_withdrawing_deletes_every_slice_and_publishes_none_again(activator):
    activator.see("Service", service("feed"))
    await activator.sync(pool(), pool(name="feed"))
    await activator.publisher.withdraw()
    assert activator.kube.all("EndpointSlice") == []
    await activator.sync()
    assert activator.kube.all("EndpointSlice") == []


async def test_a_slice_that_cannot_be_deleted_keeps_no_other_from_it(activator):
    activator.see("Service", service("feed"))
    await activator.sync(pool(), pool(name="feed"))

    def refuse(_, name):
        if name == slice_name("feed", ME, "IPv4"):
            raise OSError("no")

    activator.kube.on("delete", refuse)
    await activator.publisher.withdraw()
    assert len(activator.kube.all("EndpointSlice")) == 1
