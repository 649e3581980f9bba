"""The limits on an activator's connections, and on the bytes that it keeps for them."""

import asyncio
import contextlib
import errno
import resource
from types import SimpleNamespace

import pytest
from rows import each

from kotatsu_operator.activator import connections, limits
from kotatsu_operator.activator.limits import ConnectionLimit, KeptBytes, raise_file_limit
from tests.operator.activator.in_process import GET, ActivatorFixture
from tests.operator.cluster import eventually

VOICE, FEED = ("demo", "voice"), ("demo", "feed")
FILES = 16  # of which eight are for connections: six clients, or four with their pods


class FakeClient:
    def __init__(self, name):
        self.name, self.is_closed = name, False

    def close(self):
        self.is_closed = True


@pytest.fixture
def limit():
    return ConnectionLimit(FILES, clock=lambda: 0.0)


def clients(limit, number, *, speaking=True):
    made = [FakeClient(n) for n in range(number)]
    for client in made:
        assert limit.enter(client, VOICE)
        if speaking:
            limit.spoke(client)
    return made


def test_clients_never_take_the_files_that_their_pods_need(limit):
    clients(limit, 6)
    assert not limit.enter(FakeClient("late"), VOICE)
    assert limit.has_place(VOICE)


def test_where_there_is_none_the_one_that_was_silent_for_longest_makes_it(limit):
    silent = clients(limit, 6, speaking=False)
    limit.spoke(silent[0])
    late = FakeClient("late")
    assert limit.enter(late, VOICE)
    assert [client.is_closed for client in (*silent, late)] == [False, True, *[False] * 5]


def test_one_pool_never_takes_all_the_room_from_another():
    limit = ConnectionLimit(1000, clock=lambda: 0.0)
    clients(limit, 614)
    assert not limit.enter(FakeClient("late"), VOICE)
    while limit.has_place(VOICE):
        limit.join(VOICE)
    assert limit.enter(FakeClient("another"), FEED)
    assert limit.has_place(FEED)


class Spoken(FakeClient):
    """A client that is held, or joined to a pod and quiet since a time."""

    def __init__(self, since=0.0, used_at=None):
        super().__init__(since)
        self.since, self.is_evicted = since, False
        self.upstream = None if used_at is None else object()
        self.traffic = SimpleNamespace(used_at=used_at)

    @property
    def owner(self):
        return self

    def evicted(self, client):
        client.is_evicted = True


def flooded(made):
    """A limit that the clients of one namespace have reached."""
    limit = ConnectionLimit(1000, clock=lambda: 0.0)
    for client in made:
        if not limit.enter(client, ("hostile", f"pool-{id(client) % 7}")):
            break
        limit.spoke(client)
    return limit


def test_of_a_full_activator_another_namespace_gets_its_share():
    """Of those that have taken all, the newest held ones go; and then the quietest."""
    joined = [Spoken(used_at=float(n)) for n in range(300)]
    made = [*joined, *(Spoken(since=float(n)) for n in range(700))]
    limit = flooded(made)
    assert not limit.enter(Spoken(), ("hostile", "another"))
    ours = []
    while limit.enter(client := Spoken(), VOICE):
        limit.spoke(client)
        ours.append(client)
        assert len(limit._clients) <= 654
    assert 327 <= len(ours) <= 327 + limits.EVICTED_AT_ONCE, "half of the places for clients"
    assert not any(client.is_evicted for client in ours)
    held = [client.since for client in made[300:] if client.is_evicted]
    assert max(held) - min(held) < len(held)
    quiet = [client.traffic.used_at for client in joined if client.is_evicted]
    assert not quiet or len(held) == 354, "those that are joined come last"
    assert quiet == sorted(quiet)


def test_the_silent_ones_of_a_small_namespace_stay_while_another_has_more(limit):
    modest = FakeClient("modest")
    assert limit.enter(modest, VOICE)
    silent = [FakeClient(n) for n in range(8)]
    for client in silent:
        limit.enter(client, ("hostile", "pool"))
    assert not modest.is_closed
    assert sum(client.is_closed for client in silent) == 3


def test_connections_to_pods_of_another_namespace_find_a_place(limit):
    many = ConnectionLimit(1000, clock=lambda: 0.0)
    many.join(VOICE)
    while many.has_place(("hostile", "one")):
        many.join(("hostile", "one"))
    assert not many.has_place(("hostile", "two"))
    assert many.has_place(VOICE)


def test_it_is_said_once_in_a_while_and_not_for_each_connection(caplog):
    now = [0.0]
    limit = ConnectionLimit(FILES, clock=lambda: now[0])
    clients(limit, 6)
    for now[0] in (0.0, 1.0, 9.0, 11.0):
        assert not limit.enter(FakeClient("late"), VOICE)
    text = (
        "at the limit: 6 clients and 0 connections to pods are open, with limits of "
        f"{FILES} files (RLIMIT_NOFILE) and 1024 MiB of memory: closing new clients"
    )
    assert [record.getMessage() for record in caplog.records] == [text, text]


@each("files", [64, 200, 1024, 20_000])
def test_however_few_files_there_are_some_may_come_in(files):
    limit = ConnectionLimit(files)
    came = 0
    while limit.enter(client := FakeClient(came), VOICE):
        limit.spoke(client)
        came += 1
    assert files / 4 < came <= files * 3 / 4


