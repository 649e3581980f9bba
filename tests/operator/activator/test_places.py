"""The limits on an activator's connections, and on the bytes that it keeps for them."""

import asyncio
import contextlib
import errno
import itertools
import resource
from types import SimpleNamespace

import pytest
from rows import each

from kotatsu_operator.activator import connections, limits
from kotatsu_operator.activator.limits import ConnectionLimit, KeptBytes, raise_file_limit
from tests.operator.activator.in_process import GET, ActivatorFixture, Pod
from tests.operator.cluster import eventually

VOICE, FEED = ("demo", "voice"), ("demo", "feed")
TIMES = itertools.count(1)
FILES = 16  # of which eight are for connections: six clients, or four with their pods


class FakeClient:
    """A client that is silent, held, or joined to a pod and quiet since a time."""

    def __init__(self, since=0.0, used_at=None, namespace="demo"):
        self.since, self.namespace, self.owner = since, namespace, self
        self.upstream = None if used_at is None else object()
        self.traffic = SimpleNamespace(used_at=used_at)
        self.is_closed, self.evicted_at = False, 0

    def close(self):
        self.is_closed = True

    def evicted(self, client):
        client.evicted_at = next(TIMES)


@pytest.fixture
def limit():
    return ConnectionLimit(FILES, clock=lambda: 0.0)


def clients(limit, number, *, speaking=True):
    made = [FakeClient() for _ in range(number)]
    for client in made:
        assert limit.enter(client, VOICE)
        if speaking:
            limit.spoke(client)
    return made


def test_clients_never_take_the_files_that_their_pods_need(limit):
    clients(limit, 6)
    assert not limit.enter(FakeClient(), VOICE)
    assert limit.has_place(VOICE)


def test_where_there_is_none_the_one_that_was_silent_for_longest_makes_it(limit):
    silent = clients(limit, 6, speaking=False)
    limit.spoke(silent[0])
    late = FakeClient()
    assert limit.enter(late, VOICE)
    assert [client.is_closed for client in (*silent, late)] == [False, True, *[False] * 5]


def test_one_pool_never_takes_all_the_room_from_another():
    limit = ConnectionLimit(1000, clock=lambda: 0.0)
    clients(limit, 614)
    assert not limit.enter(FakeClient(), VOICE)
    while limit.has_place(VOICE):
        limit.join(VOICE)
    assert limit.enter(FakeClient(), FEED)
    assert limit.has_place(FEED)


def test_of_a_full_activator_another_namespace_gets_its_share():
    """Of those that have taken all, the newest held ones go; and then the quietest."""
    joined = [FakeClient(used_at=float(n)) for n in range(300)]
    made = [*joined, *(FakeClient(since=float(n)) for n in range(700))]
    limit = ConnectionLimit(1000, clock=lambda: 0.0)
    for number, client in enumerate(made):
        if limit.enter(client, ("hostile", f"pool-{number % 7}")):
            limit.spoke(client)
    assert not limit.enter(FakeClient(), ("hostile", "another"))
    ours = []
    while limit.enter(client := FakeClient(), VOICE):
        limit.spoke(client)
        ours.append(client)
        assert len(limit._clients) <= 654
    assert 327 <= len(ours) <= 327 + limits.EVICTED_AT_ONCE, "half of the places for clients"
    assert not any(client.evicted_at for client in ours)
    held = [client.since for client in made[300:] if client.evicted_at]
    assert max(held) - min(held) < len(held)
    quiet = [client.traffic.used_at for client in joined if client.evicted_at]
    assert not quiet or len(held) == 354, "those that are joined come last"
    assert quiet == sorted(quiet)


def test_the_silent_ones_of_a_small_namespace_stay_while_another_has_more(limit):
    modest = FakeClient()
    assert limit.enter(modest, VOICE)
    silent = [FakeClient() for _ in range(8)]
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
        assert not limit.enter(FakeClient(), VOICE)
    text = (
        "at the limit: 6 clients and 0 connections to pods are open, with limits of "
        f"{FILES} files (RLIMIT_NOFILE) and 1024 MiB of memory: closing new clients"
    )
    assert [record.getMessage() for record in caplog.records] == [text, text]


