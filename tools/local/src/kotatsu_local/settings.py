"""The environment of `make local`; every variable of the services works too."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from kotatsu_common.settings import ServiceSettings


class LocalSettings(ServiceSettings):
    """What the composition takes."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on")
    local_github: Literal["stub", "real"] = Field(
        "stub",
        description="stub: the token demo is the user demo; real: github.com, and for logging in"
        " KOTATSU_GITHUB_CLIENT_ID and KOTATSU_GITHUB_CLIENT_SECRET",
    )
    local_folder: str = Field(".cache/local", description="where the pets are kept")
    local_reload: bool = Field(True, description="start again whenever a source changes")


def environment(
    settings: LocalSettings, environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment that the services see: the real one, with what they lack filled in."""
    folder = Path(settings.local_folder).absolute()
    filled = {
        "KOTATSU_AUTH_URL": "http://auth",
        "KOTATSU_DATABASE_URL": f"sqlite:///{folder}/feed.sqlite3",
        "KOTATSU_GITHUB_CLIENT_ID": "local",
        "KOTATSU_GITHUB_CLIENT_SECRET": "local",
        "KOTATSU_VOICE_ANONYMOUS": "true",
    }
    if settings.local_github == "stub":
        filled["KOTATSU_GITHUB_API_URL"] = "http://github-stub"
        filled["KOTATSU_GITHUB_OAUTH_URL"] = "http://github-stub"
        filled["KOTATSU_DEMO_TOKEN"] = "demo"  # noqa: S105  (the stub's user for everybody)
        here = f"http://{settings.host}:{settings.port}"
        filled["KOTATSU_STUB_PUBLIC_URL"] = filled["KOTATSU_AVATAR_ORIGINS"] = here
    return {**filled, **(os.environ if environ is None else environ)}
