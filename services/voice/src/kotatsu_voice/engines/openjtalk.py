"""Open JTalk: real Japanese speech without a network, from a dictionary and voice in the wheel."""

import asyncio
import contextlib
import io
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np

from kotatsu_voice.engine import (
    EngineFailedError,
    Pcm,
    SilentError,
    Style,
    UnspeakableError,
    check_length,
)
from kotatsu_voice.reading import english, kanji, read

MEI = 0
RATE = 48_000
CREDIT = "Open JTalk + HTS Voice “Mei” © 2009–2013 Nagoya Institute of Technology (CC BY 3.0)"
# Ordinary speech peaks at 1 to 6 times full scale; above this the filter has become unstable.
ABSURD_PEAK = 16.0
_FULL_SCALE = 32767.0
_RARE_KANJI = "pyopenjtalk._unknown_kanji"
# Sudachi and the 何 model are not installed: 200 MB for a few rare readings.
_FRONTEND = {"use_sudachi_kanji_yomi": False, "predict_nani": False}


class OpenJTalkEngine:
    """One synthesis engine for each worker thread.

    The package's own `tts` function has a single engine behind a lock, so a second thread would
    only wait. The library lets go of the interpreter lock while it computes.
    """

    name = "openjtalk"

    def __init__(self, workers: int, *, default_style: int | None = None) -> None:
        self.default_style = MEI if default_style is None else default_style
        self.workers = workers
        self.styles: tuple[Style, ...] = ()
        self._pool = self._threads()
        self._mine = threading.local()
        self._library: Any = None
        self._english = english.reader(self._knows)

    async def start(self) -> None:
        """Import the library (it loads its dictionary at the first sentence).

        Again, it replaces the threads, of which one hangs.
        """
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = self._threads()
        await asyncio.get_running_loop().run_in_executor(self._pool, self._load)
        self.styles = (Style(MEI, "mei", "normal", CREDIT),)

    async def synthesize(self, text: str, style: int) -> Pcm:  # noqa: ARG002
        """Speak; a text that makes the filter explode is unspeakable."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._speak, text)

    def left_out(self, text: str) -> str:
        """Of the letters that the dictionary lacks, those without a reading."""
        return kanji.unread(text, reads=lambda letter: self.reading(letter).strip("、") != "")

    async def close(self) -> None:
        """Let the threads end after what they are saying."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.workers, thread_name_prefix="openjtalk")

    def _load(self) -> None:
        try:
            # On import it prints that an optional model, which we don't use, is not installed.
            with _rare_kanji_later(), contextlib.redirect_stdout(io.StringIO()):
                import pyopenjtalk
        except ImportError as error:
            raise EngineFailedError(f"Open JTalk can't be loaded: {error}") from error
        self._library = pyopenjtalk
        self._library.read_unknown_kanji = _read_rare_kanji

    def _speak(self, text: str) -> Pcm:
        labels = self._labels(text)
        if not labels:
            raise SilentError("The text has no Japanese reading.")
        if not hasattr(self._mine, "engine"):
            self._mine.engine = self._library.HTSEngine(self._library.DEFAULT_HTS_VOICE)
        try:
            wave = self._mine.engine.synthesize(labels)
        except RuntimeError as error:
            raise EngineFailedError(f"Open JTalk failed: {error}") from error
        return Pcm(RATE, samples(wave))

    def _labels(self, text: str) -> list[str]:
        words = self._words(text)
        check_length(sum(word["mora_size"] for word in words))
        labels: list[str] = self._library.make_label(words)
        # The silence before and after would be trimmed, and costs a quarter of a sentence's time.
        return [label for label in labels if "-sil+" not in label]

    def _words(self, text: str) -> Any:
        return self._library.run_frontend(read(text, self._english), **_FRONTEND)

    def reading(self, text: str) -> str:
        """How a piece is read, in katakana; pauses are 、. For tests and documentation."""
        return "".join(word["pron"] for word in self._words(text)).replace("’", "")

    def _knows(self, word: str) -> bool:
        words = self._library.run_frontend(word, **_FRONTEND)
        return len(words) == 1 and words[0]["pos"] != "フィラー"


@contextlib.contextmanager
def _rare_kanji_later() -> Iterator[None]:
    """Import the library in this block without the readings of kanji that its dictionary lacks.

    They are a table, and half of what it loads; `_read_rare_kanji` imports it.
    """
    stand_in = ModuleType(_RARE_KANJI)
    vars(stand_in)["read_unknown_kanji"] = None
    given = sys.modules.setdefault(_RARE_KANJI, stand_in)
    try:
        yield
    finally:
        if given is stand_in:
            del sys.modules[_RARE_KANJI]


def _read_rare_kanji(words: Any, _: str) -> Any:
    """The words with the on reading of each kanji that is none of the dictionary's, but a sign.

    The library would ask Sudachi first, by the text around the kanji, and fail.
    """
    if not any(word["pos"] == "記号" and any(map(str.isalpha, word["string"])) for word in words):
        return words
    from pyopenjtalk._unknown_kanji import read_unknown_kanji

    return read_unknown_kanji(words)


def samples(wave: "np.ndarray[Any, np.dtype[np.float64]]") -> bytes:
    """16-bit samples of a wave in 16-bit scale, scaled down where it would clip."""
    peak = float(np.max(np.abs(wave), initial=0.0))
    if not peak < ABSURD_PEAK * _FULL_SCALE:  # also not a number
        raise UnspeakableError("The text can't be spoken: it repeats the same sound too often.")
    if peak > _FULL_SCALE:
        wave = wave * (_FULL_SCALE / peak)
    return wave.astype("<i2").tobytes()
