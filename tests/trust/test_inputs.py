"""Whatever comes in by any field of auth, feed and voice.

Nobody is asked who is not in the settings, nothing becomes a header that was none, nothing is a
5xx, and browsers of other origins stay out.
"""

import ast
import io
import re
import shutil
import wave
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from feed.conftest import authorize, migrated

from kotatsu_auth.app import create_app as create_auth
from kotatsu_auth.settings import AuthSettings
from kotatsu_feed.app import create_app as create_feed
from kotatsu_feed.settings import FeedSettings
from kotatsu_github_stub.app import create_app as create_stub
from kotatsu_github_stub.settings import StubSettings
from kotatsu_voice.app import create_app as create_voice
from kotatsu_voice.settings import VoiceSettings

__all__ = ["migrated"]

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HOSTS = {"github", "auth", "engine", "gemini"}
PAGE = "https://pet.example"
TOKEN = {"Authorization": "demo"}


def hum() -> bytes:
    """A tone as a WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(bytes([0, 40, 0, 216]) * 2400)
    return buffer.getvalue()


SPEAKER = {"name": "歌う\r\nSet-Cookie: evil=1", "styles": [{"id": 3, "name": "ok\x00"}]}


class Outside(httpx.AsyncBaseTransport):
    """Everybody whom the services ask; remembers who was asked for what."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.answer: httpx.Response | None = None
        self._github = httpx.ASGITransport(create_stub(StubSettings()))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host, path = request.url.host, request.url.path
        self.asked.append((host, path))
        if self.answer is not None:
            kept = self.answer
            return httpx.Response(kept.status_code, headers=kept.headers, content=kept.content)
        if host == "github":
            return await self._github.handle_async_request(request)
        if host == "auth":
            return authorize(request)
        if host == "engine":
            if path == "/synthesis":
                return httpx.Response(200, content=hum())
            return httpx.Response(200, json=[SPEAKER] if path == "/speakers" else {})
        said = {"candidates": [{"content": {"parts": [{"text": "はい。"}]}}]}
        return httpx.Response(200, json=said)


@pytest.fixture
def outside() -> Outside:
    return Outside()


@pytest.fixture
async def services(
    outside: Outside, tmp_path: Path, migrated: Path
) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """A client of each, all open to one page's origin."""
    shutil.copy(migrated, tmp_path / "pets.sqlite3")
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(transport=outside))
        apps: dict[str, FastAPI] = {
            "auth": create_auth(
                AuthSettings(
                    github_client_id="our-app",
                    github_client_secret="our-secret",
                    github_api_url="http://github",
                    github_oauth_url="http://github",
                    cors_origins=(PAGE,),
                ),
                http=http,
            ),
            "feed": create_feed(
                FeedSettings(
                    auth_url="http://auth",
                    github_api_url="http://github",
                    database_url=f"sqlite:///{tmp_path}/pets.sqlite3",
                    cors_origins=(PAGE,),
                ),
                http=http,
            ),
            "voice": create_voice(
                VoiceSettings(
                    auth_url="http://auth",
                    voice_engine="voicevox-engine",
                    voicevox_engine_url="http://engine",
                    gemini_api_key="key",
                    gemini_api_url="http://gemini/v1beta",
                    cors_origins=(PAGE,),
                ),
                http=http,
            ),
        }
        clients = {}
        for name, app in apps.items():
            await stack.enter_async_context(app.router.lifespan_context(app))
            transport = httpx.ASGITransport(app)
            client = httpx.AsyncClient(transport=transport, base_url=f"http://{name}", timeout=20)
            clients[name] = await stack.enter_async_context(client)
        yield clients


JSON_FIELDS = [
    ("feed", "PUT", "/update_profile", "characterName"),
    ("feed", "PUT", "/change_clothes", "item"),
    ("feed", "PUT", "/change_background", "item"),
    ("voice", "POST", "/voice", "text"),
    ("voice", "POST", "/talk", "message"),
]


