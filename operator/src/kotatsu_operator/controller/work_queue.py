"""Who is looked at when: one pool is never looked at twice at once, many pools are.

There are two queues. What was touched has something to say: a pod is Ready, an edit, a request.
What is due was asked for by an earlier look: the next beat, a window. Each queue has slots of its
own, so a thousand windows that open at the same second keep no edit waiting, and no storm of events
a window. In each queue namespaces take turns. A look that waits for pods to answer is `aside` and
has no slot: silent pods of one pool delay no other.
"""

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from kotatsu_operator.kube.errors import Unreachable, is_refusal
from kotatsu_operator.kube.objects import Key

log = logging.getLogger(__name__)

Look = Callable[[Key], Awaitable[datetime | None]]

_AFTER_ERROR = timedelta(seconds=1)
_LONGEST_NAP = 1.0
"""Seconds. The wall clock may jump: nobody sleeps longer than this on an old idea of the time."""
_PUT_BACK = timedelta(seconds=1)
"""By so much at least a clock has to be put back for anybody to be looked at because of that."""


class _Line:
    """Who waits, and since when: namespaces take turns, and within one the first is the first.

    Thousands of pools of one namespace, touched by one event there, keep none of another waiting.
    """

    def __init__(self) -> None:
        self._by_namespace: dict[str, dict[Key, datetime]] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._by_namespace.get(key[0], ())

    def __bool__(self) -> bool:
        return bool(self._by_namespace)

    def __iter__(self) -> Iterator[Key]:
        return (key for waiting in self._by_namespace.values() for key in waiting)

    def add(self, key: Key, since: datetime) -> None:
        """Wait, unless it does already."""
        self._by_namespace.setdefault(key[0], {}).setdefault(key, since)

    def leave(self, key: Key) -> None:
        """Wait no more."""
        waiting = self._by_namespace.get(key[0], {})
        waiting.pop(key, None)
        if not waiting:
            self._by_namespace.pop(key[0], None)

    def next(self) -> tuple[Key, datetime]:
        """The next one, which leaves; its namespace has its next turn after all others."""
        namespace = next(iter(self._by_namespace))
        waiting = self._by_namespace.pop(namespace)
        key = next(iter(waiting))
        since = waiting.pop(key)
        if waiting:
            self._by_namespace[namespace] = waiting
        return key, since

    def clear(self) -> None:
        """Nobody waits."""
        self._by_namespace.clear()


