"""Bytes while held, through an activator: who gets them, and how each stream ends."""

import asyncio
import json

import pytest

from tests.operator.activator.in_process import GET, Dictated, pool
from tests.operator.activator.joined import reset

pytestmark = pytest.mark.timeout(60)

COMMENT = b": waiting for a pod\n\n"
EVENTS = b"data: 1\n\ndata: [DONE]\n\n"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n"
    % len(EVENTS)
) + EVENTS


def asking(size=0):
    """A request for a stream, as a client of the OpenAI API sends it."""
    body = json.dumps({"stream": True, "messages": "m" * size}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: voice\r\nAccept-Encoding: gzip\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def head_of(reader):
    return await reader.readuntil(b"\r\n\r\n")


async def chunk(reader):
    """The next chunk of a chunked body; empty for the last."""
    size = int(await reader.readline(), 16)
    data = await reader.readexactly(size)
    assert await reader.readexactly(2) == b"\r\n"
    return data


async def until_the_end(reader):
    """The chunks up to the last one, without comments; nothing may follow it."""
    found = b""
    while data := await chunk(reader):
        found += data if data != COMMENT else b""
    assert await reader.read() == b""
    return found


async def begun(activator, data=None):
    """A client whose stream has begun."""
    reader, writer = await activator.send(data or asking())
    head = await head_of(reader)
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
    assert await chunk(reader) == COMMENT
    return reader, writer


async def test_a_held_stream_gets_comments_until_its_pod_answers_and_then_the_events(activator):
    reader, _ = await begun(activator)
    assert [await chunk(reader), await chunk(reader)] == [COMMENT] * 2
    pod = await activator.new_pod(of=Dictated, ready=True)
    asked, answering = await pod.reached.get()
    assert await chunk(reader) == COMMENT  # the pod has the request, and no answer yet
    head = await head_of(asked)
    assert b"connection: close" in head.lower()
    assert b"gzip" not in head
    answering.write(ANSWER)
    # Its connection ends too, although the pod keeps its own one.
    assert await until_the_end(reader) == EVENTS
    assert pod.reached.empty()


async def test_an_answer_over_http_1_0_ends_with_its_connection(activator):
    reader, _ = await activator.send(asking().replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert b"chunked" not in await head_of(reader)
    pod = await activator.new_pod(of=Dictated, ready=True)
    _, answering = await pod.reached.get()
    answering.write(ANSWER)
    said = await reader.read()
    assert said.startswith(COMMENT)
    assert said.replace(COMMENT, b"") == EVENTS


async def test_a_quick_start_keeps_the_status_of_its_pod(activator):
    activator.see("WarmPool", pool(holdKeepalive="30s"))
    held = activator.hold(asking())
    await activator.held(1)
    pod = await activator.new_pod(of=Dictated, ready=True)
    _, answering = await pod.reached.get()
    answering.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    answering.close()
    assert (await held).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    ("data", "every"),
    [(GET, "20ms"), (asking(), None)],
    ids=["no stream", "not on"],
)
async def test_nothing_is_sent_to_anybody_else(activator, data, every):
    activator.see("WarmPool", pool(**({"holdKeepalive": every} if every else {})))
    reader, _ = await activator.send(data)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.15)


async def test_a_request_of_megabytes_is_read_to_its_end(activator):
    reader, _ = await begun(activator, asking(2_000_000))
    pod = await activator.new_pod(of=Dictated, ready=True)
    asked, answering = await pod.reached.get()
    await head_of(asked)
    assert len(await asked.readexactly(2_000_000)) == 2_000_000
    answering.write(ANSWER)
    assert await until_the_end(reader) == EVENTS


async def test_what_a_slow_request_asks_for_is_waited_for(activator):
    sent = asking()
    reader, writer = await activator.send(sent[:-1])
    await asyncio.sleep(0.06)  # three times the interval
    writer.write(sent[-1:])
    assert (await head_of(reader)).startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-s")


async def test_at_the_hold_timeout_the_stream_ends_with_an_error(activator):
    activator.see("WarmPool", pool(holdKeepalive="20ms", holdTimeout="200ms"))
    reader, _ = await begun(activator)
    found = json.loads((await until_the_end(reader)).removeprefix(b"data: "))["error"]
    assert found["code"] == 503
    assert "became ready in time; the start goes on" in found["message"]


UNTIL_THE_END = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        pytest.param("close", b"", id="before its answer"),
        pytest.param("abort", b"", id="aborted before its answer"),
        pytest.param("close", ANSWER[:-12], id="in its answer"),
        pytest.param("abort", ANSWER[:-12], id="aborted in its answer"),
        pytest.param("reset", UNTIL_THE_END, id="reset in an answer that ends with it"),
    ],
)
async def test_a_pod_that_is_cut_off_ends_the_stream_with_an_error(activator, how, said):
    reader, _ = await begun(activator)
    pod = await activator.new_pod(of=Dictated, ready=True)
    asked, answering = await pod.reached.get()
    await head_of(asked)
    answering.write(said)
    await asyncio.sleep(0.05)
    if how == "reset":
        reset(answering)
    else:
        getattr(answering.transport, how)()
    events = (await until_the_end(reader)).split(b"\n\n")
    assert json.loads(events[-2].removeprefix(b"data: "))["error"]["code"] == 502


async def test_a_client_that_leaves_is_not_written_to(activator):
    _, writer = await begun(activator)
    writer.transport.abort()
    await activator.held(0)
    await asyncio.sleep(0.06)  # three comments


async def test_a_client_that_reads_nothing_gets_no_more_than_the_kernel_takes(activator):
    await begun(activator)
    (client,) = activator.clients
    client.pause_writing()
    before = client.transport.get_write_buffer_size()
    await asyncio.sleep(0.1)
    assert client.transport.get_write_buffer_size() == before
