"""Client connections held and spliced, over real sockets on loopback."""

import asyncio
import contextlib
import socket
import struct
from collections import Counter

import needs
import pytest

from kotatsu_operator.activator.http.answers import PROBE_OK
from kotatsu_operator.activator.http.peek import Kind
from kotatsu_operator.activator.proxy import sockets, upstream
from kotatsu_operator.activator.proxy.client import BODY_KEPT, Client
from kotatsu_operator.activator.proxy.connection_limit import KeptBytes
from kotatsu_operator.activator.proxy.registry import Moved
from kotatsu_operator.activator.proxy.upstream import Upstream
from tests.operator.cluster import eventually

pytestmark = pytest.mark.timeout(60)

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_AND_CLOSE = b"GET / HTTP/1.1\r\nConnection: close\r\nHost: a\r\n\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"
UPLOAD_AND_CLOSE = UPLOAD.replace(b"1.1\r\n", b"1.1\r\nConnection: close\r\n")
MEGABYTE = 2**20
TCP_REPAIR = 19  # of linux/tcp.h
MOST_IN_SOCKETS = 16 * MEGABYTE
"""More than the kernel ever keeps of one connection through the splice."""


class FakeOwner:
    """An owner that holds its clients until the test lets them through to a pod."""

    def __init__(self):
        self.came_in, self.arrivals, self.complete, self.gone = [], [], [], []
        self.moved = Moved()
        self.lets_resume, self.ending = True, False
        self.change = asyncio.Event()
        self.kept = KeptBytes(2**40)

    def keeps(self, client, number):
        self.kept.keep(client, number)

    def wrote(self, client):
        pass

    def came(self, client):
        self.came_in.append(client)

    def may_resume(self, client):
        return self.lets_resume

    def is_ending(self, client):
        return self.ending

    def arrived(self, client):
        self.arrivals.append(client)
        self.change.set()

    def completed(self, client):
        self.complete.append(client)
        self.change.set()

    def left(self, client):
        self.gone.append(client)
        self.change.set()

    async def until(self, holds):
        async with asyncio.timeout(10):
            while not holds():
                self.change.clear()
                await self.change.wait()

    async def client(self):
        """The only client so far, once its first bytes have come."""
        await self.until(lambda: self.arrivals)
        return self.arrivals[0]


def small_socket():
    """A listening socket whose connections keep little in the kernel."""
    listening = socket.create_server(("127.0.0.1", 0))
    sockets.prepare(listening)
    for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        listening.setsockopt(socket.SOL_SOCKET, buffer, 2**16)
    return listening


def abort(writer):
    """End a connection; asyncio's cannot be aborted once it has closed."""
    if not writer.transport.is_closing() or writer.transport.get_write_buffer_size():
        writer.transport.abort()


class ActivatorFixture:
    """A listening activator with one pool, and one pod behind it."""

    def __init__(self, closing):
        self.owner = FakeOwner()
        self.pods = asyncio.Queue()
        self._closing = closing

    async def start(self):
        loop = asyncio.get_running_loop()
        front = await loop.create_server(lambda: Client(self.owner), sock=small_socket())
        pod = await asyncio.start_server(self._serve, sock=small_socket())
        self.port, self.pod_port = (s.sockets[0].getsockname()[1] for s in (front, pod))
        self._closing.callback(front.close)
        self._closing.callback(pod.close)

    async def _serve(self, reader, writer):
        self._closing.callback(abort, writer)
        self.pods.put_nowait((reader, writer))

    async def connect(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**16)
        self._closing.callback(abort, writer)
        return reader, writer

    async def let_through(self, client):
        upstream = Upstream(client)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: upstream, "127.0.0.1", self.pod_port)
        client.splice(upstream)
        return await self.pods.get()

    async def spliced(self, first=UPLOAD):
        """A connection joined to the pod, its first bytes already read there."""
        reader, writer = await self.connect()
        writer.write(first)
        pod_reader, pod_writer = await self.let_through(await self.owner.client())
        await pod_reader.readuntil(b"\r\n\r\n")
        return reader, writer, pod_reader, pod_writer


