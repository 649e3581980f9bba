"""Requests that servers read differently: what reaches the pod is what its client sent.

A proxy that reuses connections can be made to take one client's bytes for another's request. Here
each client has a connection to its pod of its own; and where a head is changed, so that the pod
closes after its answer, the change is one header line and nothing else, in no way another reader
could see more of.
"""

import asyncio

import pytest
from rows import each

from kotatsu_operator.activator.head import PROBE_OK
from tests.operator.activator.in_process import BY_ACTIVATOR, Pod, pool
from tests.operator.cluster import deployment, eventually, service

pytestmark = pytest.mark.timeout(60)

CLOSE = b"Connection: close\r\n"


def closing(request):
    """What reaches the pod: the same with one more line after the request line."""
    line, rest = request.split(b"\r\n", 1)
    return line + b"\r\n" + CLOSE + rest


PLAIN = {
    "no body": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "a length": b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n12345",
    "a length and chunked": (
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n"
    ),
    "chunked and a length": (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nX"
    ),
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\n12345",
    "a list of lengths": b"POST / HTTP/1.1\r\nContent-Length: 5, 0\r\n\r\n12345",
    "a signed length": b"POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n12345",
    "a length in hex": b"POST / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n12345",
    "a body of a GET": b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /",
    "an encoding nobody knows": b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n"
    ),
    "chunked in capitals": b"POST / HTTP/1.1\r\ntRANSFER-eNCODING: Chunked\r\n\r\n0\r\n\r\n",
    "a tab before the value": b"POST / HTTP/1.1\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n",
    "an underscore for a dash": b"POST / HTTP/1.1\r\nContent_Length: 5\r\n\r\n12345",
    "trailers": (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTrailer: Connection\r\n\r\n"
        b"3\r\nabc\r\n0\r\nConnection: keep-alive\r\nContent-Length: 9\r\n\r\n"
    ),
    "an extension of a chunk": (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;a=\nb\r\nx\r\n0\r\n\r\n"
    ),
    "100-continue": b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n12345",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "absolute form": b"GET http://b/metrics HTTP/1.1\r\nHost: a\r\n\r\n",
    "authority form": b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\nraw",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "a long request line": b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n",
    "a fragment": b"GET /a#b HTTP/1.1\r\n\r\n",
    "bytes of no text": b"GET /\xff\xfe HTTP/1.1\r\nA: \x80\x01\xff\r\n\r\n",
    "a body that looks like a request": (
        b"POST / HTTP/1.1\r\nContent-Length: 49\r\n\r\n"
        b"GET /x HTTP/1.1\r\nConnection: keep-alive\r\nA: b\r\n\r\n"
    ),
    "headers that resemble it": (
        b"GET / HTTP/1.1\r\nX-Connection: a\r\nProxy-Connection: b\r\nConnection-X: c\r\n\r\n"
    ),
}
"""Each line of these heads is a header: only `Connection: close` is added."""

