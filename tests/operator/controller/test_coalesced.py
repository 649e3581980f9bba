"""Many ask, one question is asked, and nobody gets an answer that is older than their question."""

import asyncio

import pytest

from kotatsu_operator.controller.pages import Coalesced
from tests.operator.cluster import eventually

pytestmark = pytest.mark.timeout(60)


class Oracle:
    """Answers with the number of the question, when the test lets it."""

    def __init__(self):
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self):
        self.asked += 1
        number = self.asked
        await self.gate.wait()
        if number == 13:
            raise ValueError("unlucky")
        return number


@pytest.fixture
def oracle():
    return Oracle()


async def test_who_asks_during_a_question_gets_the_answer_to_the_next_one(oracle):
    shared = Coalesced(oracle)
    oracle.gate.clear()
    first = asyncio.create_task(shared())
    await eventually(lambda: oracle.asked == 1)
    later = [asyncio.create_task(shared()) for _ in range(20)]
    await asyncio.sleep(0.01)
    assert oracle.asked == 1  # one at a time
    oracle.gate.set()
    assert await first == 1
    assert await asyncio.gather(*later) == [2] * 20


async def test_questions_begin_some_time_apart(oracle):
    shared = Coalesced(oracle, apart=0.05)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in (1, 2, 3):
        assert await shared() == number
    assert loop.time() - began >= 0.1


async def test_one_who_goes_away_takes_nobody_along(oracle):
    shared = Coalesced(oracle)
    oracle.gate.clear()
    going, staying = (asyncio.create_task(shared()) for _ in range(2))
    await eventually(lambda: oracle.asked == 1)
    going.cancel()
    await asyncio.sleep(0)
    oracle.gate.set()
    assert await staying == 1


async def test_what_the_question_raises_reaches_all_who_asked_and_not_the_next(oracle):
    shared = Coalesced(oracle)
    oracle.asked = 12
    answers = await asyncio.gather(shared(), shared(), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ValueError, ValueError]
    assert await shared() == 14
