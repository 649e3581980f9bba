"""Pets from elsewhere, all of them or none."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from kotatsu_feed.domain.merge import merged
from kotatsu_feed.domain.pet import Pet
from kotatsu_feed.storage.database import Database
from kotatsu_feed.storage.pets import pet_of
from kotatsu_feed.storage.schema import pets

_AT_ONCE = 500
"""Pets of one statement."""


@dataclass
class Tally:
    """What became of pets that were brought."""

    new: int = 0
    changed: int = 0
    """Were here, and have something of the other one now."""
    unchanged: int = 0


class _Undo(Exception):  # noqa: N818
    """Ends a dry run's transaction."""


async def bring(
    database: Database, brought: Sequence[tuple[Pet, datetime]], *, dry_run: bool
) -> Tally:
    """Add pets with the times when they were made, and merge those that are here already.

    One transaction: an error or a dry run leaves nothing behind. StorageUnavailableError.
    """
    tally = Tally()
    add = database.insert(pets).on_conflict_do_nothing()
    try:
        async with database.write() as db:
            for start in range(0, len(brought), _AT_ONCE):
                await _bring(db, add, brought[start : start + _AT_ONCE], tally)
            if dry_run:
                raise _Undo
    except _Undo:
        pass
    return tally


async def _bring(
    db: AsyncConnection, add: sa.Insert, brought: Sequence[tuple[Pet, datetime]], tally: Tally
) -> None:
    before = await _here(db, [pet.user_id for pet, _ in brought])
    rows = [_row(pet, made) for pet, made in brought if pet.user_id not in before]
    if rows:
        await db.execute(add, rows)
    # Read again: a first visit may have come in between.
    here = await _here(db, [pet.user_id for pet, _ in brought])
    for pet, _ in brought:
        both = merged(here[pet.user_id], pet)
        if both != here[pet.user_id]:
            await db.execute(
                sa.update(pets).where(pets.c.user_id == pet.user_id).values(**_columns(both))
            )
            here[pet.user_id] = both
    for user_id, pet in here.items():
        if user_id not in before:
            tally.new += 1
        elif pet != before[user_id]:
            tally.changed += 1
        else:
            tally.unchanged += 1


async def _here(db: AsyncConnection, user_ids: Sequence[int]) -> dict[int, Pet]:
    """Those of these pets that are here, locked until the transaction ends."""
    found = sa.select(pets).where(pets.c.user_id.in_(user_ids)).with_for_update()
    return {row.user_id: pet_of(row) for row in await db.execute(found)}


def _columns(pet: Pet) -> dict[str, object]:
    return {
        "name": pet.name,
        "experience": pet.experience,
        "clothes": pet.clothes,
        "background": pet.background,
        "fed_on": pet.fed_on,
        "fed_count": pet.fed_count,
    }


def _row(pet: Pet, made: datetime) -> dict[str, object]:
    who = {"user_id": pet.user_id, "login": pet.login, "avatar_url": pet.avatar_url}
    return {**who, **_columns(pet), "created_at": made}