PIPELINED = {
    "three": (b"", b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n", b"GET /3 HTTP/1.1\r\n\r\n"),
    "three with bodies": (
        b"",
        b"POST /1 HTTP/1.1\r\nContent-Length: 2\r\n\r\n12" * 2,
        b"POST /3 HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /",
    ),
    "no request after it": (b"body", b"", b"GET / HTTP/1.1\r\n\r\n"),
    "a part of one after it": (b"POST /2 HTTP/1.1\r\nContent-", b"", b"GET / HTTP/1.1\r\n\r\n"),
    "one after it that is read differently": (
        b"POST /2 HTTP/1.1\r\nContent-Length : 5\r\n\r\n12345",
        b"GET /0 HTTP/1.1\r\n\r\n",
        b"GET /1 HTTP/1.1\r\n\r\n",
    ),
}
"""What is sent in one go, from the end: what reaches no pod, what passes, and what is the last."""

NAMED = {
    "keep-alive": (b"Connection: keep-alive\r\n", CLOSE),
    "close": (b"Connection: close\r\n", CLOSE),
    "another header named": (
        b"Connection: close, Content-Length\r\nContent-Length: 0\r\n",
        b"Connection: Content-Length, close\r\nContent-Length: 0\r\n",
    ),
    "twice": (
        b"connection: te\r\nTE: trailers\r\nCONNECTION: Keep-Alive\r\n",
        b"Connection: te, close\r\nTE: trailers\r\n",
    ),
    "in any spelling": (
        b"CONNECTION:te,keep-alive , X-Hop\r\n",
        b"Connection: te, X-Hop, close\r\n",
    ),
    "close and others": (
        b"Connection: te\r\nA: b\r\nConnection: x, close\r\n",
        b"Connection: te, x, close\r\nA: b\r\n",
    ),
    "empty": (b"Connection:\r\nConnection: ,\r\n", CLOSE),
}
"""Heads with that header already: what they have, and what the pod gets."""

AS_THEY_ARE = {
    "websocket": b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00",
    "websocket and more": (
        b"GET / HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
    ),
    "an upgrade after a close": (
        b"GET / HTTP/1.1\r\nConnection: close\r\nA: b\r\nconnection: UPGRADE\r\n\r\n"
    ),
    "h2c": b"GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "a folded header": b"GET / HTTP/1.1\r\nA: b\r\n Connection: x\r\nConnection: y\r\n\r\n",
    "a folded length": b"POST / HTTP/1.1\r\nContent-Length: 5\r\nConnection: x\r\n 0\r\n\r\n",
    "folded by a tab": b"GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n",
    "a folded encoding": b"POST / HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a fold before any header": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: a\n\n",
    "a bare LF in a value": b"GET / HTTP/1.1\r\nA: b\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a head that ends in LF LF": b"GET / HTTP/1.1\r\nA: b\n\nGET /x HTTP/1.1\r\nB: c\r\n\r\n",
    "a bare LF at the end": b"GET / HTTP/1.1\r\nA: b\n\r\n",
    "a bare CR in a value": b"GET / HTTP/1.1\r\nA: b\rContent-Length: 9\r\n\r\n",
    "a CR too many": b"GET / HTTP/1.1\r\r\nA: b\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nA: \x00b\r\n\r\n",
    "NUL in a name": b"POST / HTTP/1.1\r\nContent-Length\x00: 5\r\n\r\n12345",
    "a space before the colon": b"POST / HTTP/1.1\r\nContent-Length : 5\r\n\r\n12345",
    "a tab before the colon": b"POST / HTTP/1.1\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "a vertical tab in a name": b"POST / HTTP/1.1\r\n\x0bContent-Length: 5\r\n\r\n12345",
    "a line that is no header": b"GET / HTTP/1.1\r\nHost a\r\n\r\n",
    "no name": b"GET / HTTP/1.1\r\n: a\r\n\r\n",
    "a name in quotes": b'GET / HTTP/1.1\r\n"A": b\r\n\r\n',
    "HTTP/0.9": b"GET /\r\n",
    "HTTP/0.9 with headers": b"GET /\r\nHost: a\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a request line of tabs": b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "a small method": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "an empty line first": b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a control character in the target": b"GET /\x7f HTTP/1.1\r\n\r\n",
    "a request line without an end": b"GET /" + b"a" * 70_000,
    "a head without an end": b"GET / HTTP/1.1\r\nA: " + b"a" * 70_000,
    "a head too long to be read": b"GET / HTTP/1.1\r\nA: " + b"a" * 70_000 + b"\r\n\r\n",
}
"""Not a byte is changed: somebody would read these in another way than we do."""


class Recorder(Pod):
    """A pod that keeps what each connection said, and answers when it is told to, or at its end."""

    def __init__(self, name):
        super().__init__(name)
        self.heard, self.finished = [], []

    async def _serve(self, reader, writer):
        self.open.append((reader, writer))
        heard = bytearray()
        self.heard.append(heard)
        while data := await reader.read(2**16):
            heard += data
        self.finished.append(bytes(heard))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        writer.close()

    def answer(self, number):
        """As often as a connection may have been asked: its client's end comes after that."""
        self.open[number][1].write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 3)


