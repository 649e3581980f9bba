"""Work that leaves the event loop to other tasks every few milliseconds."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

TURN = 0.002
"""Seconds of work after which the event loop runs other tasks."""

T = TypeVar("T")


async def in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield the items; let the event loop run after each turn."""
    clock = asyncio.get_running_loop().time
    until = clock() + TURN
    for item in items:
        yield item
        if clock() >= until:
            await asyncio.sleep(0)
            until = clock() + TURN
