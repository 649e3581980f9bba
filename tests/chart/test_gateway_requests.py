"""A real nginx with the gateway's configuration, and requests that servers read differently.

Whatever a client sends, each connection to a service carries one request, which every reader ends
at the same byte, and nobody gets to say who they are.
"""

import contextlib
import re
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h11
import pytest
from chart.nginx import UNLIMITED, serving_gateway

pytestmark = pytest.mark.slow

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
ANSWER = re.compile(rb"^HTTP/1\.1 [2-5]", re.MULTILINE)
"""An answer that is not interim."""
SECRET = {b"x-user-id", b"x-user-login", b"x-user-avatar"}


class Recorder(socketserver.ThreadingTCPServer):
    """A service that keeps what each connection says, and answers once that is a request."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Keep)
        self.heard: list[bytearray] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return self.server_address[1]


class _Keep(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Recorder)
        heard = bytearray()
        self.server.heard.append(heard)
        reader = h11.Connection(h11.SERVER)
        self.request.settimeout(5)
        with contextlib.suppress(OSError, h11.RemoteProtocolError):
            while data := self.request.recv(2**16):
                heard += data
                reader.receive_data(data)
                if any(isinstance(event, h11.EndOfMessage) for event in _events(reader)):
                    self.request.sendall(OK)
                    self.request.settimeout(0.2)  # what more there is would be another's


def _events(reader: h11.Connection) -> list[h11.Event]:
    found: list[h11.Event] = []
    while True:
        event = reader.next_event()
        if isinstance(event, type(h11.NEED_DATA)) or event is h11.PAUSED:
            return found
        assert isinstance(event, h11.Event)
        found.append(event)
        if isinstance(event, h11.ConnectionClosed):
            return found


@dataclass
class Gateway:
    """A running nginx with the chart's configuration, and the service behind all of its paths."""

    port: int
    service: Recorder

    def send(self, *pieces: bytes, answers: int = 1) -> bytes:
        """Send bytes and read so many answers, and what comes with them; or until it closes."""
        self.service.heard.clear()
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as client:
            for piece in pieces:
                client.sendall(piece)
                time.sleep(0.01)
            answer = b""
            with contextlib.suppress(TimeoutError, ConnectionError):
                while data := client.recv(2**16):
                    answer += data
                    if len(ANSWER.findall(answer)) >= answers:
                        client.settimeout(0.3)
        return answer

    @property
    def requests(self) -> list[tuple[h11.Request, bytes]]:
        """The requests that came to the service, each alone on its connection."""
        time.sleep(0.05)
        found = []
        for heard in self.service.heard:
            reader = h11.Connection(h11.SERVER)
            reader.receive_data(bytes(heard))
            first, *events = _events(reader)
            assert isinstance(first, h11.Request)
            body = b"".join(bytes(e.data) for e in events if isinstance(e, h11.Data))
            assert isinstance(events[-1], h11.EndOfMessage)
            assert reader.trailing_data[0] == b"", "bytes after the request"
            lengths = [value for name, value in first.headers if name == b"content-length"]
            assert lengths in ([], [b"%d" % len(body)])
            assert not [name for name, _ in first.headers if name == b"transfer-encoding"]
            assert not SECRET & {name.replace(b"_", b"-") for name, _ in first.headers}
            found.append((first, body))
        return found


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    service = Recorder()
    with serving_gateway(f"127.0.0.1:{service.port}", *UNLIMITED) as port:
        yield Gateway(port, service)
    service.shutdown()
    service.server_close()


GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /feed HTTP/1.1\r\nHost: a\r\n"

