"""Of answers of strangers little is parsed, and nothing is kept that nobody wants."""

import asyncio

import pytest
from rows import each

from kotatsu_operator.controller.demand import PodAnswer, Scraper
from kotatsu_operator.core.exposition import Silence
from kotatsu_operator.core.pool.spec import InFlightMetric
from kotatsu_operator.kube.views import pod_view
from tests.operator.cluster import pod
from tests.operator.controller.served import Page

pytestmark = pytest.mark.timeout(60)

PAGE = b"kotatsu_requests_in_flight 3\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PAGE)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LINE = b"# HELP kotatsu_something A comment of the length of a line.\n"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.fixture
async def ask():
    """Asks pods that all answer with these bytes, and close."""
    servers = []

    async def ask(answer, pods=1):
        async def serve(reader, writer):
            try:
                await reader.readuntil(b"\r\n\r\n")
                for begin in range(0, len(answer), 2**16):
                    writer.write(answer[begin : begin + 2**16])
                    await writer.drain()
                writer.close()
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                writer.transport.abort()  # a test that ends waits for nobody to read the rest

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        servers.append(server)
        port = server.sockets[0].getsockname()[1]
        views = [pod_view(pod(name=f"p{n}", port=port, ready=True)) for n in range(pods)]
        scraper = Scraper()
        return await asyncio.gather(*(scraper.pod(view, InFlightMetric()) for view in views))

    yield ask
    for server in servers:
        server.close()


async def test_a_pod_that_answers_with_nothing_but_interim_answers_is_not_listened_to(ask):
    (said,) = await ask(b"HTTP/1.1 102 P\r\n\r\n" * 200_000)
    assert isinstance(said, Silence)
    assert "closes the connection" in said.why


async def test_a_page_in_chunks_of_one_byte_is_read_to_its_bound_and_no_further(ask):
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


@each(
    "answer",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nhi\r\n" + b"x" * 300,
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 2**17 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_answer_or_less_than_one_is_refused(ask, answer):
    (said,) = await ask(answer)
    assert isinstance(said, Silence)
    assert "closes the connection" in said.why


@each(
    "path, target",
    {
        "another host": ("//elsewhere/x?a=b", "//elsewhere/x?a=b"),
        "a space, a letter and lines": ("/a é\r\nB: c", "/a%20%C3%A9%0D%0AB:%20c"),
        "encoded, and a fragment": ("/a%20b?c=%26#d", "/a%20b?c=%26"),
    },
)
async def test_a_path_is_asked_for_as_it_is_and_is_never_more_than_a_path(
    scraper, serve, path, target
):
    page = Page(PAGE)
    view = await serve(page)
    assert await scraper.pod(view, InFlightMetric(path=path)) == PodAnswer(3, None)
    there = f"127.0.0.1:{view.ports['http']}"
    assert page.heads[0].startswith(f"GET {target} HTTP/1.1\r\nHost: {there}\r\n")
