"""Who is looked at when: soon after a touch, never twice at once, whatever the clock does."""

import asyncio
import contextlib
import logging
from datetime import UTC, datetime, timedelta

import pytest

from kotatsu_operator.controller import work_queue as planner_module
from kotatsu_operator.controller.work_queue import WorkQueue
from tests.operator.cluster import DENIED, denied, eventually

pytestmark = pytest.mark.timeout(60)

VOICE, FEED = ("demo", "voice"), ("demo", "feed")
FAR = timedelta(hours=1)


class Clock:
    """A wall clock that tests set."""

    def __init__(self):
        self.now = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)

    def __call__(self):
        return self.now

    def jump(self, **by):
        self.now += timedelta(**by)


class Looks:
    """Records looks; each ends at once, or when the test lets it."""

    def __init__(self, clock):
        self.clock = clock
        self.begun, self.done, self.most = [], [], {}
        self.again = FAR
        self.error = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, key):
        self.begun.append(key)
        began = self.clock()
        self.most[key] = max(self.most.get(key, 0), self.count(key) - self.ended(key))
        try:
            await self.gate.wait()
            if self.error is not None:
                error, self.error = self.error, None
                raise error
        finally:
            self.done.append(key)
        return None if self.again is None else began + self.again

    def count(self, key):
        return self.begun.count(key)

    def ended(self, key):
        return self.done.count(key)

    @property
    def running(self):
        return len(self.begun) - len(self.done)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def looks(clock):
    return Looks(clock)


@pytest.fixture(autouse=True)
def without_rest(monkeypatch):
    monkeypatch.setattr(planner_module, "REST", 0.0)


@pytest.fixture
async def work_queue(clock, looks, monkeypatch):
    monkeypatch.setattr(planner_module, "_LONGEST_NAP", 0.01)
    async with run(WorkQueue(clock), looks) as work_queue:
        yield work_queue


@contextlib.asynccontextmanager
async def run(work_queue, looks):
    running = asyncio.create_task(work_queue.run(looks))
    try:
        yield work_queue
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def look(work_queue, looks):
    """Let a pool be looked at once."""
    work_queue.touch(VOICE)
    await eventually(lambda: looks.ended(VOICE) == 1)


async def begin(work_queue, looks):
    """Let a look at a pool begin, which does not end."""
    looks.gate.clear()
    work_queue.touch(VOICE)
    await eventually(lambda: looks.running == 1)


async def rest():
    """Long enough for anything that is due to begin."""
    await asyncio.sleep(0.04)


async def test_a_pool_is_looked_at_again_when_its_look_has_said(work_queue, looks, clock):
    looks.again = timedelta(seconds=60)
    await look(work_queue, looks)
    clock.jump(seconds=59)
    await rest()
    assert looks.count(VOICE) == 1
    clock.jump(seconds=1)
    await eventually(lambda: looks.count(VOICE) == 2)


async def test_touches_soon_after_a_look_are_one_more_look(work_queue, looks, monkeypatch):
    monkeypatch.setattr(planner_module, "REST", 0.1)
    for _ in range(5):
        work_queue.touch(VOICE)
        await asyncio.sleep(0.005)
    assert looks.count(VOICE) == 1
    await eventually(lambda: looks.count(VOICE) == 2)
    await asyncio.sleep(0.15)
    assert looks.count(VOICE) == 2


async def test_a_pool_that_rests_takes_no_slot(clock, looks, monkeypatch):
    monkeypatch.setattr(planner_module, "REST", 60.0)
    async with run(WorkQueue(clock, for_touched=1), looks) as work_queue:
        work_queue.touch(VOICE)
        work_queue.touch(FEED)
        await eventually(lambda: looks.ended(FEED) == 1)


async def test_a_pool_that_is_gone_is_not_looked_at_again(work_queue, looks, clock):
    looks.again = None
    await look(work_queue, looks)
    clock.jump(days=1)
    await rest()
    assert looks.count(VOICE) == 1


