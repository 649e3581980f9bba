"""The wire format that the existing client relies on, and everything added to it."""

import asyncio
import base64
import io
import json
import wave
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from fastapi import FastAPI
from rows import each
from voice.callers import Auth
from voice.fakes import FakeEngine, Heard, hum, until

from kotatsu_common.identity import Identity
from kotatsu_voice.app import create_app
from kotatsu_voice.settings import VoiceSettings

PROBLEM = "application/problem+json"
BIRD = "あおいことりです。"


async def test_a_form_gets_base64_once(client: httpx.AsyncClient) -> None:
    """The first version encoded twice, so the pet never spoke."""
    answer = await client.post("/voice", data={"text": BIRD})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert Heard(base64.b64decode(answer.text, validate=True)).seconds > 0.3


async def test_json_gets_the_mp3_itself(client: httpx.AsyncClient) -> None:
    answer = await client.post("/voice", json={"text": BIRD})
    assert answer.headers["content-type"] == "audio/mpeg"
    assert Heard(answer.content).seconds > 0.3


async def test_both_forms_carry_the_same_sound(client: httpx.AsyncClient) -> None:
    form = await client.post("/voice", data={"text": BIRD})
    multipart = await client.post("/voice", files={"text": (None, BIRD)})
    raw = await client.post("/voice", json={"text": BIRD})
    assert base64.b64decode(form.content) == base64.b64decode(multipart.content) == raw.content


