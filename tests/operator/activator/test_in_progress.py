"""What an HTTP/1 client has begun keeps its pool awake until the client has it, and no longer.

Over real sockets: the client wakes the pool, and its pod answers as the test says.
"""

import asyncio
import socket
import time
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from kotatsu_operator.activator import connections, splice
from tests.operator.activator.in_process import GET, Dictated, pool
from tests.operator.cluster import eventually

pytestmark = pytest.mark.timeout(60)

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
EXPECTS = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
LATER = 60.0
"""Seconds of silence after which it is asked whether the pool is needed."""
MEGABYTE = 2**20


@dataclass
class Asked:
    """A client and its pod, joined."""

    activator: object
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    pod_reader: asyncio.StreamReader
    pod: asyncio.StreamWriter

    @property
    def is_needed(self):
        """Whether the connection keeps the pool awake after a minute of silence."""
        pool = self.activator.connections
        now = time.monotonic() + LATER
        return any(c.traffic.in_use(now, pool.idle_timeout) for c in pool._users())

    async def say(self, *parts):
        """Let the pod say something, each part in a read of its own."""
        for part in parts:
            self.pod.write(part)
            assert await self.reader.readexactly(len(part)) == part


@pytest.fixture
async def ask(activator):
    async def ask(request=GET, then=b""):
        made = await activator.starts_on_raise(of=Dictated, ready=True)
        reader, writer = await activator.send(request + then)
        pod_reader, pod = await made.reached.get()
        await pod_reader.readuntil(b"\r\n\r\n")
        await pod_reader.readexactly(len(then))
        return Asked(activator, reader, writer, pod_reader, pod)

    return ask


