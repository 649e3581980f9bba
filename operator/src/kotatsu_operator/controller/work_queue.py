"""The work queue: which pool is reconciled next. A pool is never reconciled twice at once.

A touched pool has an event; a due pool was scheduled by an earlier reconcile. Each of the two
queues has its own slots, so neither delays the other, and within a queue namespaces take turns. A
reconcile that waits for responses of pods is `aside` and needs no slot.

Of the slots that other namespaces use, as many count as a namespace would use itself. So one that
has no reconcile under way starts one at once, unless as many namespaces as there are slots have
one, whatever the reconciles of another namespace wait for. Those of k namespaces are at most 1 +
1/2 + … + 1/k times the slots.
"""

import asyncio
import heapq
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial

from kotatsu_operator.kube.errors import Unreachable, is_refusal
from kotatsu_operator.kube.objects import Key

log = logging.getLogger(__name__)

Look = Callable[[Key], Awaitable[datetime | None]]

REST = 0.1
"""Seconds from the end of a pool's reconcile until the next one after a touch. One step of a pool
is a dozen events of its Deployment, pods and slices, which are decided on together."""
_AFTER_ERROR = timedelta(seconds=1)
_LONGEST_NAP = 1.0
"""Seconds. The wall clock may jump, so the loop never sleeps longer than this."""
_PUT_BACK = timedelta(seconds=1)
"""If the clock is set back by at least this, every pool is reconciled."""


class _Line:
    """Waiting pools, and since when: namespaces take turns, and within a namespace it is FIFO."""

    def __init__(self) -> None:
        self._by_namespace: dict[str, dict[Key, datetime]] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._by_namespace.get(key[0], ())

    def __bool__(self) -> bool:
        return bool(self._by_namespace)

    def __iter__(self) -> Iterator[Key]:
        return (key for waiting in self._by_namespace.values() for key in waiting)

    def add(self, key: Key, since: datetime) -> None:
        """Add a pool, unless it waits already."""
        self._by_namespace.setdefault(key[0], {}).setdefault(key, since)

    def leave(self, key: Key) -> None:
        waiting = self._by_namespace.get(key[0], {})
        waiting.pop(key, None)
        if not waiting:
            self._by_namespace.pop(key[0], None)

    def next(self, may: Callable[[str], bool]) -> tuple[Key, datetime] | None:
        """Remove and return the next pool of a namespace that may; it then goes to the end."""
        namespace = next(filter(may, self._by_namespace), None)
        if namespace is None:
            return None
        waiting = self._by_namespace.pop(namespace)
        key = next(iter(waiting))
        since = waiting.pop(key)
        if waiting:
            self._by_namespace[namespace] = waiting
        return key, since

    def clear(self) -> None:
        self._by_namespace.clear()


def _may_start(busy: Mapping[str, int], slots: int, namespace: str) -> bool:
    """Whether a namespace may start a reconcile, beside those that are `busy` in each."""
    own = busy.get(namespace, 0) + 1
    return sum(min(count, own) for count in busy.values()) < slots


