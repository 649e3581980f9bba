"""Client connections joined to a pod, to their end, over real sockets on loopback."""

import asyncio
import contextlib
import socket
from collections import Counter

import pytest

from kotatsu_operator.activator import registry, sockets, splice
from kotatsu_operator.activator.head import PROBE_OK
from kotatsu_operator.activator.registry import Forwarded
from kotatsu_operator.activator.splice import Client, Upstream
from tests.operator.activator.joined import (
    GET,
    GET_AND_CLOSE,
    MEGABYTE,
    MOST_IN_SOCKETS,
    UPLOAD,
    UPLOAD_AND_CLOSE,
    reset,
)
from tests.operator.cluster import eventually

pytestmark = pytest.mark.timeout(60)


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


async def test_five_megabytes_pass_both_ways_at_once_through_slow_readers(joined):
    reader, writer, pod_reader, pod_writer = await joined.spliced()
    up, down = pattern(5 * MEGABYTE, 7), pattern(5 * MEGABYTE, 11)
    _, _, got_up, got_down = await asyncio.gather(
        send(writer, up),
        send(pod_writer, down),
        receive(pod_reader, pause=0.0005),
        receive(reader, pause=0.001),
    )
    assert got_up == up
    assert got_down == down
    assert joined.owner.forwarded == Forwarded(len(UPLOAD_AND_CLOSE) + len(up), len(down))


async def fill(writer):
    """Write until nothing more is taken for a while; returns how much was written.

    That is a number of turns of the event loop: on a busy machine 0.1 s may be a single one.
    """
    written, chunk, turns = 0, bytes(2**16), 0
    while written < 2 * MOST_IN_SOCKETS and turns < 100:
        writer.write(chunk)
        written += len(chunk)
        turns = 0
        while writer.transport.get_write_buffer_size() > len(chunk) and turns < 100:
            await asyncio.sleep(0.001)
            turns += 1
    return written


@pytest.mark.parametrize("side", ["client", "pod"])
async def test_a_side_that_does_not_read_stops_the_other(joined, side):
    _, writer, _, pod_writer = await joined.spliced()
    assert await fill(pod_writer if side == "client" else writer) < MOST_IN_SOCKETS
    stopped = joined.client if side == "client" else joined.client.upstream
    assert stopped.transport.get_write_buffer_size() < MEGABYTE


async def test_the_kernel_keeps_nothing_for_a_client_that_is_aborted_and_does_not_read(joined):
    reader, _, _, pod_writer = await joined.spliced()
    await fill(pod_writer)
    joined.client.abort()
    with pytest.raises(ConnectionResetError):
        await reader.read()


async def test_a_pod_that_does_not_read_stops_the_upload_that_was_held(joined):
    """What was kept is more than the pod takes at once: it is congested from the first byte."""
    _, writer, client = await joined.send(UPLOAD + bytes(MEGABYTE))
    await eventually(lambda: client.body_size == MEGABYTE)
    upstream = Upstream(client)
    with socket.create_server(("127.0.0.1", 0)) as pod:
        pod.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: upstream, *pod.getsockname())
        ours = upstream.transport.get_extra_info("socket")
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.splice(upstream)
        assert await fill(writer) < MOST_IN_SOCKETS
        assert upstream.transport.get_write_buffer_size() < 2 * MEGABYTE


async def test_a_connection_whose_sides_have_taken_everything_counts_for_nothing(joined):
    _, writer, pod_reader, _ = await joined.spliced()
    writer.write(b"all")
    writer.write_eof()
    assert await pod_reader.read() == b"all"
    await eventually(lambda: joined.client.has_finished and joined.client.settle())
    assert joined.owner.limit.kept.total == 0


