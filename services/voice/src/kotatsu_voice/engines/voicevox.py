"""VOICEVOX in this process, through the asyncio API of voicevox_core 0.16 or later.

Its `blocking` API holds the interpreter lock for a whole synthesis, so it is never used here. One
model speaks one sentence at a time, whatever is asked of it.
"""

import importlib
from typing import Any

from kotatsu_voice.audio import pcm_of_wav
from kotatsu_voice.engine import EngineFailedError, Pcm, Style, UnknownStyleError

# 0.vvm: ずんだもん, normal
DEFAULT_STYLE = 3


def credit(speaker: str) -> str:
    """The line that VOICEVOX's terms ask listeners to be shown."""
    return f"VOICEVOX:{speaker}"


class VoicevoxEngine:
    """Needs the ONNX Runtime of VOICEVOX, the Open JTalk dictionary and a voice model, by path.

    An explicit library path also works where the package's constant for it was renamed (0.17).
    """

    name = "voicevox"
    workers = 1

    def __init__(
        self, onnxruntime: str, dictionary: str, model: str, *, default_style: int | None = None
    ) -> None:
        self.default_style = DEFAULT_STYLE if default_style is None else default_style
        self.styles: tuple[Style, ...] = ()
        self._paths = (onnxruntime, dictionary, model)
        self._core: Any = None
        self._synthesizer: Any = None

    async def start(self) -> None:
        """Load runtime, dictionary and model."""
        onnxruntime, dictionary, model_path = self._paths
        try:
            self._core = importlib.import_module("voicevox_core")
            api = importlib.import_module("voicevox_core.asyncio")
            self._synthesizer = api.Synthesizer(
                await api.Onnxruntime.load_once(filename=onnxruntime),
                await api.OpenJtalk.new(dictionary),
                acceleration_mode="AUTO",
                cpu_num_threads=0,
            )
            async with await api.VoiceModelFile.open(model_path) as model:
                await self._synthesizer.load_voice_model(model)
        except Exception as error:  # the package's errors have no common base
            raise EngineFailedError(f"VOICEVOX can't be loaded: {error}") from error
        self.styles = tuple(
            Style(style.id, character.name, style.name, credit(character.name))
            for character in self._synthesizer.metas()
            for style in character.styles
            if getattr(style, "type", "talk") == "talk"
        )

    async def synthesize(self, text: str, style: int) -> Pcm:
        """Speak. A cancelled call ends here at once, while its inference runs on to its end."""
        try:
            wav = await self._synthesizer.tts(text, style, enable_interrogative_upspeak=True)
        except (self._core.StyleNotFoundError, self._core.ModelNotFoundError) as error:
            raise UnknownStyleError(f"Style {style} does not exist.") from error
        except Exception as error:  # RunModelError, InvalidQueryError and whatever comes
            raise EngineFailedError(f"VOICEVOX failed: {type(error).__name__}") from error
        return pcm_of_wav(wav)

    async def close(self) -> None:
        """Drop the model."""
        self._synthesizer = None