async def test_a_touch_brings_the_next_look_forward_and_does_not_add_one(work_queue, looks, clock):
    looks.again = timedelta(seconds=60)
    await look(work_queue, looks)
    clock.jump(seconds=30)
    work_queue.touch(VOICE)
    await eventually(lambda: looks.ended(VOICE) == 2)
    clock.jump(seconds=31)  # the first look's idea of the next one
    await rest()
    assert looks.count(VOICE) == 2
    clock.jump(seconds=29)
    await eventually(lambda: looks.count(VOICE) == 3)


async def test_many_touches_are_one_look(work_queue, looks):
    for _ in range(100):
        work_queue.touch(VOICE)
    await eventually(lambda: looks.begun)
    await rest()
    assert looks.begun == [VOICE]


async def test_a_touch_during_a_look_is_one_more_look_and_never_two_at_once(work_queue, looks):
    await begin(work_queue, looks)
    for _ in range(5):
        work_queue.touch(VOICE)
    await rest()
    assert looks.count(VOICE) == 1
    looks.gate.set()
    await eventually(lambda: looks.ended(VOICE) == 2)
    await rest()
    assert looks.count(VOICE) == 2
    assert looks.most[VOICE] == 1


async def test_no_more_pools_are_looked_at_at_once_than_allowed(clock, looks):
    looks.gate.clear()
    keys = [("demo", f"pool-{i}") for i in range(10)]
    async with run(WorkQueue(clock, for_touched=3), looks) as work_queue:
        for key in keys:
            work_queue.touch(key)
        await eventually(lambda: looks.running == 3)
        await rest()
        assert looks.running == 3
        looks.gate.set()
        await eventually(lambda: sorted(looks.begun) == sorted(keys))


@pytest.mark.parametrize("touched", [True, False], ids=["touched", "due"])
async def test_looks_that_wait_for_silent_pods_keep_no_slot(clock, looks, touched):
    silent = [("demo", f"silent-{n}") for n in range(120)]

    async def look(key):
        if key == VOICE:
            return await looks(key)
        with work_queue.aside(key):
            return await looks(key)

    looks.gate.clear()
    async with run(WorkQueue(clock), look) as work_queue:
        for key in [*silent, VOICE]:
            if touched:
                work_queue.touch(key)
            else:
                work_queue.by(key, clock.now)
        await eventually(lambda: looks.running == len(silent) + 1)
        assert work_queue._busy.keys() - work_queue._aside == {VOICE}
        looks.gate.set()
        await eventually(lambda: not looks.running)
    assert work_queue._aside == set()


@contextlib.asynccontextmanager
async def storm(work_queue, looks, clock):
    """Forty pools are due at once, and no look ends."""
    async with run(work_queue, looks):
        for number in range(40):
            work_queue.by(("demo", f"pool-{number:02}"), clock.now)
        looks.gate.clear()
        await eventually(lambda: looks.running == 8)
        yield
        looks.gate.set()


@pytest.mark.parametrize("key", [VOICE, ("demo", "pool-39")], ids=["not due", "due"])
async def test_who_is_touched_does_not_wait_for_those_who_are_merely_due(clock, looks, key):
    work_queue = WorkQueue(clock)
    async with storm(work_queue, looks, clock):
        work_queue.touch(key)
        await eventually(lambda: key in looks.begun)
    assert looks.most[key] == 1


async def test_who_is_due_does_not_wait_for_all_who_are_touched(clock, looks):
    looks.gate.clear()
    async with run(WorkQueue(clock, for_touched=2), looks) as work_queue:
        for i in range(40):
            work_queue.touch(("demo", f"pool-{i:02}"))
        await eventually(lambda: looks.running == 2)
        work_queue.by(VOICE, clock.now)
        await eventually(lambda: VOICE in looks.begun)
        looks.gate.set()


