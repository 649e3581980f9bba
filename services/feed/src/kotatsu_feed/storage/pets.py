"""Every question asked of the database, each one statement where it can be."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from kotatsu_feed.domain.levels import EXPERIENCE_PER_FEEDING
from kotatsu_feed.domain.names import DEFAULT_NAME
from kotatsu_feed.domain.pet import Food, Pet
from kotatsu_feed.domain.wardrobe import BACKGROUNDS, CLOTHES
from kotatsu_feed.storage.database import Database
from kotatsu_feed.storage.schema import feedings, pets

KEYS_KEPT = timedelta(hours=24)
"""How long a feeding with an Idempotency-Key is remembered."""


@dataclass(frozen=True, slots=True)
class Fed:
    """A feeding that counts: the totals after it; `replayed` if this answer is a repetition."""

    experience: int
    food_left: int
    replayed: bool = False


class PetStore:
    """The pets in `database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def see(self, user_id: int, login: str, avatar_url: str, now: datetime) -> Pet:
        """This user's pet, created when it is new; nothing but login and avatar ever changes."""
        async with self._database.read() as db:
            row = (await db.execute(sa.select(pets).where(pets.c.user_id == user_id))).one_or_none()
        if row is not None and (row.login, row.avatar_url) == (login, avatar_url):
            return pet_of(row)
        who = {"login": login, "avatar_url": avatar_url}
        born = {
            "user_id": user_id,
            "name": DEFAULT_NAME,
            "experience": 0,
            "clothes": CLOTHES.default,
            "background": BACKGROUNDS.default,
            "fed_count": 0,
            "created_at": now,
        }
        upsert = self._database.insert(pets).values(**born, **who)
        upsert = upsert.on_conflict_do_update(index_elements=[pets.c.user_id], set_=who)
        async with self._database.write() as db:
            return pet_of((await db.execute(upsert.returning(*pets.c))).one())

    async def feed(
        self, user_id: int, today: date, contributions: int, *, now: datetime, key: str | None
    ) -> Fed | None:
        """One feeding, or None when today's food is used up.

        The update below is one statement, so parallel requests can't eat the same food. With a
        `key` it is made in one transaction with the key's row: whoever repeats the key gets the
        first answer again, and a pod killed in between leaves either both or neither.
        """
        async with self._database.write() as db:
            if key is None:
                return await self._eat(db, user_id, today, contributions)
            return await self._eat_once(db, user_id, today, contributions, now, key)

    async def remembered(self, user_id: int, key: str) -> Fed | None:
        """The feeding made with this key in the last day, if there was one."""
        async with self._database.read() as db:
            return await _find(db, user_id, key)

    async def _eat(
        self, db: AsyncConnection, user_id: int, today: date, contributions: int
    ) -> Fed | None:
        fed = sa.case((pets.c.fed_on >= today, pets.c.fed_count), else_=0)
        latest = sa.case((pets.c.fed_on >= today, pets.c.fed_on), else_=today)
        statement = (
            sa.update(pets)
            .where(pets.c.user_id == user_id, fed < contributions)
            .values(
                experience=pets.c.experience + EXPERIENCE_PER_FEEDING,
                fed_on=latest,
                fed_count=fed + 1,
            )
            .returning(pets.c.experience, pets.c.fed_count)
        )
        row = (await db.execute(statement)).one_or_none()
        if row is None:
            return None
        return Fed(row.experience, contributions - row.fed_count)

    async def _eat_once(
        self,
        db: AsyncConnection,
        user_id: int,
        today: date,
        contributions: int,
        now: datetime,
        key: str,
    ) -> Fed | None:
        mine = feedings.c.user_id == user_id
        claim = self._database.insert(feedings).values(
            user_id=user_id, key=key, fed_at=now, experience=0, food_left=0
        )
        # A second request with the same key waits here until the first one has ended.
        claimed = await db.execute(claim.on_conflict_do_nothing().returning(feedings.c.key))
        this = (mine, feedings.c.key == key)
        if claimed.one_or_none() is None:
            return await _find(db, user_id, key)
        eaten = await self._eat(db, user_id, today, contributions)
        if eaten is None:  # not remembered: the same key may work once there is food again
            await db.execute(sa.delete(feedings).where(*this))
            return None
        answer = {"experience": eaten.experience, "food_left": eaten.food_left}
        await db.execute(sa.update(feedings).where(*this).values(**answer))
        # By now the pet's row is ours, so no two requests of one user sweep at once.
        await db.execute(sa.delete(feedings).where(mine, feedings.c.fed_at < now - KEYS_KEPT))
        return eaten

    async def remember_food(self, user_id: int, food: Food) -> None:
        """Note what GitHub said, unless a later answer has been noted meanwhile."""
        older = pets.c.food_seen_at.is_(None) | (pets.c.food_seen_at <= food.seen_at)
        values = {
            "food_day": food.day,
            "food_contributions": food.contributions,
            "food_seen_at": food.seen_at,
        }
        async with self._database.write() as db:
            await db.execute(
                sa.update(pets).where(pets.c.user_id == user_id, older).values(**values)
            )

    async def change(self, user_id: int, **columns: str) -> None:
        """Set `name`, `clothes` or `background`, already checked by the domain."""
        async with self._database.write() as db:
            await db.execute(sa.update(pets).where(pets.c.user_id == user_id).values(**columns))

    async def ranking(self, limit: int = 100) -> list[Pet]:
        """The best pets first; the database reads them off an index, whatever their number."""
        async with self._database.read() as db:
            return [pet_of(row) for row in await db.execute(ranking_query(limit))]


async def _find(db: AsyncConnection, user_id: int, key: str) -> Fed | None:
    this = (feedings.c.user_id == user_id, feedings.c.key == key)
    row = (await db.execute(sa.select(feedings).where(*this))).one_or_none()
    return row if row is None else Fed(row.experience, row.food_left, replayed=True)


def ranking_query(limit: int) -> sa.Select[Any]:
    """The ranking's statement, by itself so that a test can ask for its plan."""
    return sa.select(pets).order_by(pets.c.experience.desc(), pets.c.user_id).limit(limit)


def pet_of(row: sa.Row[Any]) -> Pet:
    """A row of the table as a pet."""
    food = None
    if row.food_day is not None:
        food = Food(row.food_day, row.food_contributions, row.food_seen_at)
    return Pet(
        user_id=row.user_id,
        login=row.login,
        avatar_url=row.avatar_url,
        name=row.name,
        experience=row.experience,
        clothes=row.clothes,
        background=row.background,
        fed_on=row.fed_on,
        fed_count=row.fed_count,
        food=food,
    )