async def put_everywhere(services: dict[str, httpx.AsyncClient], text: str) -> list[httpx.Response]:
    """Give a text to every field, parameter and header that there is."""
    answers = []

    async def ask(name: str, method: str, path: str, **how: Any) -> None:
        headers = {**TOKEN, **how.pop("headers", {})}
        answers.append(await services[name].request(method, path, headers=headers, **how))

    for name, method, path, field in JSON_FIELDS:
        await ask(name, method, path, json={field: text})
    await ask("auth", "GET", "/token", params={"code": text})
    await ask("voice", "POST", "/voice", data={"text": text})
    await ask("voice", "POST", "/voice", data={"text": "はい", "style": text})
    await ask("voice", "POST", "/voice", params={"stream": text}, json={"text": "はい"})
    await ask("voice", "POST", "/voice", files={"text": (None, text)})
    header = re.sub(r"[\x00-\x1f\x7f]", "", text).strip().encode()
    for name, path in (("auth", "/authorize"), ("feed", "/home"), ("voice", "/voices")):
        for key in ("Authorization", "X-Forwarded-Host", "Forwarded", "Referer", "X-Original-URL"):
            await ask(name, "GET", path, headers={key: header})
        await ask(name, "GET", path, headers={"Host": header.decode("ascii", "ignore") or "x"})
    await ask("feed", "POST", "/feed", headers={"Idempotency-Key": header})
    await ask("voice", "POST", "/voice", json={"text": "はい"}, headers={"Accept": header})
    await ask("voice", "POST", "/voice", content=b"{}", headers={"Content-Type": header})
    return answers


# --- nobody else is asked ---

ADDRESSES = [
    "http://169.254.169.254/latest/meta-data/",
    "https://evil.example/",
    "//evil.example/x",
    "file:///etc/passwd",
    "gopher://evil.example:70/_x",
    "@evil.example",
    "http://github@evil.example/",
    "../../evil",
    "evil.example/../..",
    "http://[::1]:8080/",
    "%2e%2e%2fevil",
    "?access_token=x#y",
]
KNOWN = {
    ("github", "/user"), ("github", "/graphql"), ("github", "/login/oauth/access_token"),
    ("auth", "/authorize"),
    ("gemini", "/v1beta/models/gemini-3.5-flash-lite:streamGenerateContent"),
    ("engine", "/speakers"), ("engine", "/audio_query"), ("engine", "/synthesis"),
}  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
async def test_an_address_in_any_input_is_only_text(
    services: dict[str, httpx.AsyncClient], outside: Outside, address: str
) -> None:
    await put_everywhere(services, address)
    await services["auth"].get(f"/authorize/{address}", headers=TOKEN)
    assert set(outside.asked) <= KNOWN
    assert {host for host, _ in outside.asked} == HOSTS


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_nobody_follows_where_an_answer_leads(
    services: dict[str, httpx.AsyncClient], outside: Outside, status: int
) -> None:
    location = {"Location": "http://169.254.169.254/", "Refresh": "0; url=http://evil.example"}
    outside.answer = httpx.Response(status, headers=location)
    for answer in await put_everywhere(services, "はい"):
        assert answer.status_code < 500 or answer.status_code in (502, 503)
        assert "location" not in answer.headers
    assert {host for host, _ in outside.asked} <= HOSTS


def test_only_one_place_in_the_services_speaks_http() -> None:
    """What asks by another way than `fetch` may follow redirects, or read without an end."""
    found = []
    for path in (ROOT / "services").rglob("src/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [getattr(node, "module", None) or "", *(n.name for n in node.names)]
                if {"requests", "aiohttp", "urllib.request", "http.client"} & set(names):
                    found.append(f"{path.name}: imports {names}")
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = ast.unparse(node.func.value)
            if owner.endswith("http") and node.func.attr != "aclose":
                found.append(f"{path.name}: {owner}.{node.func.attr}")
    assert found == ["fetch.py: http.stream"]


# --- nothing becomes a header ---


@pytest.mark.parametrize(
    "text", ["a\r\nSet-Cookie: evil=1", "a\nX: y", "a\x00b", "é\u2028ü", "日本"]
)
async def test_no_text_of_anybodys_becomes_a_header(
    services: dict[str, httpx.AsyncClient], text: str
) -> None:
    for answer in await put_everywhere(services, text):
        assert answer.status_code < 500
        assert "set-cookie" not in answer.headers
        for name, value in answer.headers.raw:
            assert not re.search(rb"[\x00-\x08\x0a-\x1f]", name + value)


async def test_an_engines_names_are_encoded_in_the_credit(
    services: dict[str, httpx.AsyncClient],
) -> None:
    answer = await services["voice"].post("/voice", json={"text": "はい"}, headers=TOKEN)
    assert answer.status_code == 200
    assert "%0D%0ASet-Cookie" in answer.headers["x-voice-credit"]
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "wait", [b"1\r\nSet-Cookie: a=b", b"-1", b"1e9", "日".encode(), b"9" * 400]
)
async def test_an_upstreams_header_is_never_passed_on_as_it_is(
    services: dict[str, httpx.AsyncClient], outside: Outside, wait: bytes
) -> None:
    outside.answer = httpx.Response(503, headers=[(b"Retry-After", wait), (b"Set-Cookie", b"a=b")])
    for name, path in (("auth", "/authorize"), ("feed", "/home"), ("voice", "/voices")):
        method = "GET" if name != "voice" else "POST"
        answer = await services[name].request(
            method, path.replace("voices", "voice"), headers=TOKEN
        )
        assert answer.status_code == 503, answer.text
        assert answer.headers["retry-after"].isdecimal()
        assert int(answer.headers["retry-after"]) <= 99_999
        assert "set-cookie" not in answer.headers


