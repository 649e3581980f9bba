"""Work that must go on goes on, whatever ends it."""

import asyncio

import pytest

from kotatsu_operator.runtime import loop
from kotatsu_operator.runtime.loop import StuckError, kept
from tests.operator.cluster import eventually

pytestmark = pytest.mark.timeout(30)


class Work:
    """Work that a test ends; `begun` has the tasks that have done it."""

    def __init__(self):
        self.begun, self.again, self.has_stopped = [], 0, False
        self.end = asyncio.Event()

    async def do(self):
        self.begun.append(asyncio.current_task())
        await self.end.wait()

    def note(self):
        self.again += 1
        self.has_stopped = False
        self.end.clear()

    def kept(self):
        return asyncio.create_task(kept(self.do, "work", lambda: self.has_stopped, self.note))

    async def runs(self, times):
        await eventually(lambda: len(self.begun) == times)
        assert self.again == times - 1


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(loop, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(loop, "AGAIN_SECONDS", 0.01)


async def over(task):
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_work_that_ends_was_canceled_or_has_stopped_is_done_again():
    work = Work()
    keeping = work.kept()
    await work.runs(1)
    work.end.set()
    await work.runs(2)
    work.begun[-1].cancel()
    await work.runs(3)
    work.has_stopped = True
    await work.runs(4)
    assert [task.done() for task in work.begun] == [True, True, True, False]
    await over(keeping)
    assert work.begun[-1].cancelled()
    assert work.again == 3


async def test_what_work_fails_with_is_raised():
    async def fail():
        raise ValueError("nobody foresaw this")

    with pytest.raises(ValueError, match="nobody foresaw this"):
        await kept(fail, "work", lambda: False, lambda: None)


async def test_work_that_does_not_end_is_an_error(monkeypatch):
    monkeypatch.setattr(loop, "END_SECONDS", 0.01)
    is_over = asyncio.Event()

    async def deaf():
        while not is_over.is_set():
            try:
                await is_over.wait()
            except asyncio.CancelledError:
                continue

    with pytest.raises(StuckError, match="work has stopped and does not end"):
        await kept(deaf, "work", lambda: True, lambda: None)
    is_over.set()
    await asyncio.sleep(0)
