"""A namespace may come into use at any moment, also while the operator ends."""

import asyncio

import pytest

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.namespaces import Namespaces
from kotatsu_operator.controller.served import Served
from kotatsu_operator.core.scope import Scope
from tests.operator.cluster import eventually, namespace

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