# --- nothing is too strange ---

STRANGE = [
    "'; DROP TABLE pets; --",
    "' OR '1'='1",
    '"; SELECT pg_sleep(9)--',
    "%s %(x)s {0} ${x} :name $1 \\'",
    "\x00",
    "\u202eabc\u2066",
    "e" + "\u0301" * 400,
    "👨‍👩‍👧‍👦" * 40,
    "\U0010ffff\ufffe",
    "𝕬𝖑𝖎𝖈𝖊",
    "ﷺ" * 200,
    "\u0130\u1e9e\ufb03",
    "<script>alert(1)</script>",
    "{{7*7}} ${7*7} <%= 7*7 %>",
    "=cmd|' /C calc'!A0",
    "x" * 50_000,
    "9" * 5000,
    "-0",
    "NaN",
]


@pytest.mark.parametrize("text", STRANGE, ids=lambda text: ascii(text)[:30])
async def test_a_strange_text_is_never_an_error_of_ours(
    services: dict[str, httpx.AsyncClient], text: str
) -> None:
    for answer in await put_everywhere(services, text):
        assert answer.status_code < 500, answer.text
    assert (await services["feed"].get("/ranking", headers=TOKEN)).status_code == 200


KINDS = (
    "application/json",
    "application/json; x",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "multipart/form-data; boundary=a",
)
DEEP = 200_000
BODIES = [
    b"[" * DEEP,
    b'{"a":' * DEEP,
    b'{"text": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    b'{"style": ' + b"9" * 5000 + b"}",
    b'{"style": 1e999999, "text": "a"}',
    b'{"style": ' + b"9" * 4299 + b', "text": "a"}',
    b'{"text": "\\ud800", "message": "\\udfff", "item": "\\ud800", "characterName": "\\ud800"}',
    b'{"text": "\xff\xfe"}',
    b'\xef\xbb\xbf{"text": "a"}',
    b"NaN",
    b"-",
    b'"' + b"a" * 500_000 + b'"',
    b'{"text": "a", "text": "b"}' * 100,
    b"\x1f\x8b\x08\x00" + b"\x00" * 100,
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:24]))
async def test_a_strange_body_is_never_an_error_of_ours(
    services: dict[str, httpx.AsyncClient], body: bytes
) -> None:
    for kind in KINDS:
        for name, method, path, _ in JSON_FIELDS:
            headers = {**TOKEN, "Content-Type": kind}
            answer = await services[name].request(method, path, headers=headers, content=body)
            assert answer.status_code < 500, f"{path} {kind}: {answer.text[:300]}"
            assert len(answer.content) < 20_000 or answer.status_code == 200, f"{path} {kind}"


@pytest.mark.parametrize(
    "kind",
    ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a"],
)
async def test_a_body_without_a_declared_length_is_cut_off_at_its_bytes(
    services: dict[str, httpx.AsyncClient], kind: str
) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        yield b"--a\r\nContent-Disposition: form-data; name=text\r\n\r\n"
        while True:
            taken += 65_536
            yield b"x" * 65_536

    for name, method, path, _ in JSON_FIELDS:
        taken = 0
        headers = {**TOKEN, "Content-Type": kind}
        answer = await services[name].request(method, path, headers=headers, content=endless())
        assert answer.status_code == 413, f"{path}: {answer.text}"
        assert taken <= 2 * 65_536


