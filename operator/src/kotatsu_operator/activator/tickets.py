"""Announcing requests: the writes that stop a pool from going to sleep under them.

An announcement changes the pool's version, which makes the operator's step 5 fail. It must be
written after the request has come, so a write already under way does not count. A pool that is
fully asleep needs one announcement for everybody.

Each of them also makes the operator begin its look anew. Where requests come faster than it looks,
it would never get to write that the pool stays, or (when it was told to) that it sleeps. So the
pause between two announcements grows, until the operator has come through; those who come meanwhile
share the next one.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from kotatsu_operator.core.state import Phase
from kotatsu_operator.kube import ConflictError, Kube, NotFoundError, Unreachable
from kotatsu_operator.status import stamp

from .pool import Pool
from .slices import Self

log = logging.getLogger(__name__)

RETRY_EVERY = 0.1

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 4.0
"""Seconds between two announcements on one way down: each time twice as many."""


class Tickets:
    """The announcements of one pool, numbered: `want` gives the number that must be written."""

    def __init__(
        self,
        name: str,
        kube: Kube,
        me: Self,
        *,
        is_wanted: Callable[[], bool],
        on_written: Callable[[], None],
        wake_other: Callable[[str], None],
    ) -> None:
        self._name, self._kube, self._me = name, kube, me
        self._is_wanted, self._on_written, self._wake_other = is_wanted, on_written, wake_other
        self._wanted = 0
        self._written = 0
        self._announced_epoch = -1
        self._pause, self._quiet_until = FIRST_PAUSE, 0.0
        self.task: asyncio.Task[None] | None = None

    def want(self, pool: Pool) -> int:
        """Announce a request that has just come, if its pool is asleep or going there."""
        is_asleep = pool.phase is Phase.ASLEEP and self._announced_epoch != pool.epoch
        if not (pool.is_going_down or is_asleep):
            return self._written
        is_first = self._announced_epoch != pool.epoch
        self._announced_epoch = pool.epoch
        if is_first:
            self._pause, self._quiet_until = FIRST_PAUSE, 0.0
        for other in pool.wake_with if is_first else ():
            self._wake_other(other)
        self._wanted += 1
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._write())
        return self._wanted

    def changed(self, pool: Pool | None) -> None:
        """Whoever waits to be announced need not be once the pool is up, or on its way."""
        if pool is not None and pool.phase in (Phase.WARMING, Phase.WARM):
            self._written = self._wanted

    def covers(self, number: int) -> bool:
        """Whether the announcement of this number, or a later one, has been written."""
        return number <= self._written

    def take_for_another(self, pool: Pool) -> bool:
        """Whether a sleeping pool still has to be announced; from now on it has not."""
        if pool.phase is not Phase.ASLEEP or self._announced_epoch == pool.epoch:
            return False
        self._announced_epoch = pool.epoch
        return True

    async def announce(self) -> None:
        """Write down that somebody wants this pool now."""
        status = {"demand": {"at": stamp(datetime.now(UTC)), "by": self._me.pod}}
        await self._kube.patch_status(self._me.namespace, self._name, status)

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._written < self._wanted and self._is_wanted():
            if (pause := self._quiet_until - loop.time()) > 0:
                await asyncio.sleep(pause)
                continue
            number = self._wanted
            try:
                await self.announce()
            except NotFoundError:
                log.info("%s: the pool is gone, nobody is left to tell", self._name)
            except (ConflictError, *Unreachable) as error:
                log.warning("%s: cannot announce a request yet: %s", self._name, error)
                await asyncio.sleep(RETRY_EVERY)
                continue
            self._written = max(self._written, number)
            self._quiet_until = loop.time() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._on_written()
        if self._written < self._wanted:
            self._announced_epoch = -1  # nobody waits any more; the next one announces itself
