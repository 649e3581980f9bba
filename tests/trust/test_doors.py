"""What a stranger meets at the doors of feed and voice before anybody knows who it is."""

import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import httpx
from fastapi import FastAPI
from rows import each
from voice.fakes import FakeEngine

from kotatsu_auth.app import create_app as create_auth
from kotatsu_auth.settings import AuthSettings
from kotatsu_feed.app import create_app as create_feed
from kotatsu_feed.settings import FeedSettings
from kotatsu_voice.app import create_app as create_voice
from kotatsu_voice.settings import VoiceSettings

BODY = b"[" + b"[]," * 1000 + b"[]]"


def apps() -> dict[str, FastAPI]:
    """Each service, with an auth that knows nobody."""
    nobody = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(401)))
    auth = AuthSettings(github_client_id="our-app", github_client_secret="our-secret")
    voice = VoiceSettings(auth_url="http://auth")
    return {
        "auth": create_auth(auth, http=nobody),
        "feed": create_feed(FeedSettings(), http=nobody),
        "voice": create_voice(voice, engine=FakeEngine(), http=nobody),
    }


APPS = apps()


def routes() -> Iterator[tuple[str, str, str]]:
    """Each route of feed and voice that can have a body."""
    for name in ("feed", "voice"):
        for path, methods in APPS[name].openapi()["paths"].items():
            for method in methods.keys() & {"post", "put", "patch"}:
                yield name, method.upper(), path


class Stranger:
    """A client with a made-up token, whose body is never there."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.headers = [(b"authorization", b"made-up"), *headers]
        self.was_read = False
        self.answer: dict[str, Any] = {}

    async def sends(self, app: FastAPI, method: str, path: str) -> int:
        """The status of the answer."""
        scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "query_string": b"",
            "method": method,
            "path": path,
            "headers": self.headers,
        }
        await app(scope, self._receive, self._send)
        return int(self.answer["status"])

    async def _receive(self) -> dict[str, Any]:
        self.was_read = True
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def _send(self, message: Any) -> None:
        self.answer |= message


@each("name, method, path", list(routes()))
async def test_no_byte_of_a_body_is_read_before_its_sender_is_known(
    name: str, method: str, path: str
) -> None:
    stranger = Stranger((b"content-type", b"application/json"))
    assert await stranger.sends(APPS[name], method, path) == 401
    assert not stranger.was_read


@each("name, method, path", list(routes()))
async def test_a_body_is_a_few_kilobytes(name: str, method: str, path: str) -> None:
    stranger = Stranger((b"content-length", b"9000"))
    assert await stranger.sends(APPS[name], method, path) == 413
    assert not stranger.was_read


async def test_the_longest_text_is_no_large_body() -> None:
    """Whatever characters it has, in JSON or in a form."""
    settings = VoiceSettings(auth_url="http://auth", voice_max_characters=5000)
    app = create_voice(settings, engine=FakeEngine())
    text = "😀" * 5000
    for request in (
        httpx.Request("POST", "http://voice/voice", content=json.dumps({"text": text})),
        httpx.Request("POST", "http://voice/voice", data={"text": text}),
        httpx.Request("POST", "http://voice/voice", files={"text": (None, text)}),
    ):
        assert 20_000 < len(request.read()) < app.state.body_bytes


@each("name, path", product(APPS, ["/docs", "/redoc", "/docs/oauth2-redirect"]))
async def test_no_page_runs_the_scripts_of_others(name: str, path: str) -> None:
    """They would run where the pet's page keeps its token."""
    transport = httpx.ASGITransport(APPS[name])
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
        assert (await http.get(path)).status_code == 404
        assert (await http.get("/openapi.json")).status_code == 200
