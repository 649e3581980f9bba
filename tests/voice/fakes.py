"""An engine that hums instead of speaking, and a real decoder to listen with."""

import asyncio
import functools
import math
from array import array
from collections.abc import Callable

import numpy as np
from sound import player

from kotatsu_voice.audio import Mp3, polish, wav_header
from kotatsu_voice.engine import (
    EngineError,
    EngineFailedError,
    EngineLostError,
    Pcm,
    SilentError,
    Style,
)
from kotatsu_voice.reading import kanji

RATE = 24_000
SECONDS_PER_CHARACTER = 0.05
EDGE_SECONDS = 0.2
CALM = Style(3, "ずんだもん", "ノーマル", "VOICEVOX:ずんだもん")
SWEET = Style(1, "ずんだもん", "あまあま", "VOICEVOX:ずんだもん")


@functools.cache
def hum(
    seconds: float, amplitude: float = 0.3, rate: int = RATE, edge: float = EDGE_SECONDS
) -> Pcm:
    """A tone with silence at both ends."""
    count = round(seconds * rate)
    step = 2 * math.pi * 440 / rate
    tone = array("h", (round(32767 * amplitude * math.sin(step * n)) for n in range(count)))
    still = bytes(2 * round(edge * rate))
    return Pcm(rate, still + tone.tobytes() + still)


def wav(pcm: Pcm) -> bytes:
    """A WAV file, as engines of others answer with."""
    samples = polish(pcm).raw_data
    return wav_header(pcm.rate, len(samples)) + samples


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something has happened."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


class FakeEngine:
    """Hums as long as the text is. Closed gates hold a start or every sentence back."""

    name = "fake"

    def __init__(self, workers: int = 2) -> None:
        self.workers = workers
        self.default_style = CALM.id
        self.styles: tuple[Style, ...] = ()
        self.spoken: list[tuple[str, int]] = []
        self.active = 0
        self.most_active = 0
        self.cancelled = 0
        self.closed = False
        self.starts = 0
        self.away: EngineError | None = None
        self.answer: Callable[[str], Pcm] = lambda text: hum(len(text) * SECONDS_PER_CHARACTER)
        self.gate = asyncio.Event()
        self.gate.set()
        self.start_gate = asyncio.Event()
        self.start_gate.set()

    async def start(self) -> None:
        self.starts += 1
        await self.start_gate.wait()
        if self.away is not None:
            raise self.away
        self.styles = (CALM, SWEET)

    async def synthesize(self, text: str, style: int) -> Pcm:
        self.spoken.append((text, style))
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        try:
            await self.gate.wait()
            if "故障" in text:
                raise EngineFailedError("The engine is broken.")
            if "行方不明" in text:
                raise EngineLostError("The engine is gone.")
            if "한" in text:
                raise SilentError("No reading.")
            return self.answer(text)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.active -= 1

    def left_out(self, text: str) -> str:
        return kanji.unread(text)

    async def close(self) -> None:
        self.closed = True


class Heard:
    """Decoded sound, by its numbers."""

    def __init__(self, data: bytes) -> None:
        decoded = player().decode(data, nchannels=1)
        self.rate = decoded.sample_rate
        self.samples = decoded.samples
        self.seconds = len(self.samples) / self.rate
        wave = np.asarray(self.samples) / 32768
        self.peak = float(np.max(np.abs(wave), initial=0.0))
        self.rms = float(np.sqrt(np.mean(wave**2)))


def mp3(pcm: Pcm) -> bytes:
    """One piece as a listener gets it."""
    encoder = Mp3(pcm.rate)
    return encoder.add(polish(pcm)) + encoder.end()


def level(data: bytes) -> float:
    """The level of what is heard, in dBFS: of all frames of 50 ms that are not silent."""
    heard = Heard(data)
    wave, frame = np.asarray(heard.samples) / 32768, heard.rate // 20
    powers = np.mean(wave[: len(wave) // frame * frame].reshape(-1, frame) ** 2, axis=1)
    return float(10 * np.log10(np.mean(powers[powers > 10**-5])))
