"""No byte of an answer is lost to a sleep, and no pool stays awake for one that has ended.

Answers of random framing, with pauses of minutes and clients that read slowly, through sleep and
wake. What a pod says is known before, so each byte and each end are judged without a parser. The
sockets are real. The clock is the test's, and so is the operator: it takes the pods away, and with
them what their kernel has not delivered, when no connection has been in use for a while.
"""

import asyncio
import contextlib
import socket
from dataclasses import dataclass, replace
from types import SimpleNamespace

import h11
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from kotatsu_operator.activator import connections, limits, splice, wake
from tests.operator.activator.in_process import ActivatorFixture, Dictated, pool
from tests.operator.activator.joined import reset
from tests.operator.cluster import deployment, eventually
from tests.operator.cluster import pod as pod_object

pytestmark = [pytest.mark.timeout(1200), pytest.mark.slow]

IDLE_AFTER = 30.0
BEYOND = 5.0
"""Seconds for which a pool may stay in use after the end of an answer."""
STEP = 2.0
"""Seconds between two looks of the operator."""


# --- what is asked and said ---


@dataclass(frozen=True)
class Exchange:
    """A request, and all that the pod says to it."""

    request: bytes
    said: bytes
    is_last: bool
    """Whether the answer ends with its connection."""
    pauses: tuple[tuple[int, float], ...] = ()
    """Where the pod pauses in what it says, and for how many seconds."""
    body_after: float = 0.0
    """Seconds that the client waits before it sends the second half of the request."""

    def __repr__(self):
        """Short, though a body has a megabyte."""
        asked, said = (f"{data[:80]}… ({len(data)})" for data in (self.request, self.said))
        return f"<{asked} → {said}, {self.is_last=} {self.pauses=} {self.body_after=}>"


NASTY = (
    b"0\r\n\r\n", b"\r\n\r\n", b"\r\n0\r\n\r\n", b"\n", b"data: 1\n\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
)  # fmt: skip
BODIES = st.one_of(
    st.binary(max_size=60),
    st.lists(st.sampled_from(NASTY), max_size=6).map(b"".join),
    st.sampled_from([2**14, 2**17, 2**20]).map(bytes),
)
SECONDS = st.sampled_from([0.5, 3.0, 20.0, 45.0, 90.0])
"""All pauses of a visit together are shorter than connectionIdleTimeout."""
INTERIM = st.lists(
    st.sampled_from((
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\nContent-Length: 7\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n",
    )),
    max_size=2,
).map(b"".join)  # fmt: skip