async def test_a_pool_touched_again_while_it_waits_for_its_turn_is_looked_at_once(clock, looks):
    async with run(WorkQueue(clock, for_touched=1), looks) as work_queue:
        await begin(work_queue, looks)
        work_queue.touch(FEED)
        await rest()
        work_queue.touch(FEED)
        looks.gate.set()
        await eventually(lambda: looks.ended(FEED) >= 1)
        await rest()
        assert looks.count(FEED) == 1


@pytest.mark.parametrize("error", [OSError("away"), ValueError("a bug"), TimeoutError()])
async def test_a_look_that_fails_is_repeated_a_second_later(
    work_queue, looks, clock, error, caplog
):
    looks.error = error
    await look(work_queue, looks)
    await rest()
    assert looks.count(VOICE) == 1
    clock.jump(seconds=1)
    await eventually(lambda: looks.count(VOICE) == 2)
    (record,) = caplog.records
    assert record.levelno == (logging.ERROR if isinstance(error, ValueError) else logging.WARNING)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (denied(), f"the API server rejected a request: {DENIED}"),
        (OSError("away"), "the API server did not respond: away"),
    ],
)
async def test_a_write_that_is_refused_is_told_with_the_sentence_of_the_api_server(
    work_queue, looks, caplog, error, said
):
    looks.error = error
    work_queue.touch(VOICE)
    await eventually(lambda: caplog.messages)
    assert caplog.messages == [f"demo/voice: {said}"]


async def test_a_look_that_fails_and_was_touched_meanwhile_is_repeated_at_once(work_queue, looks):
    looks.gate.clear()
    looks.error = OSError("away")
    work_queue.touch(VOICE)
    await eventually(lambda: looks.running == 1)
    work_queue.touch(VOICE)
    looks.gate.set()
    await eventually(lambda: looks.count(VOICE) == 2)


async def test_after_a_clock_was_put_back_nobody_waits_for_a_moment_of_the_old_one(
    work_queue, looks, clock
):
    await look(work_queue, looks)
    clock.jump(days=-1)
    await eventually(lambda: looks.ended(VOICE) == 2)
    clock.jump(hours=1)
    await eventually(lambda: looks.ended(VOICE) == 3)


async def test_nor_does_who_was_being_looked_at_meanwhile(work_queue, looks, clock):
    await begin(work_queue, looks)
    clock.jump(days=-1)
    await eventually(lambda: work_queue.beat_at == clock.now)
    looks.gate.set()
    await eventually(lambda: looks.ended(VOICE) == 2)


async def test_a_clock_that_is_put_right_by_a_little_makes_nobody_look(work_queue, looks, clock):
    await look(work_queue, looks)
    clock.jump(milliseconds=-900)
    await rest()
    assert looks.count(VOICE) == 1


async def test_when_it_ends_its_looks_end_too(clock, looks):
    async with run(WorkQueue(clock), looks) as work_queue:
        await begin(work_queue, looks)
    assert looks.running == 0


# --- at the latest ---


async def test_a_pool_can_be_asked_to_be_looked_at_by_a_moment(work_queue, looks, clock):
    await look(work_queue, looks)
    work_queue.by(VOICE, clock.now + timedelta(minutes=5))
    work_queue.by(VOICE, clock.now + timedelta(minutes=9))
    clock.jump(minutes=4, seconds=59)
    await asyncio.sleep(0.05)
    assert looks.count(VOICE) == 1
    clock.jump(seconds=1)
    await eventually(lambda: looks.count(VOICE) == 2)


async def test_what_is_asked_for_while_a_pool_is_looked_at_counts_afterwards(
    work_queue, looks, clock
):
    await begin(work_queue, looks)
    work_queue.by(VOICE, clock.now + timedelta(minutes=5))
    looks.gate.set()
    await eventually(lambda: not looks.running)
    clock.jump(minutes=5)
    await eventually(lambda: looks.count(VOICE) == 2)