class WorkQueue:
    """Reconciles a pool when it is due; `touch` makes it due now.

    `for_touched` are the slots for reconciles after a touch, and `for_due` by the clock. `took`
    gets the seconds from when a pool was touched or due until its reconcile ended.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        for_touched: int = 24,
        for_due: int = 8,
        took: Callable[[float], object] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._took = took
        self._for_touched, self._for_due = for_touched, for_due
        self._touched = _Line()
        self._late = _Line()
        """The pools that are due by now, and since when."""
        self._due: dict[Key, datetime] = {}
        self._heap: list[tuple[datetime, Key]] = []
        self._busy: dict[Key, bool] = {}
        """The pools being reconciled, and whether that is after a touch."""
        self._aside: set[Key] = set()
        """Those of `_busy` that wait for responses of pods and activators."""
        self._again: set[Key] = set()
        self._by: dict[Key, datetime] = {}
        self._wakeup = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._look: Look
        self._running = False
        self._waiting: set[Key] = set()
        """The pools that were touched while the queue does not run; a run starts with them."""
        self.beat_at = clock()
        """When the loop last ran; `/livez` fails if this is too long ago."""

    def touch(self, key: Key) -> None:
        """Reconcile a pool as soon as possible."""
        if not self._running:
            self._waiting.add(key)
        elif key in self._busy:
            self._again.add(key)
        else:
            self._queue(key)

    def knows(self, key: Key) -> bool:
        known = (self._due, self._late, self._touched, self._busy)
        return any(key in some for some in known)

    def by(self, key: Key, at: datetime) -> None:
        """Reconcile a pool at this time at the latest."""
        if key in self._busy:
            self._by[key] = min(at, self._by.get(key, at))
        elif key in self._touched or key in self._late:
            pass  # it is due sooner
        elif key not in self._due or at < self._due[key]:
            self._put(key, max(at, self._clock()))

    @contextmanager
    def aside(self, key: Key) -> Iterator[None]:
        """Free a reconcile's slot meanwhile; then it continues at once, also above the limit."""
        self._aside.add(key)
        self._wakeup.set()
        try:
            yield
        finally:
            self._aside.discard(key)

    async def run(self, look: Look) -> None:
        """Reconcile by `look` until cancelled.

        It can run again; each run starts with every pool that waits.
        """
        self._look, self._running = look, True
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
            log.warning("the clock was set back by %s: reconciling all pools", self.beat_at - now)
            for key in list(self._due):
                self._put(key, now)
        self.beat_at = now
        self._start()

    def _start(self) -> None:
        """Start as many reconciles as there are free slots."""
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            if self._due.get(key) == at:  # else a touch or a later time has replaced it
                del self._due[key]
                self._late.add(key, at)
        for line, slots, touched in (
            (self._touched, self._for_touched, True),
            (self._late, self._for_due, False),
        ):
            if not line:
                continue
            busy = Counter(
                key[0]
                for key, after_touch in self._busy.items()
                if after_touch is touched and key not in self._aside
            )
            may = partial(_may_start, busy, slots)
            while len(busy) < slots and (found := line.next(may)) is not None:
                key, since = found
                busy[key[0]] += 1
                self._begin(key, since, touched=touched)

    def _begin(self, key: Key, since: datetime, *, touched: bool) -> None:
        self._busy[key] = touched
        task = asyncio.create_task(self._run_one(key, since), name=f"look {key[0]}/{key[1]}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _nap(self) -> float:
        """Seconds until a pool is due; the end of a reconcile wakes the loop."""
        if not self._heap:
            return _LONGEST_NAP
        until = (self._heap[0][0] - self._clock()).total_seconds()
        return min(max(until, 0.001), _LONGEST_NAP)

    async def _run_one(self, key: Key, since: datetime) -> None:
        again: datetime | None = None
        began = self._clock()
        try:
            again = await self._look(key)
        except Unreachable as error:
            came = "rejected a request" if is_refusal(error) else "did not respond"
            log.warning("%s/%s: the API server %s: %s", *key, came, error)
            again = self._clock() + _AFTER_ERROR
        except Exception:
            log.exception("%s/%s: a reconcile failed; the pool stays as it is", *key)
            again = self._clock() + _AFTER_ERROR
        self._took(max(0.0, (self._clock() - since).total_seconds()))
        with self.aside(key):
            await asyncio.sleep(REST)  # a touch meanwhile is noted
        self._busy.pop(key, None)
        at = self._by.pop(key, None)
        if key in self._again:
            self._again.discard(key)
            self._queue(key)
        elif again is not None:
            if (now := self._clock()) < began - _PUT_BACK:
                again = now  # the reconcile used another time
            self._put(key, again if at is None else min(again, at))
        self._wakeup.set()
