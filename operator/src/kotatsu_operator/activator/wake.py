"""One pool's wake, for all its waiting requests: announce them, raise the scale, find a pod.

An announcement is a write that prevents a pool from going to sleep, or restores it.
docs/protocol.md says which requests need one of their own, and why there are pauses in between. A
request to a parked pool is announced too, and does not wait for it.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Protocol

from kotatsu_operator.activator.feature import Context
from kotatsu_operator.activator.pods import Backends
from kotatsu_operator.activator.pool import Pool
from kotatsu_operator.core.formats import stamp
from kotatsu_operator.core.pool.memory import Phase
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable, is_refusal
from kotatsu_operator.kube.objects import Pod as KubePod
from kotatsu_operator.kube.views import PodView, pod_view

log = logging.getLogger(__name__)

PROBE_EVERY = 0.005
"""Seconds between readiness probes of a starting pod; the kubelet's run once a second."""

PROBED_AT_ONCE = 32
"""Starting pods of a pool to probe at a time: each probe uses an open file, and time in which no
other pool is served. A wake starts one pod; a workload whose pods all lost readiness may have
thousands and should not get more load. They are probed in turns, and by the kubelet too."""

LOOK_EVERY = 0.5
"""Seconds after which the scale that the watch has shown is looked at again while requests wait and
there is no pod."""

NEEDED_EVERY = 0.02
"""Seconds between two looks at the pools on which this one depends, while one does not answer."""

READ_AFTER = 2.0
"""Seconds of waiting until pods and scale are read, and from the end of a list until the next one:
with a watch that is silent without closing, the requests would wait in vain."""

RETRY_EVERY = 0.1
"""Seconds until an announcement that failed is written again."""

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


class Waiting(Protocol):
    """The connections of a pool, as its wake sees them."""

    context: Context
    backends: Backends

    @property
    def waiting(self) -> int: ...
    def awaits_announcement(self) -> bool: ...
    def join_waiting(self) -> None: ...


async def tried(
    pool: str, is_needed: Callable[[], object], work: Callable[[], Awaitable[None]]
) -> None:
    """Do some work while it is needed. An unforeseen error is logged, and it is tried again.

    Otherwise nobody would do it for the clients that wait already.
    """
    while is_needed():
        try:
            await work()
        except Exception:
            log.exception("%s: waking failed; next attempt in %g s", pool, LOOK_EVERY)
            await asyncio.sleep(LOOK_EVERY)


class Announcements:
    """The announcements of one pool, numbered: `want` returns the number that must be written."""

    def __init__(self, of: Waiting) -> None:
        self._of, self._context = of, of.context
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
            self.task = asyncio.create_task(self._follow())

    def _is_covered(self, pool: Pool) -> bool:
        """Whether every check that could miss a request of this moment fails at its write."""
        return (
            self._state == (pool.epoch, pool.phase)
            and not self._asked
            and self._written == self._wanted
            and asyncio.get_running_loop().time() < self._covered_until
            and self._context.is_asked
        )

    def changed(self, pool: Pool | None) -> None:
        """No request waits for an announcement any more if the pool is awake."""
        if pool is None:
            return
        if pool.phase is not Phase.PARKED:
            self._restores = False
        if pool.phase.is_awake and not self._restores:
            self._written = self._wanted

    def raised(self, pool: Pool | None) -> None:
        """The scale was raised from 0: that tells the operator what an announcement would.

        Not on a way down: it needs a change of the pool itself.
        """
        if pool is not None and pool.phase is Phase.ASLEEP:
            self._written = self._wanted

    def covers(self, number: int) -> bool:
        return number <= self._written

    async def _follow(self) -> None:
        await tried(self._context.name, lambda: self._is_awaited, self._write)
        if self._written < self._wanted:
            self._announced_epoch = -1  # no request waits any more; the next one is announced anew

    @property
    def _is_awaited(self) -> bool:
        return self._written < self._wanted and (self._restores or self._of.awaits_announcement())

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._is_awaited:
            if (pause := self._quiet_until - loop.time()) > 0:
                await asyncio.sleep(pause)
                continue
            number, began, self._asked = self._wanted, loop.time(), False
            demand = {"demand": {"at": stamp(datetime.now(UTC))}}
            try:
                await self._context.kube.patch_status(*self._context.key, demand)
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
            self._of.join_waiting()


