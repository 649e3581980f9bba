"""What voicevox_core does, as far as the voice relies on it.

Names, bases and signatures were read in the Python binding of 0.16.4 and 0.17.0
(crates/voicevox_core_python_api); `READINGS`, `PANIC` and `CHATTER` were seen on builds of both,
and so was that an inference whose call is cancelled runs on in its thread, while the call ends at
once. (`tts(cancellable=True)` is no way: 0.16.4 dies of a segmentation fault, 0.17.0 blocks.)
That `analyze` gives the accent phrases that `tts` speaks was read in its source.
`FakeCore` answers to this contract.
"""

import asyncio
import logging
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
from voice.fakes import hum, wav

ERRORS: dict[str, type[Exception]] = {
    "AnalyzeTextError": Exception,
    "ModelNotFoundError": KeyError,
    "OpenZipFileError": Exception,
    "RunModelError": Exception,
    "StyleNotFoundError": KeyError,
}
"""Errors that the voice tells apart, and some others. They share no other base."""

PANIC = ("pyo3_runtime", "PanicException", BaseException)
"""Module, name and base of what a panic raises. The module can't be imported."""

STYLE_TYPES = {
    "0.16": ("talk", "singing_teacher", "frame_decode", "sing"),
    "0.17": ("talk", "singing_teacher", "frame_decode", "sing", "streaming_talk"),
}

CALLS: dict[str, tuple[str, ...]] = {
    "Onnxruntime.load_once": ("filename",),
    "OpenJtalk.new": ("open_jtalk_dict_dir",),
    "OpenJtalk.analyze": ("text",),
    "VoiceModelFile.open": ("path",),
    "Synthesizer.load_voice_model": ("model",),
    "Synthesizer.tts": ("text", "style_id", "enable_interrogative_upspeak"),
    "Synthesizer.metas": (),
}
"""The calls of voicevox_core.asyncio that the voice makes, with the parameters that it gives."""

FIELDS = {"AccentPhrase": ("moras",)}
"""The dataclasses that it answers with, and the fields that the voice reads."""

READINGS = {
    "한국어": False,
    "Привет": False,
    "ヶ": False,
    "〇": False,
    "龘": False,
    "髙橋": False,
    "こんにちは": True,
    "はい": True,
}
"""Texts and whether they have a reading; without one, `analyze` and `tts` raise AnalyzeTextError.
Recorded for each text alone: a text beside others in one sentence was not tried."""

CHATTER = ("ort.logging", logging.INFO, 146)
"""Logger, level and number of the records of one start."""


@dataclass
class AccentPhrase:
    """voicevox_core.AccentPhrase."""

    moras: list[object]


MORAS = {"W": 4}
"""Of a spelled letter; all others have one here."""


@dataclass
class StyleMeta:
    """voicevox_core.StyleMeta."""

    name: str
    id: int
    type: str = "talk"


@dataclass
class CharacterMeta:
    """voicevox_core.CharacterMeta."""

    name: str
    styles: list[StyleMeta]


ZUNDAMON = CharacterMeta(
    "ずんだもん",
    [
        StyleMeta("ノーマル", 3),
        StyleMeta("あまあま", 1),
        StyleMeta("ハミング", 3003, "frame_decode"),
    ],
)


class FakeCore:
    """The package, which records the calls. `恐慌` and `故障` are texts that break it.

    An inference ends once `gate` is open, also if nobody waits for it; that of `停止` with
    `end_of_stall`.
    """

    def __init__(self) -> None:
        module, name, base = PANIC
        self.panic = type(name, (base,), {"__module__": module})
        self.errors = {name: type(name, (base,), {}) for name, base in ERRORS.items()}
        self.metas = [ZUNDAMON]
        self.calls: list[Any] = []
        self.open_files = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.end_of_stall = asyncio.Event()
        self.inferences: set[asyncio.Task[None]] = set()
        self.most_inferences = 0
        self.package = ModuleType("voicevox_core")
        self.api = ModuleType("voicevox_core.asyncio")
        vars(self.package).update(self.errors, asyncio=self.api)
        vars(self.api).update(_api(self))

    async def infer(self, text: str) -> None:
        """Run an inference as a thread does: to its end, whatever becomes of the caller."""
        event = self.end_of_stall if "停止" in text else self.gate
        inference = asyncio.create_task(_wait_for(event))
        self.inferences.add(inference)
        self.most_inferences = max(self.most_inferences, len(self.inferences))
        inference.add_done_callback(self.inferences.discard)
        await asyncio.shield(inference)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Be what `import voicevox_core` finds, also where the real one is installed."""
        monkeypatch.setitem(sys.modules, "voicevox_core", self.package)
        monkeypatch.setitem(sys.modules, "voicevox_core.asyncio", self.api)


async def _wait_for(event: asyncio.Event) -> None:
    await event.wait()


def _api(core: FakeCore) -> dict[str, Any]:
    calls, errors = core.calls, core.errors

    class Onnxruntime:
        @staticmethod
        async def load_once(*, filename: str) -> str:
            calls.append(("load_once", filename))
            return "runtime"

    class OpenJtalk:
        @staticmethod
        async def new(open_jtalk_dict_dir: str) -> "OpenJtalk":
            calls.append(("OpenJtalk.new", open_jtalk_dict_dir))
            return OpenJtalk()

        async def analyze(self, text: str) -> list[AccentPhrase]:
            if not READINGS.get(text.rstrip("。"), True):
                raise errors["AnalyzeTextError"](text)
            return [AccentPhrase([object()] * MORAS.get(letter, 1)) for letter in text]

    class VoiceModelFile:
        @staticmethod
        async def open(path: str) -> "VoiceModelFile":
            calls.append(("open", path))
            return VoiceModelFile()

        async def __aenter__(self) -> "VoiceModelFile":
            core.open_files += 1
            return self

        async def __aexit__(self, *_: object) -> None:
            core.open_files -= 1

    class Synthesizer:
        def __init__(
            self, runtime: str, jtalk: OpenJtalk, *, acceleration_mode: str, cpu_num_threads: int
        ) -> None:
            calls.append(("Synthesizer", runtime, acceleration_mode, cpu_num_threads))
            self.poisoned = False

        async def load_voice_model(self, model: VoiceModelFile) -> None:
            assert core.open_files == 1
            name, level, times = CHATTER
            for number in range(times):
                logging.getLogger(name).log(level, "flush-to-zero is off (%d)", number)
            calls.append(("load_voice_model",))

        def metas(self) -> list[CharacterMeta]:
            return core.metas

        async def tts(
            self, text: str, style_id: int, *, enable_interrogative_upspeak: bool = True
        ) -> bytes:
            calls.append(("tts", text, style_id, enable_interrogative_upspeak))
            if self.poisoned or "恐慌" in text:
                self.poisoned = True  # as the lock that the panicking thread held
                raise core.panic("called `Option::unwrap()` on a `None` value")
            known = {style.id for character in core.metas for style in character.styles}
            if style_id not in known:
                raise errors["StyleNotFoundError"](style_id)
            if text == "故障":
                raise errors["RunModelError"]("inference failed")
            await core.infer(text)
            return wav(hum(0.5))

    return {
        "Onnxruntime": Onnxruntime,
        "OpenJtalk": OpenJtalk,
        "VoiceModelFile": VoiceModelFile,
        "Synthesizer": Synthesizer,
    }
