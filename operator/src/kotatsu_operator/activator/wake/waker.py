"""One pool's wake, for all its waiting requests: raise the scale, detect when a pod answers."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from kotatsu_operator.activator.context import Context
from kotatsu_operator.activator.wake.backends import Backends
from kotatsu_operator.core.formats import stamp
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable, is_refusal
from kotatsu_operator.kube.objects import Pod as KubePod
from kotatsu_operator.kube.views import PodView

log = logging.getLogger(__name__)

PROBE_EVERY = 0.005
"""Seconds between readiness probes of a starting pod; the kubelet's run once a second."""

PROBED_AT_ONCE = 32
"""Starting pods of a pool to probe at a time: each probe uses an open file, and time in which no
other pool is served. A wake starts one pod; a workload whose pods all lost readiness may have
thousands and should not get more load. They are probed in turns, and by the kubelet too."""

LOOK_EVERY = 0.5
"""Seconds after which the scale is read again while requests wait and there is no pod."""

RECORD_AFTER = 0.2
"""Seconds after which a wake is recorded: waiting requests are connected first."""

NEEDED_EVERY = 0.02
"""Seconds between two looks at the pools on which this one depends, while one does not answer."""

LIST_AFTER = 2.0
"""Seconds of waiting after which the pods are listed, repeatedly: with a watch that is silent
without closing, the requests would wait in vain."""


@dataclass(frozen=True)
class Began:
    """When something began: on the wall clock and on the monotonic clock."""

    at: datetime
    clock: float


def _now() -> Began:
    return Began(datetime.now(UTC), asyncio.get_running_loop().time())


class Waker:
    """Starts a pod for a pool while `waiting()` returns waiting requests."""

    def __init__(
        self,
        context: Context,
        backends: Backends,
        *,
        waiting: Callable[[], int],
        on_ready: Callable[[], None],
        needs: Callable[[str], bool],
    ) -> None:
        """`needs` wakes another pool; it returns whether a pod of that one answers."""
        self._context, self._needs = context, needs
        self.awaits: list[str] = []
        """The pools that do not answer yet, and on which this one depends."""
        self._backends, self._waiting, self._on_ready = backends, waiting, on_ready
        self._change = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self._running: asyncio.Task[None] | None = None
        self._probed = 0
        """The index of the next pod to probe."""
        self._unanswered: Began | None = None
        """When the wake began whose pod has not answered yet; None without one."""

    def ensure(self) -> None:
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._wake_up(), name=f"wake {self._context.name}")
            self._keep(self._running)

    def changed(self) -> None:
        """Pods have changed: check them at once."""
        self._change.set()
        self._note_answer()

    def _keep(self, task: asyncio.Task[None]) -> None:
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _wake_up(self) -> None:
        """While requests wait: start a pod if there is none, and detect when it answers."""
        began = _now()
        looked = 0.0
        listed = began.clock
        while self._waiting():
            if asyncio.get_running_loop().time() - listed >= LIST_AFTER:
                listed = asyncio.get_running_loop().time()
                self._keep(asyncio.create_task(self._list_pods()))
            if self._backends.any_ready:
                await self._sleep_until_change(LOOK_EVERY)
                continue
            pool = self._context.pool
            # Also while the pod starts: what it depends on stays in use.
            needed = () if pool is None else pool.depends_on
            self.awaits = [name for name in needed if not self._needs(name)]
            now = asyncio.get_running_loop().time()
            starting = self._backends.staying()
            if not starting and self.awaits:
                # It may end if it starts without them. The wake is measured from here.
                began = _now()
                await self._sleep_until_change(NEEDED_EVERY)
                continue
            if not starting and now - looked >= LOOK_EVERY:
                looked = now
                await self._raise(began)
            if starting:
                await self._probe(starting)
            else:
                await self._sleep_until_change(LOOK_EVERY)

    async def _raise(self, began: Began) -> None:
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
        log.info("%s: waking for %d requests", self._context.name, self._waiting())
        self._context.metrics.wakes.labels(*self._context.key).inc()
        self._unanswered = began
        self._note_answer()

    async def _raise_as_seen(self, target: str) -> bool:
        """Raise at the watched version; read the scale only if that one is outdated.

        Returns whether it raised the scale. Raises ConflictError, NotFoundError or one of
        `Unreachable`.
        """
        namespace = self._context.me.namespace
        seen = self._context.view.scales.get(target)
        if not self._may_raise():
            return False
        if seen is not None and seen.replicas == 0:
            with contextlib.suppress(ConflictError):
                await self._context.kube.raise_scale(namespace, target, seen.version)
                return True
        scale = await self._context.kube.get_scale(namespace, target)
        if scale.replicas > 0 or not self._may_raise():
            return False
        await self._context.kube.raise_scale(namespace, target, scale.version)
        return True

    def _may_raise(self) -> bool:
        pool = self._context.pool
        if pool is None:
            return False
        return pool.spent is None or not pool.spent.forbids_raise(datetime.now(UTC))

    async def _list_pods(self) -> None:
        pool = self._context.pool
        labels = None if pool is None else self._context.view.labels(pool)
        if not labels:
            return
        try:
            pods = await self._context.kube.find(KubePod, self._context.me.namespace, labels)
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
                self._on_ready()
            return ready

        first = self._probed % len(pods)
        self._probed = first + PROBED_AT_ONCE
        some = (pods[first:] + pods[:first])[:PROBED_AT_ONCE]
        if not any(await asyncio.gather(*(ask(pod) for pod in some))):
            await self._sleep_until_change(PROBE_EVERY)

    def _note_answer(self) -> None:
        if self._unanswered is None or not self._backends.any_ready:
            return
        began, self._unanswered = self._unanswered, None
        took = _now().clock - began.clock
        self._context.metrics.durations.labels(*self._context.key).observe(took)
        self._keep(asyncio.create_task(self._write_down(began.at, took)))

    async def _write_down(self, at: datetime, took: float) -> None:
        await asyncio.sleep(RECORD_AFTER)
        wake = {"at": stamp(at), "duration": f"{took:.3f}s"}
        try:
            await self._context.kube.patch_status(*self._context.key, {"lastWake": wake})
        except (ConflictError, NotFoundError, *Unreachable) as error:
            log.warning("%s: cannot write the wake to the status: %s", self._context.name, error)

    async def _sleep_until_change(self, seconds: float) -> None:
        self._change.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._change.wait()