def end(writer):
    """Let go of a connection, unless it is over: asyncio's cannot be aborted any more then."""
    if not writer.transport.is_closing():
        writer.transport.abort()


@pytest.fixture
async def activator():
    with contextlib.ExitStack() as closing:
        activator = ActivatorFixture(closing)
        await activator.start()
        yield activator
    for client in activator.owner.arrivals:
        for transport in (client.transport, client.upstream and client.upstream.transport):
            if transport is not None:
                transport.abort()
    await asyncio.sleep(0.01)  # uvloop ends only when every transport has ended


def reset(writer):
    """End a connection with a RST, as a killed process or a lost network would."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


# --- held ---


async def test_nothing_is_told_before_the_first_byte(activator):
    _, writer = await activator.connect()
    writer.close()
    await activator.owner.until(lambda: activator.owner.gone)
    assert activator.owner.arrivals == []


async def test_a_client_is_told_of_once_when_its_request_line_is_complete(activator):
    _, writer = await activator.connect()
    writer.write(b"GET /a?b HTT")
    await asyncio.sleep(0.02)
    assert activator.owner.arrivals == []
    writer.write(b"P/1.1\r\nHost: a\r\n")
    client = await activator.owner.client()
    assert (client.seen.path, client.is_complete) == ("/a", False)
    writer.write(b"\r\nmore")
    await eventually(lambda: client.is_complete)
    assert len(activator.owner.arrivals) == 1


async def test_whoever_waits_for_the_head_is_told_once_it_is_complete(activator):
    _, writer = await activator.connect()
    writer.write(b"GET / HTTP/1.1\r\n")
    client = await activator.owner.client()
    writer.write(b"A: b\r\n")
    await asyncio.sleep(0.02)
    assert activator.owner.complete == []
    writer.write(b"\r\n")
    await activator.owner.until(lambda: activator.owner.complete == [client])


async def test_a_client_that_goes_while_held_is_released(activator):
    _, writer = await activator.connect()
    writer.write(GET)
    client = await activator.owner.client()
    assert client.is_open
    writer.close()
    await activator.owner.until(lambda: activator.owner.gone == [client])
    assert not client.is_open


async def test_a_client_that_is_reset_while_held_is_released(activator):
    _, writer = await activator.connect()
    writer.write(GET)
    client = await activator.owner.client()
    reset(writer)
    await activator.owner.until(lambda: activator.owner.gone == [client])


async def test_a_held_upload_is_kept_only_up_to_a_bound(activator):
    _, writer = await activator.connect()
    writer.write(GET + bytes(20 * MEGABYTE))
    client = await activator.owner.client()
    await eventually(lambda: len(client._buffer) > BODY_KEPT)
    await asyncio.sleep(0.05)
    assert len(client._buffer) < BODY_KEPT + MEGABYTE


async def test_an_answer_without_a_pod_ends_the_connection(activator):
    reader, writer = await activator.connect()
    writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
    (await activator.owner.client()).answer(PROBE_OK)
    assert await reader.read() == PROBE_OK
    writer.close()
    await activator.owner.until(lambda: activator.owner.gone)


async def test_a_head_request_is_answered_without_a_body(activator):
    reader, writer = await activator.connect()
    writer.write(b"HEAD /healthz HTTP/1.1\r\n\r\n")
    (await activator.owner.client()).answer(PROBE_OK)
    head = await reader.read()
    assert head == PROBE_OK.removesuffix(b"# asleep\n")
    assert b"Content-Length: 9\r\n" in head


async def test_an_answer_reaches_a_client_that_is_still_sending(activator):
    """Closed under it, its sending would fail, and with that many never read the answer."""
    reader, writer = await activator.connect()
    writer.write(b"POST / HTTP/1.1\r\nContent-Length: 4194304\r\n")
    (await activator.owner.client()).answer(PROBE_OK)
    await asyncio.sleep(0.02)
    writer.write(b"\r\n")
    for _ in range(64):
        writer.write(bytes(2**16))
        await writer.drain()
    assert await reader.read() == PROBE_OK
    assert activator.owner.gone == []
    writer.close()
    await activator.owner.until(lambda: activator.owner.gone)


async def test_an_answered_client_that_does_not_close_is_closed_after_a_while(
    activator, monkeypatch
):
    monkeypatch.setattr(f"{Client.__module__}.ANSWERED_FOR", 0.05)
    reader, writer = await activator.connect()
    writer.write(GET)
    (await activator.owner.client()).answer(PROBE_OK)
    assert await reader.read() == PROBE_OK
    await activator.owner.until(lambda: activator.owner.gone)


async def test_a_held_upload_that_is_answered_is_read_to_its_end(activator):
    reader, writer = await activator.connect()
    writer.write(GET + bytes(2 * MEGABYTE))
    client = await activator.owner.client()
    await eventually(lambda: client._paused)
    client.answer(PROBE_OK)
    await writer.drain()
    assert await reader.read() == PROBE_OK
    assert len(client._buffer) < BODY_KEPT + MEGABYTE


async def test_http_bytes_are_never_said_to_a_client_of_another_protocol(activator):
    reader, writer = await activator.connect()
    writer.write(b"\x16\x03\x01\x00")
    client = await activator.owner.client()
    assert client.seen.kind is Kind.OTHER
    client.answer(PROBE_OK)
    assert await reader.read() == b""


# --- those who do not come to the point ---


async def test_a_connection_that_stays_silent_is_closed_after_a_while(activator, monkeypatch):
    monkeypatch.setattr(f"{Client.__module__}.SILENT_FOR", 0.05)
    reader, _ = await activator.connect()
    assert await reader.read() == b""
    await activator.owner.until(lambda: activator.owner.gone)
    assert activator.owner.arrivals == []


async def test_a_request_line_that_drips_is_not_waited_for(activator, monkeypatch):
    monkeypatch.setattr(f"{Client.__module__}.FIRST_LINE_WITHIN", 0.1)
    _, writer = await activator.connect()
    for byte in b"GET /" + b"a" * 100:
        if activator.owner.gone:
            break
        writer.write(bytes([byte]))
        await asyncio.sleep(0.01)
    assert activator.owner.gone
    assert activator.owner.arrivals == []


async def test_who_has_said_what_it_wants_is_not_hurried(activator, monkeypatch):
    monkeypatch.setattr(f"{Client.__module__}.SILENT_FOR", 0.3)
    monkeypatch.setattr(f"{Client.__module__}.FIRST_LINE_WITHIN", 0.3)
    _, writer = await activator.connect()
    writer.write(GET)
    client = await activator.owner.client()
    await asyncio.sleep(0.4)
    assert client.is_open


async def test_every_connection_is_told_of_as_it_comes(activator):
    await activator.connect()
    await activator.owner.until(lambda: activator.owner.came_in)
    assert activator.owner.arrivals == []


def is_kept_alive(transport):
    asked = transport.get_extra_info("socket")
    return (
        asked.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        asked.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    ) == (1, 60)


async def test_the_kernel_asks_both_sides_whether_they_still_live(activator):
    await activator.spliced()
    client = await activator.owner.client()
    assert is_kept_alive(client.transport)
    assert is_kept_alive(client.upstream.transport)


def vanish(writer):
    """Let a side go without a word, as a dead node does; from then on its address knows nothing."""
    asked = writer.get_extra_info("socket")
    try:
        asked.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    except PermissionError:
        needs.missing("root", "nobody else may take a connection out of the kernel")
    writer.transport.abort()


async def test_a_client_that_has_vanished_is_noticed(activator, monkeypatch):
    quick = {socket.TCP_KEEPIDLE: 1, socket.TCP_KEEPINTVL: 1}
    options = [(level, name, quick.get(name, value)) for level, name, value in sockets._OPTIONS]
    monkeypatch.setattr(sockets, "_OPTIONS", options)
    await activator.start()
    _, writer, pod_reader, _ = await activator.spliced()
    vanish(writer)
    with pytest.raises(ConnectionResetError):
        await pod_reader.read()
    await activator.owner.until(lambda: activator.owner.gone)


# --- first bytes ---


async def test_the_pod_is_asked_to_close_after_an_http1_request(activator):
    _, writer = await activator.connect()
    writer.write(GET)
    pod, _ = await activator.let_through(await activator.owner.client())
    assert await pod.readexactly(len(GET_AND_CLOSE)) == GET_AND_CLOSE


@pytest.mark.parametrize(
    "first",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + bytes(65 * 2**10) + b"\r\n\r\n",
    ],
    ids=["http2", "tls", "websocket", "longer than is read"],
)
async def test_what_is_not_plain_http1_reaches_the_pod_unchanged(activator, first):
    _, writer = await activator.connect()
    writer.write(first)
    client = await activator.owner.client()
    await eventually(lambda: client.is_complete)
    pod, _ = await activator.let_through(client)
    assert await pod.readexactly(len(first)) == first


async def test_headers_of_megabytes_are_kept_to_a_bound_and_pass_unchanged(activator):
    giant = b"GET / HTTP/1.1\r\nA: " + b"a" * 4 * MEGABYTE + b"\r\n\r\n"
    _, writer = await activator.connect()
    writer.write(giant)
    client = await activator.owner.client()
    await eventually(lambda: client._paused)
    assert len(client._buffer) < MEGABYTE
    pod, _ = await activator.let_through(client)
    assert await pod.readexactly(len(giant)) == giant


async def test_a_request_after_the_last_one_reaches_no_pod(activator):
    reader, writer, pod, pod_writer = await activator.spliced(GET)
    writer.write(GET)
    await asyncio.sleep(0.02)
    pod_writer.write(b"answer")
    pod_writer.close()
    assert await reader.read() == b"answer"
    assert await pod.read() == b""


async def test_a_client_does_not_wait_for_ever_where_the_pod_does_not_close(activator, monkeypatch):
    """The pod was asked to, and its client believes that the connection stays."""
    monkeypatch.setattr(f"{Client.__module__}.ANSWERED_FOR", 0.1)
    reader, writer, _, pod_writer = await activator.spliced(GET)
    writer.write(GET)
    await asyncio.sleep(0.2)
    assert activator.owner.gone == []  # it has no answer yet
    pod_writer.write(b"answer")
    assert await reader.read() == b"answer"
    await activator.owner.until(lambda: activator.owner.gone)


async def test_the_first_bytes_are_written_once(activator):
    _, writer = await activator.connect()
    body = bytes(range(256)) * 1024
    head = b"POST / HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n"
    writer.write(head % (b"", len(body)) + body)
    client = await activator.owner.client()
    await asyncio.sleep(0.01)
    pod, _ = await activator.let_through(client)
    writer.write_eof()
    assert await pod.read() == head % (b"Connection: close\r\n", len(body)) + body


# --- spliced ---


def pattern(size, step):
    return bytes((i * step) % 251 for i in range(2**16)) * (size // 2**16)


async def send(writer, data):
    writer.write(data)
    await writer.drain()
    writer.write_eof()


async def receive(reader, pause):
    received = bytearray()
    while chunk := await reader.read(2**16):
        received += chunk
        await asyncio.sleep(pause)
    return bytes(received)


async def test_five_megabytes_pass_both_ways_at_once_through_slow_readers(activator):
    reader, writer, pod_reader, pod_writer = await activator.spliced()
    up, down = pattern(5 * MEGABYTE, 7), pattern(5 * MEGABYTE, 11)
    _, _, got_up, got_down = await asyncio.gather(
        send(writer, up),
        send(pod_writer, down),
        receive(pod_reader, pause=0.0005),
        receive(reader, pause=0.001),
    )
    assert got_up == up
    assert got_down == down
    assert activator.owner.moved == Moved(len(UPLOAD_AND_CLOSE) + len(up), len(down))


async def fill(writer):
    """Write until nothing more is taken for a while; returns how much was written."""
    written, chunk = 0, bytes(2**16)
    with contextlib.suppress(TimeoutError):
        while written < 2 * MOST_IN_SOCKETS:
            writer.write(chunk)
            written += len(chunk)
            async with asyncio.timeout(0.1):
                await writer.drain()
    return written


async def test_a_client_that_does_not_read_stops_the_pod(activator):
    _, _, _, pod_writer = await activator.spliced()
    assert await fill(pod_writer) < MOST_IN_SOCKETS
    client = await activator.owner.client()
    assert client.transport.get_write_buffer_size() < MEGABYTE


async def test_the_kernel_keeps_nothing_for_a_client_that_is_aborted_and_does_not_read(activator):
    reader, _, _, pod_writer = await activator.spliced()
    await fill(pod_writer)
    client = await activator.owner.client()
    client.abort()
    with pytest.raises(ConnectionResetError):
        await reader.read()


async def test_a_pod_that_does_not_read_stops_the_client(activator):
    _, writer, _, _ = await activator.spliced()
    assert await fill(writer) < MOST_IN_SOCKETS
    client = await activator.owner.client()
    assert client.upstream.transport.get_write_buffer_size() < MEGABYTE


async def test_a_pod_that_does_not_read_stops_the_upload_that_was_held(activator):
    """What was kept is more than the pod takes at once: it is congested from the first byte."""
    _, writer = await activator.connect()
    await fill(writer)
    client = await activator.owner.client()
    upstream = Upstream(client)
    with socket.create_server(("127.0.0.1", 0)) as pod:
        pod.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: upstream, *pod.getsockname())
        ours = upstream.transport.get_extra_info("socket")
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.splice(upstream)
        await asyncio.sleep(0.1)
        assert upstream.transport.get_write_buffer_size() < MEGABYTE


async def test_a_connection_whose_sides_have_taken_everything_counts_for_nothing(activator):
    _, writer, pod_reader, _ = await activator.spliced()
    writer.write(b"all")
    writer.write_eof()
    assert await pod_reader.read() == b"all"
    client = await activator.owner.client()
    await eventually(lambda: client.has_finished and client.settle())
    assert activator.owner.kept.total == 0


async def test_what_a_client_does_not_take_is_counted_until_it_has_gone(activator):
    _, writer, _, pod_writer = await activator.spliced()
    sent = await fill(pod_writer)
    assert 0 < activator.owner.kept.total <= sent + MEGABYTE
    reset(writer)
    pod_writer.transport.abort()
    await eventually(lambda: activator.owner.kept.total == 0)


async def test_a_client_that_has_finished_still_gets_its_answer(activator):
    reader, writer, pod_reader, pod_writer = await activator.spliced()
    writer.write(b"all")
    writer.write_eof()
    assert await pod_reader.read() == b"all"
    pod_writer.write(b"answer")
    pod_writer.close()
    assert await reader.read() == b"answer"


async def test_a_pod_that_has_finished_still_hears_its_client(activator):
    reader, writer, pod_reader, pod_writer = await activator.spliced()
    pod_writer.write(b"early answer")
    pod_writer.write_eof()
    assert await reader.read() == b"early answer"
    writer.write(b"the rest")
    writer.write_eof()
    assert await pod_reader.read() == b"the rest"


@pytest.mark.parametrize("first", ["client", "pod"])
async def test_nothing_is_left_open_when_both_have_finished(activator, first):
    reader, writer, pod_reader, pod_writer = await activator.spliced()
    sides = {"client": (writer, pod_reader), "pod": (pod_writer, reader)}
    for side in sorted(sides, key=lambda side: side != first):
        ending, other = sides[side]
        ending.write_eof()
        assert await other.read() == b""
    await activator.owner.until(lambda: activator.owner.gone)
    client = await activator.owner.client()
    await eventually(lambda: client.upstream.transport is None)
    assert client.transport is None


async def test_a_client_that_half_closes_still_gets_its_answer(activator):
    reader, writer, pod_reader, pod_writer = await activator.spliced()
    writer.write_eof()
    assert await pod_reader.read() == b""
    pod_writer.write(b"an answer")
    pod_writer.close()
    assert await reader.read() == b"an answer"
    await activator.owner.until(lambda: activator.owner.gone)


async def test_what_a_pod_says_first_waits_until_it_is_joined(activator):
    reader, writer = await activator.connect()
    writer.write(GET)
    client = await activator.owner.client()
    upstream = Upstream(client)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: upstream, "127.0.0.1", activator.pod_port)
    _, pod_writer = await activator.pods.get()
    pod_writer.write(b"220 welcome\r\n")
    pod_writer.close()
    await eventually(lambda: upstream._early)
    assert upstream.is_there
    client.splice(upstream)
    assert await reader.read() == b"220 welcome\r\n"
    writer.close()
    await activator.owner.until(lambda: activator.owner.gone)


async def test_what_a_pod_says_first_is_not_said_to_a_client_that_was_answered(activator):
    reader, writer = await activator.connect()
    writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
    client = await activator.owner.client()
    upstream = Upstream(client)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: upstream, "127.0.0.1", activator.pod_port)
    _, pod_writer = await activator.pods.get()
    client.answer(PROBE_OK)
    pod_writer.write(b"220 welcome\r\n")
    await eventually(lambda: upstream._early)
    upstream.close()
    assert await reader.read() == PROBE_OK


async def test_a_pod_that_closes_before_it_is_joined_leaves_the_client_for_another(activator):
    _, writer = await activator.connect()
    writer.write(GET)
    client = await activator.owner.client()
    upstream = Upstream(client)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: upstream, "127.0.0.1", activator.pod_port)
    _, pod_writer = await activator.pods.get()
    pod_writer.close()
    await eventually(lambda: not upstream.is_there)
    assert client.is_open
    upstream.close()
    pod, _ = await activator.let_through(client)
    assert await pod.readuntil(b"\r\n\r\n") == GET_AND_CLOSE


# --- the end that never comes ---


async def test_a_client_that_never_reads_is_given_up_once_its_pod_has_gone(activator):
    """It lives and does not read: to the kernel that is a connection like any other."""
    _, _, _, pod_writer = await activator.spliced()
    client = await activator.owner.client()
    await fill(pod_writer)
    for _ in range(2):
        client.look_after()
    assert client.is_open
    reset(pod_writer)
    await eventually(lambda: client.upstream.is_over)
    await eventually(lambda: client.look_after() or activator.owner.gone)


async def test_a_client_that_reads_is_not_given_up_though_its_pod_has_gone(activator):
    reader, _, _, pod_writer = await activator.spliced()
    client = await activator.owner.client()
    sent = await fill(pod_writer)
    pod_writer.close()
    got = 0
    while got < sent:
        got += len(await reader.readexactly(min(MEGABYTE, sent - got)))
        await asyncio.sleep(0.01)
        client.look_after()


async def test_a_client_that_was_reset_is_given_up_though_its_pod_reads_nothing(activator):
    _, writer, _, _ = await activator.spliced()
    await fill(writer)
    client = await activator.owner.client()
    client.look_after()
    assert client.is_open
    reset(writer)
    socket_of_client = client.transport.get_extra_info("socket")
    await eventually(lambda: sockets.is_broken(socket_of_client))
    client.look_after()
    await activator.owner.until(lambda: activator.owner.gone)


async def test_the_rest_that_a_client_does_not_take_is_given_up_after_a_while(
    activator, monkeypatch
):
    monkeypatch.setattr(sockets, "PATIENCE", 0.1)
    _, _, _, pod_writer = await activator.spliced()
    await fill(pod_writer)
    (await activator.owner.client()).close()
    await activator.owner.until(lambda: activator.owner.gone)


async def test_the_rest_that_a_pod_does_not_take_is_given_up_after_a_while(activator, monkeypatch):
    monkeypatch.setattr(sockets, "PATIENCE", 0.1)
    _, writer, _, _ = await activator.spliced()
    await fill(writer)
    client = await activator.owner.client()
    client.close()
    await eventually(lambda: client.upstream.transport is None)


async def test_a_client_that_reads_slowly_gets_all_of_it_though_its_pod_has_gone(
    activator, monkeypatch
):
    monkeypatch.setattr(sockets, "PATIENCE", 1.0)
    reader, _, _, pod_writer = await activator.spliced()
    pod_writer.write(bytes(6 * MEGABYTE))
    got, piece = 0, MEGABYTE // 4
    while got < 6 * MEGABYTE:
        got += len(await reader.readexactly(piece))
        if got == MEGABYTE:
            pod_writer.close()
        await asyncio.sleep(0.05)
    assert await reader.read() == b""


async def test_an_answer_that_is_cut_off_does_not_look_complete(activator):
    """Without a length it would: its end is the end of the connection."""
    reader, _, _, pod_writer = await activator.spliced()
    pod_writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf an ans")
    assert (await reader.readuntil(b"half an ans")).endswith(b"half an ans")
    reset(pod_writer)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    await activator.owner.until(lambda: activator.owner.gone)


async def test_what_was_said_before_a_pod_was_cut_off_is_taken_first(activator):
    reader, _, _, pod_writer = await activator.spliced()
    sent = await fill(pod_writer)
    reset(pod_writer)
    got = 0
    with contextlib.suppress(ConnectionResetError):
        while data := await reader.read(2**16):
            got += len(data)
    assert 0 < got <= sent
    assert isinstance(reader.exception(), ConnectionResetError)


async def test_a_client_that_takes_nothing_is_not_waited_for_after_its_pod_was_cut_off(
    activator, monkeypatch
):
    monkeypatch.setattr(sockets, "PATIENCE", 0.1)
    _, _, _, pod_writer = await activator.spliced()
    await fill(pod_writer)
    client = await activator.owner.client()
    client.reset()
    await activator.owner.until(lambda: activator.owner.gone)


async def test_a_pod_sees_that_its_client_was_cut_off(activator):
    _, writer, pod_reader, _ = await activator.spliced()
    reset(writer)
    with pytest.raises(ConnectionResetError):
        await pod_reader.read()
    await activator.owner.until(lambda: activator.owner.gone)


async def test_a_client_that_ignores_the_end_is_closed_after_a_while(activator, monkeypatch):
    monkeypatch.setattr(upstream, "LINGER", 0.05)
    reader, _, _, pod_writer = await activator.spliced()
    pod_writer.close()
    assert await reader.read() == b""
    await activator.owner.until(lambda: activator.owner.gone)


async def test_each_connection_is_told_to_have_left_once(activator):
    for ends_it in (lambda client, pod: client.close(), lambda client, pod: pod.close()):
        reader, writer, _, pod_writer = await activator.spliced()
        ends_it(writer, pod_writer)
        await reader.read()
        writer.close()
        pod_writer.close()
        done = len(activator.owner.gone) + 1
        await activator.owner.until(lambda done=done: len(activator.owner.gone) >= done)
        activator.owner.arrivals.clear()
    await asyncio.sleep(0.02)
    assert Counter(map(id, activator.owner.gone)).most_common(1)[0][1] == 1
    assert len(activator.owner.gone) == 2
