"""No namespace waits behind all of another, whatever comes, ends or leaves, and in which order."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotatsu_operator.runtime.turns import Turns
from tests.operator.core.values import examples

pytestmark = pytest.mark.timeout(30)


class Visitors:
    """Tasks that wait for turns and hold them until the test ends them; `begun` is in order."""

    def __init__(self, turns):
        self.turns = turns
        self.begun, self.holding, self.waiting = [], {}, {}

    async def come(self, namespace):
        end = asyncio.Event()
        number = len(self.begun) + len(self.waiting)

        async def visit():
            async with self.turns.of(namespace):
                del self.waiting[task]
                self.holding[task] = (namespace, end)
                self.begun.append(namespace)
                await end.wait()
            del self.holding[task]

        task = asyncio.create_task(visit(), name=f"{namespace} {number}")
        self.waiting[task] = namespace
        await settle()

    def end(self, namespace):
        """End the oldest turn of a namespace; the next one begins as the loop runs."""
        next(end for of, end in self.holding.values() if of == namespace).set()

    def under_way(self, namespace):
        return [of for of, _ in self.holding.values()].count(namespace)

    async def leave(self):
        for task in [*self.waiting, *self.holding]:
            task.cancel()
        await settle()


async def settle():
    for _ in range(4):
        await asyncio.sleep(0)


@pytest.fixture
async def visitors():
    made = Visitors(Turns(2))
    yield made
    await made.leave()


async def test_a_namespace_with_no_turn_under_way_comes_next(visitors):
    for namespace in ["crowd"] * 100 + ["b", "c"]:
        await visitors.come(namespace)
    for _ in range(2):
        visitors.end("crowd")
        await settle()
        await settle()
    assert visitors.begun[2:4] == ["b", "c"]


async def test_within_a_namespace_the_first_to_come_is_the_first_to_go():
    turns, order = Turns(1), []

    async def visit(number):
        async with turns.of("demo"):
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*map(visit, range(50)))
    assert order == list(range(50))


async def test_a_namespace_leaves_the_places_that_are_not_its_own_to_others():
    visitors = Visitors(Turns(4, each=2))
    for namespace in ["crowd"] * 9 + ["b"]:
        await visitors.come(namespace)
    assert visitors.begun == ["crowd", "crowd", "b"]
    visitors.end("b")
    await settle()
    assert visitors.begun == ["crowd", "crowd", "b"]
    visitors.end("crowd")
    await settle()
    assert visitors.begun == ["crowd", "crowd", "b", "crowd"]
    await visitors.leave()


async def test_a_turn_that_is_given_to_a_task_as_it_is_canceled_goes_to_the_next(visitors):
    for namespace in ("a", "a", "b", "c"):
        await visitors.come(namespace)
    leaving = next(task for task, of in visitors.waiting.items() if of == "b")
    visitors.end("a")
    await asyncio.sleep(0)  # the turn has ended, and b has not run since
    leaving.cancel()
    del visitors.waiting[leaving]
    await settle()
    assert visitors.begun == ["a", "a", "c"]


async def test_a_turn_is_not_given_to_a_task_that_is_being_canceled(visitors):
    for namespace in ("a", "a", "b", "c"):
        await visitors.come(namespace)
    leaving = next(task for task, of in visitors.waiting.items() if of == "b")
    leaving.cancel()
    del visitors.waiting[leaving]
    visitors.turns._end("a")  # before b runs: as a turn that ends in the same turn of the loop
    await settle()
    assert visitors.begun == ["a", "a", "c"]
    visitors.turns._begin("a")  # what it holds still


_STEPS = st.lists(
    st.tuples(st.sampled_from(["come", "come", "end", "cancel", "cancel and end"]), st.integers(0)),
    max_size=60,
)


@given(most=st.integers(1, 4), each=st.integers(1, 4), steps=_STEPS)
@examples(200)
def test_each_place_goes_to_a_waiting_namespace_that_has_the_fewest_turns(most, each, steps):
    each = min(each, most)
    asyncio.run(_check(most, each, steps))


async def _check(most, each, steps):
    visitors = Visitors(Turns(most, each))
    passed = {}
    """By waiting task without a turn of its namespace: what has begun since it came."""
    for step, chosen in steps:
        before, begun = set(visitors.waiting), len(visitors.begun)
        counts = {of: visitors.under_way(of) for of in "abcd"}
        if step == "come":
            await visitors.come("aabcd"[chosen % 5])
        some = list(visitors.waiting)
        if "cancel" in step and some:
            task = some[chosen % len(some)]
            task.cancel()
            del visitors.waiting[task]
            before.discard(task)
        if "end" in step and visitors.holding:
            namespace, end = list(visitors.holding.values())[chosen % len(visitors.holding)]
            if not end.is_set():
                end.set()
                counts[namespace] -= 1
        waited = {visitors.waiting[task] for task in before if task in visitors.waiting}
        await settle()
        await settle()

        assert len(visitors.holding) <= most
        assert all(visitors.under_way(of) <= each for of in "abcd")
        if len(visitors.holding) < most:
            assert all(visitors.under_way(of) == each for of in visitors.waiting.values())
        new = visitors.begun[begun:]
        if step != "come" and new:
            assert len(new) == 1
            assert counts[new[0]] == min(counts[of] for of in waited)
        for task, of in visitors.waiting.items():
            if visitors.under_way(of):
                passed.pop(task, None)
            elif list(visitors.waiting.values()).index(of) == list(visitors.waiting).index(task):
                passed.setdefault(task, []).extend(new if task in before else ())
        assert all(
            len(since) == len(set(since))
            for task, since in passed.items()
            if task in visitors.waiting
        )

    while visitors.holding:
        for _, end in visitors.holding.values():
            end.set()
        await settle()
    assert not visitors.waiting, "each one that waits gets its turn"
    turns = visitors.turns
    assert (turns._free, turns._under_way, any(turns._waiting)) == (most, {}, False)
