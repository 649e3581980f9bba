"""The connections of one pool: who is held, who is joined to a pod, and who is turned away."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from kotatsu_operator.core.state import Phase
from kotatsu_operator.kube import Kube

from . import answers
from .backends import Backends
from .doorway import Doorway
from .metrics import ActivatorMetrics, Reason
from .slices import Self
from .splice import Client
from .tickets import Tickets
from .upstream import Upstream
from .view import Pool, View
from .wake import Wake

AT_THE_DOOR = 4096
"""Connections of a pool that may have said nothing yet (or twice maxHeld, if that is more): as many
as can come at once before the first byte of any is read, however few may be held."""

CONNECT_AT_ONCE = 256
"""Connects under way at a time: a pod's accept queue is short."""

RETRY_EVERY = 0.02


class Connections:
    """The connections of one pool, and the tasks that join them to its pods."""

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
        self._view, self._me, self._metrics = view, me, metrics
        self._backends = Backends(name, view)
        self._doorway = Doorway()
        self._held: set[Client] = set()
        self._waiting: set[Client] = set()
        """Those of the held whose request head is complete: they can be connected."""
        self._resuming: set[Client] = set()
        """Spliced ones whose next bytes wait for an announcement (route Always)."""
        self._connecting = asyncio.Semaphore(CONNECT_AT_ONCE)
        self._spliced: dict[Client, str] = {}
        self._ports: dict[Client, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._tickets = Tickets(
            name,
            kube,
            me,
            is_wanted=lambda: bool(self._held or self._resuming),
            on_written=self._release,
            wake_other=wake_other,
        )
        self._wake = Wake(
            name,
            kube,
            view,
            me,
            metrics,
            self._backends,
            waiting=lambda: len(self._held),
            on_ready=self._release,
        )
        self._last_activity = 0.0
        self.leaving = False
        """Whether this activator is about to end."""
        metrics.follow(me.namespace, name, self.count_active, self.last_activity)

    # --- what connections tell (splice.Owner) ---

    def came(self, client: Client) -> None:
        """A connection has been accepted; it may never say a word."""
        pool = self._view.pools.get(self.name)
        self._doorway.enter(client, max(AT_THE_DOOR, 2 * pool.max_held if pool else 0))

    def arrived(self, client: Client) -> None:
        """A client has sent its first bytes: answer a probe, refuse, or hold."""
        self._doorway.leave(client)
        pool = self._view.pools.get(self.name)
        if pool is None:
            client.answer(answers.refusal("this pool has been deleted", 5))
            return
        client.is_probe = client.seen.path in pool.ignore_paths
        if client.is_probe and not self._serves(pool):
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
        client.ticket = 0 if client.is_probe else self._tickets.want(pool)
        if client.is_complete:
            self._start(client)
        else:
            client.on_head = lambda: self._start(client)
            self._wake.ensure()

    def left(self, client: Client) -> None:
        """A connection is over."""
        self._doorway.leave(client)
        self._held.discard(client)
        self._waiting.discard(client)
        self._resuming.discard(client)
        if self._spliced.pop(client, None) is not None and not client.is_probe:
            self._last_activity = max(self._last_activity, client.traffic.last)
        self._ports.pop(client, None)
        self._show()

    def moved(self, upwards: int, downwards: int) -> None:
        """Bytes have passed."""
        self._metrics.moved(self._me.namespace, self.name, upwards, downwards)

    def may_resume(self, client: Client) -> bool:
        """Whether a spliced connection that has been quiet may pass on what its client says now.

        On route Always the operator counts it as idle, so it is announced like a new one.
        """
        pool = self._view.pools.get(self.name)
        if pool is None or not (pool.always and pool.is_going_down):
            return True
        client.ticket = self._tickets.want(pool)
        self._resuming.add(client)
        return False

    def is_ending(self, client: Client) -> bool:
        """Whether an open connection had better end: its pod goes, or this activator does."""
        pool = self._view.pools.get(self.name)
        is_going = self.leaving or pool is None or pool.is_going_down
        return is_going or not self._backends.stays(self._spliced.get(client, ""))

    # --- what the activator tells ---

    def expect(self, client: Client, port: str) -> None:
        """Note which Service port a new connection came in on."""
        self._ports[client] = port

    def changed(self) -> None:
        """Pods or the pool have changed."""
        self._backends.refresh()
        self._wake.changed()
        self._release()

    @property
    def held(self) -> int:
        """Connections that wait."""
        return len(self._held)

    @property
    def busy(self) -> int:
        """Connections that wait or are spliced."""
        return len(self._held) + len(self._spliced)

    def count_active(self) -> int:
        """Spliced connections in activity. May be called from any thread."""
        now = time.monotonic()
        return sum(client.traffic.is_busy(now) for client in self._users())

    def last_activity(self) -> float:
        """When a byte last passed, as Unix time; 0 before that. May be called from any thread."""
        last = [self._last_activity, *(client.traffic.last for client in self._users())]
        return time.time() - (time.monotonic() - max(last)) if max(last) > 0 else 0.0

    def poke(self) -> None:
        """Wake the pool for another one that will need it (spec.wake.wakeWith), holding nobody."""
        pool = self._view.pools.get(self.name)
        if pool is None or self._spent_for(pool):
            return
        if self._tickets.take_for_another(pool):
            self._wake.for_another(self._tickets)

    async def close(self) -> None:
        """Stop the tasks."""
        tasks = [*self._tasks, *self._wake.tasks, self._tickets.task]
        running = [t for t in tasks if t is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    # --- refusing ---

    def _timed_out(self, client: Client) -> None:
        if client in self._held:
            self._refuse(client, "timeout", "no pod of this pool became ready in time", 5)

    def _spent_for(self, pool: Pool) -> int:
        """Seconds for which a spent budget forbids to wake it; 0 when a pod answers anyway."""
        if pool.spent is None or self._backends.any_ready:
            return 0
        return pool.spent.retry_after(pool.phase, datetime.now(UTC))

    def _refuse(self, client: Client, reason: Reason, detail: str, retry_after: int) -> None:
        self._held.discard(client)
        self._waiting.discard(client)
        self._metrics.refused(self._me.namespace, self.name, reason)
        client.answer(answers.refusal(detail, retry_after))
        self._show()

    def _show(self) -> None:
        self._metrics.show(self._me.namespace, self.name, len(self._held), len(self._spliced))

    # --- connecting ---

    def _start(self, client: Client) -> None:
        if client in self._held:
            self._waiting.add(client)
            self._wake.ensure()
            self._release()

    def _release(self) -> None:
        """Connect whoever has been announced, once there is a pod; no task exists before that."""
        for client in [c for c in self._resuming if self._tickets.covers(c.ticket)]:
            self._resuming.discard(client)
            client.resume()
        if not self._backends.any_ready:
            return
        for client in [c for c in self._waiting if self._tickets.covers(c.ticket)]:
            self._waiting.discard(client)
            task = asyncio.create_task(self._connect(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self, client: Client) -> None:
        """Connect to a pod and splice; a refused connect puts the client back among the waiting."""
        async with self._connecting:
            upstream = Upstream(client)
            pod = self._backends.choose(self._spliced.values())
            port = self._ports.get(client, "")
            if pod is None or not await self._backends.dial(pod, port, upstream):
                await asyncio.sleep(RETRY_EVERY)
                self._start(client)
                return
        if client not in self._held or not client.is_open:
            upstream.close()
            return
        self._held.discard(client)
        self._spliced[client] = pod.uid
        client.splice(upstream, asks_to_close=client.is_probe or self._is_a_detour(client))
        waited = asyncio.get_running_loop().time() - client.since
        self._metrics.waited(self._me.namespace, self.name, waited)
        self._show()

    # --- the pool as it is now ---

    def _users(self) -> list[Client]:
        """Spliced connections of people: a probe keeps no pool awake."""
        return [client for client in list(self._spliced) if not client.is_probe]

    def _is_a_detour(self, client: Client) -> bool:
        """Whether the client's next connection had better be a new one.

        With route Auto it then goes straight to a pod; with Always, to a pod that stays.
        """
        pool = self._view.pools.get(self.name)
        return pool is None or not pool.always or self.is_ending(client)

    def _serves(self, pool: Pool) -> bool:
        """Whether even a probe should reach the pods: they are awake, and this is the only way."""
        return pool.always and pool.phase is Phase.WARM and self._backends.any_ready
