"""The ports of an activator are shared: no namespace takes all of them."""

import asyncio
import random

import pytest

from kotatsu_operator.activator.ports import FIRST, LAST, Ports, PortsTakenError
from tests.operator.activator.published import PublisherFixture, pool
from tests.operator.cluster import service

pytestmark = pytest.mark.timeout(60)

COUNT = 64


def address_of_its_own():
    """An address of loopback on which nobody else listens."""
    return f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"


class Listening:
    """An activator that has 64 ports, and what listens on them."""

    def __init__(self):
        self.ports = Ports(20_001, 20_000 + COUNT)
        self.address = address_of_its_own()
        self.servers = []

    async def take(self, namespace, number=None):
        server = await self.ports.listen(namespace, asyncio.Protocol, self.address, number)
        self.servers.append(server)
        return server.sockets[0].getsockname()[1]

    async def all_of(self, namespace):
        """As many ports as a namespace gets."""
        for taken in range(COUNT + 1):
            try:
                await self.take(namespace)
            except PortsTakenError:
                return taken
        raise AssertionError("more than there are")


@pytest.fixture
async def listening():
    made = Listening()
    yield made
    for server in made.servers:
        server.close()


async def test_a_namespace_leaves_others_a_quarter_of_the_ports(listening):
    assert await listening.all_of("red") == COUNT * 3 // 4
    assert await listening.all_of("blue") == COUNT // 16
    assert await listening.all_of("green") == COUNT // 16
    with pytest.raises(PortsTakenError, match=r"namespace red has 48 ports .* 8 are left for all"):
        await listening.take("red")


async def test_a_port_that_is_given_back_can_be_taken_again_and_comes_last(listening):
    numbers = [await listening.take("red") for _ in range(4)]
    listening.servers.pop(0).close()
    listening.ports.give_back("red")
    await asyncio.sleep(0)
    assert numbers[0] not in [await listening.take("red") for _ in range(8)]


async def test_a_port_of_before_a_restart_is_taken_whatever_the_share(listening):
    await listening.all_of("red")
    free = set(range(20_001, 20_001 + COUNT)) - {
        s.sockets[0].getsockname()[1] for s in listening.servers
    }
    number = free.pop()
    assert await listening.take("red", number) == number
    with pytest.raises(OSError, match=r"(?i)in use"):
        await listening.take("blue", number)
    with pytest.raises((OverflowError, OSError)):
        await listening.take("blue", -1)
    assert await listening.take("blue")


def test_none_is_a_port_that_the_kernel_gives_to_outgoing_connections():
    assert FIRST > 8081  # the ports of the activator itself
    assert LAST < 32_768


async def test_a_pool_without_a_port_keeps_no_activator_from_being_ready():
    activator = PublisherFixture()
    activator.publisher._ports = Ports(20_001, 20_000 + COUNT)
    many = [{"name": f"p{n}", "port": n} for n in range(1, COUNT + 1)]
    activator.see("Service", service("greedy", *many))
    try:
        await activator.sync(pool())
        await activator.sync(pool(name="greedy"))
        assert activator.publisher.is_complete
        assert activator.publisher.is_refused
        assert activator.slice()["endpoints"]
    finally:
        activator.publisher.close()
