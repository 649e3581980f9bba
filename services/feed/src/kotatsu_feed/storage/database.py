"""One way to reach the database, whichever of the two it is.

SQLite is opened in WAL mode with full syncs: an answered feeding survives a lost node. Python's
driver begins transactions at odd moments, so they are begun here: writers with BEGIN IMMEDIATE,
which waits for its turn instead of failing half-way, and one at a time within the process, which
is what SQLite does anyway, without the polling.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

import aiosqlite
from sqlalchemy import Connection, event, exc
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, AdaptedConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

_READ = "kotatsu_read"
_BUSY_PAUSE = 0.01
"""Seconds between two tries to get a new SQLite file into WAL mode."""
# PostgreSQL's classes of errors that pass: connection, authorization, no such database, rollback
# (deadlock), resources, not in that state (lock timeout), operator intervention.
_OUTAGES = ("08", "28", "3D", "40", "53", "55", "57")


class StorageUnavailableError(Exception):
    """The database can't be reached, or didn't answer in time. Nothing was changed for sure."""


class Database:
    """An engine with a read and a write transaction, and an INSERT that knows ON CONFLICT.

    `timeout` in seconds bounds each wait: for a connection, for SQLite's write lock, and for
    every statement on PostgreSQL unless `statement_timeout` says otherwise.
    """

    def __init__(
        self,
        url: URL,
        *,
        pool_size: int = 5,
        timeout: float = 10,
        statement_timeout: float | None = None,
    ) -> None:
        self.engine = _engine(url, pool_size, timeout, statement_timeout or timeout)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        # The same API in two modules that share no base class.
        self.insert: Any = sqlite.insert if self.is_sqlite else postgresql.insert
        self._writers: AbstractAsyncContextManager[object] = (
            asyncio.Lock() if self.is_sqlite else nullcontext()
        )

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One consistent view; what is written through it is lost."""
        async with _reachable(), self.engine.connect() as connection:
            await connection.execution_options(**{_READ: True})
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed at the end, undone by an exception."""
        async with self._writers, _reachable(), self.engine.begin() as connection:
            yield connection

    async def close(self) -> None:
        """Give all connections back."""
        await self.engine.dispose()


@asynccontextmanager
async def _reachable() -> AsyncIterator[None]:
    try:
        yield
    except OSError as error:  # asyncpg's connect; TimeoutError is one as well
        raise StorageUnavailableError(str(error) or type(error).__name__) from error
    except exc.TimeoutError as error:
        raise StorageUnavailableError("every connection is in use") from error
    except exc.DBAPIError as error:
        if _is_outage(error):
            # The driver's own sentence: SQLAlchemy's would add the statement.
            raise StorageUnavailableError(str(error.orig)) from error
        raise


def _is_outage(error: exc.DBAPIError) -> bool:
    """Whether the database is to blame; what else there is would be a mistake of ours."""
    state = getattr(error.orig, "sqlstate", None)
    return (
        error.connection_invalidated
        or isinstance(error, exc.OperationalError)  # SQLite: locked, full, read-only, gone
        or (isinstance(state, str) and state.startswith(_OUTAGES))
    )


def _engine(url: URL, pool_size: int, timeout: float, statement: float) -> AsyncEngine:
    options: dict[str, Any] = {
        "pool_size": pool_size,
        "max_overflow": 0,
        "pool_timeout": timeout,
        "hide_parameters": True,
    }
    if url.get_backend_name() == "sqlite":
        # No isolation level: no BEGIN but ours.
        arguments = {"timeout": timeout, "isolation_level": None}
        engine = create_async_engine(url, connect_args=arguments, **options)

        def prepare(connection: AdaptedConnection, _: ConnectionPoolEntry) -> None:
            deadline = time.monotonic() + timeout
            connection.run_async(lambda driver: _prepare_sqlite(driver, deadline))

        event.listen(engine.sync_engine, "connect", prepare)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine
    return create_async_engine(
        url,
        pool_pre_ping=True,
        connect_args={"timeout": timeout, "command_timeout": statement},
        **options,
    )


async def _prepare_sqlite(connection: aiosqlite.Connection, deadline: float) -> None:
    await _use_wal(connection, deadline)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        await (await connection.execute(f"PRAGMA {pragma}")).close()


async def _use_wal(connection: aiosqlite.Connection, deadline: float) -> None:
    # Only a new file changes its mode, and then SQLite itself doesn't wait for its turn: it
    # fails at once if somebody else, another replica that starts, is at the file.
    while True:
        try:
            cursor = await connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            await asyncio.sleep(_BUSY_PAUSE)
        else:
            return await cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    reading = connection.get_execution_options().get(_READ)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
