"""How a Job with a time limit waits, tries again, and says how far it is."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from math import inf
from typing import TypeVar

from kotatsu_operator.kube import errors
from kotatsu_operator.kube.errors import ConflictError, Unreachable

SAY_EVERY = 15.0
"""Seconds after which a line about what is waited for is printed again."""

AT_ONCE = 20
"""Objects that are read and written at once."""

T = TypeVar("T")
X = TypeVar("X")


class Patience:
    """What such a Job has by inheritance; times are in seconds."""

    timeout: float
    say: Callable[[str], None]
    """Prints a line of progress."""
    poll: float
    _trouble: str = ""
    _end: float = 0.0
    """When the time is over, by the loop's clock."""

    @property
    def _time_left(self) -> float:
        """Seconds until this run gives up."""
        return max(self._end - asyncio.get_running_loop().time(), 0.0)

    async def _until(
        self, trouble: Callable[[], Awaitable[str]], what: str, within: float = inf
    ) -> None:
        """Wait until `trouble()` returns an empty string; print it when it changes, and again.

        Give up without an error `within` seconds after the beginning of the run.
        """
        said, due, loop = "", 0.0, asyncio.get_running_loop()
        while True:
            self._trouble = await self._trying(trouble)
            if not self._trouble:
                return
            if self.timeout - self._time_left >= within:
                self._trouble = ""
                return
            if self._trouble != said or loop.time() >= due:
                said, due = self._trouble, loop.time() + SAY_EVERY
                self.say(f"{what}: {said}; for {self._time_left:.0f} s more at most")
            await asyncio.sleep(self.poll)

    async def _trying(self, act: Callable[[], Awaitable[T]], refused_until: float = inf) -> T:
        """Call `act` again after conflicts and while the API server rejects it or does not answer.

        A rejection is raised after `refused_until`, by the loop's clock.
        """
        now = asyncio.get_running_loop().time
        while True:
            try:
                return await errors.retry_on_conflict(act)
            except (ConflictError, *Unreachable) as error:
                if errors.is_refusal(error) and now() > refused_until:
                    raise
                self._trouble = f"the API server: {error}"
                self.say(self._trouble)
                await asyncio.sleep(self.poll * 2)

    async def _each(
        self, what: str, of: Collection[X], act: Callable[[X], Awaitable[None]]
    ) -> None:
        """Do something for each of many, several at once, and say how far that is."""
        gate, loop, done = asyncio.Semaphore(AT_ONCE), asyncio.get_running_loop(), 0
        due = loop.time() + SAY_EVERY

        async def one(item: X) -> None:
            nonlocal done, due
            async with gate:
                await act(item)
            done += 1
            if loop.time() >= due:
                due = loop.time() + SAY_EVERY
                self.say(f"{what}: {done} of {len(of)}; for {self._time_left:.0f} s more at most")

        await asyncio.gather(*map(one, of))
