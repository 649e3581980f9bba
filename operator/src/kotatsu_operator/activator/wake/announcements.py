"""Announcing requests: the writes that stop a pool from going to sleep under them.

An announcement changes the pool's version, which makes the operator's step 5 fail. It must be
written after the request has come, so a write already under way does not count. A pool that is
fully asleep needs one announcement for everybody.

A request needs one of its own only if the operator may miss it: if this activator was asked what it
holds (step 4) since the last announcement was begun. A look that begins later asks again, and finds
the request held, in a pod, or finished. So nothing waits while no operator looks.

Each announcement also makes the operator begin its look anew. Where requests come faster than it
looks, it would never get to write that the pool stays, or (when it was told to) that it sleeps. So
the pause between two announcements grows, until the operator has come through; those who come
meanwhile share the next one.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from kotatsu_operator.activator.cache.identity import PodIdentity
from kotatsu_operator.activator.cache.pool import Pool
from kotatsu_operator.core.formats import stamp
from kotatsu_operator.core.pool.memory import Phase
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable

log = logging.getLogger(__name__)

RETRY_EVERY = 0.1

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 4.0
"""Seconds between two announcements on one way down: each time twice as many."""

COVERS_FOR = 30.0
"""Seconds after which an announcement is made again, whether the operator has asked or not.

A node that is cut off counts as ready for 40 s; after that, its activators are not asked. It is
also how the operator learns that a pool is still in use."""


class Announcements:
    """The announcements of one pool, numbered: `want` gives the number that must be written."""

    def __init__(
        self,
        name: str,
        kube: Kube,
        me: PodIdentity,
        *,
        is_wanted: Callable[[], bool],
        is_asked: Callable[[], bool] = lambda: False,
        on_written: Callable[[], None],
        wake_other: Callable[[str], None],
    ) -> None:
        self._name, self._kube, self._me = name, kube, me
        self._is_wanted, self._on_written, self._wake_other = is_wanted, on_written, wake_other
        self._is_asked = is_asked
        """Whether each look asks this activator: those that are not Ready may be left out."""
        self._asked = True
        """Whether the operator may have asked since the last announcement was begun.

        True at first: it may have asked the process before this one."""
        self._covered_until = 0.0
        self._state: tuple[int, Phase] | None = None
        """Epoch and phase of the last request: what comes in another one is announced anew."""
        self._wanted = 0
        self._written = 0
        self._announced_epoch = -1
        self._pause, self._quiet_until = FIRST_PAUSE, 0.0
        self.task: asyncio.Task[None] | None = None

    def asked(self) -> None:
        """The operator asks what is held. To be called before that is read, from any thread."""
        self._asked = True

    def want(self, pool: Pool) -> int:
        """Announce a request that has just come, if its pool is asleep or going there.

        To be called when a question that comes from now on would find the request.
        """
        is_asleep = pool.phase is Phase.ASLEEP and self._announced_epoch != pool.epoch
        if not (pool.is_going_down or is_asleep):
            return self._written
        is_first = self._announced_epoch != pool.epoch
        if pool.is_going_down and not is_first and self._is_covered(pool):
            return self._written
        self._state = (pool.epoch, pool.phase)
        self._announced_epoch = pool.epoch
        if is_first:
            self._pause, self._quiet_until = FIRST_PAUSE, 0.0
        for other in pool.wake_with if is_first else ():
            self._wake_other(other)
        self._wanted += 1
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._write())
        return self._wanted

    def _is_covered(self, pool: Pool) -> bool:
        """Whether every look that could miss a request of this moment fails at its write."""
        return (
            self._state == (pool.epoch, pool.phase)
            and not self._asked
            and self._written == self._wanted
            and asyncio.get_running_loop().time() < self._covered_until
            and self._is_asked()
        )

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
            number, began, self._asked = self._wanted, loop.time(), False
            try:
                await self.announce()
            except NotFoundError:
                log.info("%s: the pool is gone, nobody is left to tell", self._name)
            except (ConflictError, *Unreachable) as error:
                log.warning("%s: cannot announce a request yet: %s", self._name, error)
                await asyncio.sleep(RETRY_EVERY)
                continue
            self._written = max(self._written, number)
            self._covered_until = began + COVERS_FOR
            if began - self._quiet_until > LONGEST_PAUSE:
                self._pause = FIRST_PAUSE  # nothing has looked for a while
            self._quiet_until = loop.time() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._on_written()
        if self._written < self._wanted:
            self._announced_epoch = -1  # nobody waits any more; the next one announces itself
