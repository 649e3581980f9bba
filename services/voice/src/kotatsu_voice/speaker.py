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
from kotatsu_voice.engine import (
    PIECE_SECONDS,
    Engine,
    EngineError,
    EngineFailedError,
    EngineLostError,
    Pcm,
    SilentError,
    Style,
    UnspeakableError,
    hangs,
    style_of,
)
from kotatsu_voice.metrics import VoiceMetrics
from kotatsu_voice.rendering import Chunks, Rendering, Renderings, begun

if TYPE_CHECKING:
    from pydub import AudioSegment

MP3 = "audio/mpeg"
WAV = "audio/wav"
FIRST_WORDS = "ん"
"""The shortest that can be heard: a client waits while it is said."""
LONGEST_RETRY_SECONDS = 60
UNTAKEN_BYTES = 128 * 2**20
"""Of speech that was made and that clients have not taken yet, all of them together."""
WAV_CHUNK_BYTES = 65_536
"""A connection of a slow client buffers at most one more than this."""
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
        self._renderings = Renderings(cache_bytes, UNTAKEN_BYTES, metrics.queue.set)
        metrics.cache_bytes.set_function(lambda: self._renderings.cache.size)
        metrics.begin(engine.name)
        # Texts in progress, first come, first served: each holds up to minutes of sound. A text
        # waits as a text. Those in progress keep all workers busy, so more would only be slower.
        self._texts = asyncio.Semaphore(engine.workers)
        self._turns = asyncio.Semaphore(engine.workers)
        self._at_work: set[asyncio.Task[Pcm]] = set()
        # Given up after PIECE_SECONDS, and still going on.
        self._stalled: set[asyncio.Task[Pcm]] = set()
        # Set once it speaks, or `_loss` is known: why it has not begun to, or does so no more.
        self._settled = asyncio.Event()
        self._loss: str | None = None
        self._lost = asyncio.Event()
        self._has_spoken = False
        self._last_failure: str | None = None  # as it was logged; None once a piece was spoken
        # A moving average of the time from one finished text to the next, while texts wait.
        self._seconds_each = 0.5
        self._finished = -math.inf

    async def wake(self) -> dict[str, float]:
        """Start the engine and speak for the first time; how many seconds each took.

        The same after it was lost. EngineError if it does not speak: until it does, all requests
        fail for the same reason.
        """
        began = self._clock()
        try:
            await self.engine.start()
            started = self._clock()
            async with self._turns:
                await self._synthesize(FIRST_WORDS, self.default_style().id)
        except EngineError as error:
            self._settle(str(error))
            raise
        spoke = self._clock()
        if not self._has_spoken:
            self._metrics.ready.set(time.time())
        self._has_spoken, self._last_failure = True, None
        self._lost.clear()
        self._settle(None)
        return {"engine_seconds": started - began, "first_words_seconds": spoke - started}

    @property
    def is_awake(self) -> bool:
        """Whether it has spoken and the engine is not lost."""
        return self._settled.is_set() and self._loss is None

    @property
    def is_stalled(self) -> bool:
        """Whether a synthesis that was given up still takes its time, maybe for ever."""
        return bool(self._stalled)

    async def awake(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109
        """Return once it has spoken; EngineFailedError if that takes too long, or why it can't."""
        try:
            await asyncio.wait_for(self._settled.wait(), timeout)
        except TimeoutError as error:
            raise EngineFailedError("The voice is still waking up.") from error
        self._refuse_if_lost()

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

    def is_made(self, utterance: Utterance) -> bool:
        """Whether its sound is there, so that nothing has to be waited for."""
        made = self._renderings.get(utterance)
        return made is not None and not made.open

    async def say(self, utterance: Utterance) -> bytes:
        """The whole sound. BusyError, or an EngineError."""
        async with aclosing(self._rendering(utterance).listen()) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def whole(self, utterance: Utterance) -> tuple[int, Chunks]:
        """The bytes of the sound, and the sound itself once all of it is made. Raises as `say`."""
        return await self._rendering(utterance).whole()

    async def stream(self, utterance: Utterance) -> Chunks:
        """The sound as it is made. What can't be spoken raises before the first chunk is there."""
        return await begun(self._rendering(utterance).listen())

    async def close(self) -> None:
        """End what is being spoken, and the engine."""
        await self._renderings.stop()
        for task in self._at_work:
            task.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)
        await self.engine.close()

    def _rendering(self, utterance: Utterance) -> Rendering:
        """One that was made or is under way, else a new one. BusyError if too many texts wait."""
        known = self._renderings.get(utterance)
        if known is not None and not known.open:
            self._metrics.cache_hits.inc()
            return known
        self._metrics.cache_misses.inc()
        if known is not None:
            self._metrics.shared.inc()
            return known
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
        make = self._mp3 if utterance.media == MP3 else self._wav
        async with self._texts, aclosing(make(utterance)) as source:
            async for chunk in source:
                yield chunk
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
            spoken = deque([segment async for segment in segments])
        size = sum(len(segment.raw_data) for segment in spoken)
        yield audio.wav_header(spoken[0].frame_rate, size)
        while spoken:  # let go of each: minutes of sound would be in memory twice
            samples = spoken.popleft().raw_data
            for start in range(0, len(samples), WAV_CHUNK_BYTES):
                yield samples[start : start + WAV_CHUNK_BYTES]

    async def _segments(self, utterance: Utterance) -> AsyncGenerator["AudioSegment", None]:
        """Each piece in its order, while the next ones are already being spoken.

        The first is spoken alone: somebody waits for it, and a node that has just woken a pod is
        busy. Later one more than the engine speaks at once waits for its turn, so that the engine
        never waits for the encoder. A piece without any sound is left out; UnspeakableError if all
        are.
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
                at_once = self.engine.workers + 1
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
            pcm = await self._in_turn(words, style)
            segment = await asyncio.to_thread(audio.polish, pcm)
        except SilentError:
            return None
        self._metrics.audio.labels(self.engine.name).inc(pcm.seconds)
        self._metrics.characters.inc(len(words))
        return segment

    async def _in_turn(self, words: str, style: int) -> Pcm:
        """What the engine makes of one piece, once it is its turn.

        The turn ends with the engine's work, also if nobody waits for that any more: a synthesis
        that has begun runs to its end, or to its limit, in a thread or on another machine.
        """
        await self._turns.acquire()
        work = asyncio.create_task(self._synthesize_or_report(words, style))
        self._at_work.add(work)
        work.add_done_callback(self._end_turn)
        return await asyncio.shield(work)

    def _end_turn(self, work: asyncio.Task[Pcm]) -> None:
        self._at_work.discard(work)
        self._turns.release()
        if not work.cancelled():
            work.exception()  # seen, also when nobody waits

    def _settle(self, loss: str | None) -> None:
        self._loss = loss
        self._settled.set()

    def _refuse_if_lost(self) -> None:
        if self._loss is not None:
            raise EngineFailedError(self._loss)

    async def _synthesize_or_report(self, words: str, style: int) -> Pcm:
        """A failure is logged when it begins, and a lost engine is started again by `wake`."""
        self._refuse_if_lost()
        try:
            pcm = await self._synthesize(words, style)
        except EngineFailedError as error:
            reason = str(error)
            if reason != self._last_failure:
                logger.warning("the engine failed: %s", reason)
            self._last_failure = reason
            if isinstance(error, EngineLostError):
                self._metrics.engine_losses.labels(self.engine.name).inc()
                self._settle(reason)
                self._lost.set()
            raise
        self._last_failure = None
        return pcm

    async def _synthesize(self, words: str, style: int) -> Pcm:
        engine = self.engine.name
        began = self._clock()
        work = asyncio.create_task(self.engine.synthesize(words, style))
        try:
            await asyncio.wait({work}, timeout=PIECE_SECONDS)
        except asyncio.CancelledError:
            work.cancel()
            raise
        try:
            if not work.done():
                self._stalled.add(work)
                work.add_done_callback(self._end_stall)
                raise hangs(PIECE_SECONDS)
            pcm = work.result()
        except EngineFailedError:
            self._metrics.engine_errors.labels(engine).inc()
            raise
        self._metrics.synthesis.labels(engine).observe(self._clock() - began)
        return pcm

    def _end_stall(self, work: asyncio.Task[Pcm]) -> None:
        """Cancelled as the app ends, the work goes on all the same."""
        if not work.cancelled():
            self._stalled.discard(work)
            work.exception()  # seen, although nobody waits
