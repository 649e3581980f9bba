"""One call for all who ask at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Coalesced(Generic[T]):
    """Calls `ask` once for all callers that wait.

    Each caller gets the result of an `ask` that started after its own call. Calls of `ask` run one
    after the other, at least `apart` seconds from start to start. `ask` must end in bounded time;
    every caller that waits for it raises its error.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], apart: float = 0.0) -> None:
        self._ask, self._apart = ask, apart
        self._coming: asyncio.Task[T] | None = None
        self._under_way: asyncio.Task[T] | None = None
        self._free_at = 0.0

    async def __call__(self) -> T:
        if self._coming is None:
            self._coming = asyncio.create_task(self._in_turn(self._under_way))
        # A cancelled caller must not cancel the call for the others.
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