@pytest.fixture
async def recorder(activator):
    """A pod that starts when it is woken."""
    return await activator.starts_on_raise(of=Recorder, ready=True)


@pytest.fixture
async def by_activator(activator, recorder):
    """The same pool, awake and on route Activator."""
    selectorless = service()
    del selectorless["spec"]["selector"]
    activator.see("Service", selectorless)
    activator.see("Deployment", deployment())
    activator.see("WarmPool", pool("Warm", **BY_ACTIVATOR))
    activator.see_pod(recorder, ready=True)
    return activator


async def heard(activator, recorder, *pieces, expected):
    """What the pod has heard of one connection on which these pieces were sent."""
    before = len(recorder.heard)
    reader, writer = await activator.send(b"")
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0.001)
    await eventually(lambda: len(b"".join(recorder.heard[before:])) >= len(expected))
    recorder.answer(before)
    writer.write_eof()
    await reader.read()
    assert len(recorder.heard) == before + 1
    return recorder.finished[-1]


def in_two(data):
    """Bytes as they are, and cut in two where that may matter."""
    ends = [n for n in range(1, len(data)) if data[n - 1 : n + 1] in (b"\r\n", b"\n\r", b"\n\n")]
    cuts = {1, 5, 17, *ends[:6], len(data) - 1}
    return [(data,), *((data[:n], data[n:]) for n in cuts if n < len(data))]


@each("beyond, first, last", PIPELINED)
async def test_of_requests_sent_in_one_go_the_last_changes_and_nothing_passes_after_it(
    activator, recorder, beyond, first, last
):
    expected = first + closing(last)
    assert await heard(activator, recorder, first + last + beyond, expected=expected) == expected


@each("beyond, first, last", PIPELINED)
async def test_so_it_does_on_a_connection_of_route_activator_that_ends(
    by_activator, recorder, beyond, first, last
):
    by_activator.see("WarmPool", pool("Draining", **BY_ACTIVATOR))
    expected = first + closing(last)
    assert await heard(by_activator, recorder, first + last + beyond, expected=expected) == expected


@each("has, gets", NAMED)
async def test_of_a_request_that_names_it_only_that_header_changes(activator, recorder, has, gets):
    sent = b"GET / HTTP/1.1\r\nHost: a\r\n" + has + b"B: c\r\n\r\n"
    connection, rest = gets.split(b"\r\n", 1)
    expected = b"GET / HTTP/1.1\r\n" + connection + b"\r\nHost: a\r\n" + rest + b"B: c\r\n\r\n"
    assert await heard(activator, recorder, sent, expected=expected) == expected


@pytest.mark.slow
@each(
    "sent, expected",
    {name: (sent, closing(sent)) for name, sent in PLAIN.items()}
    | {name: (sent, sent) for name, sent in AS_THEY_ARE.items()},
)
async def test_however_it_is_cut_a_plain_request_gets_one_line_more_and_any_other_none(
    activator, recorder, sent, expected
):
    for pieces in in_two(sent):
        assert await heard(activator, recorder, *pieces, expected=expected) == expected


@each("sent", PLAIN | AS_THEY_ARE)
async def test_on_route_activator_every_byte_passes_as_it_is(by_activator, recorder, sent):
    twice = sent + sent
    assert await heard(by_activator, recorder, sent, sent, expected=twice) == twice


# --- a connection that is asked to end ---

GET = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"

FOLLOWED = {
    name: PLAIN[name]
    for name in (
        "no body", "HTTP/1.0", "a length", "a body of a GET", "two hosts", "absolute form",
        "asterisk form", "a long request line", "headers that resemble it",
        "bytes of no text", "a fragment", "a body that looks like a request",
    )
}  # fmt: skip
"""After these it is certain where the next request begins."""


