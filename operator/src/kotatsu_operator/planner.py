"""Who is looked at when: one queue of due pools, many looks at once, one a pool at a time."""

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from .kube import Unreachable
from .views import Key

log = logging.getLogger(__name__)

Look = Callable[[Key], Awaitable[datetime | None]]

_AFTER_ERROR = timedelta(seconds=1)
_LONGEST_NAP = 1.0
"""Seconds. The wall clock may jump: nobody sleeps longer than this on an old idea of the time."""


class Planner:
    """Calls `look(key)` when a pool is due; `touch` makes it due now.

    `took` is told the seconds from when a pool was due until its look was done.
    """

    def __init__(
        self,
        look: Look,
        clock: Callable[[], datetime],
        parallel: int = 32,
        took: Callable[[float], object] = lambda _: None,
    ) -> None:
        self._look = look
        self._clock = clock
        self._took = took
        self._slots = asyncio.Semaphore(parallel)
        self._due: dict[Key, datetime] = {}
        self._heap: list[tuple[datetime, Key]] = []
        self._busy: set[Key] = set()
        self._again: set[Key] = set()
        self._by: dict[Key, datetime] = {}
        self._wakeup = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = False
        self._waiting: set[Key] = set()
        """Who was touched while nobody may look: all of them are due when looking begins."""
        self.beat_at = clock()
        """When the loop last turned: an operator that stands still is not alive."""

    def touch(self, key: Key) -> None:
        """Look at a pool as soon as possible."""
        if not self._running:
            self._waiting.add(key)
        elif key in self._busy:
            self._again.add(key)
        else:
            self._put(key, self._clock())
            self._wakeup.set()

    def knows(self, key: Key) -> bool:
        """Whether a look at a pool is planned or under way."""
        return key in self._due or key in self._busy

    def by(self, key: Key, at: datetime) -> None:
        """Look at a pool at this moment at the latest."""
        if key in self._busy:
            self._by[key] = min(at, self._by.get(key, at))
        elif key not in self._due or at < self._due[key]:
            self._put(key, max(at, self._clock()))
            self._wakeup.set()

    async def run(self) -> None:
        """Run until cancelled; it may be run again, and begins with a look at every pool."""
        self._running = True
        for key in self._waiting:
            self._put(key, self._clock())
        self._waiting.clear()
        try:
            while True:
                self.beat_at = self._clock()
                self._start_due()
                nap = _LONGEST_NAP
                if self._heap:
                    nap = min(nap, (self._heap[0][0] - self._clock()).total_seconds())
                try:
                    async with asyncio.timeout(max(nap, 0.001)):
                        await self._wakeup.wait()
                except TimeoutError:
                    pass
                self._wakeup.clear()
        finally:
            self._waiting |= self._busy
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._running = False
            self._waiting |= self._due.keys()
            for noted in (self._due, self._heap, self._busy, self._again, self._by):
                noted.clear()

    def _put(self, key: Key, at: datetime) -> None:
        self._due[key] = at
        heapq.heappush(self._heap, (at, key))

    def _start_due(self) -> None:
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            if self._due.get(key) != at or key in self._busy:
                continue  # a later touch or look has replaced this entry
            del self._due[key]
            self._busy.add(key)
            task = asyncio.create_task(self._run_one(key, at), name=f"look {key[0]}/{key[1]}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run_one(self, key: Key, due: datetime) -> None:
        again: datetime | None = None
        try:
            async with self._slots:
                again = await self._look(key)
        except Unreachable as error:
            log.warning("%s/%s: the API server did not answer: %s", *key, error)
            again = self._clock() + _AFTER_ERROR
        except Exception:
            log.exception("%s/%s: a look failed; the pool stays as it is", *key)
            again = self._clock() + _AFTER_ERROR
        finally:
            self._busy.discard(key)
            self._took(max(0.0, (self._clock() - due).total_seconds()))
        if key in self._again:
            self._again.discard(key)
            again = self._clock()
        at = self._by.pop(key, None)
        if at is not None and again is not None:
            again = min(again, at)
        if again is not None:
            self._put(key, again)
            self._wakeup.set()
