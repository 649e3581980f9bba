"""Room for connections: as much as there are open files, and some kept for everything else."""

import asyncio
import errno
import resource

import pytest

from kotatsu_operator.activator import connections, limits
from kotatsu_operator.activator.limits import ConnectionLimit, raise_file_limit
from tests.operator.activator.in_process import GET, ActivatorFixture

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
        assert limit.enter(client, "voice")
        if speaking:
            limit.spoke(client)
    return made


def test_clients_never_take_the_files_that_their_pods_need(limit):
    clients(limit, 6)
    assert not limit.enter(FakeClient("late"), "voice")
    assert limit.has_place("voice")


def test_whoever_has_gone_makes_room(limit):
    first, *_ = clients(limit, 6)
    limit.leave(first)
    assert limit.enter(FakeClient("late"), "voice")


def test_where_there_is_none_the_one_that_was_silent_for_longest_makes_it(limit):
    silent = clients(limit, 6, speaking=False)
    limit.spoke(silent[0])
    late = FakeClient("late")
    assert limit.enter(late, "voice")
    assert [client.is_closed for client in (*silent, late)] == [False, True, *[False] * 5]


def test_a_connection_to_a_pod_takes_a_file_too(limit):
    clients(limit, 4)
    for _ in range(4):
        assert limit.has_place("voice")
        limit.join("voice")
    assert not limit.has_place("voice")
    assert not limit.enter(FakeClient("late"), "voice")
    limit.part("voice")
    assert limit.has_place("voice")


def test_who_waits_for_a_place_is_told_of_it_once(limit):
    told = []
    limit.when_free(lambda: told.append("free"))
    first, second, *_ = clients(limit, 6)
    limit.leave(first)
    limit.leave(second)
    assert told == ["free"]


def test_one_pool_never_takes_all_the_room_from_another():
    limit = ConnectionLimit(1000, clock=lambda: 0.0)
    clients(limit, 614)
    assert not limit.enter(FakeClient("late"), "voice")
    while limit.has_place("voice"):
        limit.join("voice")
    assert limit.enter(FakeClient("another"), "feed")
    assert limit.has_place("feed")


def test_it_is_said_once_in_a_while_and_not_for_each_connection(caplog):
    now = [0.0]
    limit = ConnectionLimit(FILES, clock=lambda: now[0])
    clients(limit, 6)
    for now[0] in (0.0, 1.0, 9.0, 11.0):
        assert not limit.enter(FakeClient("late"), "voice")
    text = (
        "at the limit: 6 clients and 0 connections to pods are open, with limits of "
        f"{FILES} files (RLIMIT_NOFILE) and 1024 MiB of memory: closing new clients"
    )
    assert [record.getMessage() for record in caplog.records] == [text, text]


@pytest.mark.parametrize("files", [64, 200, 1024, 20_000])
def test_however_few_files_there_are_some_may_come_in(files):
    limit = ConnectionLimit(files)
    came = 0
    while limit.enter(client := FakeClient(came), "voice"):
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
    assert small.connections._backends._refused == {}
