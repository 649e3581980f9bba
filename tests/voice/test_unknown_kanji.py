"""Kanji and other letters that Open JTalk's dictionary lacks.

The package would ask Sudachi about a kanji, whose dictionary (200 MB) is not installed.
"""

from collections.abc import AsyncIterator

import httpx
import pytest
from rows import each
from voice.fakes import Heard

from kotatsu_voice.app import create_app
from kotatsu_voice.engines.openjtalk import OpenJTalkEngine
from kotatsu_voice.settings import VoiceSettings


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(VoiceSettings(voice_anonymous=True))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://voice") as client:
            yield client


@each(
    "text, reading, left_out",
    [
        ("龘です。", "トーデス、", ""),
        ("鱲子を食べる。", "カラスミヲタベル、", ""),
        ("彳亍する。", "テキチョクスル、", ""),
        ("はい한です。", "ハイ、デス、", "한"),
        ("㐃です。", "、デス、", "㐃"),
    ],
)
def test_only_a_letter_without_a_reading_is_left_out_and_it_is_named(
    text: str, reading: str, left_out: str
) -> None:
    engine = OpenJTalkEngine(1)
    engine._load()
    assert engine.reading(text) == reading
    assert engine.left_out(text) == left_out


async def test_the_sentence_around_such_a_letter_is_spoken(client: httpx.AsyncClient) -> None:
    """鱲 has a reading, 한 has none, 乃 has one but is in the dictionary only within words."""
    rest = Heard((await client.post("/voice", json={"text": "とても長い文です。"})).content)
    for text in ("鱲はとても長い文です。", "한とても長い文です。", "乃はとても長い文です。"):
        answer = await client.post("/voice", json={"text": text})
        assert answer.status_code == 200
        assert Heard(answer.content).seconds > 0.9 * rest.seconds
        assert ("x-voice-left-out" in answer.headers) == ("한" in text)
