"""`kotatsu-feed`, also `python -m kotatsu_feed`."""

import asyncio
import logging
import sys

from kotatsu_common import startup

logger = logging.getLogger("kotatsu.feed")
SUMMARY = """\
The pet: home, food, feeding, ranking, clothes, background

`kotatsu-feed import FILE` takes the pets of the app's first version; its options: -h."""


def main(argv: list[str] | None = None) -> None:
    """Serve until SIGTERM, or import pets."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["import"]:
        from kotatsu_feed.importing import command as importing

        raise SystemExit(importing.main(arguments[1:]))
    with startup.quickly():
        startup.import_fastapi()
        from kotatsu_common import logs
        from kotatsu_common.server import serve
        from kotatsu_common.settings import command
        from kotatsu_feed.app import create_app, prepare
        from kotatsu_feed.settings import FeedSettings
        from kotatsu_feed.storage.database import StorageUnavailableError
        from kotatsu_feed.storage.migrate import NewerSchemaError

        settings = command(FeedSettings, "kotatsu-feed", SUMMARY, arguments)
        logs.configure(settings.log_level)
    try:
        asyncio.run(prepare(settings))
    except (StorageUnavailableError, NewerSchemaError) as error:
        logger.error("feed can't use its database (KOTATSU_DATABASE_URL): %s", error)
        raise SystemExit(1) from None
    serve(create_app(settings, is_prepared=True), settings)


if __name__ == "__main__":
    main()
