"""`kotatsu-auth`, also `python -m kotatsu_auth`."""

from kotatsu_common import startup

SUMMARY = "GitHub identity for Kotatsu's pet: /token for login codes, and /authorize for services"


def main(argv: list[str] | None = None) -> None:
    """Serve until SIGTERM."""
    with startup.quickly():
        startup.import_fastapi()
        from kotatsu_auth.app import create_app
        from kotatsu_auth.settings import AuthSettings
        from kotatsu_common import logs
        from kotatsu_common.server import serve
        from kotatsu_common.settings import command

        settings = command(AuthSettings, "kotatsu-auth", SUMMARY, argv)
        logs.configure(settings.log_level)
        app = create_app(settings)
    serve(app, settings)


if __name__ == "__main__":
    main()
