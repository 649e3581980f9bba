"""Where a request to a server that the release names goes, and what is no answer to it."""

import asyncio
import ssl

import httpx2
import pytest
from rows import each

from kotatsu_operator.runtime import request as request_module
from kotatsu_operator.runtime.request import request

pytestmark = pytest.mark.timeout(60)

INTERIM = b"HTTP/1.1 102 P\r\n\r\n"


class Server:
    """Keeps the heads of requests, and answers all with the same."""

    def __init__(self, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"):
        self.answer, self.heads = answer, []

    async def serve(self, reader, writer):
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            if self.heads[-1].startswith("CONNECT "):
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await writer.start_tls(self.tls)
                self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(self.answer)
            await writer.drain()
            writer.close()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.transport.abort()  # a test that ends waits for nobody to read the rest


@pytest.fixture
async def server():
    made = Server()
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as listening:
        made.port = listening.sockets[0].getsockname()[1]
        yield made


async def get(url, headers=None):
    async with request("GET", url, headers or {}, connect=10) as response:
        return await response.aread()


async def test_no_header_of_a_request_has_another_in_it(server):
    with pytest.raises(httpx2.LocalProtocolError):
        await get(f"http://127.0.0.1:{server.port}/", {"If-None-Match": '"1"\r\nCookie: a'})
    assert server.heads == []


async def test_a_login_of_a_url_is_sent_and_what_a_server_has_said_can_be_said_again(server):
    url = f"http://me:s%40cret@127.0.0.1:{server.port}/"
    server.answer = b'HTTP/1.1 200 OK\r\nETag: "\xff"\r\nContent-Length: 2\r\n\r\nhi'
    async with request("GET", url, {}, connect=10) as response:
        etag = response.headers["etag"]
    assert await get(url, {"If-None-Match": etag}) == b"hi"
    assert "Authorization: Basic bWU6c0BjcmV0\r\n" in server.heads[-1]


async def test_a_proxy_of_the_environment_is_asked_where_it_holds(server, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://me:s%40cret@127.0.0.1:{server.port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert await get("http://calendar.example/a.ics") == b"hi"
    assert server.heads[-1].startswith(
        "GET http://calendar.example/a.ics HTTP/1.1\r\nHost: calendar.example\r\n"
    )
    assert "Proxy-Authorization: Basic bWU6c0BjcmV0\r\n" in server.heads[-1]
    assert await get(f"http://127.0.0.1:{server.port}/b") == b"hi"
    assert "Proxy-Authorization" not in server.heads[-1]
    with pytest.raises(httpx2.ConnectError):
        await get("http://127.0.0.1:1/")


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
    assert await get("https://c.example/secret") == b"hi"
    to_proxy, to_server = server.heads
    assert to_proxy.startswith("CONNECT c.example:443 HTTP/1.1\r\n")
    assert "secret" not in to_proxy
    assert to_server.startswith("GET /secret HTTP/1.1\r\nHost: c.example\r\n")
    assert "Proxy-Authorization" not in to_server
    with pytest.raises(httpx2.ConnectError):  # the certificate is of another name
        await get("https://d.example/")
    server.answer = INTERIM * 2**11
    with pytest.raises(httpx2.RemoteProtocolError, match="its head has no end"):
        await get("https://c.example/")


@each(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 2**15 + b"\r\n\r\n",
        INTERIM * 2**11 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_what_is_no_answer_or_less_than_one_is_refused(server, answer):
    server.answer = answer
    with pytest.raises(httpx2.RemoteProtocolError):
        await get(f"http://127.0.0.1:{server.port}/")
