"""Client connections until they are joined to a pod, over real sockets on loopback."""

import asyncio
import socket

import needs
import pytest

from kotatsu_operator.activator import registry, sockets
from kotatsu_operator.activator.head import PROBE_OK, Kind
from kotatsu_operator.activator.splice import Client
from tests.operator.activator.joined import GET, MEGABYTE, TCP_REPAIR, reset
from tests.operator.cluster import eventually

pytestmark = pytest.mark.timeout(60)


# --- held ---


async def test_a_client_is_told_of_once_when_its_request_line_is_complete(joined):
    _, writer = await joined.connect()
    writer.write(b"GET /a?b HTT")
    await asyncio.sleep(0.02)
    assert joined.owner.arrivals == []
    writer.write(b"P/1.1\r\nHost: a\r\n")
    client = await joined.owner.client()
    assert (client.seen.path, client.seen.is_final) == ("/a", False)
    writer.write(b"\r\nmore")
    await eventually(lambda: client.seen.is_final)
    assert len(joined.owner.arrivals) == 1


@pytest.mark.parametrize("goes", [lambda writer: writer.close(), reset], ids=["closed", "reset"])
async def test_a_client_that_goes_while_held_is_released(joined, goes):
    _, writer, client = await joined.send(GET)
    assert client.is_open
    goes(writer)
    await joined.owner.until(lambda: joined.owner.gone == [client])
    assert not client.is_open


async def test_a_held_upload_is_counted_as_it_comes(joined):
    _, _writer, client = await joined.send(GET + bytes(4 * MEGABYTE))
    await eventually(lambda: client.body_size == 4 * MEGABYTE)
    assert joined.owner.limit.kept.total == len(GET) + 4 * MEGABYTE
    client.answer(PROBE_OK)
    assert joined.owner.limit.kept.total == 0


async def test_a_head_request_is_answered_without_a_body(joined):
    reader, _writer, client = await joined.send(b"HEAD /healthz HTTP/1.1\r\n\r\n")
    client.answer(PROBE_OK)
    head = await reader.read()
    assert head == PROBE_OK.removesuffix(b"# asleep\n")
    assert b"Content-Length: 9\r\n" in head


async def test_an_answer_reaches_a_client_that_is_still_sending(joined):
    """Closed under it, its sending would fail, and with that many never read the answer."""
    reader, writer, client = await joined.send(b"POST / HTTP/1.1\r\nContent-Length: 4194304\r\n")
    client.answer(PROBE_OK)
    await asyncio.sleep(0.02)
    writer.write(b"\r\n")
    for _ in range(64):
        writer.write(bytes(2**16))
        await writer.drain()
    assert await reader.read() == PROBE_OK
    assert joined.owner.gone == []
    writer.close()
    await joined.owner.until(lambda: joined.owner.gone)


async def test_an_answered_client_that_does_not_close_is_closed_after_a_while(joined, monkeypatch):
    monkeypatch.setattr(f"{Client.__module__}.ANSWERED_FOR", 0.05)
    reader, _writer, client = await joined.send(GET)
    client.answer(PROBE_OK)
    assert await reader.read() == PROBE_OK
    await joined.owner.until(lambda: joined.owner.gone)


async def test_a_held_upload_that_is_answered_is_read_to_its_end(joined):
    reader, writer, client = await joined.send(GET + bytes(2 * MEGABYTE))
    client.answer(PROBE_OK)
    await writer.drain()
    assert await reader.read() == PROBE_OK
    assert len(client._buffer) == 0


async def test_http_bytes_are_never_said_to_a_client_of_another_protocol(joined):
    reader, _writer, client = await joined.send(b"\x16\x03\x01\x00")
    assert client.seen.kind is Kind.OTHER
    client.answer(PROBE_OK)
    assert await reader.read() == b""


# --- those who do not come to the point ---


async def test_a_connection_that_stays_silent_is_closed_after_a_while(joined, monkeypatch):
    monkeypatch.setattr(f"{Client.__module__}.SILENT_FOR", 0.05)
    reader, _ = await joined.connect()
    assert await reader.read() == b""
    await joined.owner.until(lambda: joined.owner.gone)
    assert joined.owner.arrivals == []


