"""The doors of auth, feed and voice: whatever a stranger sends, over a connection or as a body."""

import asyncio
import atexit
import re
import shutil
import tempfile
import time
from functools import cache
from typing import Any
from unittest.mock import Mock

import httpx
import uvicorn
from feed.conftest import authorize
from fuzz.kit import SOON, Target, mixed
from fuzz.speech import ACCEPTS, BODIES, KINDS
from hypothesis import strategies as st
from uvicorn.server import ServerState
from voice.fakes import FakeEngine, hum

from kotatsu_auth.app import create_app as create_auth
from kotatsu_auth.settings import AuthSettings
from kotatsu_common.limits import HEAD_BYTES, HEADER_COST, REQUEST_COST
from kotatsu_common.protocol import BoundedProtocol
from kotatsu_feed.app import create_app as create_feed
from kotatsu_feed.app import prepare
from kotatsu_feed.settings import FeedSettings
from kotatsu_voice.app import create_app as create_voice
from kotatsu_voice.settings import VoiceSettings

SERVICES = st.sampled_from(["auth", "feed", "voice"])
ROUTES = [
    *("PUT /update_profile", "PUT /change_clothes", "PUT /change_background"),
    *("POST /feed", "POST /voice", "POST /talk", "POST /authorize", "POST /token"),
]
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@cache
def _app(name: str) -> Any:
    http = httpx.AsyncClient(transport=httpx.MockTransport(authorize))
    if name == "auth":
        return create_auth(
            AuthSettings(github_client_id="our-app", github_client_secret="our-secret"), http=http
        )
    if name == "voice":
        engine = FakeEngine(workers=1)
        engine.answer = lambda _: hum(0.05, edge=0)
        return create_voice(VoiceSettings(voice_anonymous=True), engine=engine)
    folder = tempfile.mkdtemp(prefix="kotatsu-fuzz-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    settings = FeedSettings(auth_url="http://auth", database_url=f"sqlite:///{folder}/pets.sqlite3")
    asyncio.run(prepare(settings))
    return create_feed(settings, http=http, is_prepared=True)


HTTP = mixed(
    "GET ", "POST ", "PUT ", "HEAD ", "OPTIONS ", "CONNECT ", "/", "/home", "/update_profile",
    "/voices", "/talk", "/authorize", "/token?code=", "/livez", "%00", "%ff", "*", "//a/",
    " HTTP/1.1\r\n", " HTTP/1.0\r\n", " HTTP/2.0\r\n", "\r\n", "\n", "\r", "Host: a\r\n",
    "Content-Length: 5\r\n", "Content-Length: 9999999999\r\n", "Content-Length: -1\r\n",
    "Transfer-Encoding: chunked\r\n", "Connection: close\r\n", "Connection: Upgrade\r\n",
    "Upgrade: websocket\r\n", "Expect: 100-continue\r\n", "Authorization: demo\r\n",
    "Origin: https://evil.example\r\n", "Access-Control-Request-Method: PUT\r\n", "a:b\r\n" * 300,
    "5\r\nabcde\r\n", "0\r\n\r\n", "fffffffffffffffff\r\n", "x" * 9000, "\x00",
    "GET /livez HTTP/1.1\r\n\r\n", "GET /livez HTTP/1.1\r\n\r\n" * 40,
    "PUT /update_profile HTTP/1.1\r\nAuthorization: demo\r\nContent-Length: 9\r\n\r\n",
    "POST /authorize HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", most=16,
)  # fmt: skip


class _Wire:
    """The transport of a connection whose client reads everything."""

    def __init__(self) -> None:
        self.said = bytearray()
        self.is_closed = False
        self.mock = Mock(spec=asyncio.Transport, is_closing=lambda: self.is_closed)
        self.mock.get_extra_info.return_value = None
        self.mock.write.side_effect = self.said.extend
        self.mock.close.side_effect = self.mock.abort.side_effect = self._close

    def _close(self) -> None:
        self.is_closed = True


async def _connect(app: Any, pieces: list[bytes]) -> bytes:
    config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none", access_log=False)
    state, wire = ServerState(), _Wire()
    most = HEAD_BYTES + app.state.body_bytes + 1
    async with app.router.lifespan_context(app):
        made = BoundedProtocol(
            config=config, server_state=state, app_state={}, body_bytes=app.state.body_bytes
        )
        made.connection_made(wire.mock)
        for piece in pieces:
            made.data_received(piece)
            kept = [made.cycle, *(cycle for cycle, _ in made.pipeline)] if made.cycle else []
            assert sum(map(_size, kept)) <= most
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        made.connection_lost(None)
        await asyncio.wait_for(asyncio.gather(*state.tasks), 10)
    return bytes(wire.said)


def _size(cycle: Any) -> int:
    headers = sum(len(k) + len(v) + HEADER_COST for k, v in cycle.scope["headers"])
    return len(cycle.body) + headers + REQUEST_COST


def connection(given: list[Any]) -> None:
    """A connection holds a bounded amount, whatever comes over it, and no answer is a fault."""
    name, cuts, text = given
    data = text.encode("latin-1")
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    pieces = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    began = time.process_time()
    said = asyncio.run(_connect(_app(name), pieces))
    assert time.process_time() - began < SOON
    assert all(int(status) < 500 or status == b"503" for status in _STATUS.findall(said)), said


async def _ask(app: Any, how: tuple[str, str], headers: Any, body: bytes) -> int:
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as http,
    ):
        return (await http.request(*how, content=body, headers=headers)).status_code


def body(given: list[str]) -> None:
    """Whatever a user sends to any route, the answer is no fault (502, 503: of those behind)."""
    name, route, kind, accept, key, text = given
    method, path = route.split()
    named = {"Content-Type": kind, "Accept": accept, "Idempotency-Key": key}
    headers = {k: re.sub(r"[\r\n\x00]", "", v).strip().encode("latin-1") for k, v in named.items()}
    headers["Authorization"] = b"demo"
    data = text.encode("latin-1", "replace")
    status = asyncio.run(_ask(_app(name), (method, path), headers, data))
    assert status < 500 or status in (502, 503)


_FIELDS = mixed(
    '{"characterName": ', '{"item": ', '{"message": ', '"', "}", "null", "[", "]", ",", "{",
    "1e999", '"\\ud800"', '"冬"'.encode().decode("latin-1"), "\xff", "a" * 4000, "[" * 2000, ' " ',
    "9" * 400,
)  # fmt: skip

TARGETS = [
    Target(
        "connection",
        st.tuples(SERVICES, st.lists(st.integers(0, 20_000), max_size=6), HTTP).map(list),
        connection,
        100,
        is_door=True,
    ),
    Target(
        "body",
        st.tuples(
            SERVICES, st.sampled_from(ROUTES), KINDS, ACCEPTS, mixed("a", " ", "\x7f", "x" * 300),
            st.one_of(_FIELDS, BODIES),
        ).map(list),
        body,
        60,
        is_door=True,
    ),
]  # fmt: skip