async def test_a_packed_request_is_not_unpacked(services: dict[str, httpx.AsyncClient]) -> None:
    headers = {**TOKEN, "Content-Type": "application/json", "Content-Encoding": "gzip"}
    for name, method, path, _ in JSON_FIELDS:
        packed = b"\x1f\x8b\x08\x00\x00\x00\x00\x00"
        answer = await services[name].request(method, path, headers=headers, content=packed)
        assert answer.status_code in (400, 415, 422)


# --- other origins stay out ---

OTHERS = [
    "https://evil.example",
    "https://pet.example.evil.example",
    "https://evilpet.example",
    "http://pet.example",
    "https://pet.example:8443",
    "https://PET.example",
    "https://pet.example/",
    "null",
    "*",
    "",
    "https://pet.example, https://evil.example",
]


def told(answer: httpx.Response) -> dict[str, str]:
    """What a browser is told about other origins."""
    return {k: v for k, v in answer.headers.items() if k.startswith("access-control-allow")}


@pytest.mark.parametrize("name", ["auth", "feed", "voice"])
async def test_a_browser_hears_exactly_which_page_may_call(
    services: dict[str, httpx.AsyncClient], name: str
) -> None:
    http = services[name]
    preflight = {
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization,idempotency-key,content-type",
    }
    answer = await http.options("/home", headers={"Origin": PAGE, **preflight})
    assert answer.status_code == 200
    assert told(answer) == {
        "access-control-allow-origin": PAGE,
        "access-control-allow-methods": "GET, POST, PUT",
        "access-control-allow-headers": "Accept, Accept-Language, Authorization, "
        "Content-Language, Content-Type, Idempotency-Key",
    }
    cookie = {"Cookie": "a=b"}
    for path in ("/livez", "/nowhere"):  # errors too, or a page could not read them
        answer = await http.get(path, headers={"Origin": PAGE, **cookie})
        assert told(answer) == {"access-control-allow-origin": PAGE}
        assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize("origin", OTHERS)
async def test_another_origin_is_told_nothing(
    services: dict[str, httpx.AsyncClient], origin: str
) -> None:
    for http in services.values():
        for headers in ({}, {"Cookie": "a=b"}, TOKEN):
            answer = await http.get("/livez", headers={"Origin": origin, **headers})
            assert told(answer) == {}
        preflight = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        answer = await http.options("/home", headers=preflight)
        assert "access-control-allow-origin" not in answer.headers
        assert answer.status_code == 400
        assert origin in ("", "*") or origin not in answer.text


async def test_a_method_or_header_that_is_not_ours_is_not_mirrored(
    services: dict[str, httpx.AsyncClient],
) -> None:
    for http in services.values():
        for key, value in (
            ("Method", "DELETE"),
            ("Headers", "x-evil"),
            ("Private-Network", "true"),
        ):
            asked = {"Origin": PAGE, "Access-Control-Request-Method": "GET"}
            asked |= {f"Access-Control-Request-{key}": value}
            answer = await http.options("/home", headers=asked)
            assert answer.status_code == 400
            assert value not in str(told(answer))
            assert "access-control-allow-credentials" not in answer.headers


# --- secrets are not compared byte by byte ---


def test_no_secret_is_compared_with_an_operator() -> None:
    """Tokens are looked up by a keyed hash (auth's cache) or judged by GitHub, never compared."""
    secret = re.compile(r"token|secret|password|api_key", re.IGNORECASE)
    found = []
    for path in (ROOT / "services").rglob("src/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Compare):
                continue
            sides = [names_in(side) for side in (node.left, *node.comparators)]
            is_equality = any(isinstance(op, ast.Eq | ast.NotEq | ast.In) for op in node.ops)
            if is_equality and all(sides) and secret.search(" ".join(map(" ".join, sides))):
                found.append(f"{path.name}: {ast.unparse(node)}")
    assert found == []


def names_in(node: ast.expr) -> set[str]:
    """Every variable and attribute in an expression; none in one that is made of constants."""
    found = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return found | {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
