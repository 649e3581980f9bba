"""The engines by name. Only the chosen one is imported."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from kotatsu_voice.engine import Engine, EngineError
from kotatsu_voice.settings import VoiceSettings

if TYPE_CHECKING:
    import httpx


def check(settings: VoiceSettings) -> None:
    """EngineError if the chosen engine can't be here at all; else only a start shows."""
    if settings.voice_engine == "voicevox" and find_spec("voicevox_core") is None:
        raise EngineError(
            "KOTATSU_VOICE_ENGINE is wrong: voicevox needs the package voicevox_core,"
            " which is not installed"
        )


def make_engine(settings: VoiceSettings, http: "httpx.AsyncClient | None") -> Engine:
    """The engine that the settings name, not started. `http` is for the remote one."""
    if settings.voice_engine == "voicevox":
        from kotatsu_voice.engines.voicevox import VoicevoxEngine

        paths = (
            settings.voicevox_onnxruntime,
            settings.voicevox_dict_dir,
            settings.voicevox_model,
        )
        return VoicevoxEngine(*map(str, paths), default_style=settings.voice_style)
    if settings.voice_engine == "voicevox-engine":
        from kotatsu_voice.engines.voicevox_engine import VoicevoxHttpEngine

        if http is None or settings.voicevox_engine_url is None:
            raise ValueError("voicevox-engine needs an HTTP client and a URL")
        return VoicevoxHttpEngine(
            http, settings.voicevox_engine_url, default_style=settings.voice_style
        )
    from kotatsu_voice.engines.openjtalk import OpenJTalkEngine

    return OpenJTalkEngine(settings.voice_workers, default_style=settings.voice_style)