async def test_a_request_line_that_drips_is_not_waited_for(joined, monkeypatch):
    monkeypatch.setattr(f"{Client.__module__}.FIRST_LINE_WITHIN", 0.1)
    _, writer = await joined.connect()
    for byte in b"GET /" + b"a" * 100:
        if joined.owner.gone:
            break
        writer.write(bytes([byte]))
        await asyncio.sleep(0.01)
    assert joined.owner.gone
    assert joined.owner.arrivals == []


async def test_who_has_said_what_it_wants_is_not_hurried(joined):
    _, _writer, client = await joined.send(GET)
    assert (client.deadline, client.is_open) == (None, True)


def is_kept_alive(transport):
    asked = transport.get_extra_info("socket")
    return (
        asked.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        asked.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    ) == (1, 60)


async def test_the_kernel_asks_both_sides_whether_they_still_live(joined):
    await joined.spliced()
    assert is_kept_alive(joined.client.transport)
    assert is_kept_alive(joined.client.upstream.transport)


def vanish(writer):
    """Let a side go without a word, as a dead node does; from then on its address knows nothing."""
    asked = writer.get_extra_info("socket")
    try:
        asked.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    except PermissionError:
        needs.missing("root", "nobody else may take a connection out of the kernel")
    writer.transport.abort()


@pytest.mark.slow
async def test_a_client_that_has_vanished_is_noticed(joined, monkeypatch):
    quick = {socket.TCP_KEEPIDLE: 1, socket.TCP_KEEPINTVL: 1}
    options = [(level, name, quick.get(name, value)) for level, name, value in sockets._OPTIONS]
    monkeypatch.setattr(sockets, "_OPTIONS", options)
    await joined.start()
    _, writer, pod_reader, _ = await joined.spliced()
    vanish(writer)
    with pytest.raises(ConnectionResetError):
        await pod_reader.read()
    await joined.owner.until(lambda: joined.owner.gone)


# --- first bytes ---


async def test_headers_of_megabytes_pass_unchanged(joined):
    giant = b"GET / HTTP/1.1\r\nA: " + b"a" * 4 * MEGABYTE + b"\r\n\r\n"
    _, _writer, client = await joined.send(giant)
    await eventually(lambda: len(client._buffer) > MEGABYTE)
    pod, _ = await joined.let_through(client)
    assert await pod.readexactly(len(giant)) == giant


async def test_a_request_after_the_last_one_reaches_no_pod(joined):
    reader, writer, pod, pod_writer = await joined.spliced(GET)
    writer.write(GET)
    await asyncio.sleep(0.02)
    pod_writer.write(b"answer")
    pod_writer.close()
    assert await reader.read() == b"answer"
    assert await pod.read() == b""


async def test_a_client_does_not_wait_for_ever_where_the_pod_does_not_close(joined, monkeypatch):
    """The pod was asked to, and its client believes that the connection stays."""
    monkeypatch.setattr(f"{Client.__module__}.ANSWERED_FOR", 0.1)
    monkeypatch.setattr(registry, "BUSY_FOR", 0.05)
    reader, writer, _, pod_writer = await joined.spliced(GET)
    writer.write(GET)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhalf"
    for said in (b"", answer[:-4]):  # none yet, and a pause within it
        pod_writer.write(said)
        await asyncio.sleep(0.3)
        assert joined.owner.gone == []
    pod_writer.write(answer[-4:])
    assert await reader.read() == answer
    await joined.owner.until(lambda: joined.owner.gone)


async def test_the_first_bytes_are_written_once(joined):
    _, writer = await joined.connect()
    body = bytes(range(256)) * 1024
    head = b"POST / HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n"
    writer.write(head % (b"", len(body)) + body)
    client = await joined.owner.client()
    await asyncio.sleep(0.01)
    pod, pod_writer = await joined.let_through(client)
    writer.write_eof()
    pod_writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    assert await pod.read() == head % (b"Connection: close\r\n", len(body)) + body
