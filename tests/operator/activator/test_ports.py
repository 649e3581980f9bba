"""A Service's ports, and the clients that came by one before the Service was edited."""

import asyncio

import pytest

from kotatsu_operator.activator.pool import Port, successors
from tests.operator.cluster import service

pytestmark = pytest.mark.timeout(60)


def test_no_two_ports_go_on_as_the_same():
    """Port a is taken away, and b gets its name."""
    a, b, now = Port("a", 80), Port("b", 81), Port("a", 81)
    assert successors([a, b], [now]) == {b: now}


@pytest.fixture
async def plain(activator):
    """Its Service has one port, which has no name."""
    activator.see("Service", service("voice", {"port": 80, "targetPort": "http"}))
    return activator


async def hold(activator):
    """Ask by the Service's only port, which has no name; the answer, and when it is held."""
    answer = activator.hold(port=await activator.listen(""))
    await activator.held(1)
    return answer


@pytest.mark.parametrize(
    "ports",
    [
        [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "admin", "port": 81}],
        [{"name": "admin", "port": 81}, {"name": "web", "port": 80, "targetPort": "http"}],
        [{"name": "admin", "port": 81}],
    ],
    ids=["named", "named and second", "taken away"],
)
async def test_who_is_held_reaches_the_pod_though_the_port_is_no_more_what_it_was(plain, ports):
    answer = await hold(plain)
    plain.see("Service", service("voice", *ports))
    await plain.new_pod(ready=True)
    async with asyncio.timeout(5):
        assert (await answer).endswith(b"voice-1")


async def test_who_is_held_reaches_the_pods_port_that_the_service_names_by_then(plain):
    answer = await hold(plain)
    made = await plain.new_pod()
    plain.see("Service", service("voice", {"name": "http", "port": 80, "targetPort": made.port}))
    plain.see_pod(made, port=1, ready=True)
    async with asyncio.timeout(5):
        assert (await answer).endswith(b"voice-1")