BEGUN = {
    "a length that is not reached": (OK + b"Content-Length: 10\r\n\r\nhalf",),
    "an answer that ends with its connection": (b"HTTP/1.0 200 OK\r\n\r\nhalf",),
    "server-sent events": (OK + b"Content-Type: text/event-stream\r\n\r\n", b"data: 1\n\n"),
    "work after 102": (b"HTTP/1.1 102 Processing\r\n\r\n",),
    "work after 103": (b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n",),
    "a chunked head in two reads": (CHUNKED[:25], CHUNKED[25:] + b"2\r\nhi\r\n"),
    "chunks that look like the last one": (CHUNKED, b"5\r\n0\r\n\r\n\r\n"),
    "an export after its head": (OK + b"\r\n",),
}


@pytest.mark.parametrize("said", BEGUN.values(), ids=BEGUN)
async def test_an_answer_keeps_the_pool_awake_while_its_pod_is_silent(ask, said):
    asked = await ask()
    await asked.say(*said)
    assert asked.is_needed


ENDED = {
    "its length": (OK + b"Content-Length: 4\r\n\r\n", b"half"),
    "a last chunk": (CHUNKED + b"2\r\nhi\r\n", b"0\r\n\r\n"),
    "a last chunk in two reads": (CHUNKED + b"2\r\nhi\r\n0", b"\r\n\r\n"),
    "trailers": (CHUNKED + b"2\r\nhi\r\n0\r\n", b"Expires: never\r\n\r\n"),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",),
    "an answer after 102": (b"HTTP/1.1 102 Processing\r\n\r\n", OK + b"Content-Length: 0\r\n\r\n"),
}


@pytest.mark.parametrize("said", ENDED.values(), ids=ENDED)
async def test_an_answer_keeps_nothing_awake_after_its_end(ask, said):
    asked = await ask()
    await asked.say(*said)
    await eventually(lambda: not asked.is_needed)


async def test_an_answer_to_head_ends_with_its_head(ask):
    asked = await ask(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    await asked.say(OK + b"Content-Length: 9\r\n\r\n")
    await eventually(lambda: not asked.is_needed)


async def test_an_answer_without_a_length_ends_with_the_pod_though_the_client_stays(ask):
    asked = await ask()
    await asked.say(OK + b"\r\n", b"all")
    asked.pod.write_eof()
    assert await asked.reader.read() == b""
    await eventually(lambda: not asked.is_needed)


async def test_a_body_that_was_sent_before_it_was_asked_for_is_worked_on(ask):
    """The start took longer than the client waits for 100: its body came with the head."""
    asked = await ask(EXPECTS, b"body")
    await asked.say(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert asked.is_needed
    await asked.say(OK + b"Content-Length: 0\r\n\r\n")
    await eventually(lambda: not asked.is_needed)


async def test_a_client_that_waits_before_its_body_has_begun_its_request(ask):
    asked = await ask(EXPECTS)
    await asked.say(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert asked.is_needed


async def test_after_an_upgrade_a_connection_is_judged_by_its_silence(ask):
    asked = await ask(b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    upgraded = (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    await asked.say(upgraded, b"\x81\x02hi")
    assert asked.is_needed


async def test_an_upgrade_that_is_refused_is_a_request_like_any_other(ask):
    asked = await ask(b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    await asked.say(OK + b"Content-Length: 4\r\n\r\nhalf")
    await eventually(lambda: not asked.is_needed)


async def test_an_answer_that_is_not_understood_is_judged_by_its_silence(ask):
    asked = await ask()
    await asked.say(OK + b"Content-Length: 4\r\nContent-Length: 9\r\n\r\nhalf")
    assert asked.is_needed


# --- slow clients ---


async def drain(reader, size):
    left = size
    while left:
        left -= len(await reader.readexactly(min(left, 2**14)))


@pytest.mark.parametrize("size", [2**17, 8 * MEGABYTE], ids=["all of it is here", "some is not"])
async def test_bytes_that_wait_for_a_slow_client_keep_the_pool_awake(activator, size):
    made = await activator.starts_on_raise(of=Dictated, ready=True)
    with socket.socket() as small:
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.connect(("127.0.0.1", activator.port))
        reader, writer = await asyncio.open_connection(sock=small, limit=1024)
        activator.writers.append(writer)
        writer.write(GET)
        pod_reader, pod = await made.reached.get()
        asked = Asked(activator, reader, writer, pod_reader, pod)
        head = OK + b"Content-Length: %d\r\n\r\n" % size
        pod.write(head + bytes(size))
        [client] = activator.clients
        await eventually(lambda: client.traffic.untaken)
        assert asked.is_needed
        await drain(reader, len(head) + size)
        await eventually(lambda: not asked.is_needed)


# --- other protocols ---


async def test_a_connection_that_only_beats_lets_its_pool_sleep_and_beats_on(
    activator, monkeypatch
):
    """A heartbeat of 37 bytes each 15 seconds, which is answered."""
    clock = SimpleNamespace(now=10_000.0)
    time = SimpleNamespace(monotonic=lambda: clock.now, time=lambda: clock.now)
    for module in (splice, connections):
        monkeypatch.setattr(module, "time", time)
    made = await activator.starts_on_raise(of=Dictated, ready=True)
    reader, writer = await activator.send(b"\0 no HTTP " + bytes(200))
    pod_reader, pod = await made.reached.get()
    await pod_reader.readexactly(210)
    pod.write(b"welcome")
    await reader.readexactly(7)
    activator.see("WarmPool", pool("Warm", counted=True))

    async def beat():
        clock.now += 15
        writer.write(bytes(37))
        await pod_reader.readexactly(37)
        pod.write(bytes(37))
        await reader.readexactly(37)

    for _ in range(38):
        await beat()
    assert activator.count("kotatsu_activator_active") == 1
    for _ in range(4):
        await beat()
    assert activator.count("kotatsu_activator_active") == 0
    announced = len(activator.announcements)
    activator.see("WarmPool", pool("Draining", counted=True))
    await beat()
    assert (activator.count("kotatsu_activator_active"), len(activator.announcements)) == (
        0,
        announced,
    )
