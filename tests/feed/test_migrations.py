import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from rows import each

import kotatsu_feed
from kotatsu_feed.app import create_app
from kotatsu_feed.settings import FeedSettings
from kotatsu_feed.storage.database import Database, StorageUnavailableError
from kotatsu_feed.storage.migrate import HEAD, VERSION_TABLE, NewerSchemaError, migrate
from kotatsu_feed.storage.schema import metadata
from kotatsu_feed.storage.urls import database_url

VERSION = sa.table(VERSION_TABLE, sa.column("version_num"))
VERSIONS = sa.select(VERSION.c.version_num)


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", f"{Path(kotatsu_feed.__file__).parent}/migrations")
    return ScriptDirectory.from_config(config)


async def test_the_migrations_make_exactly_the_tables_that_the_code_uses(empty_url: str) -> None:
    url = database_url(empty_url)
    await migrate(url)
    database = Database(url)

    def differences(connection: sa.Connection) -> list[object]:
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        return list(
            compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        )

    async with database.read() as db:
        assert await db.run_sync(differences) == []
    await database.close()


def test_there_is_one_newest_revision_and_the_code_knows_it() -> None:
    assert scripts().get_heads() == [HEAD]


async def test_an_app_brings_its_database_up_to_date_as_it_starts(
    empty_url: str, outside: httpx.AsyncClient
) -> None:
    app = create_app(FeedSettings(database_url=empty_url), http=outside)
    async with app.router.lifespan_context(app):
        database = Database(database_url(empty_url))
        async with database.read() as db:
            assert list(await db.scalars(VERSIONS)) == [HEAD]
        await database.close()


async def test_eight_replicas_that_start_at_once_do_not_meet(empty_url: str) -> None:
    url = database_url(empty_url)
    await asyncio.gather(*(migrate(url) for _ in range(8)))
    database = Database(url)
    async with database.read() as db:
        versions = list(await db.scalars(VERSIONS))
    assert versions == [HEAD]
    await database.close()


async def test_a_new_sqlite_file_that_another_replica_is_at_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pets.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        replica = asyncio.create_task(migrate(database_url(f"sqlite:///{path}")))
        await asyncio.wait([replica], timeout=0.3)
        assert not replica.done()
        other.execute("ROLLBACK")
        await replica


async def test_a_database_of_a_newer_version_is_not_touched(empty_url: str) -> None:
    url = database_url(empty_url)
    await migrate(url)
    database = Database(url)
    async with database.write() as db:
        await db.execute(sa.update(VERSION).values(version_num="9999"))
    await database.close()
    with pytest.raises(NewerSchemaError, match="9999"):
        await migrate(url)


@each(
    "text",
    [
        "sqlite:////nowhere/at/all/pets.sqlite3",
        "postgresql://x@/x?host=/nowhere",
        "postgresql://x@127.0.0.1:1/x",
    ],
)
async def test_a_database_that_is_not_there_is_an_outage(text: str) -> None:
    with pytest.raises(StorageUnavailableError):
        await migrate(database_url(text))
