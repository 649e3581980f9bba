"""Turns for namespaces, where many wait for few places: no namespace waits behind all of another.

A holder of a turn must not wait for a turn of another `Turns`, or the two queues become one.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator

_Waiters = OrderedDict[asyncio.Future[None], None]


class Turns:
    """At most `most` turns at once, and at most `each` of one namespace; without it, as many.

    A free place goes to the waiting namespace that has the fewest turns under way; of several, to
    the one that has had so few for the longest time. So before a turn of a namespace that has none
    under way, at most one turn of each other namespace begins. Within a namespace it is FIFO. The
    wait has no bound of its own: the caller has one, or what holds a turn ends.
    """

    def __init__(self, most: int, each: int | None = None) -> None:
        self._free = most
        self._under_way: dict[str, int] = {}
        self._waiting: list[dict[str, _Waiters]] = [{} for _ in range((each or most) + 1)]
        """The waiting namespaces, by how many turns they have under way. Those of the last one
        have as many as one namespace may have."""

    @contextlib.asynccontextmanager
    async def of(self, namespace: str) -> AsyncIterator[None]:
        """Wait for a turn of a namespace, and hold it."""
        under_way = self._under_way.get(namespace, 0)
        if self._free and under_way < len(self._waiting) - 1:
            self._begin(namespace)
        else:
            await self._wait(namespace, under_way)
        try:
            yield
        finally:
            self._end(namespace)

    async def _wait(self, namespace: str, under_way: int) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting[under_way].setdefault(namespace, _Waiters())[turn] = None
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(namespace, turn)
            else:
                self._end(namespace)
            raise

    def _leave(self, namespace: str, turn: asyncio.Future[None]) -> None:
        line = self._waiting[self._under_way.get(namespace, 0)]
        waiters = line.get(namespace, _Waiters())
        waiters.pop(turn, None)
        if not waiters:
            line.pop(namespace, None)

    def _begin(self, namespace: str) -> None:
        self._free -= 1
        self._count(namespace, 1)

    def _end(self, namespace: str) -> None:
        self._free += 1
        self._count(namespace, -1)
        for line in self._waiting[:-1]:
            while line:
                following = next(iter(line))
                turn = next(iter(line[following]))
                self._leave(following, turn)
                if not turn.done():  # else its task was canceled and has not run since
                    self._begin(following)
                    turn.set_result(None)
                    return

    def _count(self, namespace: str, by: int) -> None:
        """Count the turns of a namespace that are under way; those that wait move along."""
        before = self._under_way.pop(namespace, 0)
        if after := before + by:
            self._under_way[namespace] = after
        if waiters := self._waiting[before].pop(namespace, None):
            self._waiting[after][namespace] = waiters
