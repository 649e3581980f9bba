import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from voice.fakes import SECONDS_PER_CHARACTER, FakeEngine, Heard, until

from kotatsu_voice.engine import (
    EngineFailedError,
    EngineLostError,
    UnknownStyleError,
    UnspeakableError,
)
from kotatsu_voice.metrics import VoiceMetrics
from kotatsu_voice.rendering import Chunks, SlowClientError
from kotatsu_voice.speaker import FIRST_WORDS, MP3, WAV, BusyError, Speaker
from kotatsu_voice.text import SENTENCE_PAUSE, TextError

LONG = "ことりがそらをとんでいます。とてもきれいなあおいはねです。きょうはおまつりです。"
PARTS = [part + "。" for part in LONG.split("。")[:-1]]


class Rig:
    def __init__(self, engine: FakeEngine, **options: Any) -> None:
        self.engine = engine
        self.registry = CollectorRegistry()
        values = {"queue": 10, "cache_bytes": 10_000_000, "max_characters": 500, **options}
        self.speaker = Speaker(engine, VoiceMetrics(self.registry), **values)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"kotatsu_voice_{name}", labels)

    async def say(self, words: str, media: str = MP3, style: int | None = None) -> bytes:
        return await self.speaker.say(self.speaker.utterance(words, style, media))

    async def whole(self, words: str) -> tuple[int, Chunks]:
        return await self.speaker.whole(self.speaker.utterance(words, None, WAV))

    async def stream(self, words: str) -> list[bytes]:
        utterance = self.speaker.utterance(words, None, MP3)
        return [chunk async for chunk in await self.speaker.stream(utterance)]


async def woken(engine: FakeEngine, **options: Any) -> Rig:
    rig = Rig(engine, **options)
    await rig.speaker.wake()
    engine.spoken.clear()
    return rig


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_it_speaks_once_before_it_is_awake(engine: FakeEngine) -> None:
    rig = Rig(engine)
    with pytest.raises(EngineFailedError):
        await rig.speaker.awake(timeout=0.01)
    await rig.speaker.wake()
    await rig.speaker.awake()
    assert engine.spoken == [(FIRST_WORDS, engine.default_style)]
    assert (rig.value("ready_timestamp_seconds") or 0) > 0


async def test_a_default_style_that_does_not_exist_keeps_it_from_waking(engine: FakeEngine) -> None:
    engine.default_style = 99
    with pytest.raises(UnknownStyleError):
        await Rig(engine).speaker.wake()


async def test_a_text_is_spoken_piece_by_piece_in_order(engine: FakeEngine) -> None:
    rig = await woken(engine)
    heard = Heard(await rig.say(LONG))
    assert [text for text, _ in engine.spoken] == [
        "ことりがそらをとんでいます。",
        "とてもきれいなあおいはねです。",
        "きょうはおまつりです。",
    ]
    pauses = 2 * SENTENCE_PAUSE
    assert heard.seconds == pytest.approx(len(LONG) * SECONDS_PER_CHARACTER + pauses, abs=0.4)
    assert 0.1 < heard.peak < 0.3


async def test_the_first_sentence_is_sent_before_the_last_is_spoken(engine: FakeEngine) -> None:
    engine.workers = 1
    rig = await woken(engine)
    stream = await rig.speaker.stream(rig.speaker.utterance(LONG, None, MP3))
    engine.gate.clear()
    assert await anext(stream)
    assert len(engine.spoken) < 3
    engine.gate.set()
    assert [chunk async for chunk in stream]


async def test_nothing_else_is_spoken_beside_the_first_sentence(engine: FakeEngine) -> None:
    rig = await woken(engine)
    engine.gate.clear()
    task = asyncio.create_task(rig.say(LONG))
    await settle()
    assert engine.active == 1
    engine.gate.set()
    await task


async def test_no_more_sentences_at_once_than_workers(engine: FakeEngine) -> None:
    rig = await woken(engine)
    engine.gate.clear()
    tasks = [asyncio.create_task(rig.say(f"{n}ばん。{LONG}")) for n in range(5)]
    await settle()
    assert engine.active == engine.workers == 2
    engine.gate.set()
    await asyncio.gather(*tasks)
    assert engine.most_active == 2


