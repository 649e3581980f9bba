"""The ranking is read off its index: a hundred rows, however many pets there are."""

import sqlalchemy as sa

from kotatsu_feed.storage.database import Database
from kotatsu_feed.storage.pets import PetStore, ranking_query

PETS = 5000
NUMBERS = {
    "sqlite": """WITH RECURSIVE numbers(n) AS
        (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 5000)""",
    "postgresql": "WITH numbers(n) AS (SELECT generate_series(1, 5000))",
}


async def fill(database: Database) -> None:
    """Many pets, with many ties: experience 0, 10, … 490."""
    dialect = database.engine.dialect.name
    insert = """INSERT INTO pets (user_id, login, avatar_url, name, experience, clothes,
        background, fed_count, created_at)"""
    select = """SELECT n, 'user' || n, '', 'DASH', 10 * (n * 7 % 50), 'normal', 'spring', 0,
        CURRENT_TIMESTAMP FROM numbers"""
    order = f"{insert} {NUMBERS[dialect]} {select}"  # the order that both databases take
    async with database.write() as db:
        await db.execute(sa.text(order))
        await db.execute(sa.text("ANALYZE"))


async def test_the_plan_is_a_walk_along_the_index(database: Database) -> None:
    await fill(database)
    explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
    query = ranking_query(100).compile(
        database.engine.sync_engine, compile_kwargs={"literal_binds": True}
    )
    async with database.read() as db:
        plan = [" ".join(map(str, row)) for row in await db.execute(sa.text(f"{explain}{query}"))]
    text = "\n".join(plan)
    assert "ix_pets_ranking" in text
    assert "Sort" not in text
    assert "TEMP B-TREE" not in text


async def test_it_is_the_best_hundred_and_equals_stand_in_a_fixed_order(
    database: Database,
) -> None:
    await fill(database)
    ranking = await PetStore(database).ranking()
    assert len(ranking) == 100
    places = [(-pet.experience, pet.user_id) for pet in ranking]
    assert places == sorted(places)
    everybody = sorted((-10 * (n * 7 % 50), n) for n in range(1, PETS + 1))
    assert places == everybody[:100]
