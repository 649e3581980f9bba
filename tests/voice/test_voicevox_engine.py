"""VOICEVOX ENGINE over HTTP, as far as it can be seen from the wire."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from rows import each
from serving import NO_TLS
from voice.fakes import hum, wav

from kotatsu_voice.engine import (
    EngineFailedError,
    EngineLostError,
    UnspeakableError,
)
from kotatsu_voice.engines import make_engine
from kotatsu_voice.engines.voicevox_engine import VoicevoxHttpEngine
from kotatsu_voice.settings import VoiceSettings

SPEAKERS = [
    {
        "name": "ずんだもん",
        "styles": [
            {"id": 3, "name": "ノーマル", "type": "talk"},
            {"id": 1, "name": "あまあま", "type": "streaming_talk"},
            {"id": 3003, "name": "ハミング", "type": "frame_decode"},
        ],
    },
    {"name": "もち子さん", "styles": [{"id": 20, "name": "ノーマル"}]},
]
QUERY = {"accent_phrases": [], "speedScale": 1.0}


class Remote:
    """The engine's four paths; `failures` come before the next good answers."""

    def __init__(self, *failures: Exception | httpx.Response, **options: Any) -> None:
        self.failures = list(failures)
        self.requests: list[httpx.Request] = []
        self.speakers: Any = SPEAKERS
        self.hangs_at: str | None = None
        self.sound = wav(hum(0.5))
        http = httpx.AsyncClient(transport=httpx.MockTransport(self.handle))
        self.engine = VoicevoxHttpEngine(http, "http://engine:50021/", **options)

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.path == self.hangs_at:
            await asyncio.Event().wait()
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return failure
        answers: dict[str, Any] = {
            "/speakers": {"json": self.speakers},
            "/audio_query": {"json": QUERY},
            "/synthesis": {"content": self.sound},
        }
        return httpx.Response(200, **answers[request.url.path])


async def test_speakers_become_styles_with_credit() -> None:
    remote = Remote()
    await remote.engine.start()
    assert [(style.id, style.speaker, style.credit) for style in remote.engine.styles] == [
        (3, "ずんだもん", "VOICEVOX:ずんだもん"),
        (1, "ずんだもん", "VOICEVOX:ずんだもん"),
        (20, "もち子さん", "VOICEVOX:もち子(cv 明日葉よもぎ)"),
    ]
    assert remote.engine.default_style == 1


async def test_a_sentence_takes_two_requests() -> None:
    remote = Remote()
    pcm = await remote.engine.synthesize("元気？&x=1", 3)
    query, synthesis = remote.requests
    assert (query.method, query.url.path) == ("POST", "/audio_query")
    assert dict(query.url.params) == {"text": "元気？&x=1", "speaker": "3"}
    assert (synthesis.method, synthesis.url.path) == ("POST", "/synthesis")
    assert dict(synthesis.url.params) == {"speaker": "3"}
    assert synthesis.headers["content-type"] == "application/json"
    assert json.loads(synthesis.content) == QUERY
    assert pcm.seconds == pytest.approx(0.5, abs=0.1)


@each("error", [httpx.ConnectError, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError])
async def test_a_broken_connection_is_tried_once_more(error: type[httpx.TransportError]) -> None:
    remote = Remote(error("reset"))
    assert (await remote.engine.synthesize("はい", 3)).seconds > 0
    assert len(remote.requests) == 3
    remote = Remote(error("reset"), error("reset"))
    with pytest.raises(EngineLostError, match="can't be reached"):
        await remote.engine.synthesize("はい", 3)
    assert len(remote.requests) == 2


async def test_a_timeout_is_not_tried_again() -> None:
    remote = Remote(httpx.ReadTimeout("slow"))
    with pytest.raises(EngineLostError, match="did not answer"):
        await remote.engine.synthesize("はい", 3)
    assert len(remote.requests) == 1


async def test_a_refused_text_is_unspeakable_and_a_broken_engine_has_failed() -> None:
    with pytest.raises(UnspeakableError):
        await Remote(httpx.Response(422)).engine.synthesize("はい", 99)
    with pytest.raises(EngineFailedError) as failed:
        await Remote(httpx.Response(500)).engine.synthesize("はい", 3)
    assert not isinstance(failed.value, EngineLostError)


@pytest.mark.parametrize("path", ["/audio_query", "/synthesis", "/speakers"])
async def test_an_engine_that_hangs_is_lost(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("PIECE_SECONDS", "START_SECONDS"):
        monkeypatch.setattr(f"kotatsu_voice.engines.voicevox_engine.{limit}", 0.01)
    remote = Remote()
    remote.hangs_at = path
    with pytest.raises(EngineLostError, match=r"did not answer within 0\.01 seconds"):
        await (
            remote.engine.start() if path == "/speakers" else remote.engine.synthesize("はい", 3)
        )


@each("body", [[{}], {"detail": "x"}, [{"name": "x", "styles": [{"id": "a"}]}]])
async def test_speakers_that_make_no_sense_are_a_failure(body: Any) -> None:
    with pytest.raises(EngineFailedError):
        await Remote(httpx.Response(200, json=body)).engine.start()


async def test_the_settings_choose_it() -> None:
    settings = VoiceSettings(
        voice_anonymous=True, voice_engine="voicevox-engine", voicevox_engine_url="http://engine"
    )
    async with httpx.AsyncClient(verify=NO_TLS) as http:
        assert isinstance(make_engine(settings, http), VoicevoxHttpEngine)
