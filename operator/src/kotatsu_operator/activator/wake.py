"""One pool's wake: who is held, who is woken for them, and to which pod they go.

One wake serves everybody who waits: one announcement, one raise of the scale, one readiness probe,
however many requests have come.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from kotatsu_operator.core.state import Phase
from kotatsu_operator.kube import ConflictError, Kube, NotFoundError, Unreachable
from kotatsu_operator.kube import Pod as KubePod
from kotatsu_operator.status import stamp
from kotatsu_operator.views import PodView

from . import answers
from .metrics import ActivatorMetrics
from .probe import is_ready
from .slices import Self
from .splice import Client, Upstream
from .view import Pool, View

log = logging.getLogger(__name__)

PROBE_EVERY = 0.005
"""Seconds between readiness probes of a starting pod; the kubelet's own come once a second."""

LOOK_EVERY = 0.5
"""Seconds after which the scale is read again while somebody waits and no pod has come."""

CONNECT_TIMEOUT = 1.0
CONNECT_AT_ONCE = 256
"""Connects under way at a time: a pod's accept queue is short."""

LIST_AFTER = 2.0
"""Seconds of waiting after which the pods are listed, and listed again: a watch that went silent
without closing would let everybody wait in vain."""

RETRY_EVERY = 0.02

AVOID_FOR = 5.0
"""Seconds for which a pod that refused is tried only after all others."""


