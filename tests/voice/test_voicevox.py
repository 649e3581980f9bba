"""VOICEVOX in the process, against a fake package that answers to the recorded contract."""

import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from rows import each
from voice.voicevox_contract import (
    CALLS,
    ERRORS,
    READINGS,
    STYLE_TYPES,
    CharacterMeta,
    FakeCore,
    StyleMeta,
)

from kotatsu_voice.engine import (
    EngineError,
    EngineFailedError,
    EngineLostError,
    SilentError,
    UnknownStyleError,
    UnspeakableError,
)
from kotatsu_voice.engines import check, make_engine
from kotatsu_voice.engines.voicevox import VoicevoxEngine
from kotatsu_voice.settings import VoiceSettings

PATHS = ("/opt/libvoicevox_onnxruntime.so", "/opt/dict", "/opt/0.vvm")


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> FakeCore:
    core = FakeCore()
    core.install(monkeypatch)
    return core


@pytest.fixture
def no_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package can't be imported, also where it is installed."""
    monkeypatch.setitem(sys.modules, "voicevox_core", None)


async def started(**options: Any) -> VoicevoxEngine:
    engine = VoicevoxEngine(*PATHS, **options)
    await engine.start()
    return engine


async def test_it_loads_runtime_dictionary_and_model_by_their_paths(core: FakeCore) -> None:
    await started()
    assert core.calls == [
        ("load_once", PATHS[0]),
        ("OpenJtalk.new", PATHS[1]),
        ("Synthesizer", "runtime", "AUTO", 0),
        ("open", PATHS[2]),
        ("load_voice_model",),
    ]
    assert core.open_files == 0


async def test_styles_that_speak_are_listed_with_the_credit_they_ask_for(core: FakeCore) -> None:
    engine = await started()
    assert [(s.id, s.name) for s in engine.styles] == [(3, "ノーマル"), (1, "あまあま")]
    assert {s.credit for s in engine.styles} == {"VOICEVOX:ずんだもん"}
    assert engine.workers == 1


async def test_streaming_styles_of_0_17_speak_and_songs_do_not(core: FakeCore) -> None:
    kinds = STYLE_TYPES["0.17"]
    core.metas = [
        CharacterMeta("ずんだもん", [StyleMeta(kind, 10 + n, kind) for n, kind in enumerate(kinds)])
    ]
    engine = await started()
    assert [style.name for style in engine.styles] == ["talk", "streaming_talk"]


async def test_the_default_is_the_voice_of_the_first_version(core: FakeCore) -> None:
    engine = await started()
    (default,) = (style for style in engine.styles if style.id == engine.default_style)
    assert (default.speaker, default.name) == ("ずんだもん", "あまあま")


async def test_a_model_without_that_voice_speaks_in_its_first_style(core: FakeCore) -> None:
    core.metas = [CharacterMeta("九州そら", [StyleMeta("ノーマル", 16), StyleMeta("あまあま", 15)])]
    assert (await started()).default_style == 16
    assert (await started(default_style=15)).default_style == 15


async def test_a_model_that_only_sings_is_an_error(core: FakeCore) -> None:
    core.metas = [CharacterMeta("波音リツ", [StyleMeta("ノーマル", 6000, "singing_teacher")])]
    with pytest.raises(EngineFailedError, match="no style that speaks"):
        await started()


async def test_it_speaks_in_the_chosen_style(core: FakeCore) -> None:
    pcm = await (await started()).synthesize("こんにちは？", 1)
    assert core.calls[-1] == ("tts", "こんにちは？", 1, True)
    assert pcm.seconds == pytest.approx(0.5, abs=0.1)


async def test_signs_and_english_words_are_written_out_for_it(core: FakeCore) -> None:
    """It spells English and ignores a minus."""
    engine = await started()
    await engine.synthesize("GitHubにpush、10:30に−5度、penguin。", 1)
    assert core.calls[-1][1] == "ギットハブにプッシュ、10時30分にマイナス5度、ペンギン。"


async def test_its_errors_become_ours(core: FakeCore) -> None:
    engine = await started(default_style=1)
    with pytest.raises(UnknownStyleError):
        await engine.synthesize("はい", 99)
    with pytest.raises(EngineFailedError) as failed:
        await engine.synthesize("故障", 3)
    assert not isinstance(failed.value, EngineLostError)


@each("text", [text for text, has_one in READINGS.items() if not has_one])
async def test_text_without_a_reading_is_silent(core: FakeCore, text: str) -> None:
    engine = await started()
    with pytest.raises(SilentError):
        await engine.synthesize(text, 3)


async def test_a_short_text_with_an_endless_reading_is_refused(core: FakeCore) -> None:
    engine = await started()
    with pytest.raises(UnspeakableError, match="too long"):
        await engine.synthesize("W" * 120, 3)
    assert "tts" not in [call[0] for call in core.calls]


async def test_after_a_panic_the_engine_is_lost_until_it_is_started_again(core: FakeCore) -> None:
    engine = await started()
    for text in ("恐慌", "はい。"):  # the second meets a poisoned lock
        with pytest.raises(EngineLostError, match="panicked"):
            await engine.synthesize(text, 3)
    await engine.start()
    assert (await engine.synthesize("はい。", 3)).seconds > 0
    assert [call[0] for call in core.calls].count("OpenJtalk.new") == 2


async def test_a_panic_while_it_loads_is_an_error(core: FakeCore) -> None:
    def broken(*_: object, **__: object) -> None:
        raise core.panic("index out of bounds")

    vars(core.api)["Synthesizer"] = broken
    with pytest.raises(EngineFailedError, match="panicked"):
        await started()


async def test_the_end_of_the_process_is_no_panic(core: FakeCore) -> None:
    engine = await started()

    async def interrupted(*_: object, **__: object) -> bytes:
        raise KeyboardInterrupt

    engine._synthesizer.tts = interrupted
    with pytest.raises(KeyboardInterrupt):
        await engine.synthesize("はい", 3)


async def test_what_onnx_runtime_tells_of_itself_is_not_logged(
    core: FakeCore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await started()
    assert [record for record in caplog.records if record.name.startswith("ort")] == []


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


async def test_an_error_says_its_causes(core: FakeCore) -> None:
    """As the package raises them: the message of the first is the same for any file."""

    def vanished(*_: object, **__: object) -> None:
        raise core.errors["OpenZipFileError"]("it can't be opened as ZIP") from Exception("no file")

    vars(core.api)["VoiceModelFile"].open = vanished
    with pytest.raises(EngineFailedError, match="can't be opened as ZIP: no file"):
        await started()


async def test_styles_in_an_unknown_form_are_an_error_and_no_silent_end(core: FakeCore) -> None:
    core.metas = [CharacterMeta("ずんだもん", [object()])]  # type: ignore[list-item]
    with pytest.raises(EngineFailedError, match="can't be loaded"):
        await started()


@pytest.mark.usefixtures("no_core")
def test_choosing_it_without_the_package_is_one_clear_line(tmp_path: Path) -> None:
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


def test_the_fake_package_keeps_the_contract() -> None:
    core = FakeCore()
    assert core.errors.keys() == ERRORS.keys()
    for call in CALLS:
        owner, method = call.split(".")
        assert hasattr(getattr(core.api, owner), method)
