"""One answer for all who ask at a time, and never one that is older than the question."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Coalesced(Generic[T]):
    """Asks once for everybody who wants to know by then.

    Whoever calls gets an answer to a question that was begun after the call: not the one under way.
    Questions follow one another, and begin at least `apart` seconds from each other. `ask` must
    answer in bounded time; what it raises is raised by every call that waits for it.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], apart: float = 0.0) -> None:
        self._ask, self._apart = ask, apart
        self._coming: asyncio.Task[T] | None = None
        self._under_way: asyncio.Task[T] | None = None
        self._free_at = 0.0

    async def __call__(self) -> T:
        """The answer."""
        if self._coming is None:
            self._coming = asyncio.create_task(self._in_turn(self._under_way))
        # One who goes away leaves the question to the others.
        return await asyncio.shield(self._coming)

    async def _in_turn(self, before: asyncio.Task[T] | None) -> T:
        if before is not None:
            await asyncio.wait({before})
        loop = asyncio.get_running_loop()
        if (pause := self._free_at - loop.time()) > 0:
            await asyncio.sleep(pause)
        self._under_way, self._coming = self._coming, None
        self._free_at = loop.time() + self._apart
        return await self._ask()
