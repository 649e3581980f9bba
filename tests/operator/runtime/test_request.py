"""Of answers of strangers little is parsed, and nothing is kept that nobody wants."""

import asyncio
import contextlib
import ssl

import pytest
from rows import each

from kotatsu_operator.controller import pages
from kotatsu_operator.controller.demand import PodAnswer, Scraper
from kotatsu_operator.core.exposition import Silence
from kotatsu_operator.core.pool.spec import InFlightMetric
from kotatsu_operator.kube.views import pod_view
from kotatsu_operator.runtime import request as request_module
from kotatsu_operator.runtime.request import (
    ConnectionFailedError,
    ResponseError,
    all_of,
    request,
)
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


# --- where a request goes ---


class Server:
    """Keeps the heads of requests, and answers all with the same."""

    def __init__(self, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"):
        self.answer, self.heads = answer, []

    async def serve(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            if self.heads[-1].startswith("CONNECT "):
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await writer.start_tls(self.tls)
                self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(self.answer)
            await writer.drain()
        writer.close()


@pytest.fixture
async def server():
    made = Server()
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as listening:
        made.port = listening.sockets[0].getsockname()[1]
        yield made


async def get(url, headers=None, **options):
    async with request(url, headers or {}, connect=10, **options) as response:
        return await all_of(response, 1000)


@each(
    "path, target",
    {
        "none": ("", "/"),
        "only a query": ("?a=b", "/?a=b"),
        "another host": ("//elsewhere/x", "//elsewhere/x"),
        "a space, a letter and a newline": ("/a é\n", "/a%20%C3%A9"),
        "encoded, and a fragment": ("/a%20b?c=%26#d", "/a%20b?c=%26"),
    },
)
async def test_a_path_is_asked_for_as_it_is_and_is_never_more_than_a_path(server, path, target):
    assert await get(f"http://127.0.0.1:{server.port}{path}") == b"hi"
    assert server.heads[-1].startswith(
        f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
    )


async def test_no_header_of_a_request_has_another_in_it(server):
    with pytest.raises(ValueError, match="another"):
        await get(f"http://127.0.0.1:{server.port}/", {"If-None-Match": '"1"\r\nCookie: a'})
    assert server.heads == []


async def test_a_proxy_of_the_environment_is_asked_where_it_holds(server, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://me:s%40cret@127.0.0.1:{server.port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert await get("http://calendar.example/a.ics", proxied=True) == b"hi"
    assert server.heads[-1].startswith(
        "GET http://calendar.example/a.ics HTTP/1.1\r\nHost: calendar.example\r\n"
    )
    assert "Proxy-Authorization: Basic bWU6c0BjcmV0\r\n" in server.heads[-1]
    assert await get(f"http://127.0.0.1:{server.port}/b", proxied=True) == b"hi"
    assert "Proxy-Authorization" not in server.heads[-1]
    with pytest.raises(ConnectionFailedError):
        await get("http://127.0.0.1:1/", proxied=True)


async def test_through_a_proxy_https_is_spoken_with_the_server(server, monkeypatch, tmp_path):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    names = f"-subj /CN=c -addext subjectAltName=DNS:c.example -keyout {key} -out {cert}"
    openssl = await asyncio.create_subprocess_exec(
        *f"{command} {names}".split(), stderr=asyncio.subprocess.DEVNULL
    )
    assert await openssl.wait() == 0
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(cert, key)
    monkeypatch.setenv("https_proxy", f"http://me:s%40cret@127.0.0.1:{server.port}")
    trusting = ssl.create_default_context(cafile=str(cert))
    monkeypatch.setattr(request_module, "_tls", lambda: trusting)
    assert await get("https://c.example/secret", proxied=True) == b"hi"
    to_proxy, to_server = server.heads
    assert to_proxy.startswith("CONNECT c.example:443 HTTP/1.1\r\n")
    assert "secret" not in to_proxy
    assert to_server.startswith("GET /secret HTTP/1.1\r\nHost: c.example\r\n")
    assert "Proxy-Authorization" not in to_server
    with pytest.raises(ConnectionFailedError):  # the certificate is of another name
        await get("https://d.example/", proxied=True)


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
async def test_what_is_no_answer_or_less_than_one_is_refused(server, answer):
    server.answer = answer
    with pytest.raises(ResponseError):
        await get(f"http://127.0.0.1:{server.port}/")