@each("files", [64, 200, 1024, 20_000])
def test_however_few_files_there_are_some_may_come_in(files):
    limit = ConnectionLimit(files)
    came = 0
    while limit.enter(client := FakeClient(), VOICE):
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


def test_a_process_that_may_have_no_more_files_counts_on_those_it_has(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    assert raise_file_limit() == 1024


# --- an activator with little room ---


@pytest.fixture
async def small():
    async with ActivatorFixture(ConnectionLimit(FILES)) as activator:
        yield activator


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
    monkeypatch.setattr(connections, "RECONNECT_EVERY", 0.0)
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


def evicted(made):
    """The numbers of those that had to go, in the order in which they went."""
    gone = [number for number, client in enumerate(made) if client.evicted_at]
    return sorted(gone, key=lambda number: made[number].evicted_at)


@each(
    "sizes, gone, total",
    {"the most": ((100, 700, 250), [1], 350), "the longest": (range(200, 205), [0], 810)},
)
def test_beyond_the_bound_who_keeps_most_has_to_go_and_of_about_as_much_who_does_for_longest(
    sizes, gone, total
):
    kept, made = KeptBytes(1000), [FakeClient() for _ in sizes]
    for client, size in zip(made, sizes, strict=True):
        kept.keep(client, size)
    assert (evicted(made), kept.total) == (gone, total)


def test_who_keeps_little_in_many_connections_evicts_no_large_one_of_another_namespace():
    kept, modest = KeptBytes(1000), FakeClient(namespace="modest")
    kept.keep(modest, 300)
    hostile = [FakeClient(namespace="hostile") for _ in range(100)]
    for client in hostile:
        kept.keep(client, 10)
    assert evicted([*hostile, modest]) == list(range(30))
    kept.keep(modest, 0)
    assert kept.total == 700


def test_evicting_looks_at_nobody_else():
    """Ten thousand that keep little cost those that keep much nothing."""
    kept, looked = KeptBytes(100_000), []

    class Watched(FakeClient):
        def __hash__(self):
            looked.append(self)
            return id(self)

    for _ in range(10_000):
        kept.keep(Watched(), 1)
    looked.clear()
    large = [FakeClient() for _ in range(1000)]
    for client in large:
        kept.keep(client, 80_000)
    assert evicted(large) == list(range(999))
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
    async with ActivatorFixture(ConnectionLimit()) as activator:
        activator.connections.limit.kept.most = 2**20
        yield activator


async def test_who_waits_and_keeps_most_is_told_to_come_back(short):
    modest = await short.send()
    await short.held(1)
    uploads = [
        await short.send(b"POST / HTTP/1.1\r\nContent-Length: 999999\r\n\r\n" + bytes(100_000))
        for _ in range(20)
    ]
    answers = await asyncio.gather(*(reader.read(12) for reader, _ in uploads[:5]))
    assert answers == [b"HTTP/1.1 503"] * 5
    assert short.count("kotatsu_activator_refused_total", reason="full") >= 5
    assert short.connections.limit.kept.total <= 2**20
    await short.new_pod(ready=True)
    assert (await modest[0].read()).endswith(b"voice-1")


async def test_a_body_larger_than_all_that_may_be_kept_is_refused_and_no_other_one(short):
    modest = await short.send()
    await short.held(1)
    head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % 2**21
    answer = await short.ask(head + bytes(2**21))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 5\r\n" in answer
    assert short.count("kotatsu_activator_refused_total", reason="full") == 1
    assert short.connections.held == 1
    made = await short.new_pod(ready=True)
    assert (await modest[0].read()).endswith(b"voice-1")
    assert len(made.requests) == 1


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

    class Large(Pod):
        async def _serve(self, reader, writer):
            self.open.append((reader, writer))
            with contextlib.suppress(ConnectionError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(bytes(2**22))
                await reader.read()
            writer.close()

    await short.new_pod(of=Large, ready=True)
    for _ in range(20):
        _, writer = await short.send()
        writer.transport.pause_reading()
    await eventually(lambda: short.count("kotatsu_activator_refused_total", reason="room"))
    assert short.connections.limit.kept.total <= 2**20
