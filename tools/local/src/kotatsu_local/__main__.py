"""`kotatsu-local`, also `python -m kotatsu_local`: what `make local` runs."""

import importlib.util
from pathlib import Path

import uvicorn

from kotatsu_common import logs
from kotatsu_common.settings import command
from kotatsu_local.settings import LocalSettings

SUMMARY = "auth, feed and voice in one process on one port, started again when a source changes"
PACKAGES = ("common", "auth", "feed", "voice", "github_stub", "local")


def sources() -> list[str]:
    """The folders to watch."""
    specs = (importlib.util.find_spec(f"kotatsu_{name}") for name in PACKAGES)
    return [str(Path(spec.origin).parent) for spec in specs if spec and spec.origin]


def main(argv: list[str] | None = None) -> None:
    """Serve until Ctrl-C."""
    settings = command(LocalSettings, "kotatsu-local", SUMMARY, argv)
    logs.configure(settings.log_level)
    print(welcome(settings), flush=True)
    uvicorn.run(
        "kotatsu_local.app:from_environment",
        factory=True,
        host=settings.host,
        port=settings.port,
        reload=settings.local_reload,
        reload_dirs=sources(),
        log_config=None,
        access_log=False,
        ws="none",
    )


def welcome(settings: LocalSettings) -> str:
    """What to try first."""
    base = f"http://{settings.host}:{settings.port}"
    token = "demo" if settings.local_github == "stub" else "$TOKEN"
    return "\n".join(
        [
            f"The pet is at {base} (pets are kept in {settings.local_folder}; Ctrl-C stops)",
            f"  curl -H 'Authorization: {token}' {base}/home",
            f"  curl -H 'Authorization: {token}' -X POST {base}/feed",
            f'  curl {base}/voice --json \'{{"text": "こんにちは"}}\' -o hello.mp3',
            f"  curl -N '{base}/talk?stream=true' --json '{{\"message\": \"おはよう\"}}'",
            f"  {base}/openapi.json (feed), {base}/_local/{{auth,voice}}/openapi.json",
        ]
    )


if __name__ == "__main__":
    main()
