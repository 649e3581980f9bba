"""Whatever happens to a set, its pools and the operators: each amount counts once."""

import asyncio
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operator.core.values import SECOND, examples
from tests.operator.features.sets.world import World


@examples(60)
@pytest.mark.timeout(300)
@given(st.integers(0, 2**32))
def test_the_total_of_a_set_is_the_sum_of_the_ledgers_of_its_pools(seed):
    async def walk():
        world = World(seed)
        for n in range(60):
            await world.step()
            if n % 20 == 19:
                world.api.wrong = False
                world.api.edit()
                await world.judge()

    asyncio.run(walk())


@examples(60)
@pytest.mark.timeout(300)
@given(st.integers(0, 2**32), st.integers(1, 60))
def test_at_its_limit_a_set_stops_all_its_pools_in_two_looks_and_not_before(seed, limit):
    """Whatever is known of the set; `World.look` tries that none is stopped before."""

    async def walk():
        world = World(seed, limit)
        for _ in range(60):
            await world.step()
            world.leader.watch()
            await world.look(calm=True)
            spent, is_known = world.living(), world.is_known()
            world.spend(SECOND)
            accounts = await world.look(calm=True)
            if spent >= limit and is_known:
                assert not any(one.allowed.begins for one in accounts.values() if one)

    asyncio.run(walk())


@pytest.mark.parametrize("sets", [True, False])
def test_a_spent_set_starts_nothing_while_it_is_wrong_not_listed_or_switched_off(sets):
    async def walk():
        world = World(0, limit=10)
        await world.settle()
        world.start("a-1")
        world.spend(3600 * SECOND)
        await world.settle()
        world.api.wrong = True
        world.api.edit()
        await world.report()
        world.restart(sets=sets)
        for knows in (False, True):
            if knows:
                await world.leader.know()
            world.leader.watch()
            for account in (await world.look(calm=True)).values():
                assert not account.allowed.begins
                (said,) = account.conditions
                assert said["reason"] == "Exhausted"
                if knows:
                    assert "not accepted now" if sets else "not known now" in said["message"]

    asyncio.run(walk())


def test_a_pool_that_was_stopped_before_statuses_had_the_budget_stays_so_until_the_set_is_known():
    async def walk():
        world = World(0, limit=10)
        world.start("a-1")
        await world.settle()
        world.spend(3600 * SECOND)
        await world.settle()
        for pool in list(world.api.pools.values()):
            del pool["status"]["internal"]["set"]
            world.api.put(pool)
        world.restart()
        for _ in range(2):
            assert not any(a.allowed.begins for a in (await world.look(calm=True)).values())

    asyncio.run(walk())


def test_a_restart_adds_nothing():
    async def walk():
        world = World(0)
        for _ in range(5):
            world.start("a-1")
            await world.settle()
            world.spend(30 * SECOND)
            await world.look(calm=True)
            await world.report()
            world.restart()
            await world.settle()
            assert Decimal(world.api.set["status"]["cost"]["accrued"]) == world.living() > 0

    asyncio.run(walk())
