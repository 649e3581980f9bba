"""The voice's environment, after what every service takes."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from kotatsu_common.settings import ServiceSettings


def _http_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("not an http:// or https:// address")
    return value


HttpUrl = Annotated[str, AfterValidator(_http_url)]


class VoiceSettings(ServiceSettings):
    """See the README for what each is for."""

    voice_engine: Literal["openjtalk", "voicevox", "voicevox-engine"] = Field(
        "openjtalk", description="what makes the speech"
    )
    voice_workers: int = Field(
        2, ge=1, le=64, description="sentences spoken at once by openjtalk; one a core"
    )
    voice_style: int | None = Field(
        None, description="style when a request names none; by default the engine's own"
    )
    voice_max_characters: int = Field(
        500, ge=1, le=5000, description="longest text that is spoken, about 90 seconds"
    )
    voice_queue: int = Field(
        1000,
        ge=1,
        description="different texts that may wait; more get 503. At least the maxHeld of the "
        "chart kotatsu",
    )
    voice_cache_bytes: int = Field(
        32 * 1024 * 1024, ge=0, description="bytes of finished speech kept in memory; 0 keeps none"
    )
    voice_anonymous: bool = Field(
        False,
        description="true: anybody may have texts spoken; put a rate limit in front. POST /talk is"
        " for known users all the same",
    )
    auth_url: HttpUrl | None = Field(
        None,
        description="where auth is; required unless KOTATSU_VOICE_ANONYMOUS is true. Without it"
        " there is no POST /talk",
    )
    voicevox_engine_url: HttpUrl | None = Field(
        None, description="where VOICEVOX ENGINE is, for the engine voicevox-engine"
    )
    voicevox_onnxruntime: Path | None = Field(
        None, description="libvoicevox_onnxruntime, for the engine voicevox"
    )
    voicevox_dict_dir: Path | None = Field(
        None, description="folder of the Open JTalk dictionary, for the engine voicevox"
    )
    voicevox_model: Path | None = Field(
        None, description="voice model (.vvm), for the engine voicevox"
    )
    gemini_api_key: SecretStr | None = Field(
        None, description="key for POST /talk; without it a line of our own is spoken"
    )
    gemini_api_url: HttpUrl = Field(
        "https://generativelanguage.googleapis.com/v1beta", description="base of the Gemini API"
    )
    gemini_model: str = Field(
        "gemini-3.5-flash-lite", pattern=r"^[\w.-]+$", description="which Gemini talks"
    )

    @model_validator(mode="after")
    def _complete(self) -> "VoiceSettings":
        if not self.voice_anonymous and self.auth_url is None:
            raise ValueError(
                "KOTATSU_AUTH_URL is not set (without it, set KOTATSU_VOICE_ANONYMOUS=true)"
            )
        if self.gemini_api_key is not None and self.auth_url is None:
            raise ValueError(
                "KOTATSU_AUTH_URL is not set; KOTATSU_GEMINI_API_KEY needs it, since only known"
                " users may talk with Gemini"
            )
        if self.voice_engine == "voicevox-engine":
            self._need("voicevox_engine_url")
        if self.voice_engine == "voicevox":
            paths = ("voicevox_onnxruntime", "voicevox_dict_dir", "voicevox_model")
            self._need(*paths)
            self._exist(*paths)
        return self

    def _exist(self, *fields: str) -> None:
        for name in fields:
            path: Path = getattr(self, name)
            if not path.exists():
                raise ValueError(f"KOTATSU_{name.upper()} is wrong: {path} does not exist")

    def _need(self, *fields: str) -> None:
        missing = [f"KOTATSU_{name.upper()}" for name in fields if getattr(self, name) is None]
        if missing:
            named = ", ".join(missing)
            raise ValueError(f"{named} not set; KOTATSU_VOICE_ENGINE={self.voice_engine} needs it")