async def test_a_later_request_head_that_is_not_complete_counts(joined):
    _, writer, pod_reader, _ = await joined.spliced(GET, asks_to_close=False)
    writer.write(GET[:-2] + b"A: " + b"x" * 50_000)
    await pod_reader.readexactly(len(GET) + 50_001)
    await eventually(joined.client.settle)
    assert joined.owner.limit.kept.total > 50_000
    writer.write(b"\r\n\r\n")
    await pod_reader.readuntil(b"\r\n\r\n")
    await eventually(lambda: joined.client.settle() and not joined.owner.limit.kept.total)


@pytest.mark.parametrize("first", ["client", "pod"])
async def test_who_has_finished_hears_the_other_to_its_end_and_then_nothing_is_left_open(
    joined, first
):
    reader, writer, pod_reader, pod_writer = await joined.spliced()
    sides = {"client": (writer, pod_reader), "pod": (pod_writer, reader)}
    for side in sorted(sides, key=lambda side: side != first):
        ending, other = sides[side]
        ending.write(b"all of it")
        ending.write_eof()
        assert await other.read() == b"all of it"
    await joined.owner.until(lambda: joined.owner.gone)
    await eventually(lambda: joined.client.upstream.transport is None)
    assert joined.client.transport is None


async def test_what_a_pod_says_first_waits_until_it_is_joined(joined):
    reader, writer, client = await joined.send(GET)
    upstream, pod_writer = await joined.dial(client)
    pod_writer.write(b"220 welcome\r\n")
    pod_writer.close()
    await eventually(lambda: upstream._early)
    assert upstream.is_there
    client.splice(upstream)
    assert await reader.read() == b"220 welcome\r\n"
    writer.close()
    await joined.owner.until(lambda: joined.owner.gone)


async def test_what_a_pod_says_first_is_not_said_to_a_client_that_was_answered(joined):
    reader, _writer, client = await joined.send(b"GET /healthz HTTP/1.1\r\n\r\n")
    upstream, pod_writer = await joined.dial(client)
    client.answer(PROBE_OK)
    pod_writer.write(b"220 welcome\r\n")
    await eventually(lambda: upstream._early)
    upstream.close()
    assert await reader.read() == PROBE_OK


async def test_a_pod_that_closes_before_it_is_joined_leaves_the_client_for_another(joined):
    _, _writer, client = await joined.send(GET)
    upstream, pod_writer = await joined.dial(client)
    pod_writer.close()
    await eventually(lambda: not upstream.is_there)
    assert client.is_open
    upstream.close()
    pod, _ = await joined.let_through(client)
    assert await pod.readuntil(b"\r\n\r\n") == GET_AND_CLOSE


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"


async def ends_its_half(joined, writer):
    writer.write_eof()
    await eventually(lambda: joined.client.has_finished)
    await asyncio.sleep(0.02)


@pytest.mark.parametrize("ends", [Client.close, ends_its_half], ids=["closed", "half closed"])
async def test_the_end_of_a_client_reaches_the_pod_once_its_answer_has_begun(joined, ends):
    """Servers drop the request of a client that has ended its half."""
    reader, writer, pod_reader, pod_writer = await joined.spliced(GET)
    await ends_its_half(joined, writer)
    pod_writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    if ends is Client.close:
        writer.close()
    else:
        await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(0.02)
    assert not pod_reader.at_eof()
    pod_writer.write(HEAD)
    assert await pod_reader.read() == b""
    pod_writer.write(b"body")
    pod_writer.close()
    if ends is not Client.close:
        assert await reader.read() == HEAD + b"body"
    await joined.owner.until(lambda: joined.owner.gone)


async def test_it_waits_for_the_answer_to_the_last_of_its_requests(joined):
    reader, writer, pod_reader, pod_writer = await joined.spliced(GET, asks_to_close=False)
    writer.write(GET)
    await ends_its_half(joined, writer)
    pod_writer.write(HEAD + b"body")
    assert await reader.readuntil(b"body") == HEAD + b"body"
    assert await pod_reader.readuntil(b"\r\n\r\n") == GET
    assert not pod_reader.at_eof()
    pod_writer.write(HEAD)
    assert await pod_reader.read() == b""


