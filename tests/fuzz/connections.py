"""The first bytes of a connection, and all that follow, as the activator reads them."""

import re
from typing import Any

from fuzz.kit import Target, mixed
from hypothesis import strategies as st

from kotatsu_operator.activator.head import NOTHING, Kind, Requests, ask_to_close, peek
from kotatsu_operator.activator.registry import Forwarded
from kotatsu_operator.activator.splice import Client, Owner
from kotatsu_operator.features.keepalive.stream import Stream, asks, body_to_read
from kotatsu_operator.features.waiting_page.navigation import LANGUAGES, AskedFor, asked

HTTP = mixed(
    "GET ", "POST ", "CONNECT ", "/", "/healthz", "?", "*", " HTTP/1.1\r\n", " HTTP/1.0\r\n",
    "\r\n", "\n", "\r", "Content-Length: 5\r\n", "Content-Length: 0\r\n", "content_length: 3\r\n",
    "Transfer-Encoding: chunked\r\n", "Connection: keep-alive\r\n", "Connection: Upgrade\r\n",
    "Upgrade: h2c\r\n", "Expect: 100-continue\r\n", "A: b\r\n", " folded\r\n", "12345", "\x00",
    "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    most=16,
)  # fmt: skip
_CONNECTION = re.compile(rb"\r\nconnection:[^\r\n]*(?=\r\n)", re.IGNORECASE)


def first_bytes(text: str) -> None:
    """The same is seen however the bytes come, and of a head that is changed only one header is."""
    data = text.encode("latin-1")
    whole, seen, known = peek(data), NOTHING, 0
    for end in range(len(data) + 1):
        seen, known = peek(bytearray(data[:end]), seen, known), end
    assert seen == whole
    head = data[: whole.head_end] if whole.kind is Kind.HTTP1 else data
    asked = ask_to_close(head)
    if asked != head:
        assert asked.split(b"\r\n", 2)[1].lower().startswith(b"connection: ")
        assert _CONNECTION.sub(b"", asked) == _CONNECTION.sub(b"", head)
        assert ask_to_close(asked) == asked


_NAVIGATION = mixed(
    "GET / HTTP/1.1\r\n", "HEAD / HTTP/1.1\r\n", "POST ", "Accept: ", "text/html", "*/*", ";q=0",
    ";q=.2", ";q=1.000", ", ", "\r\n", "Upgrade-Insecure-Requests: 1\r\n", "Cookie: ", "a=b; ",
    "kotatsu-waking=", "17", "9" * 13, ";", "Sec-Fetch-Mode: navigate\r\n",
    "Sec-Fetch-Dest: document\r\n", "Accept-Language: ja;q=0.9,en\r\n", "Kotatsu-Waking: ask\r\n",
    "Host: a\r\n", "Content-Length: 0\r\n", most=16,
).map(lambda text: text + "\r\n\r\n")  # fmt: skip


def navigation(text: str) -> None:
    """The waiting page is for a browser's own headers alone, whatever else a head has."""
    head = text.encode("latin-1")
    asks = asked(head[: peek(head).head_end] or head)
    assert asks.language in LANGUAGES
    assert asks.since is None or 0 <= asks.since < 10**12
    if asks.what is AskedFor.PAGE:
        own = (b"sec-fetch-mode: navigate", b"upgrade-insecure-requests: 1")
        assert head.startswith(b"GET ")
        assert any(name in head.lower() for name in own)


class _Pipe:
    """Both the pod's side and the client's transport: what is written, and nothing else."""

    has_finished = False

    def __init__(self) -> None:
        self.sent = bytearray()

    def write(self, data: bytes) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return False


class _Owner(Owner):
    def __init__(self) -> None:
        self.forwarded, self.ends, self.idle_timeout = Forwarded(), False, 600.0

    def may_resume(self, _: Client) -> bool:
        return True

    def is_ending(self, _: Client) -> bool:
        return self.ends


CLOSE = b"Connection: close\r\n"


