import asyncio

import pytest

from kotatsu_common.single_flight import SingleFlight


async def test_whoever_asks_meanwhile_shares_the_answer() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    calls = 0

    async def work() -> int:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        return calls

    assert await asyncio.gather(*(flights.do("a", work) for _ in range(10))) == [1] * 10
    assert await flights.do("a", work) == 2  # nothing is remembered


async def test_everybody_gets_the_same_failure() -> None:
    flights: SingleFlight[str, None] = SingleFlight()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    results = await asyncio.gather(
        *(flights.do("a", fail) for _ in range(3)), return_exceptions=True
    )
    assert [str(result) for result in results] == ["no"] * 3
    with pytest.raises(ValueError):
        await flights.do("a", fail)


async def test_a_waiter_that_gives_up_does_not_end_the_work_of_the_others() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    go = asyncio.Event()

    async def work() -> str:
        await go.wait()
        return "done"

    first = asyncio.create_task(flights.do("a", work))
    second = asyncio.create_task(flights.do("a", work))
    await asyncio.sleep(0)
    first.cancel()
    go.set()
    assert await second == "done"


async def test_a_failure_that_nobody_waits_for_any_more_is_no_noise() -> None:
    flights: SingleFlight[str, None] = SingleFlight()
    noise: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    go = asyncio.Event()

    async def fail() -> None:
        await go.wait()
        raise ValueError("no")

    only = asyncio.create_task(flights.do("a", fail))
    await asyncio.sleep(0)
    only.cancel()
    go.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert noise == []