def test_a_process_takes_the_files_it_may_have():
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, most), most))
        assert raise_file_limit() == min(most, limits.MOST_FILES)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(most, limits.MOST_FILES)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))


# --- an activator with little room ---


@pytest.fixture
async def small():
    activator = ActivatorFixture(ConnectionLimit(FILES))
    await activator.start()
    yield activator
    await activator.close()


async def test_more_than_there_is_room_for_are_closed_and_counted(small):
    for _ in range(6):
        await small.send()
    await small.held(6)
    reader, _ = await small.send(b"")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    assert small.count("kotatsu_activator_refused_total", reason="room") == 1
    assert small.connections.held == 6


async def test_all_get_an_answer_though_there_is_not_room_for_all_their_pods_at_once(small):
    answers = [small.hold() for _ in range(6)]
    await small.held(6)
    await small.new_pod(ready=True)
    for answer in await asyncio.gather(*answers):
        assert answer.endswith(b"voice-1")


async def test_connects_that_a_pod_refuses_take_no_room(small, monkeypatch):
    monkeypatch.setattr(connections, "RETRY_EVERY", 0.0)
    await small.new_pod(ready=True)
    reader, writer = await small.send(b"")
    refused = []

    async def refuse(*_):
        refused.append(1)
        if len(refused) == FILES:
            monkeypatch.undo()
        raise ConnectionRefusedError

    monkeypatch.setattr(type(asyncio.get_running_loop()), "create_connection", refuse)
    writer.write(GET)
    async with asyncio.timeout(10):
        assert (await reader.read()).endswith(b"voice-1")
    assert len(refused) == FILES


async def test_a_pod_is_not_blamed_for_what_this_process_lacks(small, monkeypatch):
    await small.new_pod(ready=True)
    reader, writer = await small.send(b"")

    async def no_files(*_):
        monkeypatch.undo()
        raise OSError(errno.EMFILE, "Too many open files")

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(type(loop), "create_connection", no_files, raising=False)
    writer.write(GET)
    assert (await reader.read()).endswith(b"voice-1")
    assert small.connections.backends._refused == {}


class Keeper:
    def __init__(self, gone=None, namespace="demo"):
        self.gone, self.namespace = gone, namespace

    @property
    def owner(self):
        return self

    def evicted(self, keeper):
        self.gone.append(keeper)


@pytest.fixture
def gone():
    return []


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


def test_who_keeps_little_in_many_connections_evicts_no_large_one_of_another_namespace(gone):
    kept, modest = KeptBytes(1000), Keeper(gone, "modest")
    kept.keep(modest, 300)
    hostile = [Keeper(gone, "hostile") for _ in range(100)]
    for one in hostile:
        kept.keep(one, 10)
    assert gone == hostile[:30]
    kept.keep(modest, 0)
    assert kept.total == 700


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
    assert ConnectionLimit(memory=2**30, is_shared=True)._most == 21_845
    assert ConnectionLimit(memory=256 * 2**20).kept.most == 44 * 2**20
    assert ConnectionLimit(memory=16 * 2**20)._most > 100, "too little is no reason to serve nobody"
    assert ConnectionLimit(memory=2**40).kept.most < 2**29, "a node's memory is not this process's"


# --- an activator with little memory ---


@pytest.fixture
async def short(monkeypatch):
    monkeypatch.setattr(limits, "SETTLE_EVERY", 0.01)
    activator = ActivatorFixture(ConnectionLimit())
    activator.connections.limit.kept.most = 2**20
    await activator.start()
    yield activator
    await activator.close()


async def test_who_waits_and_keeps_most_is_told_to_come_back(short):
    modest = await short.send()
    await short.held(1)
    uploads = [
        await short.send(b"POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n" + bytes(20_000))
        for _ in range(20)
    ]
    answers = await asyncio.gather(*(reader.read(12) for reader, _ in uploads[:5]))
    assert answers == [b"HTTP/1.1 503"] * 5
    assert short.count("kotatsu_activator_refused_total", reason="full") >= 5
    assert short.connections.limit.kept.total <= 2**20
    await short.new_pod(ready=True)
    assert (await modest[0].read()).endswith(b"voice-1")


async def test_heads_without_an_end_are_counted(short):
    kept = short.connections.limit.kept
    for _ in range(5):
        await short.send(b"GET / HTTP/1.1\r\nA: " + b"a" * 10_000)
    await eventually(lambda: kept.total > 50_000)
    for writer in short.writers:
        writer.close()
    await eventually(lambda: kept.total == 0)


async def test_clients_that_take_nothing_are_counted_and_the_first_of_them_has_to_go(short):
    """Also while the kernel has it all: no transport is full."""

    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(bytes(2**22))
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    made = await short.new_pod()
    short.see_pod(made, port=server.sockets[0].getsockname()[1], ready=True)
    for _ in range(20):
        _, writer = await short.send()
        writer.transport.pause_reading()
    await eventually(lambda: short.count("kotatsu_activator_refused_total", reason="room"))
    assert short.connections.limit.kept.total <= 2**20
    server.close()