class Waker:
    """The held connections of one pool, and the tasks that get them a pod."""

    def __init__(
        self,
        name: str,
        kube: Kube,
        view: View,
        me: Self,
        metrics: ActivatorMetrics,
        wake_other: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.name = name
        self._wake_other = wake_other
        self._kube, self._view, self._me, self._metrics = kube, view, me, metrics
        self._held: set[Client] = set()
        self._waiting: set[Client] = set()
        """Those of the held whose request head is complete: they can be connected."""
        self._connecting = asyncio.Semaphore(CONNECT_AT_ONCE)
        self._spliced: dict[Client, str] = {}
        self._ports: dict[Client, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake: asyncio.Task[None] | None = None
        self._ready: dict[str, PodView] = {}
        """Pods known to answer, by uid."""
        self._refused: dict[str, float] = {}
        """When a pod last refused a connection, by uid."""
        self._portless: set[str] = set()
        """Pods that lack the port the Service names, by uid: said once."""
        self._change = asyncio.Event()
        self._ticket_wanted = 0
        self._ticket_written = 0
        self._ticket_task: asyncio.Task[None] | None = None
        self._announced_epoch = -1

    # --- what connections tell (splice.Owner) ---

    def arrived(self, client: Client) -> None:
        """A client has sent its first bytes: answer a probe, refuse, or hold."""
        pool = self._view.pools.get(self.name)
        if pool is None:
            client.answer(answers.refusal("this pool has been deleted", 5))
            return
        if client.seen.path in pool.ignore_paths:
            client.answer(answers.PROBE_OK)
            return
        if pool.spent is not None and (seconds := self._spent_for(pool)):
            detail = answers.budget_spent(self.name, pool.spent.limit)
            self._refuse(client, "budget", detail, seconds)
            return
        if len(self._held) >= pool.max_held:
            self._refuse(client, "full", "too many requests are waiting for this pool to wake", 1)
            return
        loop = asyncio.get_running_loop()
        client.since = loop.time()
        client.deadline = loop.call_later(pool.hold_timeout, self._timed_out, client)
        self._held.add(client)
        self._show()
        self._want_ticket(client, pool)
        if client.is_complete:
            self._start(client)
        else:
            client.on_head = lambda: self._start(client)
            self._ensure_wake()

    def left(self, client: Client) -> None:
        """A connection is over."""
        self._held.discard(client)
        self._waiting.discard(client)
        self._spliced.pop(client, None)
        self._ports.pop(client, None)
        self._show()

    def moved(self, upwards: int, downwards: int) -> None:
        """Bytes have passed."""
        self._metrics.moved(upwards, downwards)

    # --- what the activator tells ---

    def expect(self, client: Client, port: str) -> None:
        """Note which Service port a new connection came in on."""
        self._ports[client] = port

    def changed(self) -> None:
        """Pods or the pool have changed."""
        staying = {pod.uid: pod for pod in self._backends()}
        for uid, known in list(self._ready.items()):
            # Gone, or the kubelet has taken its word back: it is probed again.
            if uid not in staying or (known.ready and not staying[uid].ready):
                del self._ready[uid]
        self._ready |= {uid: pod for uid, pod in staying.items() if pod.ready}
        self._refused = {uid: at for uid, at in self._refused.items() if uid in staying}
        self._portless &= staying.keys()
        self._change.set()
        self._release()

    @property
    def held(self) -> int:
        """Connections that wait."""
        return len(self._held)

    @property
    def busy(self) -> int:
        """Connections that wait or are spliced."""
        return len(self._held) + len(self._spliced)

    async def close(self) -> None:
        """Stop the tasks."""
        tasks = [*self._tasks, self._wake, self._ticket_task]
        running = [t for t in tasks if t is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- refusing ---

    def _timed_out(self, client: Client) -> None:
        if client in self._held:
            self._refuse(client, "timeout", "no pod of this pool became ready in time", 5)

    def _spent_for(self, pool: Pool) -> int:
        """Seconds for which a spent budget forbids to wake it; 0 when a pod answers anyway."""
        if pool.spent is None or self._ready:
            return 0
        return pool.spent.retry_after(pool.phase, datetime.now(UTC))

    def _refuse(self, client: Client, reason: str, detail: str, retry_after: int) -> None:
        self._held.discard(client)
        self._waiting.discard(client)
        self._metrics.refused(self._me.namespace, self.name, reason)
        client.answer(answers.refusal(detail, retry_after))
        self._show()

    def _show(self) -> None:
        self._metrics.show(self._me.namespace, self.name, len(self._held), len(self._spliced))

    # --- announcing ---

    def _want_ticket(self, client: Client, pool: Pool) -> None:
        """A request that comes while the pool goes down is announced before it is spliced.

        The announcement changes the pool's version, which makes the operator's step 5 fail. It must
        be written after the request has come, so a write already under way does not count. A pool
        that is fully asleep needs one announcement for everybody.
        """
        going_down = pool.phase in (Phase.DRAINING, Phase.SLEEPING)
        asleep = pool.phase is Phase.ASLEEP and self._announced_epoch != pool.epoch
        if not (going_down or asleep):
            client.ticket = self._ticket_written
            return
        is_first = self._announced_epoch != pool.epoch
        self._announced_epoch = pool.epoch
        for other in pool.wake_with if is_first else ():
            self._wake_other(other)
        self._ticket_wanted += 1
        client.ticket = self._ticket_wanted
        if self._ticket_task is None or self._ticket_task.done():
            self._ticket_task = asyncio.create_task(self._write_tickets())

    async def _write_tickets(self) -> None:
        while self._ticket_written < self._ticket_wanted and self._held:
            number = self._ticket_wanted
            try:
                await self._announce()
            except NotFoundError:
                log.info("%s: the pool is gone, nobody is left to tell", self.name)
            except (ConflictError, *Unreachable) as error:
                log.warning("%s: cannot announce a request yet: %s", self.name, error)
                await asyncio.sleep(RETRY_EVERY * 5)
                continue
            self._ticket_written = number
            self._release()
        if self._ticket_written < self._ticket_wanted:
            self._announced_epoch = -1  # nobody waits any more; the next one announces itself

    async def _announce(self) -> None:
        """Write down that somebody wants this pool now."""
        status = {"demand": {"at": stamp(datetime.now(UTC)), "by": self._me.pod}}
        await self._kube.patch_status(self._me.namespace, self.name, status)

    # --- waking ---

    def poke(self) -> None:
        """Wake the pool for another one that will need it (spec.wake.wakeWith), holding nobody."""
        pool = self._view.pools.get(self.name)
        if pool is None or self._spent_for(pool):
            return
        if pool.phase is Phase.ASLEEP and self._announced_epoch != pool.epoch:
            self._announced_epoch = pool.epoch
            self._spawn(self._raise_for_another())

    async def _raise_for_another(self) -> None:
        try:
            await self._announce()
        except (ConflictError, NotFoundError, *Unreachable) as error:
            log.warning("%s: cannot announce that it is needed: %s", self.name, error)
        await self._raise()

    def _ensure_wake(self) -> None:
        if self._wake is None or self._wake.done():
            self._wake = asyncio.create_task(self._wake_up(), name=f"wake {self.name}")

    async def _wake_up(self) -> None:
        """Until nobody waits: see to it that there is a pod, and find out when it answers."""
        began = asyncio.get_running_loop().time()
        at = datetime.now(UTC)
        raised = False
        looked = 0.0
        listed = began
        while self._held:
            if asyncio.get_running_loop().time() - listed >= LIST_AFTER:
                listed = asyncio.get_running_loop().time()
                self._spawn(self._list_pods())
            if self._ready:
                if raised:
                    raised = False
                    await self._record(at, asyncio.get_running_loop().time() - began)
                await self._sleep_until_change(LOOK_EVERY)
                continue
            now = asyncio.get_running_loop().time()
            starting = self._backends()
            if not starting and now - looked >= LOOK_EVERY:
                looked = now
                raised = await self._raise() or raised
            if starting:
                await self._probe(starting)
            else:
                await self._sleep_until_change(LOOK_EVERY)

    async def _raise(self) -> bool:
        """Set the scale to 1 if it is exactly 0; whether it was us."""
        pool = self._view.pools.get(self.name)
        if pool is None:
            return False
        namespace = self._me.namespace
        try:
            scale = await self._kube.get_scale(namespace, pool.target)
            if scale.replicas > 0:
                return False
            await self._kube.raise_scale(namespace, pool.target, scale.version)
        except ConflictError:
            return False  # somebody else was faster, or the next look will tell
        except NotFoundError as error:
            log.warning("%s: cannot wake: %s", self.name, error)
            return False
        except Unreachable as error:
            log.warning("%s: cannot wake yet, the API server does not answer: %s", self.name, error)
            return False
        log.info("%s: waking for %d requests", self.name, len(self._held))
        return True

    async def _list_pods(self) -> None:
        pool = self._view.pools.get(self.name)
        selector = None if pool is None else self._view.selector(pool.service)
        if not selector:
            return
        try:
            pods = await self._kube.find(KubePod, self._me.namespace, selector)
        except (NotFoundError, *Unreachable) as error:
            log.warning("%s: cannot list the pods: %s", self.name, error)
            return
        self._view.replace_pods(selector, pods)

    async def _probe(self, pods: list[PodView]) -> None:
        """Ask starting pods whether they are ready, oftener than the kubelet does."""
        target = next(iter(self._target_ports().values()), None)

        async def ask(pod: PodView) -> bool:
            ready = await is_ready(pod, pod.port(target) if target is not None else None)
            if ready and any(pod.uid == staying.uid for staying in self._backends()):
                self._ready[pod.uid] = pod
                self._release()
            return ready

        if not any(await asyncio.gather(*(ask(pod) for pod in pods))):
            await self._sleep_until_change(PROBE_EVERY)

    async def _record(self, at: datetime, took: float) -> None:
        self._metrics.woke(self._me.namespace, self.name, took)
        wake = {"at": stamp(at), "duration": f"{took:.3f}s"}
        try:
            await self._kube.patch_status(self._me.namespace, self.name, {"lastWake": wake})
        except (ConflictError, NotFoundError, *Unreachable) as error:
            log.warning("%s: cannot write down the wake: %s", self.name, error)

    async def _sleep_until_change(self, seconds: float) -> None:
        self._change.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._change.wait()

    # --- connecting ---

    def _start(self, client: Client) -> None:
        if client in self._held:
            self._waiting.add(client)
            self._ensure_wake()
            self._release()

    def _release(self) -> None:
        """Connect whoever has been announced, once there is a pod; no task exists before that."""
        if not self._ready:
            return
        for client in [c for c in self._waiting if c.ticket <= self._ticket_written]:
            self._waiting.discard(client)
            self._spawn(self._connect(client))

    async def _connect(self, client: Client) -> None:
        """Connect to a pod and splice; a refused connect puts the client back among the waiting."""
        async with self._connecting:
            upstream = Upstream(client)
            pod = self._choose()
            if pod is None or not await self._dial(client, upstream, pod):
                await asyncio.sleep(RETRY_EVERY)
                self._start(client)
                return
        if client not in self._held or not client.is_open:
            upstream.close()
            return
        self._held.discard(client)
        self._spliced[client] = pod.uid
        client.splice(upstream)
        waited = asyncio.get_running_loop().time() - client.since
        self._metrics.waited(self._me.namespace, self.name, waited)
        self._show()

    async def _dial(self, client: Client, upstream: Upstream, pod: PodView) -> bool:
        target = self._target_ports().get(self._ports.get(client, ""))
        port = None if target is None else pod.port(target)
        if port is None:
            if pod.uid not in self._portless:
                log.warning("%s: pod %s has no port %s", self.name, pod.key[1], target)
            self._portless.add(pod.uid)
            return False
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: upstream, pod.ip, port)
        except (OSError, TimeoutError):
            self._distrust(pod)
            return False
        self._refused.pop(pod.uid, None)
        return True

    def _choose(self) -> PodView | None:
        """The ready pod with the fewest of our connections; None when all have gone again.

        One that has just refused comes last, whatever the kubelet says of it.
        """
        if not self._ready:
            return None
        load = dict.fromkeys(self._ready, 0)
        for uid in self._spliced.values():
            if uid in load:
                load[uid] += 1
        now = asyncio.get_running_loop().time()
        avoid = {uid: max(0.0, at + AVOID_FOR - now) for uid, at in self._refused.items()}
        return self._ready[min(load, key=lambda uid: (avoid.get(uid, 0.0), load[uid]))]

    def _distrust(self, pod: PodView) -> None:
        """A pod that refused is probed again, unless the kubelet still calls it Ready."""
        self._refused[pod.uid] = asyncio.get_running_loop().time()
        current = self._view.pods.get(pod.key[1])
        if current is None or not current.ready or current.terminating:
            self._ready.pop(pod.uid, None)

    def _backends(self) -> list[PodView]:
        pool = self._view.pools.get(self.name)
        return [] if pool is None else self._view.backends(pool.service)

    def _target_ports(self) -> dict[str, str | int]:
        """Target port of each of the Service's ports, by name."""
        pool = self._view.pools.get(self.name)
        return {} if pool is None else self._view.ports(pool.service)