async def test_a_form_may_hold_plain_utf_8(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    await client.post("/voice", content=f"text={BIRD}".encode(), headers=headers)
    assert engine.spoken[-1][0] == BIRD


async def test_a_trailing_slash_is_no_other_path(client: httpx.AsyncClient) -> None:
    """Clients that are configured with a base URL may end it with one, and follow no redirect."""
    answer = await client.post("/voice/", data={"text": BIRD})
    assert answer.status_code == 200
    assert answer.content == (await client.post("/voice", data={"text": BIRD})).content


@pytest.mark.parametrize("body", [{"data": {"text": BIRD}}, {"json": {"text": BIRD}}])
async def test_accept_overrides_the_form(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    mp3 = await client.post("/voice", headers={"Accept": "audio/mpeg"}, **body)
    assert mp3.headers["content-type"] == "audio/mpeg"
    text = await client.post("/voice", headers={"Accept": "text/plain"}, **body)
    assert base64.b64decode(text.content) == mp3.content
    wav = await client.post("/voice", headers={"Accept": "audio/wav"}, **body)
    assert wav.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(wav.content)) as file:
        assert file.getnchannels() == 1


@each(
    "request_",
    [
        {},
        {"data": {"text": ""}},
        {"data": {"other": "x"}},
        {"files": {"other": (None, "x")}},
        {"json": {"text": ""}},
        {"json": {"text": None}},
        {"json": {}},
        {"content": b"", "headers": {"Content-Type": "application/json"}},
    ],
)
async def test_no_text_is_422_text_not_provided(
    client: httpx.AsyncClient, request_: dict[str, Any]
) -> None:
    answer = await client.post("/voice", **request_)
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
    assert answer.json()["title"] == "Text not provided"


@each("text", ["😀", "!?", "あ" * 600, "한국어", "caf\ufffd"], name=lambda text: text[:3])
async def test_bad_text_is_422_with_a_sentence(client: httpx.AsyncClient, text: str) -> None:
    for body in ({"data": {"text": text}}, {"json": {"text": text}}):
        answer = await client.post("/voice", **body)  # type: ignore[arg-type]
        assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
        assert answer.json()["detail"].endswith((".", "s"))


@each(
    "body",
    [
        b'{"text": "\\ud800"}',
        b'{"text": 3}',
        b'{"text": ["x"]}',
        b"[1]",
        b"{",
        b'"\xff"',
        b"[" * 5_000,
        b'{"text": "x", "style": "loud"}',
    ],
)
async def test_wrong_json_is_422(client: httpx.AsyncClient, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/voice", content=body, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)


async def test_another_kind_of_body_is_415(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "text/xml"}
    answer = await client.post("/voice", content=b"<text/>", headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (415, PROBLEM)


@each("charset", ["punycode", "utf-16", "PUNYCODE", '"punycode"', "none"])
async def test_no_client_chooses_how_a_form_is_decoded(
    client: httpx.AsyncClient, charset: str
) -> None:
    """A mebibyte of punycode would take a minute of the event loop."""
    body = b'--b\r\nContent-Disposition: form-data; name="text-"\r\n\r\na-aaaa\r\n--b--\r\n'
    kind = f"multipart/form-data; boundary=b; charset={charset}"
    answer = await client.post("/voice", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.headers["content-type"]) == (415, PROBLEM)
    assert "UTF-8" in answer.json()["detail"]


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", '"utf-8"'])
async def test_a_multipart_form_may_say_that_it_is_utf_8(
    client: httpx.AsyncClient, engine: FakeEngine, charset: str
) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n%s\r\n--b--\r\n'
    kind = f"multipart/form-data; boundary=b; charset={charset}"
    await client.post("/voice", content=body % BIRD.encode(), headers={"Content-Type": kind})
    assert engine.spoken[-1][0] == BIRD


async def test_a_form_with_too_many_fields_is_refused(client: httpx.AsyncClient) -> None:
    fields = {f"f{n}": "x" for n in range(50)}
    assert (await client.post("/voice", data=fields)).status_code == 422
    assert (
        await client.post("/voice", files={k: (None, v) for k, v in fields.items()})
    ).status_code == 400


async def test_a_style_can_be_chosen(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    await client.post("/voice", json={"text": BIRD, "style": 1})
    await client.post("/voice", data={"text": "ね" + BIRD, "style": "1"})
    assert [style for _, style in engine.spoken[1:]] == [1, 1]
    for body in ({"json": {"text": BIRD, "style": 99}}, {"data": {"text": BIRD, "style": "99"}}):
        answer = await client.post("/voice", **body)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["title"]) == (422, "Unknown style")
    assert (await client.post("/voice", data={"text": BIRD, "style": "x"})).status_code == 422


async def test_each_answer_carries_the_credit_that_scripts_may_read(
    client: httpx.AsyncClient,
) -> None:
    headers = {"Origin": "http://page.example"}
    for url in ("/voice", "/voice?stream=true"):
        answer = await client.post(url, json={"text": BIRD}, headers=headers)
        assert unquote(answer.headers["x-voice-credit"]) == "VOICEVOX:ずんだもん"
        assert "X-Voice-Credit" in answer.headers["access-control-expose-headers"]


async def test_letters_that_are_left_out_are_named(client: httpx.AsyncClient) -> None:
    headers = {"Origin": "http://page.example"}
    for url in ("/voice", "/voice?stream=true"):
        answer = await client.post(url, json={"text": f"{BIRD}龘と한と龘。"}, headers=headers)
        assert unquote(answer.headers["x-voice-left-out"]) == "龘한"
        assert "X-Voice-Left-Out" in answer.headers["access-control-expose-headers"]
    assert "x-voice-left-out" not in (await client.post("/voice", json={"text": BIRD})).headers


async def test_voices_lists_styles_and_credit(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/voices")).json()
    assert (answer["engine"], answer["credit"]) == ("fake", "VOICEVOX:ずんだもん")
    assert [(s["id"], s["name"], s["default"]) for s in answer["styles"]] == [
        (3, "ノーマル", True),
        (1, "あまあま", False),
    ]


async def test_a_stream_is_mp3_in_parts(client: httpx.AsyncClient) -> None:
    text = "いちばんめのぶんです。にばんめのぶんです。さんばんめのぶんです。"
    async with client.stream("POST", "/voice?stream=true", json={"text": text}) as answer:
        assert answer.headers["content-type"] == "audio/mpeg"
        assert "content-length" not in answer.headers
        streamed = await answer.aread()
    whole = await client.post("/voice", json={"text": text})
    assert streamed == whole.content


async def test_a_stream_of_nothing_is_still_a_422(client: httpx.AsyncClient) -> None:
    answer = await client.post("/voice?stream=true", json={"text": "한국어"})
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)


async def test_a_broken_engine_is_503_and_not_500(client: httpx.AsyncClient) -> None:
    for url in ("/voice", "/voice?stream=true"):
        answer = await client.post(url, json={"text": "故障"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_a_full_queue_is_503_with_retry_after(engine: FakeEngine) -> None:
    app = create_app(VoiceSettings(voice_anonymous=True, voice_queue=1), engine=engine)
    async with app.router.lifespan_context(app), _client(app) as client:
        await app.state.speaker.awake()
        engine.gate.clear()
        first = asyncio.create_task(client.post("/voice", json={"text": "いち。"}))
        await until(lambda: engine.active == 1)
        answer = await client.post("/voice", json={"text": "に。"})
        assert (answer.status_code, answer.json()["title"]) == (503, "The voice is busy")
        assert int(answer.headers["retry-after"]) >= 1
        engine.gate.set()
        assert (await first).status_code == 200


async def test_it_is_ready_only_after_it_has_spoken(engine: FakeEngine, app: FastAPI) -> None:
    engine.gate.clear()
    async with app.router.lifespan_context(app), _client(app) as client:
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503
        early = asyncio.create_task(client.post("/voice", json={"text": BIRD}))
        engine.gate.set()
        assert (await early).status_code == 200  # it waited for the voice
        assert (await client.get("/readyz")).status_code == 200


class Leaver:
    """A client that sends a text and goes away when it is told to."""

    def __init__(self, app: FastAPI, text: str, query: bytes = b"") -> None:
        body = json.dumps({"text": text}).encode()
        self.messages = [{"type": "http.request", "body": body, "more_body": False}]
        self.gone = asyncio.Event()
        self.sent: list[Any] = []
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/voice",
            "raw_path": b"/voice",
            "query_string": query,
            "headers": [(b"content-type", b"application/json")],
            "http_version": "1.1",
        }
        self.call = asyncio.create_task(app(scope, self.receive, self.send))  # type: ignore[arg-type]

    async def receive(self) -> dict[str, Any]:
        if self.messages:
            return self.messages.pop()
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)


@pytest.mark.parametrize("query", [b"", b"stream=true"])
async def test_work_for_a_client_that_left_is_dropped(
    engine: FakeEngine, app: FastAPI, query: bytes
) -> None:
    async with app.router.lifespan_context(app):
        await app.state.speaker.awake()
        engine.gate.clear()
        client = Leaver(app, "もういません。にばんめ。", query)
        await until(lambda: engine.active == 1)
        client.gone.set()
        await client.call
        assert client.sent[0]["status"] == 499
        engine.gate.set()
        await until(lambda: engine.active == 0)
        assert [text for text, _ in engine.spoken[1:]] == ["もういません。"]


async def test_a_stream_that_nobody_hears_any_more_ends(settings: VoiceSettings) -> None:
    engine = FakeEngine(workers=1)
    app = create_app(settings, engine=engine)
    async with app.router.lifespan_context(app):
        await app.state.speaker.awake()
        engine.answer = lambda _: engine.gate.clear() or hum(0.5)  # type: ignore[func-returns-value]
        client = Leaver(app, "いちばん。にばん。さんばん。", b"stream=true")
        await until(lambda: len(client.sent) > 1)
        client.gone.set()
        await client.call
        await until(lambda: len(app.state.speaker._renderings) == 0)
        engine.gate.set()
        await until(lambda: engine.active == 0)
    assert client.sent[0]["status"] == 200
    assert [text for text, _ in engine.spoken[1:]] == ["いちばん。", "にばん。"]


@pytest.mark.parametrize("query", [b"", b"stream=true"])
async def test_a_client_that_left_before_the_first_word_is_not_waited_for(
    engine: FakeEngine, app: FastAPI, query: bytes
) -> None:
    """SIGTERM's end waits for each request: this one would delay it by half a minute."""
    engine.gate.clear()
    async with app.router.lifespan_context(app):
        client = Leaver(app, BIRD, query)
        await until(lambda: not client.messages)
        client.gone.set()
        async with asyncio.timeout(5):
            await client.call
    assert client.sent[0]["status"] == 499


@pytest.mark.parametrize(("accept", "size"), [("audio/wav", 1), ("audio/mpeg", 1), ("*/*", 4 / 3)])
async def test_a_whole_sound_says_how_long_it_is(
    client: httpx.AsyncClient, accept: str, size: float
) -> None:
    answer = await client.post("/voice", data={"text": BIRD}, headers={"Accept": accept})
    assert int(answer.headers["content-length"]) == len(answer.content)
    sound = answer.content if size == 1 else base64.b64decode(answer.content, validate=True)
    assert Heard(sound).seconds > 0.3


async def test_without_anonymous_callers_each_call_needs_a_good_token(engine: FakeEngine) -> None:
    auth = Auth()
    settings = VoiceSettings(auth_url="http://auth")
    app = create_app(settings, engine=engine, identity=auth)  # type: ignore[arg-type]
    async with app.router.lifespan_context(app), _client(app) as client:
        for path in ("/voice", "/voice/", "/talk"):
            refused = await client.post(path, json={"text": BIRD})
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            answer = await client.post(path, json={"text": BIRD}, headers={"Authorization": "good"})
            assert answer.status_code == 200
        assert (await client.get("/voices")).status_code == 200
    assert auth.asked == [None, "good"] * 3


async def test_where_anybody_may_call_a_token_is_not_even_looked_at(engine: FakeEngine) -> None:
    auth = Auth()
    settings = VoiceSettings(voice_anonymous=True, auth_url="http://auth")
    app = create_app(settings, engine=engine, identity=auth)  # type: ignore[arg-type]
    async with app.router.lifespan_context(app), _client(app) as client:
        answer = await client.post("/voice", json={"text": BIRD}, headers={"Authorization": "bad"})
    assert answer.status_code == 200
    assert auth.asked == []


async def test_where_anybody_may_have_a_text_spoken_only_known_users_may_talk(
    engine: FakeEngine,
) -> None:
    auth = Auth()
    settings = VoiceSettings(voice_anonymous=True, auth_url="http://auth")
    app = create_app(settings, engine=engine, identity=auth)  # type: ignore[arg-type]
    async with app.router.lifespan_context(app), _client(app) as client:
        for token in ({}, {"Authorization": "bad"}):
            assert (await client.post("/talk", headers=token)).status_code == 401
        answer = await client.post("/talk", headers={"Authorization": "good"})
    assert answer.status_code == 200
    assert auth.asked == [None, "bad", "good"]


async def test_where_nobody_can_be_known_there_is_no_talk(client: httpx.AsyncClient) -> None:
    assert (await client.post("/voice", json={"text": BIRD})).status_code == 200
    assert (await client.post("/talk", headers={"Authorization": "good"})).status_code == 404


async def test_auth_is_asked_over_http_by_default(engine: FakeEngine) -> None:
    def auth(request: httpx.Request) -> httpx.Response:
        assert request.url == "http://auth:8080/authorize"
        return httpx.Response(200, json=Identity(1, "bird", "https://a.example/1").to_json())

    http = httpx.AsyncClient(transport=httpx.MockTransport(auth))
    app = create_app(VoiceSettings(auth_url="http://auth:8080"), engine=engine, http=http)
    async with app.router.lifespan_context(app), _client(app) as client:
        answer = await client.post("/voice", json={"text": BIRD}, headers={"Authorization": "x"})
    assert answer.status_code == 200
    assert not http.is_closed  # it isn't the app's to close


def _client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://voice")
