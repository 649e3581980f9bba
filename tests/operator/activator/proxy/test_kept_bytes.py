"""The bound on what an activator keeps for its connections."""

import asyncio
import contextlib

import pytest

from kotatsu_operator.activator import limits
from kotatsu_operator.activator.limits import ConnectionLimit, KeptBytes
from tests.operator.activator.in_process import ActivatorFixture
from tests.operator.cluster import eventually


class Keeper:
    def __init__(self, gone=None):
        self.gone = gone

    @property
    def owner(self):
        return self

    def evicted(self, keeper):
        self.gone.append(keeper)


@pytest.fixture
def gone():
    return []


def test_it_counts_what_is_kept_while_it_is_kept(gone):
    kept, one, other = KeptBytes(1000), Keeper(gone), Keeper(gone)
    kept.keep(one, 300)
    kept.keep(other, 500)
    kept.keep(one, 200)
    assert kept.total == 700
    kept.keep(one, 0)
    kept.keep(one, 0)
    assert (kept.total, gone) == (500, [])


def test_beyond_the_bound_the_one_that_keeps_most_has_to_go(gone):
    kept, small, large, last = KeptBytes(1000), Keeper(gone), Keeper(gone), Keeper(gone)
    kept.keep(small, 100)
    kept.keep(large, 700)
    kept.keep(last, 250)
    assert gone == [large]
    assert kept.total == 350


def test_of_those_that_keep_about_as_much_the_one_that_has_for_longest(gone):
    kept, keepers = KeptBytes(1000), [Keeper(gone) for _ in range(5)]
    for number, keeper in enumerate(keepers):
        kept.keep(keeper, 200 + number)
    assert gone == keepers[:1]


def test_one_that_keeps_more_than_there_is_goes_itself(gone):
    kept, other, greedy = KeptBytes(1000), Keeper(gone), Keeper(gone)
    kept.keep(other, 900)
    kept.keep(greedy, 5000)
    assert gone == [greedy]
    assert kept.total == 900


def test_evicting_looks_at_nobody_else(gone):
    """Ten thousand that keep little cost those that keep much nothing."""
    kept, looked = KeptBytes(100_000), []

    class Watched(Keeper):
        def __hash__(self):
            looked.append(self)
            return id(self)

    small = [Watched(gone) for _ in range(10_000)]
    for one in small:
        kept.keep(one, 1)
    looked.clear()
    for _ in range(1000):
        kept.keep(Keeper(gone), 80_000)
    assert len(gone) == 999
    assert looked == []


def test_a_room_has_as_many_connections_as_its_memory_allows():
    assert ConnectionLimit(memory=256 * 2**20)._most == 7509
    assert ConnectionLimit(memory=256 * 2**20).kept.most == 44 * 2**20
    assert ConnectionLimit(memory=16 * 2**20)._most > 100, "too little is no reason to serve nobody"
    assert ConnectionLimit(memory=2**40).kept.most < 2**29, "a node's memory is not this process's"


# --- an activator with little memory ---


@pytest.fixture
async def small(monkeypatch):
    monkeypatch.setattr(limits, "SETTLE_EVERY", 0.01)
    activator = ActivatorFixture(ConnectionLimit())
    activator.connections.limit.kept.most = 2**20
    await activator.start()
    yield activator
    await activator.close()


async def test_who_waits_and_keeps_most_is_told_to_come_back(small):
    modest = await small.send()
    await small.held(1)
    uploads = [
        await small.send(b"POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n" + bytes(20_000))
        for _ in range(20)
    ]
    answers = await asyncio.gather(*(reader.read(12) for reader, _ in uploads[:5]))
    assert answers == [b"HTTP/1.1 503"] * 5
    assert small.count("kotatsu_activator_refused_total", reason="full") >= 5
    assert small.connections.limit.kept.total <= 2**20
    await small.new_pod(ready=True)
    assert (await modest[0].read()).endswith(b"voice-1")


async def test_heads_without_an_end_are_counted(small):
    kept = small.connections.limit.kept
    for _ in range(5):
        await small.send(b"GET / HTTP/1.1\r\nA: " + b"a" * 10_000)
    await eventually(lambda: kept.total > 50_000)
    for writer in small.writers:
        writer.close()
    await eventually(lambda: kept.total == 0)


async def test_clients_that_take_nothing_are_counted_and_the_first_of_them_has_to_go(small):
    """Also while the kernel has it all: no transport is full."""

    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(bytes(2**22))
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    made = await small.new_pod()
    small.see_pod(made, port=server.sockets[0].getsockname()[1], ready=True)
    for _ in range(20):
        _, writer = await small.send()
        writer.transport.pause_reading()
    await eventually(lambda: small.count("kotatsu_activator_refused_total", reason="room"))
    assert small.connections.limit.kept.total <= 2**20
    server.close()
