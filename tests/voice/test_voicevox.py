"""VOICEVOX in the process, against a fake package that records every call."""

import asyncio
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from voice.fakes import hum

from kotatsu_voice.audio import polish, wav
from kotatsu_voice.engine import EngineError, EngineFailedError, UnknownStyleError
from kotatsu_voice.engines import check, make_engine
from kotatsu_voice.engines.voicevox import VoicevoxEngine
from kotatsu_voice.settings import VoiceSettings

PATHS = ("/opt/libvoicevox_onnxruntime.so", "/opt/dict", "/opt/0.vvm")
ZUNDAMON = SimpleNamespace(
    name="ずんだもん",
    styles=[
        SimpleNamespace(id=3, name="ノーマル", type="talk"),
        SimpleNamespace(id=1, name="あまあま", type="talk"),
        SimpleNamespace(id=3003, name="ハミング", type="frame_decode"),
    ],
)


class FakeCore:
    """The parts of voicevox_core 0.16 that may be used, with its signatures and errors."""

    class StyleNotFoundError(KeyError): ...

    class ModelNotFoundError(KeyError): ...

    class RunModelError(Exception): ...

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.open_files = 0
        calls, core = self.calls, self

        class Onnxruntime:
            @staticmethod
            async def load_once(*, filename: str) -> str:
                calls.append(("load_once", filename))
                return "runtime"

        class OpenJtalk:
            @staticmethod
            async def new(open_jtalk_dict_dir: str) -> str:
                calls.append(("OpenJtalk.new", open_jtalk_dict_dir))
                return "dictionary"

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
                self, runtime: str, jtalk: str, *, acceleration_mode: str, cpu_num_threads: int
            ) -> None:
                calls.append(("Synthesizer", runtime, jtalk, acceleration_mode, cpu_num_threads))

            async def load_voice_model(self, model: VoiceModelFile) -> None:
                assert core.open_files == 1
                calls.append(("load_voice_model",))

            def metas(self) -> list[Any]:
                return [ZUNDAMON]

            async def tts(
                self, text: str, style_id: int, *, enable_interrogative_upspeak: bool = True
            ) -> bytes:
                calls.append(("tts", text, style_id, enable_interrogative_upspeak))
                if style_id not in (3, 1):
                    raise core.StyleNotFoundError(style_id)
                if text == "故障":
                    raise core.RunModelError("inference failed")
                return wav([polish(hum(0.5))])

        self.api = ModuleType("voicevox_core.asyncio")
        vars(self.api).update(
            Onnxruntime=Onnxruntime,
            OpenJtalk=OpenJtalk,
            VoiceModelFile=VoiceModelFile,
            Synthesizer=Synthesizer,
        )
        self.package = ModuleType("voicevox_core")
        vars(self.package).update(
            asyncio=self.api,
            StyleNotFoundError=self.StyleNotFoundError,
            ModelNotFoundError=self.ModelNotFoundError,
            RunModelError=self.RunModelError,
        )


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> FakeCore:
    core = FakeCore()
    monkeypatch.setitem(sys.modules, "voicevox_core", core.package)
    monkeypatch.setitem(sys.modules, "voicevox_core.asyncio", core.api)
    return core


async def started(**options: Any) -> VoicevoxEngine:
    engine = VoicevoxEngine(*PATHS, **options)
    await engine.start()
    return engine


async def test_it_loads_runtime_dictionary_and_model_by_their_paths(core: FakeCore) -> None:
    await started()
    assert core.calls == [
        ("load_once", PATHS[0]),
        ("OpenJtalk.new", PATHS[1]),
        ("Synthesizer", "runtime", "dictionary", "AUTO", 0),
        ("open", PATHS[2]),
        ("load_voice_model",),
    ]
    assert core.open_files == 0


async def test_styles_that_speak_are_listed_with_the_credit_they_ask_for(core: FakeCore) -> None:
    engine = await started()
    assert [(s.id, s.name) for s in engine.styles] == [(3, "ノーマル"), (1, "あまあま")]
    assert {s.credit for s in engine.styles} == {"VOICEVOX:ずんだもん"}
    assert (engine.default_style, engine.workers) == (3, 1)


async def test_it_speaks_in_the_chosen_style(core: FakeCore) -> None:
    pcm = await (await started()).synthesize("こんにちは？", 1)
    assert core.calls[-1] == ("tts", "こんにちは？", 1, True)
    assert pcm.seconds == pytest.approx(0.5, abs=0.1)


async def test_its_errors_become_ours(core: FakeCore) -> None:
    engine = await started(default_style=1)
    with pytest.raises(UnknownStyleError):
        await engine.synthesize("はい", 99)
    with pytest.raises(EngineFailedError):
        await engine.synthesize("故障", 3)


async def test_a_cancelled_call_stays_cancelled(core: FakeCore) -> None:
    engine = await started()

    async def forever(*_: object, **__: object) -> bytes:
        await asyncio.Event().wait()
        return b""

    engine._synthesizer.tts = forever
    task = asyncio.create_task(engine.synthesize("はい", 3))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_model_that_does_not_load_says_so(core: FakeCore) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("InvalidModelData")

    vars(core.api)["Synthesizer"] = broken
    with pytest.raises(EngineFailedError, match="InvalidModelData"):
        await started()


def test_the_package_is_not_imported_before_the_start() -> None:
    VoicevoxEngine(*PATHS)
    assert "voicevox_core" not in sys.modules


def test_choosing_it_without_the_package_is_one_clear_line(tmp_path: Any) -> None:
    if "voicevox_core" in sys.modules:
        pytest.skip("the real package is here")
    library = tmp_path / "lib.so"
    library.touch()
    settings = VoiceSettings(
        voice_anonymous=True,
        voice_engine="voicevox",
        voicevox_onnxruntime=library,
        voicevox_dict_dir=tmp_path,
        voicevox_model=library,
    )
    with pytest.raises(EngineError, match="voicevox_core, which is not installed"):
        check(settings)
    assert isinstance(make_engine(settings, None), VoicevoxEngine)
