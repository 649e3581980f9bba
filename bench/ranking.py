"""How long GET /ranking's statement takes as users grow: 1,000 to 1,000,000 on SQLite.

Run it with `make bench`. Ratios within one run are what counts; absolute times are this machine's.
"""

import asyncio
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from kotatsu_feed.storage.database import Database
from kotatsu_feed.storage.migrate import migrate
from kotatsu_feed.storage.pets import PetStore
from kotatsu_feed.storage.schema import pets
from kotatsu_feed.storage.urls import database_url

SIZES = (1_000, 100_000, 1_000_000)
RUNS = 50
BATCH = 20_000


def _rows(first: int, last: int) -> list[dict[str, object]]:
    now = datetime.now(UTC)
    return [
        {
            "user_id": i,
            "login": f"user{i}",
            "avatar_url": "",
            "name": "DASH",
            "experience": (i * 7919) % 1_000_003 * 10,
            "clothes": "normal",
            "background": "spring",
            "fed_count": 0,
            "created_at": now,
        }
        for i in range(first, last)
    ]


async def _fill(database: Database, first: int, last: int) -> None:
    for start in range(first, last, BATCH):
        async with database.write() as db:
            await db.execute(sa.insert(pets), _rows(start, min(start + BATCH, last)))


async def _time(store: PetStore) -> list[float]:
    await store.ranking()
    taken = []
    for _ in range(RUNS):
        began = time.perf_counter()
        best = await store.ranking()
        taken.append((time.perf_counter() - began) * 1000)
        assert len(best) == 100
    return sorted(taken)


async def main() -> None:
    """Print one row a size."""
    with tempfile.TemporaryDirectory() as folder:
        url = database_url(f"sqlite:///{Path(folder) / 'pets.sqlite3'}")
        await migrate(url)
        database = Database(url)
        store = PetStore(database)
        filled = 1
        print(f"{'users':>10}  {'median ms':>9}  {'p95 ms':>7}  {'worst ms':>8}")
        for size in SIZES:
            await _fill(database, filled, size + 1)
            filled = size + 1
            taken = await _time(store)
            middle, p95 = statistics.median(taken), taken[int(RUNS * 0.95)]
            print(f"{size:>10,}  {middle:>9.2f}  {p95:>7.2f}  {taken[-1]:>8.2f}")
        await database.close()


if __name__ == "__main__":
    asyncio.run(main())
