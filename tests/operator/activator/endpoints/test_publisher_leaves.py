"""An activator's slices as it leaves the route: emptied, remembered, deleted."""

from kotatsu_operator.activator.publisher import DELETED_REST, PORT_REST
from kotatsu_operator.activator.slices import slice_name
from tests.operator.activator.endpoints.published import (
    ME,
    epoch_of,
    is_listened_on,
    leave,
    pool,
)
from tests.operator.cluster import (
    native_slice,
    service,
)

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
