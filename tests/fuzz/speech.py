"""Texts to speak, and what is posted to /voice."""

import asyncio
import time
from functools import cache
from typing import Any

import httpx
from fuzz.kit import SOON, Target, attempt, mixed
from hypothesis import strategies as st
from voice.fakes import FakeEngine, hum

from kotatsu_voice.app import create_app
from kotatsu_voice.settings import VoiceSettings
from kotatsu_voice.text import HARD_PIECE_CHARACTERS, PIECE_CHARACTERS, TextError, pieces, prepare

_SPEECH = mixed(
    "こんにちは", "。", "、", "！", "ハ" * 10, "12~3", "~", "℃", "㍿", "ﷺ", "…", "\n", "a.",
    "(", "」", "ー", "が", "🍣", "\ud800", "\u200b", "\u3099", "\ufffd", "1" * 30, "١",
    "\u2028", most=14,
)  # fmt: skip
SPEECH = st.one_of(_SPEECH, st.text(max_size=60))


def speech(text: str) -> None:
    """A text is refused in a sentence, or parted into pieces that are short and can be spoken."""
    began = time.process_time()
    prepared, why = attempt(lambda: prepare(text, 500), TextError)
    if prepared is None:
        assert all(why.split(": ", 1))
        return
    parts = pieces(prepared)
    assert parts
    assert all(0 < len(p.text) <= max(HARD_PIECE_CHARACTERS, PIECE_CHARACTERS) for p in parts)
    assert prepare(prepared, 5000)
    assert time.process_time() - began < SOON


@cache
def _voice() -> Any:
    engine = FakeEngine(workers=1)
    engine.answer = lambda _: hum(0.05, edge=0)
    return create_app(VoiceSettings(voice_anonymous=True), engine=engine)


async def _post(kind: str, accept: str, body: bytes) -> int:
    app = _voice()
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://voice") as http,
    ):
        headers = {"Content-Type": kind.encode("latin-1"), "Accept": accept.encode("latin-1")}
        answer = await http.post("/voice", content=body, headers=headers)
        await answer.aread()
        return answer.status_code


KINDS = st.one_of(
    st.sampled_from(
        [
            "application/json", "application/json; charset=utf-16", "multipart/form-data",
            "application/x-www-form-urlencoded", "multipart/form-data; boundary=a",
            "text/plain", "",
        ]
    ),
    mixed("application/", "json", "; ", "boundary=", '"', "multipart/form-data"),
)  # fmt: skip
BODIES = st.one_of(
    mixed(
        "text=", "style=", "&", "%", "%e3%81%82", "a", '{"text": ', '"', "}", "[", "1", "null",
        ", ", '"style": ', "--a", "\r\n", 'Content-Disposition: form-data; name="text"', "--",
        "1e999", '"\\ud800"', "9" * 400,
    ),
    st.text(max_size=40).map(lambda text: f'{{"text": "{text}"}}'.encode().decode("latin-1")),
)  # fmt: skip
ACCEPTS = st.one_of(
    st.sampled_from(["*/*", "audio/mpeg", "audio/wav", "text/plain", "audio/*;q=0", ""]),
    mixed("audio/", "mpeg", "wav", "*", "/", ";q=", "0.5", "nan", "inf", "-1", ",", "1e999"),
)


def voice_route(given: list[str]) -> None:
    """Whatever is posted, the answer is no 5xx (503: the engine is busy)."""
    kind, accept, body = (part.replace("\r", "").replace("\n", "") for part in (*given[:2], ""))
    body = given[2]
    status = asyncio.run(_post(kind, accept, body.encode("latin-1", "replace")))
    assert status < 500 or status == 503


TARGETS = [
    Target("speech", SPEECH, speech),
    Target("voice_route", st.tuples(KINDS, ACCEPTS, BODIES).map(list), voice_route, 40),
]
