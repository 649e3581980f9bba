"""An engine that hangs, goes away or panics while the voice serves."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from voice.fakes import FakeEngine, until
from voice.voicevox_contract import FakeCore

from kotatsu_voice.app import STALLED, create_app
from kotatsu_voice.engine import EngineFailedError, EngineLostError
from kotatsu_voice.engines.voicevox import VoicevoxEngine
from kotatsu_voice.metrics import VoiceMetrics
from kotatsu_voice.settings import VoiceSettings
from kotatsu_voice.speaker import MP3, Speaker

GONE = "行方不明。"


@pytest.fixture
async def speaker(engine: FakeEngine) -> Speaker:
    engine.workers = 1
    metrics = VoiceMetrics(CollectorRegistry())
    speaker = Speaker(engine, metrics, queue=10, cache_bytes=0, max_characters=500)
    await speaker.wake()
    engine.spoken.clear()
    return speaker


async def say(speaker: Speaker, words: str) -> bytes:
    return await speaker.say(speaker.utterance(words, None, MP3))


async def test_those_who_wait_in_line_fail_with_the_first(
    speaker: Speaker, engine: FakeEngine
) -> None:
    engine.gate.clear()
    callers = [asyncio.create_task(say(speaker, GONE))]
    await until(lambda: engine.active == 1)
    callers += [asyncio.create_task(say(speaker, f"{n}ばんめ。")) for n in range(3)]
    engine.gate.set()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [EngineLostError, *[EngineFailedError] * 3]
    assert engine.spoken == [(GONE, engine.default_style)]


async def test_callers_who_wait_for_the_first_start_get_its_reason_at_once(
    engine: FakeEngine,
) -> None:
    engine.away = EngineFailedError("The model can't be read.")
    speaker = Speaker(
        engine, VoiceMetrics(CollectorRegistry()), queue=10, cache_bytes=0, max_characters=500
    )
    waiting = asyncio.create_task(speaker.awake())
    with pytest.raises(EngineFailedError):
        await speaker.wake()
    with pytest.raises(EngineFailedError, match="model can't be read"):
        async with asyncio.timeout(5):
            await waiting
    engine.away = None
    await speaker.wake()
    await speaker.awake()


async def test_a_failure_is_logged_when_it_begins(
    speaker: Speaker, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        with pytest.raises(EngineFailedError):
            await say(speaker, "故障。")

    for _ in range(3):
        await fail()
    assert [record.message for record in caplog.records] == [
        "the engine failed: The engine is broken."
    ]
    await say(speaker, "はい。")
    await fail()
    assert len(caplog.records) == 2


@pytest.fixture
async def client(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setattr("kotatsu_voice.app.FIRST_RETRY_SECONDS", 0.001)
    monkeypatch.setattr("kotatsu_voice.app.LONGEST_RETRY_SECONDS", 0.001)
    async with app.router.lifespan_context(app):
        await app.state.speaker.awake()
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://voice") as http:
            yield http


async def becomes(client: httpx.AsyncClient, status: int) -> httpx.Response:
    async with asyncio.timeout(5):
        while (answer := await client.get("/readyz")).status_code != status:
            await asyncio.sleep(0)
    return answer


async def test_an_engine_that_is_gone_for_good_is_not_ready(
    client: httpx.AsyncClient, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    engine.away = EngineFailedError("The engine can't be reached.")
    for words in (GONE, "はい。"):
        answer = await client.post("/voice", json={"text": words})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "can't be reached" in (await becomes(client, 503)).json()["detail"]
    starts = engine.starts
    await until(lambda: engine.starts > starts + 3)
    assert [record.message for record in caplog.records if record.name == "kotatsu.voice"] == [
        "the engine failed: The engine is gone.",
        "the voice does not speak yet: The engine can't be reached.",
    ]
    engine.away = None
    await becomes(client, 200)
    assert (await client.post("/voice", json={"text": "はい。"})).status_code == 200


async def test_an_engine_that_is_back_at_once_stays_ready(
    client: httpx.AsyncClient, app: FastAPI, engine: FakeEngine
) -> None:
    assert (await client.post("/voice", json={"text": GONE})).status_code == 503
    await until(lambda: engine.starts == 2)
    assert (await client.get("/readyz")).status_code == 200
    await until(lambda: app.state.speaker.is_awake)
    assert (await client.post("/voice", json={"text": "はい。"})).status_code == 200


async def test_a_stream_that_fails_midway_is_cut_and_raises_nothing(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    """Starlette would raise an error that the server logs with its traceback."""
    body = json.dumps({"text": f"いちばんめのぶんです。{GONE}"}).encode()
    received = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        if received:
            return received.pop()
        await asyncio.Event().wait()
        return None

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/voice",
        "query_string": b"stream=true",
        "headers": [(b"content-type", b"application/json")],
        "http_version": "1.1",
    }
    await app(scope, receive, send)
    assert sent[0]["status"] == 200
    assert all(message["more_body"] for message in sent[1:])
    assert any(message["body"] for message in sent[1:])


@pytest.fixture
async def voicevox(core: FakeCore) -> AsyncIterator[FastAPI]:
    """The app with voicevox_core."""
    engine = VoicevoxEngine("/opt/lib.so", "/opt/dict", "/opt/0.vvm")
    app = create_app(VoiceSettings(voice_anonymous=True), engine=engine)
    async with app.router.lifespan_context(app):
        await app.state.speaker.awake()
        yield app


@pytest.fixture
async def core(monkeypatch: pytest.MonkeyPatch) -> FakeCore:
    core = FakeCore()
    core.install(monkeypatch)
    return core


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://voice")


@pytest.mark.slow
async def test_a_text_that_hangs_in_voicevox_is_a_503_and_the_next_one_is_spoken(
    voicevox: FastAPI, core: FakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kotatsu_voice.speaker.PIECE_SECONDS", 2.0)
    async with client_of(voicevox) as client:
        hung = await client.post("/voice", json={"text": "停止"})
        assert (hung.status_code, hung.json()["title"]) == (503, "The voice is not well")
        assert "did not answer" in hung.json()["detail"]
        monkeypatch.setattr("kotatsu_voice.speaker.PIECE_SECONDS", 30.0)
        await until(lambda: voicevox.state.speaker.is_awake)
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.post("/voice", json={"text": "はい。"})).status_code == 200
        metrics = (await client.get("/metrics")).text
    assert 'kotatsu_voice_engine_losses_total{engine="voicevox"} 1.0' in metrics
    assert [call[0] for call in core.calls].count("load_voice_model") == 2


@pytest.mark.slow
async def test_while_a_stalled_inference_goes_on_an_idle_process_asks_to_be_restarted(
    voicevox: FastAPI, core: FakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kotatsu_voice.speaker.PIECE_SECONDS", 2.0)
    speaker = voicevox.state.speaker
    async with client_of(voicevox) as client:
        assert (await client.post("/voice", json={"text": "停止"})).status_code == 503
        monkeypatch.setattr("kotatsu_voice.speaker.PIECE_SECONDS", 30.0)
        await until(lambda: speaker.is_awake)
        core.gate.clear()
        speaking = asyncio.create_task(client.post("/voice", json={"text": "つぎのひと。"}))
        await until(lambda: len(core.inferences) == 2)
        assert (await client.get("/livez")).status_code == 200
        core.gate.set()
        assert (await speaking).status_code == 200
        answer = await client.get("/livez")
        assert (answer.status_code, answer.json()["detail"]) == (503, STALLED)
        core.end_of_stall.set()
        await until(lambda: not speaker.is_stalled)
        assert (await client.get("/livez")).status_code == 200


async def test_sixty_dropped_requests_leave_voicevox_one_inference(
    voicevox: FastAPI, core: FakeCore
) -> None:
    core.gate.clear()
    speaker = voicevox.state.speaker
    for n in range(60):
        dropped = asyncio.create_task(say(speaker, f"{n}ばん。"))
        await until(lambda: len(core.inferences) > 0)
        for _ in range(10):  # time enough to come to the engine, if it were its turn
            await asyncio.sleep(0)
        dropped.cancel()
    assert len(core.inferences) == core.most_inferences == 1
    core.gate.set()
    assert await say(speaker, "つぎのひと。")
    assert core.most_inferences == 1


async def test_an_engine_that_does_not_come_back_soon_is_not_ready(
    client: httpx.AsyncClient, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that hangs, too: it raises nothing, and requests get 503 meanwhile."""
    monkeypatch.setattr("kotatsu_voice.app.RELOAD_SECONDS", 0.001)
    engine.start_gate.clear()
    assert (await client.post("/voice", json={"text": GONE})).status_code == 503
    assert "gone" in (await becomes(client, 503)).json()["detail"]
    engine.start_gate.set()
    await becomes(client, 200)
    assert (await client.post("/voice", json={"text": "はい。"})).status_code == 200
