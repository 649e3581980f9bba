"""VOICEVOX itself, where it is installed and its files are named in the environment."""

import dataclasses
import importlib
import inspect
import os
from importlib.util import find_spec
from typing import Any

import pytest
from voice.voicevox_contract import CALLS, ERRORS, FIELDS, READINGS

from kotatsu_voice.engine import SilentError, UnspeakableError
from kotatsu_voice.engines.voicevox import VoicevoxEngine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("voicevox_core") is None, reason="needs voicevox_core"),
]
NAMES = ("KOTATSU_VOICEVOX_ONNXRUNTIME", "KOTATSU_VOICEVOX_DICT_DIR", "KOTATSU_VOICEVOX_MODEL")


@pytest.fixture
async def engine() -> VoicevoxEngine:
    paths = [os.environ.get(name, "") for name in NAMES]
    if not all(paths):
        pytest.skip(f"needs voicevox_core: {', '.join(NAMES)} are not set")
    engine = VoicevoxEngine(*paths)
    await engine.start()
    return engine


async def test_zundamon_speaks(engine: VoicevoxEngine) -> None:
    assert engine.styles
    pcm = await engine.synthesize("こんにちは、ずんだもんなのだ。", engine.default_style)
    assert 1 < pcm.seconds < 6


async def test_it_is_started_again_in_one_process(engine: VoicevoxEngine) -> None:
    await engine.start()
    assert (await engine.synthesize("はい。", engine.default_style)).seconds > 0


@pytest.mark.parametrize(("text", "has_one"), READINGS.items())
async def test_readings_are_as_recorded(engine: VoicevoxEngine, text: str, has_one: bool) -> None:
    if has_one:
        assert (await engine.synthesize(text, engine.default_style)).seconds > 0
    else:
        with pytest.raises(SilentError):
            await engine.synthesize(text, engine.default_style)


async def test_a_short_text_with_an_endless_reading_is_refused(engine: VoicevoxEngine) -> None:
    with pytest.raises(UnspeakableError, match="too long"):
        await engine.synthesize("qzjvxkwrtp" * 12, engine.default_style)


@pytest.mark.parametrize(("name", "base"), ERRORS.items())
def test_errors_are_as_recorded(name: str, base: type[Exception]) -> None:
    assert getattr(importlib.import_module("voicevox_core"), name).__bases__ == (base,)


@pytest.mark.parametrize(("call", "parameters"), CALLS.items())
def test_calls_are_as_recorded(call: str, parameters: tuple[str, ...]) -> None:
    found: Any = importlib.import_module("voicevox_core.asyncio")
    for name in call.split("."):
        found = getattr(found, name)
    assert set(parameters) <= inspect.signature(found).parameters.keys()


@pytest.mark.parametrize(("name", "fields"), FIELDS.items())
def test_fields_are_as_recorded(name: str, fields: tuple[str, ...]) -> None:
    found = getattr(importlib.import_module("voicevox_core"), name)
    assert set(fields) <= {field.name for field in dataclasses.fields(found)}
