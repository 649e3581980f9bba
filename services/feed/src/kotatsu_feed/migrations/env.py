"""Alembic's way in: on the connection that `migrate` holds, or on a URL for developers.

`alembic -c services/feed/pyproject.toml revision --autogenerate -m "…"` compares the tables with
the database at KOTATSU_DATABASE_URL and writes the next revision.
"""

import asyncio
import os

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from kotatsu_feed.storage.migrate import VERSION_TABLE
from kotatsu_feed.storage.schema import metadata
from kotatsu_feed.storage.urls import database_url


def run(connection: Connection) -> None:
    """Run what the command asked for on `connection`."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        transactional_ddl=True,
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_by_url() -> None:
    """The developer's way: open the database of the environment."""
    engine = create_async_engine(database_url(os.environ["KOTATSU_DATABASE_URL"]))
    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()


held = context.config.attributes.get("connection")
if held is not None:
    run(held)
else:
    asyncio.run(run_by_url())
