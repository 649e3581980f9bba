"""Open JTalk for real: Japanese speech, judged by its numbers."""

import asyncio
import random
import string
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from prometheus_client import CollectorRegistry
from rows import each
from voice.fakes import Heard, level, mp3

from kotatsu_voice.engine import SilentError, UnspeakableError
from kotatsu_voice.engines.openjtalk import MEI, OpenJTalkEngine
from kotatsu_voice.metrics import VoiceMetrics
from kotatsu_voice.speaker import MP3, Speaker
from kotatsu_voice.text import pieces, prepare


@pytest.fixture(scope="module")
def engine() -> Iterator[OpenJTalkEngine]:
    engine = OpenJTalkEngine(2)
    asyncio.run(engine.start())
    yield engine
    asyncio.run(engine.close())


async def speaker_of(engine: OpenJTalkEngine) -> Speaker:
    metrics = VoiceMetrics(CollectorRegistry())
    speaker = Speaker(engine, metrics, queue=100, cache_bytes=0, max_characters=500)
    await speaker.wake()
    return speaker


@pytest.fixture
async def speaker(engine: OpenJTalkEngine) -> AsyncIterator[Speaker]:
    return await speaker_of(engine)


async def say(speaker: Speaker, text: str) -> Heard:
    return Heard(await speaker.say(speaker.utterance(text, None, MP3)))


@each(
    "text, moras",
    [
        ("こんにちは。", 5),
        ("東京特許許可局。", 12),
        ("今日はとても良い天気ですね。", 14),
        ("何ですか。", 5),
        ("25℃です。", 9),
        ("㍿です。", 10),
        ("Hello.", 4),
    ],
)
async def test_speech_is_as_long_as_its_moras(speaker: Speaker, text: str, moras: int) -> None:
    heard = await say(speaker, text)
    assert 0.08 * moras < heard.seconds < 0.25 * moras + 0.2
    assert 0.3 < heard.peak < 1.0
    assert heard.rms > 0.03


@each(
    "text",
    [
        "ハ" * 10,
        "あ" * 500,
        "母" * 30,
        "きゃーーーーーーーー",
        "w" * 40,
        "ハヒ" * 30,
        "ん" * 50,
        "あい" * 200,
    ],
    name=lambda text: text[:2],
)
async def test_repeated_kana_is_short_speech_and_no_noise(speaker: Speaker, text: str) -> None:
    heard = await say(speaker, text)
    assert 0.15 < heard.seconds < 3
    assert heard.peak < 1.0
    assert heard.rms > 0.02  # an exploded filter leaves one spike and silence


@pytest.mark.slow
async def test_what_still_explodes_is_refused(engine: OpenJTalkEngine) -> None:
    with pytest.raises(UnspeakableError, match="repeats"):
        await engine.synthesize("あ" * 60, 0)


@each("text", ["한국어", "สวัสดี", "ー", "。"])
async def test_what_has_no_reading_is_silent(engine: OpenJTalkEngine, text: str) -> None:
    with pytest.raises(SilentError):
        await engine.synthesize(text, 0)


async def test_a_short_text_with_an_endless_reading_is_refused(engine: OpenJTalkEngine) -> None:
    letters = "".join(random.Random(n).choice(string.ascii_letters) for n in range(120))
    for text in ("W" * 120, letters, "志承詔侍政詳著慮" * 15):
        with pytest.raises(UnspeakableError, match="too long"):
            await engine.synthesize(text, 0)
    engine._labels("東京特許許可局長今日急遽休暇許可却下" * 6)


async def test_the_same_text_sounds_the_same(engine: OpenJTalkEngine) -> None:
    first = await engine.synthesize("おなじです。", 0)
    assert await engine.synthesize("おなじです。", 0) == first


async def test_the_voice_is_credited_and_is_not_zundamon(engine: OpenJTalkEngine) -> None:
    (style,) = engine.styles
    assert "Nagoya Institute of Technology" in style.credit
    assert "CC BY 3.0" in style.credit
    assert "VOICEVOX" not in style.credit


@each(
    "text",
    [
        "こたつの歴史は室町時代にさかのぼります。",
        "東京タワーは観光名所です。",
        "この製品の価格は千円です。",
    ],
)
def test_a_sentence_parted_after_its_topic_is_read_as_the_whole(
    engine: OpenJTalkEngine, text: str
) -> None:
    parts = [piece.text for piece in pieces(prepare(text, 500))]
    assert len(parts) == 2
    assert sum(map(len, map(engine._labels, parts))) == len(engine._labels(text))
    assert [sound for part in parts for sound in phonemes(engine, part)] == phonemes(engine, text)


UNMARKED = (
    "こたつは冬のあいだ家族が集まる場所です昔から多くの人にとても愛されてきましたみかんを食べながらテレビを"
    "見てのんびりと過ごす時間は格別です外は寒くてもこたつに入ればすぐに暖かくなりますので毎年楽しみにしています"
)


async def test_text_without_punctuation_begins_as_soon_as_text_with_it(
    engine: OpenJTalkEngine,
) -> None:
    """The engine's time is that of the sound which it makes first."""
    marked = UNMARKED.replace("こたつは冬", "こたつは、冬").replace("です", "です。")
    first, usual = [
        (await engine.synthesize(pieces(prepare(text, 500))[0].text, MEI)).seconds
        for text in (UNMARKED, marked)
    ]
    assert first <= 1.5 * usual


async def test_pieces_of_a_sentence_have_one_level(engine: OpenJTalkEngine) -> None:
    words = [piece.text for piece in pieces(prepare(f"はい、{UNMARKED}、そうですね、ええ。", 500))]
    assert len(words) > 3
    levels = [level(mp3(await engine.synthesize(part, MEI))) for part in words]
    assert max(levels) - min(levels) < 1


def phonemes(engine: OpenJTalkEngine, text: str) -> list[str]:
    return [label.partition("-")[2].partition("+")[0] for label in engine._labels(text)]


async def test_a_thread_that_hangs_is_replaced_by_the_next_start() -> None:
    engine, end = OpenJTalkEngine(1), threading.Event()
    await engine.start()
    engine._pool.submit(end.wait)
    try:
        async with asyncio.timeout(20):
            await engine.start()
            assert (await engine.synthesize("はい。", engine.default_style)).seconds > 0
    finally:
        end.set()
        await engine.close()