async def test_identical_requests_share_one_synthesis(engine: FakeEngine) -> None:
    rig = await woken(engine)
    engine.gate.clear()
    tasks = [asyncio.create_task(rig.say("おなじ。")) for _ in range(4)]
    tasks.append(asyncio.create_task(rig.say(" おなじ。 ")))
    streamed = asyncio.create_task(rig.stream("おなじ。"))
    await settle()
    engine.gate.set()
    sounds = await asyncio.gather(*tasks)
    assert len(set(sounds)) == 1
    assert b"".join(await streamed) == sounds[0]
    assert len(engine.spoken) == 1
    assert rig.value("shared_requests_total") == 5


async def test_another_style_or_form_is_another_sound(engine: FakeEngine) -> None:
    rig = await woken(engine)
    await asyncio.gather(
        rig.say("おなじ。"), rig.say("おなじ。", style=1), rig.say("おなじ。", media=WAV)
    )
    assert sorted(engine.spoken) == [("おなじ。", 1), ("おなじ。", 3), ("おなじ。", 3)]


async def test_what_was_spoken_is_kept(engine: FakeEngine) -> None:
    rig = await woken(engine)
    first = await rig.say("もういちど。")
    assert await rig.say("もういちど。") == first
    assert b"".join(await rig.stream("もういちど。")) == first
    assert len(engine.spoken) == 1
    assert (rig.value("cache_hits_total"), rig.value("cache_misses_total")) == (2, 1)
    assert rig.value("cache_bytes") == len(first)


async def test_a_full_queue_refuses_and_says_when_to_come_back(engine: FakeEngine) -> None:
    rig = await woken(engine, queue=2)
    engine.gate.clear()
    tasks = [asyncio.create_task(rig.say(f"{n}ばん。")) for n in range(2)]
    await settle()
    assert rig.value("queue_length") == 2
    with pytest.raises(BusyError) as busy:
        await rig.say("さんばん。")
    assert 1 <= busy.value.retry_after <= 60
    joined = asyncio.create_task(rig.say("0ばん。"))  # shares what is under way, so it may
    await settle()
    engine.gate.set()
    await asyncio.gather(*tasks, joined)
    await settle()
    assert rig.value("queue_length") == 0
    assert rig.value("refused_total", reason="busy") == 1
    await rig.say("さんばん。")


async def test_of_work_nobody_waits_for_any_more_only_the_sentence_at_work_ends(
    engine: FakeEngine,
) -> None:
    rig = await woken(engine)
    engine.gate.clear()
    task = asyncio.create_task(rig.say(LONG))
    await settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await until(lambda: rig.value("queue_length") == 0)
    assert (engine.active, engine.cancelled) == (1, 0)
    engine.gate.set()
    await until(lambda: engine.active == 0)
    await settle()
    assert len(engine.spoken) == 1


async def test_a_text_that_nobody_waits_for_keeps_its_turn_while_the_engine_works(
    engine: FakeEngine,
) -> None:
    """A synthesis can't be stopped: the next one beside it would be one more than workers."""
    rig = await woken(engine)
    engine.gate.clear()
    for n in range(20):
        dropped = asyncio.create_task(rig.say(f"{n}ばん。"))
        await settle()
        dropped.cancel()
    last = asyncio.create_task(rig.say("さいご。"))
    await settle()
    assert engine.active == engine.workers == 2
    engine.gate.set()
    assert await last
    assert engine.most_active == 2
    assert [text for text, _ in engine.spoken] == ["0ばん。", "1ばん。", "さいご。"]


async def test_no_more_texts_are_in_progress_than_workers(engine: FakeEngine) -> None:
    """Each holds up to minutes of sound. One after the other they also end earlier on average."""
    rig = await woken(engine, cache_bytes=0)
    await asyncio.gather(*(rig.say(f"{n}ばん。{LONG}", WAV) for n in range(6)))
    texts = [text for text, _ in engine.spoken]
    begun = [texts.index(f"{n}ばん。") for n in range(6)]
    assert begun == sorted(begun)
    for n in range(2, 6):
        assert sum(texts[: begun[n]].count(part) for part in PARTS) >= (n - 1) * len(PARTS)


