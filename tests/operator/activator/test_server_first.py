"""Protocols whose server speaks first, such as MariaDB's: their clients wait for its greeting."""

import asyncio

import pytest

from kotatsu_operator.activator import connections, splice, wake
from tests.operator.activator.in_process import BY_ACTIVATOR, ActivatorFixture, Pod, pool
from tests.operator.activator.test_wake import body
from tests.operator.cluster import eventually, service

pytestmark = pytest.mark.timeout(60)

GREETING = b"\x4a\0\0\0\x0a11.4.2-MariaDB\0" + bytes(58)
"""MariaDB's first packet: its length, the sequence number 0, protocol version 10, its version."""
LOGIN = b"\x20\0\0\x01\x85\xa6\x3f\x20" + bytes(28)
OK = b"\x07\0\0\x02\0\0\0\x02\0\0\0"
MYSQL = {"name": "mysql", "port": 3306, "targetPort": "http"}
NAMED = {"name": "own", "port": 90, "targetPort": "http", "appProtocol": "kotatsu.dev/server-first"}
HTTP = {"name": "http", "port": 80, "targetPort": "http"}


class MariaDB(Pod):
    """Greets each client at once, and answers what it sends."""

    async def _serve(self, reader, writer):
        self.open.append((reader, writer))
        writer.write(GREETING)
        while said := await reader.read(2**16):
            self.requests.append(said)
            writer.write(OK)
        writer.close()


@pytest.fixture
async def activator(monkeypatch):
    """A pool of MariaDB on route Activator, asleep; `mysql` and `own` are ports of its Service."""
    monkeypatch.setattr(wake, "LOOK_EVERY", 0.02)
    async with ActivatorFixture() as activator:
        activator.see("Service", service("voice", HTTP, MYSQL, NAMED))
        activator.see("Deployment", activator.kube.stored("Deployment", "voice"))
        activator.see("WarmPool", pool(**BY_ACTIVATOR))
        yield activator


async def connected(activator, port="mysql"):
    return await activator.send(b"", await activator.listen(port))


async def greeted(activator, port="mysql"):
    """A client that has got the greeting, and has sent nothing."""
    reader, writer = await connected(activator, port)
    assert await reader.readexactly(len(GREETING)) == GREETING
    return reader, writer


async def warm(activator, phase="Warm", **how):
    activator.see("WarmPool", pool(phase, **BY_ACTIVATOR))
    return await activator.new_pod(of=MariaDB, ready=True, **how)


def active(activator):
    return activator.count("kotatsu_activator_active")


@pytest.mark.parametrize("port", ["mysql", "own"])
async def test_a_client_that_waits_for_a_greeting_gets_that_of_a_ready_pod_at_once(activator, port):
    made = await warm(activator)
    reader, writer = await greeted(activator, port)
    for _ in range(3):
        writer.write(LOGIN)
        assert await reader.readexactly(len(OK)) == OK
    assert made.requests == [LOGIN] * 3
    assert activator.kube.writes == []


async def test_on_any_other_port_a_silent_client_reaches_no_pod(activator):
    made = await warm(activator)
    await connected(activator, "http")
    await eventually(lambda: len(activator.clients) == 1)
    await asyncio.sleep(0.05)
    assert made.open == []


async def test_a_client_that_has_sent_nothing_wakes_no_pool_and_is_closed_in_the_end(
    activator, monkeypatch
):
    monkeypatch.setattr(splice, "SILENT_FOR", 0.1)
    reader, _ = await connected(activator)
    assert await reader.read() == b""
    assert activator.raises == 0
    assert activator.announcements == []


async def test_one_that_waits_is_greeted_as_soon_as_something_else_starts_the_pod(activator):
    reader, _ = await connected(activator)
    await eventually(lambda: len(activator.clients) == 1)
    await warm(activator)
    assert await reader.readexactly(len(GREETING)) == GREETING
    assert activator.raises == 0


async def test_a_client_that_has_sent_nothing_keeps_no_pool_awake(activator):
    await warm(activator)
    reader, writer = await greeted(activator)
    assert active(activator) == 0
    assert activator.connections.held == 0
    assert activator.count("kotatsu_activator_last_activity_timestamp_seconds") == 0
    assert activator.count("kotatsu_activator_wait_seconds_count") == 0
    writer.write(LOGIN)
    await reader.readexactly(len(OK))
    assert active(activator) == 1


async def test_while_a_pod_refuses_connections_a_silent_client_waits_and_wakes_nothing(
    activator, monkeypatch
):
    monkeypatch.setattr(connections, "RECONNECT_EVERY", 0.005)
    made = await warm(activator)
    made.server.close()
    reader, _ = await connected(activator)
    await asyncio.sleep(0.05)
    assert (activator.connections.held, activator.connections._waker.task) == (0, None)
    await made.start(made.port)
    assert await reader.readexactly(len(GREETING)) == GREETING


async def is_announced_first(activator, made):
    """Log in, and see that the pod gets the first bytes after the announcement."""
    gate = activator.hold_announcements()
    reader, writer = await greeted(activator)
    assert activator.announcements == []
    writer.write(LOGIN)
    await activator.announced(1)
    assert made.requests == []
    gate.release()
    assert await reader.readexactly(len(OK)) == OK


async def test_the_first_bytes_on_a_way_down_are_announced_before_a_pod_gets_them(activator):
    made = await warm(activator, "Draining")
    await is_announced_first(activator, made)


async def test_so_are_they_where_the_pods_report_their_requests(activator):
    made = await activator.new_pod(of=MariaDB, ready=True)
    activator.see("WarmPool", pool("Draining"))
    await is_announced_first(activator, made)


async def test_a_client_that_speaks_first_all_the_same_wakes_the_pool(activator):
    await activator.starts_on_raise(ready=True)
    number = await activator.listen("mysql")
    assert body(await activator.ask(port=number)) == b"voice-1"
    assert activator.raises == 1


async def test_half_of_a_request_line_waits_for_its_end_although_a_pod_is_ready(activator):
    await activator.new_pod(ready=True)
    number = await activator.listen("mysql")
    activator.see("WarmPool", pool("Asleep", **BY_ACTIVATOR))
    reader, writer = await activator.send(b"GET /hel", number)
    await asyncio.sleep(0.05)
    writer.write(b"lo HTTP/1.1\r\n\r\n")
    assert b"voice-1" in await reader.read()


async def test_of_too_many_silent_clients_the_oldest_is_closed(activator, monkeypatch):
    monkeypatch.setattr(connections, "MOST_SILENT", 2)
    activator.hold_at_most(1)
    number = await activator.listen("mysql")
    first, _ = await activator.send(b"", number)
    await eventually(lambda: len(activator.clients) == 1)
    for _ in range(2):
        await activator.send(b"", number)
    assert await first.read() == b""


async def test_a_stream_to_a_client_that_never_speaks_keeps_no_pool_awake(activator):
    """It reads slowly, so the pod waits for it."""
    activator.see("WarmPool", pool("Warm", **BY_ACTIVATOR))

    class Stream(MariaDB):
        async def _serve(self, reader, writer):
            self.open.append((reader, writer))
            writer.write(bytes(2**23))
            await reader.read()

    await activator.new_pod(of=Stream, ready=True)
    reader, _ = await connected(activator)
    for _ in range(64):
        await reader.readexactly(2**16)
        await asyncio.sleep(0.005)
    assert active(activator) == 0