async def test_a_planner_knows_whom_it_will_look_at(work_queue, looks):
    assert not work_queue.knows(VOICE)
    await begin(work_queue, looks)
    assert work_queue.knows(VOICE)
    looks.gate.set()
    await eventually(lambda: not looks.running and VOICE in work_queue._due)
    assert work_queue.knows(VOICE)


async def test_how_long_a_due_pool_waited_and_took_is_told(looks, clock):
    took = []
    async with run(WorkQueue(clock, took=took.append), looks) as work_queue:
        await begin(work_queue, looks)
        clock.jump(seconds=2)
        looks.gate.set()
        await eventually(lambda: took)
    assert took == [2.0]


# --- beginning and ending: only a leader looks ---


async def test_who_is_touched_while_nobody_looks_is_looked_at_when_looking_begins(clock, looks):
    work_queue = WorkQueue(clock)
    for key in (VOICE, FEED, VOICE):
        work_queue.touch(key)
    await rest()
    assert looks.begun == []
    async with run(work_queue, looks):
        await eventually(lambda: sorted(looks.begun) == [FEED, VOICE])


async def test_looking_again_begins_with_every_pool_whatever_was_under_way(clock, looks):
    async with run(WorkQueue(clock, for_touched=1), looks) as work_queue:
        work_queue.touch(FEED)
        await eventually(lambda: looks.ended(FEED) == 1)
        looks.gate.clear()
        work_queue.touch(VOICE)  # under way as the end comes
        work_queue.touch(("demo", "third"))  # waits for its turn
        await eventually(lambda: looks.running == 1)
    looks.gate.set()
    looks.begun.clear()
    async with run(work_queue, looks):
        await eventually(lambda: sorted(looks.begun) == [FEED, ("demo", "third"), VOICE])


# --- namespaces ---


@pytest.mark.parametrize("touched", [True, False])
async def test_a_thousand_pools_of_one_namespace_keep_none_of_another_waiting(
    clock, looks, touched
):
    crowd = [("crowd", f"pool-{number}") for number in range(1000)]
    async with run(WorkQueue(clock), looks) as work_queue:
        await asyncio.sleep(0)  # it looks from now on
        for key in [*crowd, VOICE, FEED]:
            if touched:
                work_queue.touch(key)
            else:
                work_queue.by(key, clock())
        await eventually(lambda: len(looks.done) == 1002)
    assert looks.begun.index(VOICE) < 24
    assert looks.begun.index(FEED) < 24


@pytest.mark.parametrize("asked", [True, False])
async def test_a_namespace_whose_looks_do_not_end_delays_none_of_another(clock, looks, asked):
    """They wait for turns of their namespace at the API server, also after pods were asked."""
    crowd, answers = [("crowd", f"pool-{number}") for number in range(1000)], asyncio.Event()

    async def look(key):
        if asked and key != VOICE:
            with work_queue.aside(key):
                await answers.wait()
        return await looks(key)

    looks.gate.clear()
    async with run(WorkQueue(clock), look) as work_queue:
        await asyncio.sleep(0)
        for key in crowd:
            work_queue.touch(key)
        await eventually(lambda: len(work_queue._busy) == (1000 if asked else 24))
        answers.set()
        await eventually(lambda: looks.running == len(work_queue._busy))
        work_queue.touch(VOICE)
        await eventually(lambda: VOICE in looks.begun)
        looks.gate.set()
        await eventually(lambda: len(looks.done) == 1001)


async def test_one_look_of_each_namespace_goes_before_that_of_one_that_has_none(clock, looks):
    crowd = [(f"crowd-{number % 40}", f"pool-{number}") for number in range(400)]
    looks.gate.clear()
    async with run(WorkQueue(clock), looks) as work_queue:
        await asyncio.sleep(0)
        for key in crowd:
            work_queue.touch(key)
        await eventually(lambda: looks.running == 24)
        work_queue.touch(VOICE)
        looks.gate.set()
        await eventually(lambda: len(looks.done) == 401)
    before = [namespace for namespace, _ in looks.begun[24 : looks.begun.index(VOICE)]]
    assert len(before) == len(set(before))
