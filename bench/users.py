"""POST /feed and GET /ranking with 1,000 and with 1,000,000 users, on SQLite and PostgreSQL."""

import asyncio
import contextlib
import random
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime

import asyncpg  # type: ignore[import-untyped]
import sqlalchemy as sa

from http1 import Connection, request
from kotatsu_feed.domain.day import day_of
from kotatsu_feed.storage.database import Database
from kotatsu_feed.storage.migrate import migrate
from kotatsu_feed.storage.schema import Instant
from kotatsu_feed.storage.urls import database_url
from report import Row
from samples import Samples, amount
from services import Running, running
from topic import again, main, progress, unmeasured

# isort: split
from feed.postgres import ROLE, NoPostgresError, postgres_server

FEW, MANY = 1_000, 1_000_000
AGAIN = again("users")
GOAL = "≤ 1.3: flat"
TURN = 10
"""Requests to one database before the other's turn comes."""

_PETS = """
INSERT INTO pets (user_id, login, avatar_url, name, experience, clothes, background, fed_count,
  food_day, food_contributions, food_seen_at, created_at)
SELECT n, 'user' || n, 'https://avatars.example/' || n || '.svg', 'DASH',
  (CAST(n AS BIGINT) * 7919) % 1000003 * 10, 'normal', 'spring', 0, :day, 1000000, :now, :now
FROM """
_NUMBERS = {
    "PostgreSQL": "generate_series(1, :users) AS n",
    "SQLite": (
        "(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < :users)"
        " SELECT n FROM c)"
    ),
}


async def fill(url: str, kind: str, users: int) -> None:
    """A database with so many pets; all have food, so that GitHub is not asked for any."""
    await migrate(database_url(url))
    database = Database(database_url(url), timeout=300)
    typed = (sa.bindparam("day", type_=sa.Date), sa.bindparam("now", type_=Instant))
    statement = sa.text(_PETS + _NUMBERS[kind]).bindparams(*typed)
    now = datetime.now(UTC)
    async with database.write() as db:
        await db.execute(statement, {"users": users, "now": now, "day": day_of(now)})
        await db.execute(sa.text("ANALYZE pets"))
    await database.close()


@contextlib.contextmanager
def databases(kind: str) -> Iterator[dict[int, str]]:
    """The URLs of an empty database for each number of users."""
    if kind == "SQLite":
        with tempfile.TemporaryDirectory(prefix="kotatsu-bench-") as folder:
            yield {users: f"sqlite:///{folder}/{users}.sqlite3" for users in (FEW, MANY)}
        return
    with postgres_server() as folder:
        for users in (FEW, MANY):
            asyncio.run(_create(folder, f"of_{users}"))
        yield {users: f"postgresql://{ROLE}@/of_{users}?host={folder}" for users in (FEW, MANY)}


async def _create(folder: str, name: str) -> None:
    connection = await asyncpg.connect(host=folder, user=ROLE, database="postgres")
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()


def rows(quick: bool) -> list[Row]:
    """Both requests on both databases."""
    found = []
    for kind in ("SQLite", "PostgreSQL"):
        try:
            with databases(kind) as urls:
                for users, url in urls.items():
                    with progress.step(f"{users:,} users in {kind}"):
                        asyncio.run(fill(url, kind, users))
                with contextlib.ExitStack() as stack:
                    servers = {
                        users: stack.enter_context(_serve(url)) for users, url in urls.items()
                    }
                    found += _measure(kind, servers, 100 if quick else 2000)
        except NoPostgresError as error:
            what = f"feed on {kind}: {MANY:,} users ÷ {FEW:,}, p99"
            found.append(unmeasured(what, "", str(error), GOAL, "users"))
    return found


def _serve(url: str) -> contextlib.AbstractContextManager[Running]:
    settings = {"KOTATSU_DATABASE_URL": url, "KOTATSU_CONTRIBUTIONS_TTL": "3600"}
    return running("feed_server.py", settings)


def _measure(kind: str, servers: dict[int, Running], runs: int) -> list[Row]:
    calls = (("POST", "/feed"), ("GET", "/ranking"))
    times: dict[tuple[str, int], list[float]] = {
        (path, users): [] for _, path in calls for users in servers
    }
    chance = random.Random(1)  # noqa: S311  (the same users in every run)
    with contextlib.ExitStack() as stack, progress.step(f"requests on {kind}"):
        lines = {
            users: stack.enter_context(Connection(server.address))
            for users, server in servers.items()
        }
        for turn in range(-1, runs // TURN):
            for method, path in calls:
                for users, line in lines.items():
                    for _ in range(TURN):
                        token = f"user{chance.randint(1, users)}"
                        answer = line.ask(request(method, path, Authorization=token))
                        if answer.status != 200:
                            raise RuntimeError(f"{path}: {answer.status} {answer.body[:200]!r}")
                        if turn >= 0:
                            times[path, users].append(answer.seconds)
    return [_judged(kind, f"{method} {path}", *_both(times, path)) for method, path in calls]


def _both(times: dict[tuple[str, int], list[float]], path: str) -> tuple[Samples, Samples]:
    return Samples.of(times[path, FEW]), Samples.of(times[path, MANY])


def _judged(kind: str, call: str, few: Samples, many: Samples) -> Row:
    ratio = many.p99 / few.p99
    how = (
        f"one connection, random users, {TURN} requests to each database in turns;"
        f" p99 {amount(many.p99)} against {amount(few.p99)}, median {many.text} against {few.text}"
    )
    return Row(
        f"{call} on {kind}: p99 with {MANY:,} users ÷ with {FEW:,}",
        how,
        many.text,
        many.spread,
        len(many),
        GOAL,
        ratio,
        ratio <= 1.3,
        AGAIN,
    )


if __name__ == "__main__":
    main(rows)