class WorkQueue:
    """Calls `look(key)` when a pool is due; `touch` makes it due now.

    At most `for_touched` looks are under way after a touch, and `for_due` by the clock. `took` is
    told the seconds from when a pool was touched or due until its look was done.
    """

    def __init__(
        self,
        look: Look,
        clock: Callable[[], datetime],
        for_touched: int = 24,
        for_due: int = 8,
        took: Callable[[float], object] = lambda _: None,
    ) -> None:
        self._look = look
        self._clock = clock
        self._took = took
        self._for_touched, self._for_due = for_touched, for_due
        self._touched = _Line()
        self._late = _Line()
        """Who is due by now, and since when."""
        self._due: dict[Key, datetime] = {}
        self._heap: list[tuple[datetime, Key]] = []
        self._busy: dict[Key, bool] = {}
        """What is being looked at, and whether that is after a touch."""
        self._aside: set[Key] = set()
        """Of those, the ones that wait for what may never answer."""
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
            self._queue(key)

    def knows(self, key: Key) -> bool:
        """Whether a look at a pool is planned or under way."""
        known = (self._due, self._late, self._touched, self._busy)
        return any(key in some for some in known)

    def by(self, key: Key, at: datetime) -> None:
        """Look at a pool at this moment at the latest."""
        if key in self._busy:
            self._by[key] = min(at, self._by.get(key, at))
        elif key in self._touched or key in self._late:
            pass  # sooner than that
        elif key not in self._due or at < self._due[key]:
            self._put(key, max(at, self._clock()))

    @contextmanager
    def aside(self, key: Key) -> Iterator[None]:
        """Give the slot of a look to others meanwhile; it goes on when it likes."""
        self._aside.add(key)
        self._wakeup.set()
        try:
            yield
        finally:
            self._aside.discard(key)

    async def run(self) -> None:
        """Run until cancelled; it may be run again, and begins with a look at every pool."""
        self._running = True
        for key in self._waiting:
            self._queue(key)
        self._waiting.clear()
        try:
            while True:
                self._turn()
                try:
                    async with asyncio.timeout(self._nap()):
                        await self._wakeup.wait()
                except TimeoutError:
                    pass
                self._wakeup.clear()
        finally:
            self._waiting |= self._busy.keys()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._running = False
            self._waiting.update(self._touched, self._late, self._due)
            for line in (self._touched, self._late):
                line.clear()
            for noted in (self._due, self._heap, self._busy, self._again, self._by):
                noted.clear()

    def _queue(self, key: Key) -> None:
        self._due.pop(key, None)
        self._late.leave(key)
        self._touched.add(key, self._clock())
        self._wakeup.set()

    def _put(self, key: Key, at: datetime) -> None:
        self._due[key] = at
        heapq.heappush(self._heap, (at, key))
        self._wakeup.set()

    def _turn(self) -> None:
        now = self._clock()
        if now < self.beat_at - _PUT_BACK:
            log.warning("the clock was put back by %s: looking at every pool", self.beat_at - now)
            for key in list(self._due):
                self._put(key, now)
        self.beat_at = now
        self._start()

    def _start(self) -> None:
        """Begin as many looks as there are slots for."""
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            if self._due.get(key) == at:  # or a touch or a later look has replaced this entry
                del self._due[key]
                self._late.add(key, at)
        for line, free, touched in (
            (self._touched, self._for_touched - self._busy_after_touch, True),
            (self._late, self._for_due - self._busy_when_due, False),
        ):
            for _ in range(free):
                if line:
                    key, since = line.next()
                    self._begin(key, since, touched=touched)

    @property
    def _busy_after_touch(self) -> int:
        return sum(touched for key, touched in self._busy.items() if key not in self._aside)

    @property
    def _busy_when_due(self) -> int:
        return len(self._busy.keys() - self._aside) - self._busy_after_touch

    def _begin(self, key: Key, since: datetime, *, touched: bool) -> None:
        self._busy[key] = touched
        task = asyncio.create_task(self._run_one(key, since), name=f"look {key[0]}/{key[1]}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _nap(self) -> float:
        """Seconds until something is due that there is a slot for; whoever ends wakes us."""
        if not self._heap or self._busy_when_due >= self._for_due:
            return _LONGEST_NAP
        until = (self._heap[0][0] - self._clock()).total_seconds()
        return min(max(until, 0.001), _LONGEST_NAP)

    async def _run_one(self, key: Key, since: datetime) -> None:
        again: datetime | None = None
        began = self._clock()
        try:
            again = await self._look(key)
        except Unreachable as error:
            came = "refused a request" if is_refusal(error) else "did not answer"
            log.warning("%s/%s: the API server %s: %s", *key, came, error)
            again = self._clock() + _AFTER_ERROR
        except Exception:
            log.exception("%s/%s: a look failed; the pool stays as it is", *key)
            again = self._clock() + _AFTER_ERROR
        finally:
            self._busy.pop(key, None)
            self._took(max(0.0, (self._clock() - since).total_seconds()))
        at = self._by.pop(key, None)
        if key in self._again:
            self._again.discard(key)
            self._queue(key)
        elif again is not None:
            if (now := self._clock()) < began - _PUT_BACK:
                again = now  # what the look said was by another clock
            self._put(key, again if at is None else min(again, at))
        self._wakeup.set()