REFUSED = {
    "a length and chunked": (
        400,
        POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n",
    ),
    "two lengths": (400, POST + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\n12345"),
    "the same length twice": (400, POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n12345"),
    "a list of lengths": (400, POST + b"Content-Length: 5, 0\r\n\r\n12345"),
    "a signed length": (400, POST + b"Content-Length: +5\r\n\r\n12345"),
    "an encoding nobody knows": (501, POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    "a vertical tab before it": (501, POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    "two encodings": (
        400,
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n",
    ),
    "chunked in HTTP/1.0": (
        400,
        b"POST /feed HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "a space before the colon": (400, POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    "a folded encoding": (400, POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    "a folded header": (400, GET + b"A: b\r\n c\r\n\r\n"),
    "a bare CR": (400, GET + b"A: b\rX: y\r\n\r\n"),
    "NUL in a value": (400, GET + b"A: \x00b\r\n\r\n"),
    "NUL in a name": (400, POST + b"Content-Length\x00: 5\r\n\r\n12345"),
    "no colon": (400, GET + b"Foo bar\r\n\r\n"),
    "two hosts": (400, GET + b"Host: b\r\n\r\n"),
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "a host that is none": (400, b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    "an extension of a chunk with a LF": (
        400,
        POST + b"Transfer-Encoding: chunked\r\n\r\n1;a=\nb\r\nx\r\n0\r\n\r\n",
    ),
    "a chunk below nothing": (
        400,
        POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n",
    ),
    "a chunk beyond 64 bits": (
        400,
        POST + b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\na\r\n0\r\n\r\n",
    ),
    "a tunnel": (400, b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "asterisk form": (400, b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
    "http2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "a small method": (400, b"get / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a space in the target": (400, b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a control character in the target": (400, b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a long request line": (414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a long header": (400, GET + b"A: " + b"a" * 9000 + b"\r\n\r\n"),
    "headers without an end": (400, GET + b"A: %b\r\n" % (b"a" * 1000) * 40 + b"\r\n"),
    "too large a body": (413, POST + b"Content-Length: 2000000\r\n\r\n"),
    "metrics by dots": (404, b"GET /voice/../metrics HTTP/1.1\r\nHost: a\r\n\r\n"),
    "metrics in hex": (404, b"GET /%6detrics HTTP/1.1\r\nHost: a\r\n\r\n"),
    "metrics by slashes": (404, b"GET //metrics HTTP/1.1\r\nHost: a\r\n\r\n"),
    "metrics in absolute form": (404, b"GET http://b/metrics HTTP/1.1\r\nHost: a\r\n\r\n"),
}
"""What no service gets to see, and the gateway's answer."""

PASSED = {
    "bare LFs": (b"GET / HTTP/1.1\nHost: a\n\n", [b""]),
    "chunked": (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", [b"abc"]),
    "chunks that end in LF": (POST + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n", [b"abc"]),
    "a bare LF before a length": (POST + b"A: b\nContent-Length: 3\r\n\r\nabc", [b"abc"]),
    "trailers": (
        POST + b"Transfer-Encoding: chunked\r\nTrailer: X-User-Id\r\n\r\n"
        b"3\r\nabc\r\n0\r\nX-User-Id: 1\r\nContent-Length: 9\r\n\r\n",
        [b"abc"],
    ),
    "100-continue": (POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n12345", [b"12345"]),
    "pipelined": (
        GET + b"\r\n" + POST + b"Content-Length: 1\r\n\r\na" + GET + b"\r\n",
        [b"", b"a", b""],
    ),
    "a body of a GET": (GET + b"Content-Length: 5\r\n\r\nGET /", [b"GET /"]),
    "a body that looks like a request": (
        POST + b"Content-Length: 28\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        [b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"],
    ),
    "an upgrade": (GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", [b""]),
    "headers named as hops": (GET + b"Connection: close, Host, X-Request-Id\r\n\r\n", [b""]),
    "absolute form": (b"GET http://b/ranking HTTP/1.1\r\nHost: a\r\n\r\n", [b""]),
    "HTTP/0.9": (b"GET /\r\n", [b""]),
    "an empty line first": (b"\r\n" + GET + b"\r\n", [b""]),
    "a header in the target": (b"GET /%0d%0aX-User-Id:%201 HTTP/1.1\r\nHost: a\r\n\r\n", [b""]),
    "who somebody says they are": (
        GET + b"X-User-Id: 1\r\nx-user-login: root\r\nX_User_Id: 1\r\nX-USER-AVATAR: y\r\n\r\n",
        [b""],
    ),
}
"""What services get to see, as requests with these bodies, each on a connection of its own."""


@pytest.mark.parametrize(("status", "sent"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_read_differently_is_refused(gateway: Gateway, status: int, sent: bytes) -> None:
    assert gateway.send(sent).startswith(b"HTTP/1.1 %d " % status)
    assert gateway.requests == []


MAYBE = {"bare LFs", "chunks that end in LF", "a bare LF before a length", "HTTP/0.9"}
"""Of these, what a stricter version of nginx may refuse."""


@pytest.mark.parametrize("name", PASSED)
def test_what_passes_is_one_request_a_connection(gateway: Gateway, name: str) -> None:
    sent, bodies = PASSED[name]
    answer = gateway.send(sent, answers=len(bodies))
    if name in MAYBE and answer.startswith(b"HTTP/1.1 400 "):
        bodies = []
    assert [body for _, body in gateway.requests] == bodies
    for request, _ in gateway.requests:
        assert (b"connection", b"close") in request.headers
        assert b"upgrade" not in dict(request.headers)


def test_a_request_that_is_cut_anywhere_is_the_same(gateway: Gateway) -> None:
    sent = POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    for cut in (1, 5, 19, 40, len(sent) - 12, len(sent) - 1):
        gateway.send(sent[:cut], sent[cut:])
        assert [body for _, body in gateway.requests] == [b"abc"]


TOKEN, CODE = b"demo-canary-0123456789", b"demo-canary-code-5555"
CODED = b"/token?code=" + CODE
TOLD = (
    *(
        b"GET /home HTTP/1.1\r\nHost: a\r\nAuthorization: %b\r\n\r\n" % value
        for value in (TOKEN, b"Bearer " + TOKEN, b"token %b!" % TOKEN, b"%b %b" % (TOKEN, TOKEN))
    ),
    b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % CODED,
    b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % (CODED * 500),
    b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n" % CODED,
    b"GET %b HTTP/9.9\r\nAuthorization: %b\r\nbroken\r\n\r\n" % (CODED, TOKEN),
    b"GET %b nonsense\r\n\r\n" % CODED,
    TOKEN + b"\r\n\r\n",
)
"""Requests with a secret in them, well-formed and not."""


@pytest.mark.parametrize("is_there", [True, False], ids=["answered", "no service"])
def test_no_secret_is_in_what_it_logs(gateway: Gateway, tmp_path: Path, *, is_there: bool) -> None:
    log = tmp_path / "log"
    service = f"127.0.0.1:{gateway.service.port if is_there else 1}"
    with serving_gateway(service, *UNLIMITED, log=str(log)) as port:
        for sent in TOLD:
            Gateway(port, gateway.service).send(sent)
    said = log.read_bytes()
    assert b'"path":"/token"' in said
    assert b'"path":"/home"' in said
    assert is_there or b"connect() failed" in said, "errors are logged as well"
    assert TOKEN not in said
    assert CODE not in said
