"""`kotatsu-github-stub`, also `python -m kotatsu_github_stub`."""

from kotatsu_common import logs
from kotatsu_common.server import serve
from kotatsu_common.settings import command
from kotatsu_github_stub.app import create_app
from kotatsu_github_stub.settings import StubSettings

SUMMARY = "A stand-in for GitHub, for tests and demos: the token `demo` is the user demo"


def main(argv: list[str] | None = None) -> None:
    """Serve until SIGTERM."""
    settings = command(StubSettings, "kotatsu-github-stub", SUMMARY, argv)
    logs.configure(settings.log_level)
    serve(create_app(settings), settings)


if __name__ == "__main__":
    main()
