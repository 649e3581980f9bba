"""Bring the database to the schema of this version, when several replicas start at once too.

An upgrade is one transaction that first takes a lock: an advisory lock on PostgreSQL, the write
lock (BEGIN IMMEDIATE) on SQLite. Whoever comes second waits, then finds nothing to do.

Most starts find nothing to do, and a pod that wakes for somebody should not spend a quarter of a
second on loading Alembic to learn that: it is imported only for an upgrade.
"""

import asyncio
import logging
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine import URL

from kotatsu_feed.storage.database import Database, StorageUnavailableError

logger = logging.getLogger("kotatsu.feed")
HEAD = "0001"
"""The newest revision; a test compares it with the scripts."""
VERSION_TABLE = "kotatsu_feed_version"
STATEMENT_TIMEOUT = 600
"""Seconds for one step of a migration, or for the wait until another replica has made it."""
_LOCK = 0x6B6F_7461_7473_7501  # "kotatsu" and a number: any constant that others don't use


class NewerSchemaError(Exception):
    """A later version of feed has been here; this one doesn't know its schema."""


async def migrate(url: URL) -> None:
    """Upgrade to the newest revision; StorageUnavailableError or NewerSchemaError otherwise."""
    database = Database(url, pool_size=1, statement_timeout=STATEMENT_TIMEOUT)
    try:
        async with database.read() as connection:
            if await connection.run_sync(_current) == HEAD:
                return
        async with database.write() as connection:
            if not database.is_sqlite:
                lock = text("SELECT pg_advisory_xact_lock(:lock)")
                await connection.execute(lock, {"lock": _LOCK})
            await connection.run_sync(_upgrade)
    except StorageUnavailableError:
        if database.is_sqlite:
            # aiosqlite doesn't wait for the thread of a connection that failed to open, and the
            # thread must not outlive the event loop: it would print a traceback.
            await asyncio.sleep(0.5)
        raise
    finally:
        await database.close()


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608


def _upgrade(connection: Connection) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    folder = Path(__file__).parent.parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    current = _current(connection)
    if current is not None and current not in known:
        raise NewerSchemaError(
            f"the database is at revision {current}, which is newer than this version of feed;"
            " deploy the newer version again, or restore a backup from before it"
        )
    if current != HEAD:
        command.upgrade(config, HEAD)
        logger.info("the database is now at revision %s (before: %s)", HEAD, current or "empty")
