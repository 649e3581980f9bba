"""Announcements of requests: writes that prevent a pool from going to sleep, or restore it.

docs/protocol.md says which requests need one of their own, and why there are pauses in between. A
request to a parked pool is announced too, and does not wait for it.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from kotatsu_operator.activator.cache.pool import Pool
from kotatsu_operator.activator.context import Context
from kotatsu_operator.core.formats import stamp
from kotatsu_operator.core.pool.memory import Phase
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable

log = logging.getLogger(__name__)

RETRY_EVERY = 0.1

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 4.0
"""Seconds between two announcements on one way down: doubled each time."""

ANNOUNCE_AFTER = 0.1
"""Seconds that an announcement waits for which no request does: that to a parked pool, and that to
a pool without a pod, which takes longer to start. An announcement costs the activator several times
the CPU of forwarding a request and the API server 15 ms, and a restore costs more; a short request
or the first steps of a pod's start would share the cores with them (decision 49)."""

COVERS_FOR = 30.0
"""Seconds after which an announcement is repeated even if the operator has not asked.

A node that is cut off counts as ready for 40 s; after that, its activators are not asked. The
repetition also shows the operator that a pool is still in use."""


class Announcements:
    """The announcements of one pool, numbered: `want` returns the number that must be written."""

    def __init__(
        self,
        context: Context,
        *,
        is_wanted: Callable[[], bool],
        is_asked: Callable[[], bool] = lambda: False,
        on_written: Callable[[], None],
    ) -> None:
        self._context = context
        self._is_wanted, self._on_written = is_wanted, on_written
        self._is_asked = is_asked
        """Whether each check asks this activator: one that is not Ready may be left out."""
        self._asked = True
        """Whether the operator may have asked since the last announcement began.

        True at first: it may have asked the previous process."""
        self._covered_until = 0.0
        self._state: tuple[int, Phase] | None = None
        """Epoch and phase of the last request: a request in another one is announced again."""
        self._wanted = 0
        self._written = 0
        self._announced_epoch = -1
        self._restores = False
        """Whether a request was announced, or is being announced, since the pool was parked."""
        self._pause, self._quiet_until = FIRST_PAUSE, 0.0
        self.task: asyncio.Task[None] | None = None

    def asked(self) -> None:
        """The operator asks for held requests. Call this before they are read, from any thread."""
        self._asked = True

    def want(self, pool: Pool) -> int:
        """Announce a new request to a pool that is not awake; returns its number.

        Call this once a metrics request would already count the request. The number that a parked
        pool gets is covered already.
        """
        if pool.phase is Phase.PARKED:
            self._restore()
            return self._written
        is_asleep = pool.phase is Phase.ASLEEP and self._announced_epoch != pool.epoch
        if not (pool.is_going_down or is_asleep):
            return self._written
        is_first = self._announced_epoch != pool.epoch
        if pool.is_going_down and not is_first and self._is_covered(pool):
            return self._written
        self._state = (pool.epoch, pool.phase)
        self._announced_epoch = pool.epoch
        if is_first:
            is_starting = is_asleep and not self._context.view.backends(pool)
            pause = ANNOUNCE_AFTER if is_starting else 0.0
            self._pause, self._quiet_until = FIRST_PAUSE, asyncio.get_running_loop().time() + pause
        self._begin()
        return self._wanted

    def _restore(self) -> None:
        """Announce a request to a parked pool."""
        now = asyncio.get_running_loop().time()
        is_done = self._written == self._wanted
        if not self._restores or (now >= self._covered_until and is_done):
            self._restores = True
            self._pause, self._quiet_until = FIRST_PAUSE, now + ANNOUNCE_AFTER
            self._begin()

    def _begin(self) -> None:
        self._wanted += 1
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._write())

    def _is_covered(self, pool: Pool) -> bool:
        """Whether every check that could miss a request of this moment fails at its write."""
        return (
            self._state == (pool.epoch, pool.phase)
            and not self._asked
            and self._written == self._wanted
            and asyncio.get_running_loop().time() < self._covered_until
            and self._is_asked()
        )

    def changed(self, pool: Pool | None) -> None:
        """No request waits for an announcement any more if the pool is awake."""
        if pool is None:
            return
        if pool.phase is not Phase.PARKED:
            self._restores = False
        if pool.phase.is_awake and not self._restores:
            self._written = self._wanted

    def covers(self, number: int) -> bool:
        return number <= self._written

    async def _announce(self) -> None:
        """Write to the pool's status that it is needed now.

        Raises ConflictError, NotFoundError or one of `Unreachable`.
        """
        status = {"demand": {"at": stamp(datetime.now(UTC))}}
        await self._context.kube.patch_status(*self._context.key, status)

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._written < self._wanted and (self._restores or self._is_wanted()):
            if (pause := self._quiet_until - loop.time()) > 0:
                await asyncio.sleep(pause)
                continue
            number, began, self._asked = self._wanted, loop.time(), False
            try:
                await self._announce()
            except NotFoundError:
                log.info("%s: the pool is deleted, no announcement is needed", self._context.name)
            except (ConflictError, *Unreachable) as error:
                log.warning("%s: cannot announce a request yet: %s", self._context.name, error)
                await asyncio.sleep(RETRY_EVERY)
                continue
            self._written = max(self._written, number)
            self._covered_until = began + COVERS_FOR
            if began - self._quiet_until > LONGEST_PAUSE:
                self._pause = FIRST_PAUSE  # no operator has checked for a while
            self._quiet_until = loop.time() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._on_written()
        if self._written < self._wanted:
            self._announced_epoch = -1  # no request waits any more; the next one is announced anew