async def test_speech_that_slow_clients_have_not_taken_is_bounded(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = await woken(engine, cache_bytes=0)
    _, chunks = await rig.whole("いちばん。")
    size = len(b"".join([chunk async for chunk in chunks]))
    monkeypatch.setattr("kotatsu_voice.speaker.UNTAKEN_BYTES", 3 * size + size // 2)
    rig = await woken(engine, cache_bytes=0)
    slow = [await rig.whole(f"{n}いばん。") for n in range(5)]
    taken = [chunks for _, chunks in slow]
    for chunks in taken[:2]:
        assert await anext(chunks)
        with pytest.raises(SlowClientError):
            await anext(chunks)
    for size, chunks in slow[2:]:
        assert len(b"".join([chunk async for chunk in chunks])) == size


async def test_many_slow_clients_of_one_text_hold_it_once(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = await woken(engine)
    size, _ = await rig.whole("おなじ。")
    monkeypatch.setattr("kotatsu_voice.speaker.UNTAKEN_BYTES", size)
    rig = await woken(engine)
    slow = [await rig.whole("おなじ。") for _ in range(20)]
    for _, chunks in slow:
        assert len(b"".join([chunk async for chunk in chunks])) == size
    assert rig.value("cache_bytes") == size


async def test_a_hang_that_nobody_waits_for_is_noticed_too(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kotatsu_voice.speaker.PIECE_SECONDS", 0.01)
    rig = await woken(engine)
    engine.gate.clear()
    task = asyncio.create_task(rig.say("はい。"))
    await until(lambda: engine.active == 1)
    task.cancel()
    assert "did not answer" in await rig.speaker.lost()


async def test_an_engine_that_hangs_at_its_first_words_is_an_error(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kotatsu_voice.speaker.PIECE_SECONDS", 0.01)
    engine.gate.clear()
    with pytest.raises(EngineLostError, match="did not answer"):
        await Rig(engine).speaker.wake()


async def test_a_sentence_without_sound_is_left_out(engine: FakeEngine) -> None:
    rig = await woken(engine)
    assert await rig.say("はい。한국어。") == await rig.say("はい。")


@pytest.mark.parametrize("media", [MP3, WAV])
async def test_only_sentences_without_sound_are_unspeakable(engine: FakeEngine, media: str) -> None:
    rig = await woken(engine)
    with pytest.raises(UnspeakableError):
        await rig.say("한국어。", media)
    with pytest.raises(UnspeakableError):
        await rig.stream("한국어。")


async def test_a_broken_engine_is_reported_counted_and_not_kept(engine: FakeEngine) -> None:
    rig = await woken(engine)
    for _ in range(2):
        with pytest.raises(EngineFailedError):
            await rig.say("はい。故障。")
    with pytest.raises(EngineFailedError):
        await rig.stream("故障。")
    assert rig.value("engine_errors_total", engine="fake") == 3


async def test_a_bad_text_is_refused_before_the_engine(engine: FakeEngine) -> None:
    rig = await woken(engine, max_characters=5)
    for words in (None, "😀", "あいうえおか"):
        with pytest.raises(TextError):
            await rig.say(words)  # type: ignore[arg-type]
    assert engine.spoken == []
    assert rig.value("refused_total", reason="text") == 3


async def test_synthesis_is_timed_and_its_sound_counted(engine: FakeEngine) -> None:
    rig = await woken(engine)
    await rig.say("いちにさん。")
    assert rig.value("synthesis_seconds_count", engine="fake") == 2
    assert (rig.value("audio_seconds_total", engine="fake") or 0) > 0.5


async def test_closing_ends_the_work_and_the_engine(engine: FakeEngine) -> None:
    rig = await woken(engine)
    engine.gate.clear()
    task = asyncio.create_task(rig.say("おわり。"))
    await settle()
    await rig.speaker.close()
    assert engine.closed
    assert engine.active == 0
    with pytest.raises(EngineFailedError):  # never half a sound as if it were the whole
        await task


async def test_retry_after_is_when_half_of_the_queue_is_done(engine: FakeEngine) -> None:
    now = 0.0
    rig = await woken(engine, queue=20, clock=lambda: now)
    for n in range(40):
        engine.gate.clear()
        task = asyncio.create_task(rig.say(f"{n}ばんめ。"))
        await until(lambda: engine.active == 1)
        now += 2.0
        engine.gate.set()
        await task
    engine.gate.clear()
    tasks = [asyncio.create_task(rig.say(f"つぎの{n}ばん。")) for n in range(20)]
    await settle()
    with pytest.raises(BusyError) as busy:
        await rig.say("もうむり。")
    assert busy.value.retry_after == pytest.approx(20 * 2.0 / 2, abs=1)
    engine.gate.set()
    await asyncio.gather(*tasks)
