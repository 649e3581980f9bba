"""From a text to its sound: cache, shared work, a bounded queue, sentence after sentence."""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kotatsu_voice import audio, text
from kotatsu_voice.cache import ByteCache
from kotatsu_voice.engine import (
    Engine,
    EngineFailedError,
    EngineLostError,
    Pcm,
    SilentError,
    Style,
    UnspeakableError,
    style_of,
)
from kotatsu_voice.metrics import VoiceMetrics
from kotatsu_voice.rendering import Rendering, Renderings, begun

if TYPE_CHECKING:
    from pydub import AudioSegment

Chunks = AsyncGenerator[bytes, None]
MP3 = "audio/mpeg"
WAV = "audio/wav"
FIRST_WORDS = "はい。"
LONGEST_RETRY_SECONDS = 60
logger = logging.getLogger("kotatsu.voice")


class BusyError(Exception):
    """Too many texts wait already; `retry_after` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"busy for {retry_after} s")
        self.retry_after = retry_after


@dataclass(frozen=True)
class Utterance:
    """What to speak and how; two equal ones sound the same."""

    text: str
    style: Style
    media: str


class Speaker:
    """One engine and everything between it and the routes."""

    def __init__(
        self,
        engine: Engine,
        metrics: VoiceMetrics,
        *,
        queue: int,
        cache_bytes: int,
        max_characters: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.engine = engine
        self._metrics = metrics
        self._queue = queue
        self._max_characters = max_characters
        self._clock = clock
        self._cache = ByteCache(cache_bytes)
        self._renderings = Renderings(metrics.queue.set)
        metrics.begin(engine.name)
        self._turns = asyncio.Semaphore(engine.workers)
        self._awake = asyncio.Event()
        self._lost = asyncio.Event()
        # Why the engine was lost; None before, and once it speaks again.
        self._loss: str | None = None
        self._last_failure: str | None = None  # as it was logged; None once a piece was spoken
        # A moving average of the time from one finished text to the next, while texts wait.
        self._seconds_each = 0.5
        self._finished = -math.inf

    async def wake(self) -> dict[str, float]:
        """Start the engine and speak for the first time; how many seconds each took.

        The same after it was lost. EngineError if it does not speak.
        """
        began = self._clock()
        await self.engine.start()
        started = self._clock()
        async with self._turns:
            await self._synthesize(FIRST_WORDS, self.default_style().id)
        spoke = self._clock()
        if self._loss is None:
            self._metrics.ready.set(time.time())
        self._loss = self._last_failure = None
        self._lost.clear()
        self._awake.set()
        return {"engine_seconds": started - began, "first_words_seconds": spoke - started}

    async def awake(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109
        """Return once it has spoken; EngineFailedError if that takes too long, or it was lost."""
        if self._awake.is_set():  # waiting for what has happened still costs a turn of the loop
            return
        self._refuse_if_lost()
        try:
            await asyncio.wait_for(self._awake.wait(), timeout)
        except TimeoutError as error:
            raise EngineFailedError("The voice is still waking up.") from error

    async def lost(self) -> str:
        """Return once the engine is lost, with the reason. Until it wakes, all requests fail."""
        await self._lost.wait()
        return self._loss or ""

    def default_style(self) -> Style:
        """How it speaks when nobody chooses."""
        return style_of(self.engine, None)

    def utterance(self, words: str | None, style: int | None, media: str) -> Utterance:
        """A checked request: TextError or UnknownStyleError if it can't be spoken."""
        try:
            prepared = text.prepare(words, self._max_characters)
        except text.TextError:
            self._metrics.refused.labels("text").inc()
            raise
        return Utterance(prepared, style_of(self.engine, style), media)

    def kept(self, utterance: Utterance) -> bytes | None:
        """The whole sound if it was made before."""
        kept = self._cache.get(utterance)
        if kept is not None:
            self._metrics.cache_hits.inc()
        return kept

    async def say(self, utterance: Utterance) -> bytes:
        """The whole sound. BusyError, or an EngineError."""
        kept = self.kept(utterance)
        if kept is not None:
            return kept
        async with aclosing(self._rendering(utterance).listen()) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def stream(self, utterance: Utterance) -> Chunks:
        """The sound as it is made. What can't be spoken raises before the first chunk is there."""
        kept = self.kept(utterance)
        if kept is not None:
            return _only(kept)
        return await begun(self._rendering(utterance).listen())

    async def close(self) -> None:
        """End what is being spoken, and the engine."""
        await self._renderings.stop()
        await self.engine.close()

    def _rendering(self, utterance: Utterance) -> Rendering:
        self._metrics.cache_misses.inc()
        running = self._renderings.get(utterance)
        if running is not None:
            self._metrics.shared.inc()
            return running
        if len(self._renderings) >= self._queue:
            self._metrics.refused.labels("busy").inc()
            raise BusyError(self._retry_after())
        return self._renderings.start(utterance, self._render(utterance))

    def _retry_after(self) -> int:
        """Until about half of those who wait now have been served."""
        seconds = len(self._renderings) * self._seconds_each / 2
        return min(LONGEST_RETRY_SECONDS, max(1, math.ceil(seconds)))

    async def _render(self, utterance: Utterance) -> Chunks:
        began = self._clock()
        chunks: list[bytes] = []
        make = self._mp3 if utterance.media == MP3 else self._wav
        async with aclosing(make(utterance)) as source:
            async for chunk in source:
                chunks.append(chunk)
                yield chunk
        self._cache.put(utterance, b"".join(chunks))
        self._metrics.cache_bytes.set(self._cache.size)
        now = self._clock()
        self._seconds_each += 0.1 * (now - max(began, self._finished) - self._seconds_each)
        self._finished = now

    async def _mp3(self, utterance: Utterance) -> Chunks:
        encoder: audio.Mp3 | None = None
        async with aclosing(self._segments(utterance)) as segments:
            async for segment in segments:
                encoder = encoder or audio.Mp3(segment.frame_rate)
                chunk = await asyncio.to_thread(encoder.add, segment)
                if chunk:
                    yield chunk
        if encoder is not None:
            yield await asyncio.to_thread(encoder.end)

    async def _wav(self, utterance: Utterance) -> Chunks:
        async with aclosing(self._segments(utterance)) as segments:
            yield audio.wav([segment async for segment in segments])

    async def _segments(self, utterance: Utterance) -> AsyncGenerator["AudioSegment", None]:
        """Each piece in its order, while the next ones are already being spoken.

        The first is spoken alone: somebody waits for it, and a node that has just woken a pod is
        busy. A piece without any sound is left out; UnspeakableError if all are.
        """
        waiting = deque(text.pieces(utterance.text))
        ahead: deque[tuple[asyncio.Task[AudioSegment | None], float]] = deque()
        pause, at_once = None, 1
        try:
            while waiting or ahead:
                while waiting and len(ahead) < at_once:
                    piece = waiting.popleft()
                    task = asyncio.create_task(self._speak(piece.text, utterance.style.id))
                    ahead.append((task, piece.pause))
                task, pause_after = ahead.popleft()
                segment = await task
                at_once = self.engine.workers
                if segment is None:
                    continue
                if pause is not None:
                    segment = audio.silence(pause, segment.frame_rate) + segment
                pause = pause_after
                yield segment
        finally:
            for task, _ in ahead:
                task.cancel()
            await asyncio.gather(*(task for task, _ in ahead), return_exceptions=True)
        if pause is None:
            raise UnspeakableError("Nothing in the text has a sound.")

    async def _speak(self, words: str, style: int) -> "AudioSegment | None":
        """One piece in its turn; None if it has no sound."""
        try:
            async with self._turns:
                self._refuse_if_lost()
                pcm = await self._synthesize_or_report(words, style)
            segment = await asyncio.to_thread(audio.polish, pcm)
        except SilentError:
            return None
        self._metrics.audio.labels(self.engine.name).inc(pcm.seconds)
        self._metrics.characters.inc(len(words))
        return segment

    def _refuse_if_lost(self) -> None:
        if self._loss is not None:
            raise EngineFailedError(self._loss)

    async def _synthesize_or_report(self, words: str, style: int) -> Pcm:
        """A failure is logged when it begins, and a lost engine is started again by `wake`."""
        try:
            pcm = await self._synthesize(words, style)
        except EngineFailedError as error:
            reason = str(error)
            if reason != self._last_failure:
                logger.warning("the engine failed: %s", reason)
            self._last_failure = reason
            if isinstance(error, EngineLostError):
                self._loss = reason
                self._awake.clear()
                self._lost.set()
            raise
        self._last_failure = None
        return pcm

    async def _synthesize(self, words: str, style: int) -> Pcm:
        engine = self.engine.name
        began = self._clock()
        try:
            pcm = await self.engine.synthesize(words, style)
        except EngineFailedError:
            self._metrics.engine_errors.labels(engine).inc()
            raise
        self._metrics.synthesis.labels(engine).observe(self._clock() - began)
        return pcm


async def _only(chunk: bytes) -> Chunks:
    yield chunk
