"""What storage promises, on both databases."""

import asyncio
from datetime import date, timedelta

import pytest
import sqlalchemy as sa
from feed.conftest import NOON

from kotatsu_feed.domain.pet import Food, Pet
from kotatsu_feed.storage.database import Database
from kotatsu_feed.storage.pets import KEYS_KEPT, Fed, PetStore
from kotatsu_feed.storage.schema import feedings

TODAY = date(2026, 11, 25)


async def see(store: PetStore, user_id: int = 7, login: str = "bird") -> Pet:
    return await store.see(user_id, login, "https://avatars.example/7", NOON)


async def feed(
    store: PetStore, food: int, *, key: str | None = None, day: date = TODAY
) -> Fed | None:
    return await store.feed(7, day, food, now=NOON, key=key)


async def test_a_user_never_seen_gets_a_new_pet(store: PetStore) -> None:
    assert await see(store) == Pet(7, "bird", "https://avatars.example/7")


async def test_seeing_a_user_again_changes_nothing_but_the_login_and_the_avatar(
    store: PetStore,
) -> None:
    await see(store)
    await feed(store, 5)
    await store.change(7, name="Tori", clothes="winter", background="autumn")
    pet = await store.see(7, "renamed", "https://avatars.example/new", NOON)
    assert (pet.login, pet.avatar_url) == ("renamed", "https://avatars.example/new")
    assert (pet.name, pet.clothes, pet.background) == ("Tori", "winter", "autumn")
    assert (pet.experience, pet.fed_count) == (10, 1)


async def test_fifty_first_visits_at_once_make_one_pet(store: PetStore) -> None:
    pets = await asyncio.gather(*(see(store) for _ in range(50)))
    assert set(pets) == {Pet(7, "bird", "https://avatars.example/7")}


async def test_feeding_counts_until_the_food_is_gone(store: PetStore) -> None:
    await see(store)
    results = [await feed(store, 2) for _ in range(3)]
    assert results == [Fed(10, 1), Fed(20, 0), None]


async def test_a_replica_whose_clock_is_behind_gives_no_food_twice(store: PetStore) -> None:
    await see(store)
    await feed(store, 1, day=TODAY + timedelta(days=1))
    assert await feed(store, 1) is None


async def test_200_at_once_with_food_for_5_are_exactly_5(store: PetStore) -> None:
    await see(store)
    results = await asyncio.gather(*(feed(store, 5) for _ in range(200)))
    fed = [result for result in results if result]
    assert sorted(f.experience for f in fed) == [10, 20, 30, 40, 50]
    assert (await see(store)).experience == 50


async def test_one_key_sent_50_times_at_once_feeds_once_and_all_get_the_same_answer(
    store: PetStore,
) -> None:
    await see(store)
    results = await asyncio.gather(*(feed(store, 5, key="same") for _ in range(50)))
    assert {(r.experience, r.food_left) for r in results if r} == {(10, 4)}
    assert sum(r is not None and not r.replayed for r in results) == 1
    assert (await see(store)).experience == 10


async def test_a_repeated_key_gets_the_first_answer_even_when_the_food_is_gone(
    store: PetStore,
) -> None:
    await see(store)
    first = await feed(store, 1, key="a")
    assert first == Fed(10, 0)
    assert await feed(store, 1, key="b") is None
    assert await feed(store, 1, key="a") == Fed(10, 0, replayed=True)
    assert await store.remembered(7, "a") == Fed(10, 0, replayed=True)


async def test_a_key_that_found_no_food_may_be_used_again(store: PetStore) -> None:
    await see(store)
    assert await feed(store, 0, key="a") is None
    assert await store.remembered(7, "a") is None
    assert await feed(store, 1, key="a") == Fed(10, 0)


async def test_keys_of_different_users_do_not_meet(store: PetStore) -> None:
    await see(store)
    await see(store, 8, "cat")
    await feed(store, 5, key="a")
    other = await store.feed(8, TODAY, 5, now=NOON, key="a")
    assert other == Fed(10, 4)


async def test_keys_are_forgotten_after_a_day(store: PetStore, database: Database) -> None:
    await see(store)
    await feed(store, 5, key="old")
    later = NOON + KEYS_KEPT + timedelta(seconds=1)
    await store.feed(7, TODAY, 5, now=later, key="new")
    async with database.read() as db:
        keys = list(await db.scalars(sa.select(feedings.c.key)))
    assert keys == ["new"]


async def test_food_is_remembered_with_its_moment_in_utc(store: PetStore) -> None:
    await see(store)
    food = Food(TODAY, 9, NOON)
    await store.remember_food(7, food)
    pet = await see(store)
    assert pet.food == food
    assert pet.food is not None
    assert pet.food.seen_at.utcoffset() == timedelta(0)


async def test_an_older_answer_of_github_s_does_not_replace_a_newer_one(store: PetStore) -> None:
    await see(store)
    newer = Food(TODAY, 9, NOON)
    await store.remember_food(7, newer)
    await store.remember_food(7, Food(TODAY, 3, NOON - timedelta(seconds=1)))
    assert (await see(store)).food == newer


async def test_what_fails_in_the_middle_of_a_write_leaves_nothing(
    store: PetStore, database: Database
) -> None:
    async def fail() -> None:
        async with database.write() as db:
            await db.execute(sa.text("UPDATE pets SET experience = 1000"))
            raise RuntimeError("killed here")

    await see(store)
    with pytest.raises(RuntimeError):
        await fail()
    assert (await see(store)).experience == 0


async def test_the_database_itself_refuses_negative_experience(database: Database) -> None:
    store = PetStore(database)
    await see(store)
    with pytest.raises(sa.exc.IntegrityError):
        async with database.write() as db:
            await db.execute(sa.text("UPDATE pets SET experience = -1"))
