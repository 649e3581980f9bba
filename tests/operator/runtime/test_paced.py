"""Answers of strangers are parsed a little at a time."""

import asyncio
import contextlib

import aiohttp
import pytest
from rows import each

from kotatsu_operator.controller import pages
from kotatsu_operator.controller.demand import PodAnswer, Scraper
from kotatsu_operator.core.exposition import Silence
from kotatsu_operator.core.pool.spec import InFlightMetric
from kotatsu_operator.kube.views import pod_view
from kotatsu_operator.runtime.paced import Turns
from tests.operator.cluster import pod

pytestmark = pytest.mark.timeout(60)

PAGE = b"kotatsu_requests_in_flight 3\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PAGE)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LINE = b"# HELP kotatsu_something A comment of the length of a line.\n"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(pages, "TIMEOUT", 60.0)
    monkeypatch.setattr(pages, "CONNECT", 60.0)


@pytest.fixture
async def ask():
    """Asks pods that all answer with these bytes, and close."""
    servers = []

    async def ask(answer, pods=1):
        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                for begin in range(0, len(answer), 2**16):
                    writer.write(answer[begin : begin + 2**16])
                    await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        servers.append(server)
        port = server.sockets[0].getsockname()[1]
        views = [pod_view(pod(name=f"p{n}", port=port, ready=True)) for n in range(pods)]
        async with contextlib.aclosing(Scraper()) as scraper:
            return await asyncio.gather(*(scraper.pod(view, InFlightMetric()) for view in views))

    yield ask
    for server in servers:
        server.close()


async def test_work_of_many_is_done_a_piece_each_and_the_loop_turns_in_between():
    now, done, turned = 0.0, [], []

    def work(name, pieces):
        def step():
            nonlocal now, pieces
            now += 1.0  # more than a turn may take
            done.append(name)
            turned.append(loops)
            pieces -= 1
            return pieces > 0

        return step

    loops, turns = 0, Turns(lambda: now)
    turns.add("demo", work("a", 3))
    turns.add("demo", work("b", 2))
    while len(done) < 5:
        await asyncio.sleep(0)
        loops += 1
    assert done == ["a", "b", "a", "b", "a"]
    assert len(set(turned)) == 5


async def test_much_work_of_one_namespace_keeps_that_of_another_waiting_for_one_piece():
    done, turns = [], Turns()
    for name in ("a", "b", "c", "d"):
        left = iter([True, True, False])
        turns.add("demo", lambda name=name, left=left: done.append(name) or next(left))
    turns.add("other", lambda: done.append("other"))
    while len(done) < 13:
        await asyncio.sleep(0)
    assert done == ["a", "other", *"bcdabcdabcd"]


async def test_a_pod_that_answers_with_nothing_but_interim_answers_is_not_listened_to(ask):
    (said,) = await ask(b"HTTP/1.1 102 P\r\n\r\n" * 200_000)
    assert isinstance(said, Silence)
    assert "closes the connection" in said.why


async def test_a_page_in_chunks_of_one_byte_is_read_to_its_bound_and_no_further(ask, monkeypatch):
    monkeypatch.setattr(pages, "LONGEST_PAGE", 2**17)
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in PAGE)
    assert await ask(CHUNKED + chunks + chunk(b"")) == [PodAnswer(3, None)]
    (said,) = await ask(CHUNKED + chunks + chunk(b"#") * 100_000)
    assert "closes the connection" in said.why


@each(
    "answer, pods",
    {
        "after interim answers": (b"HTTP/1.1 103 Early\r\n\r\n" * 3 + LENGTH + PAGE, 1),
        "a chunk for each line": (CHUNKED + chunk(LINE) * 15_000 + chunk(PAGE) + chunk(b""), 1),
        "until the connection ends": (b"HTTP/1.1 200 OK\r\n\r\n" + LINE * 10_000 + PAGE, 1),
        "of many at once": (b"HTTP/1.1 200 OK\r\n\r\n" + LINE * 4000 + PAGE, 12),
    },
)
async def test_a_page_is_read_whole_however_it_comes(ask, answer, pods):
    assert await ask(answer, pods) == [PodAnswer(3, None)] * pods


async def test_chunks_of_one_byte_are_not_parsed_for_long(ask, monkeypatch):
    """Each costs as much as one of a thousand bytes."""
    parsed, feed = [], aiohttp.StreamReader.feed_data

    def counted(stream, data, size=0):
        parsed.append(len(data))
        return feed(stream, data, size)

    monkeypatch.setattr(aiohttp.streams.StreamReader, "feed_data", counted)
    (said,) = await ask(CHUNKED + chunk(b"#") * 100_000 + chunk(b""))
    assert "closes the connection" in said.why
    assert 1000 < len(parsed) < 10_000


async def test_a_pod_is_asked_again_over_the_same_connection():
    connections = 0

    async def serve(reader, writer):
        nonlocal connections
        connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(LENGTH + PAGE)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    view = pod_view(pod(port=server.sockets[0].getsockname()[1], ready=True))
    async with contextlib.aclosing(Scraper()) as scraper:
        for _ in range(3):
            assert await scraper.pod(view, InFlightMetric()) == PodAnswer(3, None)
    server.close()
    assert connections == 1