class Waker:
    """Starts a pod for a pool while it has waiting requests."""

    def __init__(self, of: Waiting, announcements: Announcements) -> None:
        self._of, self._context, self._backends = of, of.context, of.backends
        self._announcements = announcements
        self.awaits: list[str] = []
        """The pools that do not answer yet, and on which this one depends."""
        self._change = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._must_read = True
        """Whether the next look reads the scale, even if the watch has shown one above 0."""
        self._probed = 0
        """The index of the next pod to probe."""
        self._unanswered: float | None = None
        """When the wake began whose pod has not answered yet, in loop time; None without one."""

    def ensure(self) -> None:
        if self.task is None or self.task.done():
            name = self._context.name
            waking = tried(name, lambda: self._of.waiting, self._wake_up)
            self.task = asyncio.create_task(waking, name=f"wake {name}")

    def changed(self) -> None:
        """Pods have changed: check them at once."""
        self._change.set()
        self._note_answer()

    async def _wake_up(self) -> None:
        """While requests wait: start a pod if there is none, and detect when it answers."""
        self._must_read = True
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read_again_and_again())
            await self._until_none_waits()
            reading.cancel()

    async def _until_none_waits(self) -> None:
        clock = asyncio.get_running_loop().time
        began, looked = clock(), 0.0
        while self._of.waiting:
            if self._backends.any_ready:
                await self._sleep_until_change(LOOK_EVERY)
                began = clock()
                continue
            pool = self._context.pool
            # Also while the pod starts: what it depends on stays in use.
            needed = () if pool is None else pool.depends_on
            self.awaits = [name for name in needed if not self._context.needs(name)]
            if starting := self._backends.staying():
                await self._probe(starting)
            elif self.awaits:
                # It may end if it starts without them. The wake is measured from here.
                began = clock()
                await self._sleep_until_change(NEEDED_EVERY)
            else:
                if clock() - looked >= LOOK_EVERY:
                    looked = clock()
                    await self._raise(began)
                await self._sleep_until_change(LOOK_EVERY)

    async def _raise(self, began: float) -> None:
        """Set the scale to 1 if it is exactly 0."""
        pool = self._context.pool
        if pool is None:
            return
        try:
            if not await self._raise_as_seen(pool.target):
                return
        except ConflictError:
            return  # another client was faster, or the next attempt shows the cause
        except NotFoundError as error:
            log.warning("%s: cannot wake: %s", self._context.name, error)
            return
        except Unreachable as error:
            came = "rejects it" if is_refusal(error) else "does not answer"
            log.warning(
                "%s: cannot wake yet, the API server %s: %s", self._context.name, came, error
            )
            return
        log.info("%s: waking for %d requests", self._context.name, self._of.waiting)
        self._announcements.raised(self._context.pool)
        self._of.join_waiting()
        self._unanswered = began
        self._context.metrics.raised(
            *self._context.key, time.time() - (asyncio.get_running_loop().time() - began)
        )
        self._note_answer()

    async def _raise_as_seen(self, target: str) -> bool:
        """Raise at the watched version; read the scale if that one is outdated or in doubt.

        Returns whether it raised the scale. Raises ConflictError, NotFoundError or one of
        `Unreachable`.
        """
        kube, view = self._context.kube, self._context.view
        place, scales = (view.namespace, target), view.scales
        seen = scales.get(target)
        if not self._may_raise():
            return False
        if seen is not None and seen.replicas == 0:
            with contextlib.suppress(ConflictError):
                scale = await kube.raise_scale(*place, seen.version)
                scales[target], self._must_read = scale, False
                return True
        elif seen is not None and not self._must_read:
            return False
        scale = await kube.get_scale(*place)
        is_raised = scale.replicas == 0 and self._may_raise()
        if is_raised:
            scale = await kube.raise_scale(*place, scale.version)
        scales[target], self._must_read = scale, False
        return is_raised

    def _may_raise(self) -> bool:
        pool = self._context.pool
        if pool is None:
            return False
        return pool.spent is None or not pool.spent.forbids_raise(datetime.now(UTC))

    async def _read_again_and_again(self) -> None:
        """One list after the other: where hundreds of pools wait, each waits for its turn."""
        while True:
            await asyncio.sleep(READ_AFTER)
            self._must_read = True
            await self._list_pods()

    async def _list_pods(self) -> None:
        pool = self._context.pool
        labels = None if pool is None else self._context.view.labels(pool)
        if not labels:
            return
        try:
            namespace = self._context.view.namespace
            pods = await self._context.kube.find(KubePod, namespace, labels, pod_view)
        except (NotFoundError, *Unreachable) as error:
            log.warning("%s: cannot list the pods: %s", self._context.name, error)
            return
        self._context.view.replace_pods(labels, pods)

    async def _probe(self, pods: list[PodView]) -> None:
        """Probe starting pods; the first ready one gets all waiting requests."""

        async def ask(pod: PodView) -> bool:
            ready = await self._backends.probe(pod)
            if ready:
                self._note_answer()
                self._of.join_waiting()
            return ready

        first = self._probed % len(pods)
        self._probed = first + PROBED_AT_ONCE
        some = (pods[first:] + pods[:first])[:PROBED_AT_ONCE]
        if not any(await asyncio.gather(*(ask(pod) for pod in some))):
            await self._sleep_until_change(PROBE_EVERY)

    def _note_answer(self) -> None:
        if self._unanswered is None or not self._backends.any_ready:
            return
        took = asyncio.get_running_loop().time() - self._unanswered
        self._unanswered = None
        self._context.metrics.woke(*self._context.key, time.time() - took, took)

    async def _sleep_until_change(self, seconds: float) -> None:
        self._change.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._change.wait()
