"""A namespace may come into use at any moment, also while the operator ends."""

import asyncio

import pytest

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.namespaces import Namespaces
from kotatsu_operator.controller.served import Served
from kotatsu_operator.core.scope import Scope
from tests.operator.cluster import VOICE, eventually, namespace, pod, warm_pool

pytestmark = pytest.mark.timeout(60)


class SlowToEnd:
    """An informer whose list of a namespace takes a while to end."""

    def __init__(self):
        self.entered_so_far, self.may_end = [], asyncio.Event()

    def enter(self, name):
        self.entered_so_far.append(name)

    async def entered(self, _):
        try:
            await asyncio.Event().wait()
        finally:
            await self.may_end.wait()


async def test_one_that_comes_into_use_while_the_operator_ends_is_left_to_the_next():
    wanted = {"demo"}
    followed = Namespaces(Cache(Served(Scope("kotatsu"))), lambda _: None)
    judge_again = followed.use(wanted.__contains__)
    followed.listed_by(informer := SlowToEnd())
    running = asyncio.create_task(followed.run())
    for name in ("demo", "shop"):
        followed.keep(namespace(name))
    await eventually(lambda: informer.entered_so_far == ["demo"])

    running.cancel()
    await asyncio.sleep(0)
    wanted.add("shop")
    judge_again()
    informer.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert informer.entered_so_far == ["demo"]


class Listed:
    """An informer that lists at once, and says in which namespaces it does."""

    def __init__(self):
        self.there = set()

    def enter(self, name):
        self.there.add(name)

    async def entered(self, _):
        pass

    async def leave(self, name):
        self.there.discard(name)


async def test_one_that_is_too_large_leaves_use_and_its_pools_are_listed_again_afterwards():
    listed, touched = [], []

    async def list_pools(name):
        listed.append(name)

    cache = Cache(Served(Scope("kotatsu")))
    followed = Namespaces(cache, touched.append, list_pools)
    cache.retained.on_change = followed.weighed
    cache.tell(followed.see)
    followed.listed_by(informer := Listed())
    running = asyncio.create_task(followed.run())
    followed.keep(namespace())
    cache.keep_pool(warm_pool(idleAfter="1m"))
    await eventually(lambda: followed.shows("demo"))

    cache.retained.full["demo"] = "Pod"
    followed.weighed("demo")
    await eventually(lambda: not followed.shows("demo"))
    assert informer.there == set()
    assert not followed.keeps("Pod", pod("voice-1"))
    assert touched[-1] == VOICE

    cache.retained.full.clear()
    followed.weighed("demo")
    await eventually(lambda: followed.shows("demo"))
    assert (informer.there, listed) == ({"demo"}, ["demo"])
    running.cancel()
