"""Which namespaces are too large, against sums of the test's own."""

import asyncio
import random
from collections import defaultdict
from itertools import pairwise

import pytest

from kotatsu_operator.kube.retained import BESIDE, FIRST_TRY, LONGEST_PAUSE, Retained, size_of
from tests.jumping_time import let_time_jump

pytestmark = pytest.mark.timeout(60)


def text(size):
    """A text that takes so many bytes, with what an index needs for it."""
    return "x" * (size - BESIDE - size_of(""))


@pytest.fixture
async def make(monkeypatch):
    let_time_jump(monkeypatch)

    def make(total, each=50, apart=()):
        changed = []
        retained = Retained(total, each, apart, changed.append)
        retained.changed = changed
        return retained

    return make


async def test_a_namespace_over_its_share_is_too_large(make):
    retained = make(10_000)
    retained.weigh("demo", "Pod", "a", text(3_000))
    retained.weigh("demo", "Service", "a", text(1_900))
    assert not retained.full
    retained.weigh("demo", "Pod", "b", text(1_000))
    assert retained.full == {"demo": "Pod"}
    assert retained.changed == ["demo"]


async def test_an_object_that_changes_counts_once(make):
    retained = make(10_000)
    for size in (3_000, 4_000, 2_000):
        retained.weigh("demo", "Pod", "a", text(size))
    assert retained.bytes_of("demo") == 2_000
    retained.weigh("demo", "Pod", "a", None)
    assert retained.bytes_of("demo") == 0


async def test_what_an_object_needs_elsewhere_counts_too(make):
    retained = make(10_000)
    retained.weigh("demo", "WarmPool", "a", text(3_000), 500)
    assert retained.bytes_of("demo") == 3_500


async def test_over_the_total_the_largest_namespace_is_too_large_and_not_the_newest(make):
    retained = make(10_000)
    retained.weigh("large", "Pod", "a", text(4_900))
    retained.weigh("middle", "Pod", "a", text(4_000))
    retained.weigh("small", "Pod", "a", text(1_200))
    assert list(retained.full) == ["large"]


async def test_the_others_do_not_make_one_too_large_that_is_apart(make):
    retained = make(10_000, apart={"kotatsu"})
    retained.weigh("kotatsu", "Pod", "a", text(4_900))
    for name in ("a", "b", "c"):
        retained.weigh(name, "Pod", "a", text(3_000))
    assert not retained.full
    retained.weigh("kotatsu", "Pod", "b", text(1_000))
    assert list(retained.full) == ["kotatsu"]


async def test_one_that_was_too_large_is_tried_again_ever_later(make):
    times = []

    def drop(namespace):
        if namespace in retained.full:
            times.append(asyncio.get_running_loop().time())
            retained.weigh("demo", "Pod", "a", None)
        else:
            retained.weigh("demo", "Pod", "a", text(6_000))

    retained = make(10_000)
    retained.on_change = drop
    retained.weigh("demo", "Pod", "a", text(6_000))
    await asyncio.sleep(4 * LONGEST_PAUSE)
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses[:6] == pytest.approx([30, 60, 120, 240, 480, 600], abs=1)


async def test_one_whose_pools_alone_are_too_large_is_not_listed_again(make):
    retained = make(10_000)
    retained.weigh("demo", "WarmPool", "a", text(6_000))
    await asyncio.sleep(FIRST_TRY + 1)
    assert retained.changed == ["demo", "demo"]
    assert retained.full == {"demo": "WarmPool"}


async def test_one_that_was_small_for_long_is_tried_soon(make):
    retained = make(10_000)
    for _ in range(3):
        retained.weigh("demo", "Pod", "a", text(6_000))
        assert retained.full
        retained.weigh("demo", "Pod", "a", None)
        await asyncio.sleep(FIRST_TRY + 1)
        assert not retained.full
        await asyncio.sleep(LONGEST_PAUSE)


async def test_what_is_dropped_of_one_makes_room_for_others(make):
    retained = make(10_000)
    retained.weigh("demo", "Pod", "a", text(6_000))
    retained.weigh("a", "Pod", "a", text(4_900))
    retained.weigh("b", "Pod", "a", text(4_900))
    assert list(retained.full) == ["demo"]


async def test_a_namespace_of_which_nothing_is_kept_has_no_bytes(make):
    retained = make(10_000)
    retained.weigh("demo", "Pod", "a", text(3_000))
    retained.weigh("demo", "Service", "a", text(1_000))
    retained.forget("demo")
    assert retained.bytes_of("demo") == 0
    retained.weigh("demo", "Pod", "a", text(4_500))
    assert not retained.full


@pytest.mark.parametrize("seed", range(30))
async def test_the_sums_are_those_of_a_list_of_all_objects(make, seed):
    rng, there = random.Random(seed), defaultdict(dict)
    retained = make(60_000, 40, {"home"})
    for _ in range(2_000):
        namespace, name = rng.choice(["home", "a", "b", "c"]), str(rng.randrange(8))
        size = rng.choice([None, 1_300, 2_000, 9_000])
        retained.weigh(namespace, "Pod", name, None if size is None else text(size))
        there[namespace][name] = size or 0
        sums = {of: sum(sizes.values()) for of, sizes in there.items()}
        assert {of: retained.bytes_of(of) for of in sums} == sums
        small = {of for of in sums if of not in retained.full}
        assert all(sums[of] <= 24_000 for of in small)
        assert sum(sums[of] for of in small - {"home"}) <= 60_000
        if rng.random() < 0.01:
            await asyncio.sleep(rng.choice([1, 40, 700]))


def test_a_value_of_any_depth_is_weighed():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert size_of(deep) > 100_000 * 56


def test_a_value_that_is_in_another_twice_counts_once():
    shared = "x" * 10_000
    assert size_of([shared, {"a": shared}]) < 11_000