@st.composite
def chunked(draw, body):
    """The body in chunks, with extensions and trailers."""
    said, at = b"", 0
    while at < len(body):
        size = draw(st.sampled_from([1, 7, 16, 255, 2**15, 2**16]))
        if len(body) - at > 100:
            size = max(size, len(body) // 8)
        part = body[at : at + size]
        more = draw(st.sampled_from([b"", b";a=b", b';a="\x20"']))
        said += b"%x%b\r\n%b\r\n" % (len(part), more, part)
        at += size
    trailers = draw(st.sampled_from([b"", b"", b"ETag: a\r\n", b"Expires: 0\r\nX: 0\r\n"]))
    return said + draw(st.sampled_from([b"0", b"000", b"0;end"])) + b"\r\n" + trailers + b"\r\n"


@st.composite
def requests(draw):
    """The method and the bytes of a request."""
    method = draw(st.sampled_from([b"GET", b"GET", b"HEAD", b"POST", b"PUT"]))
    head = b"%b /%b HTTP/1.1\r\nHost: voice\r\n" % (method, draw(st.sampled_from([b"", b"?a=0"])))
    if method in (b"GET", b"HEAD"):
        return method, head + b"\r\n"
    body = draw(BODIES.filter(lambda body: len(body) < 2**15))
    if draw(st.booleans()):
        head += b"Expect: 100-continue\r\n"
    if draw(st.booleans()):
        return method, head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    return method, head + b"Transfer-Encoding: chunked\r\n\r\n" + draw(chunked(body))


@st.composite
def exchanges(draw, *, may_be_last):
    method, request = draw(requests())
    head = draw(st.sampled_from([b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 404 Not Found\r\nX: y\r\n"]))
    body, interim = draw(BODIES), draw(INTERIM)
    framings = ["length", "chunks", "chunks", "204", "304", *["end"] * may_be_last]
    framing = draw(st.sampled_from(framings))
    match framing:
        case "length":
            head, said = head + b"Content-Length: %d\r\n" % len(body), body
        case "chunks":
            head, said = head + b"transfer-encoding:  chunked\r\n", draw(chunked(body))
        case "204":
            head, said = b"HTTP/1.1 204 No Content\r\n", b""
        case "304":
            head, said = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n", b""
        case _:
            version = draw(st.sampled_from([b"HTTP/1.0", b"HTTP/1.1"]))
            head, said = version + b" 200 OK\r\nContent-Type: text/event-stream\r\n", body
    if method == b"HEAD":
        said, framing = b"", "length"
    said = interim + head + b"\r\n" + said
    where = st.integers(0, max(len(said) - 1, 0))
    pauses = draw(st.lists(st.tuples(where, SECONDS), max_size=3))
    body_after = draw(st.sampled_from([0.0, 0.0, 20.0]))
    return Exchange(request, said, framing == "end", tuple(sorted(pauses)), body_after)


@dataclass(frozen=True)
class Visit:
    """What a client does at once: one request, or some that it pipelines."""

    exchanges: tuple[Exchange, ...]
    stalls: tuple[float, ...]
    """Seconds for which the client reads nothing, each followed by a little that it reads."""
    then: float
    """Seconds until the next one."""


@st.composite
def visits(draw):
    number = draw(st.sampled_from([1, 1, 1, 2, 3]))
    asked = [draw(exchanges(may_be_last=n == number - 1)) for n in range(number)]
    if number > 1:
        asked = [replace(one, body_after=0.0) for one in asked]
    stalls = draw(st.lists(SECONDS, max_size=3))
    return Visit(tuple(asked), tuple(stalls), draw(st.sampled_from([0.0, 10.0, 100.0])))


def ends_where_it_should(exchange):
    """Whether a parser that is not the activator's finds the end where it is meant to be."""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**20)
    method = exchange.request.split(b" ")[0]
    client.send(h11.Request(method=method, target="/", headers=[("Host", "voice")]))
    client.send(h11.EndOfMessage())
    client.receive_data(exchange.said)
    if exchange.is_last:
        client.receive_data(b"")
    while (event := client.next_event()) is not h11.NEED_DATA:
        if isinstance(event, h11.EndOfMessage):
            return not client.trailing_data[0]
    return False


# --- the cluster ---


class Line:
    """A client's connection, and its other end at the pod."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.pod = None
        self.asked, self.heard = b"", bytearray()
        self.is_busy = False
        """Whether the client has not got all yet."""

    async def send(self, data):
        """Send bytes of requests, and wait until the pod has them."""
        self.writer.write(data)
        self.asked += data
        if self.pod is not None:
            await self.arrived()

    async def arrived(self):
        await eventually(lambda: len(self.heard) >= len(self.asked))
        assert self.heard == self.asked

    async def listen(self, reader, writer):
        """The pod's end: hear all that comes."""
        self.pod = writer
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(2**16):
                self.heard += data


class World:
    """A pool without a gauge, its client and its operator."""

    def __init__(self, activator, clock):
        self.activator, self.clock = activator, clock
        self.connections = activator.connections
        self.pod = self.line = None
        self.number = self.sleeps = self.said = 0
        self.used_at = clock.now
        activator.see("Deployment", deployment())
        activator.kube.on("raise_scale", lambda _: activator.see_pod(self.pod, ready=True))
        self.phase("Asleep")

    def phase(self, phase):
        self.activator.see("WarmPool", pool(phase, lacks=True))

    async def visit(self, visit):
        first, *others = visit.exchanges
        head_end = first.request.index(b"\r\n\r\n") + 4
        half = max(len(first.request) // 2, head_end) if first.body_after else len(first.request)
        line = await self._line_for(first.request[:half])
        line.is_busy = True
        if first.body_after:
            await self.advance(first.body_after)
            await line.send(first.request[half:])
        for exchange in others:
            await line.send(exchange.request)
        taking = self.activator.keep(asyncio.ensure_future(self._take(line, visit)))
        for exchange in visit.exchanges:
            await self._say(line, exchange)
        await taking
        if visit.exchanges[-1].is_last:
            assert await line.reader.read() == b""
        await self._nothing_is_held_after(self.clock.now)
        line.is_busy = False
        if visit.exchanges[-1].is_last or self.line is None:
            line.writer.close()
            self.line = None
        await self.advance(visit.then)

    async def _line_for(self, data):
        """Send it on the connection there is, or on a new one, which wakes the pool."""
        if self.line is not None:
            await self.line.send(data)
            return self.line
        if self.pod is None:
            self.number += 1
            self.pod = await self.activator.new_pod(f"voice-{self.number}", of=Dictated)
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.connect(("127.0.0.1", self.activator.port))
        reader, writer = await asyncio.open_connection(sock=small, limit=1024)
        self.activator.writers.append(writer)
        self.line = line = Line(reader, writer)
        await line.send(data)
        ends = await self.pod.reached.get()
        self.phase("Warm")
        self.activator.keep(asyncio.ensure_future(line.listen(*ends)))
        await line.arrived()
        return line

    async def _say(self, line, exchange):
        at = 0
        for where, seconds in exchange.pauses:
            self._write(line, exchange.said[at:where])
            at = where
            await self.advance(seconds)
            assert not line.pod.transport.is_closing(), "the pool sleeps while its pod answers"
        self._write(line, exchange.said[at:])
        if exchange.is_last:
            line.pod.write_eof()

    def _write(self, line, data):
        line.pod.write(data)
        self.said += len(data)

    async def _take(self, line, visit):
        """Read all that is meant for the client."""
        said = b"".join(exchange.said for exchange in visit.exchanges)
        got = b""
        for seconds in visit.stalls:
            await self.advance(seconds)
            got += await line.reader.readexactly(min(4096, len(said) - len(got)))
        while len(got) < len(said):
            got += await line.reader.readexactly(min(2**16, len(said) - len(got)))
        assert got == said

    async def _nothing_is_held_after(self, ended):
        self.clock.now = max(self.clock.now, ended + BEYOND)
        # The bytes are with the client; the kernel has yet to say so.
        await eventually(lambda: self.connections.count_active() == 0)

    async def advance(self, seconds):
        """Let time pass; the operator looks, and lets an idle pool sleep."""
        for _ in range(5):
            await asyncio.sleep(0.001)
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now = min(self.clock.now + STEP, end)
            if self.connections.count_active() or self.connections.held:
                self.used_at = self.clock.now
            elif self.pod is not None and self.clock.now - self.used_at >= IDLE_AFTER:
                await self.sleep()
            await asyncio.sleep(0)

    async def sleep(self):
        """The pod goes, and with it what has not reached the activator."""
        self.sleeps += 1
        self.phase("Draining")
        self.phase("Sleeping")
        gone, self.pod = self.pod, None
        self.activator.see("Pod", pod_object(gone.name, port=gone.port), "DELETED")
        for _, writer in gone.open:
            if self.connections.forwarded.down == self.said:
                writer.close()
            else:
                reset(writer)
        gone.server.close()
        self.activator.kube.put(deployment(replicas=0))
        self.phase("Asleep")
        line, self.line = self.line, None
        if line is not None and not line.is_busy:
            line.writer.close()


async def live(story):
    """Let a client come and go; returns how often the pool has slept."""
    clock = SimpleNamespace(now=10_000.0)
    time = SimpleNamespace(monotonic=lambda: clock.now, time=lambda: clock.now)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splice, "time", time)
        patch.setattr(connections, "time", time)
        patch.setattr(limits, "SETTLE_EVERY", 0.002)
        patch.setattr(wake, "LOOK_EVERY", 0.02)
        patch.setattr(wake, "ANNOUNCE_AFTER", 0.002)
        async with ActivatorFixture() as activator:
            world = World(activator, clock)
            for visit in story:
                await world.visit(visit)
            return world.sleeps


@settings(max_examples=3 * settings.default.max_examples)
@given(st.lists(visits(), min_size=3, max_size=7))
def test_no_byte_is_lost_to_a_sleep_and_no_pool_is_held_beyond_the_end(story):
    for exchange in (exchange for visit in story for exchange in visit.exchanges):
        assert ends_where_it_should(exchange)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(live(story))
