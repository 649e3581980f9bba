"""How many questions to another server are under way at a time, and how many may wait for a turn.

The wait for a turn is our own doing. It takes nothing of the time that the server has for its
answer, and a queue that is full is `Busy`, never an outage of the server.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx

from kotatsu_common.problems import Problem

AT_ONCE = 32
WAITING = 1000
"""As many requests as an activator holds for a pool by default, so that a crowd that waited for a
pod to wake is not turned away by it."""


class Busy(Problem):
    """Our own limit: as many as may wait for a turn are waiting already."""

    def __init__(self) -> None:
        super().__init__(
            503,
            "Too busy",
            "Too many others wait for the same. Try again in a moment.",
            headers={"Retry-After": "2"},
            reason="busy",
        )


class Turns:
    """At most `at_once` exchanges at a time, first come first served; at most `waiting` more wait.

    An exchange that waited while another was left without an answer ends like that one at its turn:
    otherwise each in the queue would wait for its own timeout.
    """

    def __init__(self, *, at_once: int = AT_ONCE, waiting: int = WAITING) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._room = waiting
        self._waiting = 0
        self._silences = 0

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """To be held during an exchange; Busy, or httpx.TimeoutException if others got that."""
        if self._free.locked() and self._waiting >= self._room:
            raise Busy
        silences = self._silences
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            if self._silences > silences:
                raise httpx.ReadTimeout("others have waited for an answer in vain")
            try:
                yield
            except httpx.TimeoutException:
                self._silences += 1
                raise
        finally:
            self._free.release()
