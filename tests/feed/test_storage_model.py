"""The SQL statement that feeds does what the domain's `feed` says, whatever happens before."""

import asyncio
import shutil
from datetime import date, timedelta
from pathlib import Path

import pytest
from feed.conftest import NOON
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kotatsu_feed.domain.pet import feed
from kotatsu_feed.storage.database import Database
from kotatsu_feed.storage.pets import PetStore
from kotatsu_feed.storage.urls import database_url

TODAY = date(2026, 11, 25)
steps = st.lists(
    st.tuples(st.integers(-1, 3), st.integers(0, 4), st.sampled_from([None, "a", "b"])),
    max_size=12,
)


@pytest.mark.slow
@given(steps)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_storage_and_domain_agree(
    migrated: Path, tmp_path: Path, steps: list[tuple[int, int, str | None]]
) -> None:
    shutil.copy(migrated, tmp_path / "pets.sqlite3")
    for leftover in tmp_path.glob("pets.sqlite3-*"):
        leftover.unlink()
    asyncio.run(_compare(f"sqlite:///{tmp_path}/pets.sqlite3", steps))


async def _compare(url: str, steps: list[tuple[int, int, str | None]]) -> None:
    database = Database(database_url(url), pool_size=1)
    store = PetStore(database)
    model = await store.see(7, "bird", "https://avatars.example/7", NOON)
    answered: dict[str, int] = {}
    for days, contributions, key in steps:
        today = TODAY + timedelta(days=days)
        fed = await store.feed(7, today, contributions, now=NOON, key=key)
        if key in answered:
            assert fed is not None
            assert fed.experience == answered[key]
            continue
        expected = feed(model, today, contributions)
        assert (fed is None) == (expected is None)
        if fed is not None and expected is not None:
            assert fed.experience == expected.experience
            assert fed.food_left == expected.food_left(today, contributions)
            model = expected
            if key is not None:
                answered[key] = fed.experience
    assert await store.see(7, "bird", "https://avatars.example/7", NOON) == model
    await database.close()
