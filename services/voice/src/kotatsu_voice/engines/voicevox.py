"""VOICEVOX in this process, through the asyncio API of voicevox_core 0.16 or later.

Its `blocking` API holds the interpreter lock for a whole synthesis, so it is never used here. One
model speaks one sentence at a time, whatever is asked of it.
"""

import asyncio
import contextlib
import importlib
import logging
from collections.abc import Iterator
from typing import Any

from kotatsu_voice.audio import pcm_of_wav
from kotatsu_voice.engine import (
    EngineError,
    EngineFailedError,
    EngineLostError,
    Pcm,
    SilentError,
    Style,
    UnknownStyleError,
    check_length,
)
from kotatsu_voice.engines import voices
from kotatsu_voice.reading import english, kanji, read

# ONNX Runtime tells 146 times at INFO how it prepares a model.
_CHATTY_LOGGER = "ort"


class VoicevoxEngine:
    """Needs the ONNX Runtime of VOICEVOX, the Open JTalk dictionary and a voice model, by path.

    An explicit library path also works where the package's constant for it was renamed (0.17).
    """

    name = "voicevox"
    workers = 1

    def __init__(
        self, onnxruntime: str, dictionary: str, model: str, *, default_style: int | None = None
    ) -> None:
        self.default_style = voices.SEED_STYLE if default_style is None else default_style
        self.styles: tuple[Style, ...] = ()
        self._chosen = default_style
        self._paths = (onnxruntime, dictionary, model)
        self._core: Any = None
        self._dictionary: Any = None
        self._synthesizer: Any = None
        # Not by Open JTalk's dictionary: a second one would take 46 MiB.
        self._english = english.reader(lambda _: False)

    async def start(self) -> None:
        """Load runtime, dictionary and model; again, it replaces dictionary and model."""
        logging.getLogger(_CHATTY_LOGGER).setLevel(logging.WARNING)
        onnxruntime, dictionary, model_path = self._paths
        self._synthesizer = None  # else two models are in memory for a while
        try:
            with _panics_as_losses():
                self._core = importlib.import_module("voicevox_core")
                api = importlib.import_module("voicevox_core.asyncio")
                runtime = await api.Onnxruntime.load_once(filename=onnxruntime)
                self._dictionary = await api.OpenJtalk.new(dictionary)
                synthesizer = api.Synthesizer(
                    runtime,
                    self._dictionary,
                    acceleration_mode="AUTO",
                    cpu_num_threads=0,
                )
                async with await api.VoiceModelFile.open(model_path) as model:
                    await synthesizer.load_voice_model(model)
                self.styles = tuple(
                    Style(style.id, character.name, style.name, voices.credit(character.name))
                    for character in synthesizer.metas()
                    for style in character.styles
                    if voices.talks(style.type)
                )
        except EngineLostError:
            raise
        except Exception as error:  # the package's errors have no common base
            raise EngineFailedError(f"VOICEVOX can't be loaded: {_reasons(error)}") from error
        self._synthesizer = synthesizer
        if self._chosen is None:
            self.default_style = voices.default_style(self.styles)

    async def synthesize(self, text: str, style: int) -> Pcm:
        """Speak. A cancelled call ends here at once, while its inference runs on to its end.

        Signs and English words are written out before, in a thread: to guess a word takes 5 ms.
        Text without a reading is silent. After a panic, locks inside the library stay poisoned: the
        engine is lost.
        """
        if self._synthesizer is None:
            raise EngineLostError("VOICEVOX is not loaded.")
        written = await asyncio.to_thread(read, text, self._english)
        try:
            with _panics_as_losses():
                phrases = await self._dictionary.analyze(written)
                check_length(sum(len(phrase.moras) for phrase in phrases))
                wav = await self._synthesizer.tts(written, style, enable_interrogative_upspeak=True)
        except EngineError:
            raise
        except self._core.AnalyzeTextError as error:
            raise SilentError("The text has no Japanese reading.") from error
        except (self._core.StyleNotFoundError, self._core.ModelNotFoundError) as error:
            raise UnknownStyleError(f"Style {style} does not exist.") from error
        except Exception as error:  # RunModelError, InvalidQueryError and whatever comes
            raise EngineFailedError(f"VOICEVOX failed: {_reasons(error)}") from error
        return pcm_of_wav(wav)

    def left_out(self, text: str) -> str:
        """The letters that Open JTalk's own dictionary lacks."""
        return kanji.unread(text)

    async def close(self) -> None:
        """Drop the model."""
        self._synthesizer = None


def _reasons(error: BaseException | None) -> str:
    """What the error says, and each of its causes: the first line is often a general one."""
    said = []
    while error is not None:
        said.append(str(error) or type(error).__name__)
        error = error.__cause__
    return ": ".join(said)


@contextlib.contextmanager
def _panics_as_losses() -> Iterator[None]:
    """A panic of the library, which is written in Rust, as EngineLostError.

    It arrives as pyo3_runtime.PanicException. Nobody can import that class, and it derives from
    BaseException, so it passes every `except Exception`.
    """
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        kind = type(error)
        if (kind.__module__, kind.__name__) != ("pyo3_runtime", "PanicException"):
            raise
        raise EngineLostError("VOICEVOX panicked.") from error
