"""Bring the database to the schema of this version, when several replicas start at once too.

Everything happens in one transaction that first takes a lock: an advisory lock on PostgreSQL,
the write lock (BEGIN IMMEDIATE) on SQLite. Whoever comes second waits, then finds nothing to do.
"""

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.engine import URL

from kotatsu_feed.storage.database import Database

logger = logging.getLogger("kotatsu.feed")
logging.getLogger("alembic").setLevel(logging.WARNING)
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
        async with database.write() as connection:
            if not database.is_sqlite:
                lock = text("SELECT pg_advisory_xact_lock(:lock)")
                await connection.execute(lock, {"lock": _LOCK})
            await connection.run_sync(_upgrade)
    finally:
        await database.close()


def _upgrade(connection: Connection) -> None:
    config = Config()
    folder = Path(__file__).parent.parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    known = {revision.revision for revision in script.walk_revisions()}
    current = context.get_current_revision()
    if current is not None and current not in known:
        raise NewerSchemaError(
            f"the database is at revision {current}, which this version of feed doesn't know;"
            " deploy the newer version again, or restore a backup from before it"
        )
    head = script.get_current_head()
    if current != head:
        command.upgrade(config, "head")
        logger.info("the database is now at revision %s (before: %s)", head, current or "empty")
