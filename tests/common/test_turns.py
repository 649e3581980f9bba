"""Waiting for a turn at another server: bounded, and never taken for that server's silence."""

import asyncio

import httpx
import pytest

from kotatsu_common.turns import Busy, Turns


class Exchange:
    """An exchange that ends when it is told to."""

    def __init__(self, turns: Turns) -> None:
        self.began = asyncio.Event()
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._run(turns))

    async def _run(self, turns: Turns) -> None:
        async with turns.turn():
            self.began.set()
            await self._end

    async def answered(self) -> None:
        self._end.set_result(None)
        await self.task

    async def silent(self) -> None:
        self._end.set_exception(httpx.ReadTimeout("no answer"))
        with pytest.raises(httpx.ReadTimeout):
            await self.task


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_comes_first_has_the_first_turn() -> None:
    turns = Turns(at_once=1, waiting=2)
    first, second, third = (Exchange(turns) for _ in range(3))
    await settled()
    assert (first.began.is_set(), second.began.is_set()) == (True, False)
    await first.answered()
    await settled()
    assert (second.began.is_set(), third.began.is_set()) == (True, False)
    await second.answered()
    await third.answered()


async def test_one_more_than_may_wait_is_told_at_once_and_when_to_come_back() -> None:
    turns = Turns(at_once=1, waiting=1)
    first, second = Exchange(turns), Exchange(turns)
    await settled()
    with pytest.raises(Busy) as caught:
        async with turns.turn():
            raise AssertionError("it had a turn")
    assert (caught.value.status, caught.value.extensions) == (503, {"reason": "busy"})
    assert int(caught.value.headers["Retry-After"]) >= 1
    await first.answered()
    await second.answered()


async def test_who_gives_up_waiting_leaves_room_for_another() -> None:
    turns = Turns(at_once=1, waiting=1)
    first, impatient = Exchange(turns), Exchange(turns)
    await settled()
    impatient.task.cancel()
    await settled()
    second = Exchange(turns)
    await first.answered()
    await second.answered()


async def test_who_waited_while_another_had_no_answer_does_not_wait_for_it_too() -> None:
    turns = Turns(at_once=1, waiting=2)
    first, second, third = (Exchange(turns) for _ in range(3))
    await settled()
    await first.silent()
    await asyncio.wait([second.task, third.task])
    for waited in (second, third):
        assert isinstance(waited.task.exception(), httpx.TimeoutException)
        assert not waited.began.is_set()


async def test_who_comes_after_a_silence_asks_again() -> None:
    turns = Turns(at_once=1, waiting=1)
    await Exchange(turns).silent()
    await Exchange(turns).answered()


async def test_an_error_of_one_is_no_silence_for_the_others() -> None:
    turns = Turns(at_once=1, waiting=1)

    async def fail() -> None:
        async with turns.turn():
            await settled()
            raise httpx.ConnectError("refused")

    failing = asyncio.create_task(fail())
    await asyncio.sleep(0)
    second = Exchange(turns)
    await asyncio.wait([failing])
    await second.answered()
