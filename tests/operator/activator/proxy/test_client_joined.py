"""Client connections joined to a pod, to their end, over real sockets on loopback."""

import asyncio
import contextlib
import socket
from collections import Counter

import pytest

from kotatsu_operator.activator import sockets, splice
from kotatsu_operator.activator.head import PROBE_OK
from kotatsu_operator.activator.registry import Moved
from kotatsu_operator.activator.splice import Upstream
from tests.operator.activator.proxy.joined import (
    GET,
    GET_AND_CLOSE,
    MEGABYTE,
    MOST_IN_SOCKETS,
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
    assert activator.owner.limit.kept.total == 0


async def test_what_a_client_does_not_take_is_counted_until_it_has_gone(activator):
    _, writer, _, pod_writer = await activator.spliced()
    sent = await fill(pod_writer)
    assert 0 < activator.owner.limit.kept.total <= sent + MEGABYTE
    reset(writer)
    pod_writer.transport.abort()
    await eventually(lambda: activator.owner.limit.kept.total == 0)


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
    await eventually(lambda: sockets.has_finished(client.upstream.transport))
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


@pytest.mark.slow
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


async def test_a_client_that_has_gone_is_not_waited_for_after_its_pod_was_cut_off(activator):
    """What it has not read stays counted as not read."""
    _, writer, pod_reader, pod_writer = await activator.spliced()
    client = await activator.owner.client()
    writer.write_eof()
    await pod_reader.read()
    writer.close()
    pod_writer.write(b"too late")
    socket_of_client = client.transport.get_extra_info("socket")
    await eventually(lambda: sockets.is_broken(socket_of_client))
    reset(pod_writer)
    await activator.owner.until(lambda: activator.owner.gone)


async def test_a_pod_sees_that_its_client_was_cut_off(activator):
    _, writer, pod_reader, _ = await activator.spliced()
    reset(writer)
    with pytest.raises(ConnectionResetError):
        await pod_reader.read()
    await activator.owner.until(lambda: activator.owner.gone)


async def test_a_client_that_ignores_the_end_is_closed_after_a_while(activator, monkeypatch):
    monkeypatch.setattr(splice, "LINGER", 0.05)
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