@pytest.mark.parametrize("said", [UPLOAD, b"\0of another protocol"], ids=["half sent", "no HTTP"])
async def test_without_a_whole_request_it_passes_at_once(joined, said):
    _, writer, client = await joined.send(said)
    pod_reader, _ = await joined.let_through(client)
    writer.write_eof()
    assert (await pod_reader.read()).endswith(said[-4:])


async def test_a_pod_that_answers_at_the_end_only_gets_it_once_its_pool_would_wait_no_longer(
    joined, monkeypatch
):
    """Neither side would ever go on: a request without a length ends with its head."""
    reader, writer, pod_reader, pod_writer = await joined.spliced(b"POST / HTTP/1.0\r\n\r\n")
    await ends_its_half(joined, writer)
    joined.client.look_after()
    await asyncio.sleep(0.02)
    assert not pod_reader.at_eof()
    monkeypatch.setattr(registry, "BUSY_FOR", 0.0)
    joined.owner.idle_timeout = 0.0
    joined.client.look_after()
    assert await pod_reader.read() == b""
    pod_writer.write(HEAD + b"body")
    pod_writer.close()
    assert await reader.read() == HEAD + b"body"


async def is_given_up_after_its_reset(joined, writer, pod_reader):
    joined.client.look_after()
    assert joined.client.is_open
    reset(writer)
    socket_of_client = joined.client.transport.get_extra_info("socket")
    await eventually(lambda: sockets.is_broken(socket_of_client))
    joined.client.look_after()
    await joined.owner.until(lambda: joined.owner.gone)
    with pytest.raises(ConnectionResetError):  # an end would look like that of a whole upload
        await pod_reader.read()


async def test_a_client_that_was_reset_behind_its_end_is_given_up(joined):
    """Its transport reads no more. The kernel asks whether the client is still there."""
    _, writer, pod_reader, _ = await joined.spliced(GET)
    await ends_its_half(joined, writer)
    await is_given_up_after_its_reset(joined, writer, pod_reader)


# --- the end that never comes ---


async def test_a_client_that_never_reads_is_given_up_once_its_pod_has_gone(joined, monkeypatch):
    """It lives and does not read: to the kernel that is a connection like any other."""
    _, _, _, pod_writer = await joined.spliced()
    await fill(pod_writer)
    monkeypatch.setattr(sockets, "PATIENCE", 0.1)
    joined.owner.idle_timeout = 0.0
    await asyncio.sleep(0.2)
    joined.client.look_after()
    assert joined.client.is_open
    reset(pod_writer)
    await eventually(lambda: sockets.has_finished(joined.client.upstream.transport))
    await eventually(lambda: joined.client.look_after() or joined.owner.gone)


async def test_a_client_that_pauses_is_waited_for_as_long_as_its_pool_would_be_awake(
    joined, monkeypatch
):
    monkeypatch.setattr(sockets, "PATIENCE", 0.1)
    reader, _, _, pod_writer = await joined.spliced()
    sent = await fill(pod_writer)
    pod_writer.close()
    joined.client.look_after()
    await asyncio.sleep(0.3)
    joined.client.look_after()
    assert len(await reader.readexactly(sent)) == sent
    assert await reader.read() == b""


async def test_a_client_that_reads_is_not_given_up_though_its_pod_has_gone(joined):
    reader, _, _, pod_writer = await joined.spliced()
    sent = await fill(pod_writer)
    pod_writer.close()
    got = 0
    while got < sent:
        got += len(await reader.readexactly(min(MEGABYTE, sent - got)))
        await asyncio.sleep(0.01)
        joined.client.look_after()


async def test_a_client_that_was_reset_is_given_up_though_its_pod_reads_nothing(joined):
    _, writer, pod_reader, _ = await joined.spliced()
    await fill(writer)
    await is_given_up_after_its_reset(joined, writer, pod_reader)