def spliced(given: list[Any]) -> None:
    """What passes an open connection is what was sent, up to a request that has one line more."""
    cuts, text = given
    data = text.replace("Connection: ", "Other: ").encode("latin-1")
    owner, pipe = _Owner(), _Pipe()
    client = Client(owner)
    client.transport, client.upstream = pipe, pipe  # type: ignore[assignment]
    client._requests = Requests()
    client.deadline = pipe  # type: ignore[assignment]  # no timer: there is no event loop
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        owner.ends = number >= len(ends) // 2
        if end > start:
            client.data_received(data[start:end])
    sent = bytes(pipe.sent)
    assert sent.count(CLOSE) <= data.count(CLOSE) + 1
    if CLOSE in sent:
        assert data.replace(CLOSE, b"").startswith(sent.replace(CLOSE, b""))
    else:
        assert sent == data
    assert owner.forwarded.up == len(pipe.sent)


_ANSWERS = mixed(
    "HTTP/1.1 ", "HTTP/1.0 ", "200 OK\r\n", "102 .\r\n\r\n", "101 .\r\n", "500 .\r\n", "204 .\r\n",
    "Content-Type: text/event-stream\r\n", "Content-Type: application/json\r\n", "\r\n", "\n",
    "Content-Length: 9\r\n", "Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n",
    "Upgrade: x\r\nConnection: upgrade\r\n", "Content-Encoding: gzip\r\n", "9\r\n", "data: 1\n\n",
    "\r\n0\r\n\r\n", '{"error": {}}', '{"detail": 1}', "[" * 9, "\xff", most=16,
)  # fmt: skip
_DATA = re.compile(rb"([0-9a-f]+)\r\n")


def held_stream(given: list[Any]) -> None:
    """A client that has got a comment reads one whole answer, whatever its pod says, and when."""
    cuts, text = given
    data, stream = text.encode("latin-1"), Stream(b"GET / HTTP/1.1\r\n\r\n")
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    out = b""
    for start, end in zip([0, *ends], ends, strict=False):
        if not stream.has_answer:
            out += stream.comment
        out += stream.received(data[start:end])
    out += stream.ended()
    at, size = 0, -1
    while size:
        found = _DATA.match(out, at)
        assert found is not None, out
        size = int(found[1], 16)
        at = found.end() + size + 2
        assert out[at - 2 : at] == b"\r\n"
    assert at == len(out)


def asks_for_a_stream(text: str) -> None:
    """Only whole, plain requests do."""
    data = text.encode("latin-1")
    seen = peek(data)
    head = data[: seen.head_end]
    if body_to_read(head) is not None and asks(head, data[seen.head_end :]):
        assert seen.kind is Kind.HTTP1
        assert b"event-stream" in head.lower() or b"stream" in data[seen.head_end :]


_ASKING = mixed(
    "GET / HTTP/1.1\r\n", "POST / HTTP/1.0\r\n", "Accept: ", "text/event-stream", ", */*", "\r\n",
    "Content-Type: application/json\r\n", "Content-Length: 15\r\n", "Content-Length: 9\r\n",
    "Expect: 100-continue\r\n", "Transfer-Encoding: chunked\r\n", '{"stream":true}', "[" * 9,
    "\xff", "Connection: upgrade\r\n", " folded\r\n", most=16,
)  # fmt: skip


_CUTS = st.lists(st.integers(0, 200), max_size=8)

TARGETS = [
    Target("first_bytes", HTTP, first_bytes, 200, is_door=True, is_text=True),
    Target("navigation", _NAVIGATION, navigation, is_door=True, is_text=True),
    Target("held_stream", st.tuples(_CUTS, _ANSWERS).map(list), held_stream, 200, is_door=True),
    Target("asks_for_a_stream", _ASKING, asks_for_a_stream, is_door=True, is_text=True),
    Target("spliced", st.tuples(_CUTS, HTTP).map(list), spliced, 200),
]