async def ended(by_activator, recorder, first):
    """What the pod hears of the request that comes when the pool is on its way down."""
    by_activator.see("WarmPool", pool("Warm", **BY_ACTIVATOR))
    before = len(recorder.heard)
    _, writer = await by_activator.send(first)
    await eventually(lambda: len(recorder.heard) > before and len(recorder.heard[-1]) >= len(first))
    assert bytes(recorder.heard[-1]) == first
    by_activator.see("WarmPool", pool("Draining", **BY_ACTIVATOR))
    writer.write(GET)
    await eventually(lambda: len(recorder.heard[-1]) >= len(first) + len(GET))
    await asyncio.sleep(0.01)
    writer.close()
    return bytes(recorder.heard[-1])[len(first) :]


@each("first", FOLLOWED)
async def test_the_next_request_is_asked_to_be_the_last(by_activator, recorder, first):
    assert await ended(by_activator, recorder, first) == closing(GET)


LOST = {name: sent for name, sent in PLAIN.items() if name not in FOLLOWED} | AS_THEY_ARE


@each("first", LOST)
async def test_where_it_is_uncertain_nothing_is_ever_changed(by_activator, recorder, first):
    """What looks like a request may be the body of the one before."""
    assert await ended(by_activator, recorder, first) == GET


async def test_a_body_that_looks_like_a_request_is_never_changed(by_activator, recorder):
    head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(GET)
    assert await ended(by_activator, recorder, head) == GET


# --- one client's bytes and another's ---


async def test_no_clients_bytes_ever_come_after_anothers(activator, recorder):
    """A thousand bytes of one in the body of another would be its request to the pod."""
    poison = [
        b"POST /%d HTTP/1.1\r\nContent-Length: 100\r\n\r\nGET /admin HTTP/1.1\r\nX: %d",
        b"POST /%d HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX: %d\r\n\r\nff\r\nGET /",
        b"GET /%d HTTP/1.1\r\nX: %d\r\nY: ",
        b"GET /%d HTTP/1.1\nX: %d\n\nGET /admin HTTP/1.1\r\n\r\n",
    ]
    sent = [poison[n % 4] % (n, n) for n in range(40)]
    writers = [(await activator.send(data))[1] for data in sent]
    complete = [data for data in sent if b"Y: " not in data]
    await eventually(lambda: len([h for h in recorder.heard if h]) == len(complete))
    for writer in writers:
        writer.write(b"!")
        writer.write_eof()
    await eventually(lambda: len(recorder.finished) == len(complete))
    assert sorted(h.replace(CLOSE, b"") for h in recorder.finished) == sorted(
        data + b"!" for data in complete
    )


async def test_what_follows_a_probe_is_answered_by_nobody_and_reaches_no_pod(activator, recorder):
    probe = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    assert await activator.ask(probe + b"POST /feed HTTP/1.1\r\n\r\n") == PROBE_OK
    assert recorder.heard == []


@each("target",
    [
        b"http://a/healthz", b"//healthz", b"/healthz/", b"/./healthz", b"/%68ealthz",
        b"/healthz;x", b"/healthz%00", b"/HEALTHZ", b"/x/../healthz", b"/healthz#x",
    ],
)  # fmt: skip
async def test_only_the_probes_own_path_is_a_probe(activator, recorder, target):
    sent = b"GET %b HTTP/1.1\r\n\r\n" % target
    assert await heard(activator, recorder, sent, expected=closing(sent)) == closing(sent)


ANSWERS = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "chunked and a length": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n"
    ),
    "100 before 200": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "a header split in two": b"HTTP/1.1 200 OK\r\nA: b\nSet-Cookie: c\r\n\r\n",
    "nothing of HTTP": bytes(range(256)),
    "two answers": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 2,
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_an_answer_reaches_its_client_as_it_is(activator, answer):
    class Answering(Pod):
        async def _serve(self, reader, writer):
            self.open.append((reader, writer))
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()

    await activator.new_pod(of=Answering, ready=True)
    assert await activator.ask() == answer