@pytest.mark.parametrize(
    ("side", "end"), [("client", Client.close), ("pod", Client.close), ("client", Client.reset)]
)
async def test_the_rest_that_a_side_does_not_take_is_given_up_after_a_while(
    joined, monkeypatch, side, end
):
    """Also after the other one was cut off."""
    monkeypatch.setattr(sockets, "PATIENCE", 0.1)
    joined.owner.idle_timeout = 0.0
    _, writer, _, pod_writer = await joined.spliced()
    await fill(pod_writer if side == "client" else writer)
    end(joined.client)
    given_up = joined.client if side == "client" else joined.client.upstream
    await eventually(lambda: given_up.transport is None)


@pytest.mark.slow
async def test_a_client_that_reads_slowly_gets_all_of_it_though_its_pod_has_gone(
    joined, monkeypatch
):
    monkeypatch.setattr(sockets, "PATIENCE", 1.0)
    reader, _, _, pod_writer = await joined.spliced()
    pod_writer.write(bytes(6 * MEGABYTE))
    got, piece = 0, MEGABYTE // 4
    while got < 6 * MEGABYTE:
        got += len(await reader.readexactly(piece))
        if got == MEGABYTE:
            pod_writer.close()
        await asyncio.sleep(0.05)
    assert await reader.read() == b""


async def test_an_answer_that_is_cut_off_does_not_look_complete(joined):
    """Without a length it would: its end is the end of the connection."""
    reader, _, _, pod_writer = await joined.spliced()
    pod_writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf an ans")
    assert (await reader.readuntil(b"half an ans")).endswith(b"half an ans")
    reset(pod_writer)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    await joined.owner.until(lambda: joined.owner.gone)


async def test_what_was_said_before_a_pod_was_cut_off_is_taken_first(joined):
    reader, _, _, pod_writer = await joined.spliced()
    sent = await fill(pod_writer)
    reset(pod_writer)
    got = 0
    with contextlib.suppress(ConnectionResetError):
        while data := await reader.read(2**16):
            got += len(data)
    assert 0 < got <= sent
    assert isinstance(reader.exception(), ConnectionResetError)


async def test_a_client_that_has_gone_is_not_waited_for_after_its_pod_was_cut_off(joined):
    """What it has not read stays counted as not read."""
    _, writer, pod_reader, pod_writer = await joined.spliced()
    writer.write_eof()
    await pod_reader.read()
    writer.close()
    pod_writer.write(b"too late")
    socket_of_client = joined.client.transport.get_extra_info("socket")
    await eventually(lambda: sockets.is_broken(socket_of_client))
    reset(pod_writer)
    await joined.owner.until(lambda: joined.owner.gone)


async def test_a_pod_sees_that_its_client_was_cut_off(joined):
    _, writer, pod_reader, _ = await joined.spliced()
    reset(writer)
    with pytest.raises(ConnectionResetError):
        await pod_reader.read()
    await joined.owner.until(lambda: joined.owner.gone)


async def test_a_client_that_ignores_the_end_is_closed_after_a_while(joined, monkeypatch):
    monkeypatch.setattr(splice, "LINGER", 0.05)
    reader, _, _, pod_writer = await joined.spliced()
    pod_writer.close()
    assert await reader.read() == b""
    await joined.owner.until(lambda: joined.owner.gone)


async def test_each_connection_is_told_to_have_left_once(joined):
    for ends_it in (lambda client, pod: client.close(), lambda client, pod: pod.close()):
        reader, writer, _, pod_writer = await joined.spliced()
        ends_it(writer, pod_writer)
        await reader.read()
        writer.close()
        pod_writer.close()
        done = len(joined.owner.gone) + 1
        await joined.owner.until(lambda done=done: len(joined.owner.gone) >= done)
        joined.owner.arrivals.clear()
    await asyncio.sleep(0.02)
    assert Counter(map(id, joined.owner.gone)).most_common(1)[0][1] == 1
    assert len(joined.owner.gone) == 2
