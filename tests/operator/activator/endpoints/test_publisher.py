"""An activator's slices in step with its pools: published, and refused."""

import asyncio

import pytest

from kotatsu_operator.activator.pool import PodIdentity
from kotatsu_operator.activator.slices import slice_name
from tests.operator.activator.endpoints.published import (
    OTHER,
    epoch_of,
    is_listened_on,
    pool,
    ports_of,
)
from tests.operator.cluster import (
    FakeKube,
    eventually,
    native_slice,
    service,
)

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


async def test_on_route_always_it_stays_beside_ready_pods(activator):
    activator.see("EndpointSlice", native_slice(True))
    await activator.sync(pool("Activator", route_mode="Always"))
    activator.later(600)
    await activator.sync()
    assert activator.slice()["endpoints"]


async def test_a_deleted_pool_on_route_always_is_left_once_the_pods_have_its_service_again(
    activator,
):
    made = pool("Activator", route_mode="Always")
    await activator.sync(made)
    activator.see("WarmPool", made, "DELETED")
    await activator.sync()
    assert activator.slice()["endpoints"]
    activator.see("EndpointSlice", native_slice(True))
    await activator.sync()
    activator.later(30)
    await activator.sync()
    assert not activator.slice()["endpoints"]


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
