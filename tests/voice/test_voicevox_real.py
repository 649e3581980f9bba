"""VOICEVOX itself, where it is installed and its files are named in the environment."""

import os

import pytest

from kotatsu_voice.engines.voicevox import VoicevoxEngine

pytest.importorskip("voicevox_core", reason="needs voicevox_core")
NAMES = ("KOTATSU_VOICEVOX_ONNXRUNTIME", "KOTATSU_VOICEVOX_DICT_DIR", "KOTATSU_VOICEVOX_MODEL")


@pytest.mark.slow
async def test_zundamon_speaks() -> None:
    paths = [os.environ.get(name, "") for name in NAMES]
    if not all(paths):
        pytest.skip(f"needs voicevox_core: {', '.join(NAMES)} are not set")
    engine = VoicevoxEngine(*paths)
    await engine.start()
    assert engine.styles
    pcm = await engine.synthesize("こんにちは、ずんだもんなのだ。", engine.styles[0].id)
    assert 1 < pcm.seconds < 6
    await engine.close()
