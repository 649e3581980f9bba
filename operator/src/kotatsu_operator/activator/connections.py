"""The connections of one pool: accept, hold, wake, join to a pod, leave."""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime

from kotatsu_operator.activator.cache.identity import PodIdentity
from kotatsu_operator.activator.cache.namespace import View
from kotatsu_operator.activator.cache.pool import Pool
from kotatsu_operator.activator.http import answers
from kotatsu_operator.activator.metrics import ActivatorMetrics, Reason
from kotatsu_operator.activator.proxy.connection_limit import ConnectionLimit
from kotatsu_operator.activator.proxy.hold import Hold
from kotatsu_operator.activator.proxy.silent_connections import SilentConnections
from kotatsu_operator.activator.proxy.splice import Client
from kotatsu_operator.activator.proxy.upstream import Upstream
from kotatsu_operator.activator.wake.announcements import Announcements
from kotatsu_operator.activator.wake.backends import Backends
from kotatsu_operator.activator.wake.waker import Waker
from kotatsu_operator.core.pool.memory import Phase
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.pod import PodView

AT_THE_DOOR = 4096
"""Connections of a pool without a byte so far (twice maxHeld, if that is more): as many as may be
accepted before the first byte of any is read, even if few may be held."""

CONNECT_AT_ONCE = 256
"""Simultaneous connects to pods: a pod's accept queue is short."""

RETRY_EVERY = 0.02


class Connections:
    """The connections of one pool, and the tasks that join them to its pods."""

    def __init__(
        self,
        name: str,
        kube: Kube,
        view: View,
        me: PodIdentity,
        metrics: ActivatorMetrics,
        wake_other: Callable[[str], None] = lambda _: None,
        connection_limit: ConnectionLimit | None = None,
    ) -> None:
        self.name = name
        self.moved = metrics.moved(me.namespace, name)
        self._view, self._me, self._metrics = view, me, metrics
        self._connection_limit = ConnectionLimit() if connection_limit is None else connection_limit
        self._backends = Backends(name, view)
        self._silent = SilentConnections()
        self._held = Hold(self._hold_timeout, self._timed_out)
        self._waiting: dict[Client, None] = {}
        """Held connections with a complete request head whose announcement is not written yet."""
        self._next: OrderedDict[Client, None] = OrderedDict()
        """Held connections that only need a pod, in order of arrival."""
        self._resuming: set[Client] = set()
        """Spliced connections whose next bytes wait for an announcement (route Always)."""
        self._connecting: set[asyncio.Task[None]] = set()
        self._spliced: dict[Client, str] = {}
        """Connections joined to a pod, with the pod's uid."""
        self._load: Counter[str] = Counter()
        """Connections of each pod by uid, including those in progress."""
        self._announcements = Announcements(
            name,
            kube,
            me,
            is_wanted=lambda: bool(self._held or self._resuming),
            is_asked=self._is_asked,
            on_written=self._release,
            wake_other=wake_other,
        )
        self._wake = Waker(
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
        """Whether this activator is ending."""
        self._is_going = True
        """Whether the pool is going down, or its phase is unknown: until `changed` is called."""
        metrics.follow(
            me.namespace,
            name,
            held=lambda: len(self._held),
            spliced=lambda: len(self._spliced),
            active=self.count_active,
            last_activity=self.last_activity,
        )

    # --- calls from connections (splice.Owner) ---

    def came(self, client: Client) -> None:
        """A connection was accepted; it may never send a byte."""
        if not self._connection_limit.enter(client, self.name):
            self._metrics.refused(self._me.namespace, self.name, "room")
            client.abort()
            return
        pool = self._view.pools.get(self.name)
        self._silent.enter(client, max(AT_THE_DOOR, 2 * pool.max_held if pool else 0))

    def arrived(self, client: Client) -> None:
        """A client has sent its first bytes: answer a probe, reject, or hold."""
        self._silent.leave(client)
        self._connection_limit.spoke(client)
        pool = self._view.pools.get(self.name)
        if pool is None:
            client.answer(answers.refusal("this pool has been deleted", 5))
            return
        client.is_probe = client.seen.path in pool.ignore_paths
        if client.is_probe and not self._serves(pool):
            client.answer(answers.PROBE_OK)
            return
        if self._refuse_for_budget(pool, client):
            return
        if len(self._held) >= pool.max_held:
            self._refuse(client, "full", "too many requests are waiting for this pool to wake", 1)
            return
        self._held.add(client)
        self._wake.ensure()  # first: a pod takes longer than the announcement
        client.ticket = 0 if client.is_probe else self._announcements.want(pool)
        if client.is_complete:
            self._start(client)
        else:
            client.on_head = lambda: self._start(client)

    def keeps(self, client: Client, number: int) -> None:
        """The number of bytes buffered for a connection has changed."""
        self._connection_limit.kept.keep(client, number)

    def wrote(self, client: Client) -> None:
        """Bytes were written to one side of a connection."""
        self._connection_limit.wrote(client)

    def evicted(self, client: Client) -> None:
        """The memory for buffered bytes is exhausted: reject or abort this connection."""
        if client in self._held:
            self._refuse(client, "full", "too much is waiting for a pool of this namespace", 1)
        else:
            self._metrics.refused(self._me.namespace, self.name, "room")
            client.abort()
            if client.upstream is not None:
                client.upstream.abort()

    def left(self, client: Client) -> None:
        """A connection has ended."""
        self._silent.leave(client)
        self._connection_limit.leave(client)
        self._held.remove(client)
        self._waiting.pop(client, None)
        self._next.pop(client, None)
        self._resuming.discard(client)
        uid = self._spliced.pop(client, None)
        if uid is None:
            return
        self._part(uid)
        if not client.is_probe:
            self._last_activity = max(self._last_activity, client.traffic.last)

    def may_resume(self, client: Client) -> bool:
        """Whether a quiet spliced connection may forward its next bytes now.

        With route Always the operator counts a quiet connection as idle, so its next bytes are
        announced like a new request.
        """
        pool = self._view.pools.get(self.name)
        if pool is None or not (pool.always and pool.is_going_down):
            return True
        client.traffic.up_at = time.monotonic()  # first: the next scrape must see it in use
        client.ticket = self._announcements.want(pool)
        if self._announcements.covers(client.ticket):
            return True
        self._resuming.add(client)
        return False

    def is_ending(self, client: Client) -> bool:
        """Whether an open connection should end: its pod or this activator is ending."""
        if self.leaving or self._is_going:
            return True
        return self._spliced.get(client) not in self._backends.staying_pods

    # --- calls from the activator ---

    def asked(self) -> None:
        """The operator reads this pool's metrics. May be called from any thread."""
        self._announcements.asked()

    def changed(self) -> None:
        """The pods or the pool have changed."""
        pool = self._view.pools.get(self.name)
        self._is_going = pool is None or pool.is_going_down
        self._announcements.changed(pool)
        self._backends.refresh()
        if pool is not None:
            self._refuse_for_budget(pool, *self._held)
        self._wake.changed()
        self._held.watch()
        self._release()

    @property
    def held(self) -> int:
        """Held connections."""
        return len(self._held)

    @property
    def busy(self) -> int:
        """Held and spliced connections."""
        return len(self._held) + len(self._spliced)

    def count_active(self) -> int:
        """Spliced connections in use. May be called from any thread."""
        now = time.monotonic()
        return sum(client.traffic.is_busy(now) for client in self._users())

    def last_activity(self) -> float:
        """The Unix time of the last byte; 0 before the first. May be called from any thread."""
        last = [self._last_activity, *(client.traffic.last for client in self._users())]
        return time.time() - (time.monotonic() - max(last)) if max(last) > 0 else 0.0

    def poke(self) -> None:
        """Wake the pool for another pool (spec.wake.wakeWith), without a held connection."""
        pool = self._view.pools.get(self.name)
        if pool is None or self._spent_for(pool):
            return
        if self._announcements.take_for_another(pool):
            self._wake.for_another(self._announcements)

    def look_after(self) -> None:
        """Abort stalled connections; call it periodically."""
        for client in list(self._spliced):
            client.look_after()

    async def close(self) -> None:
        """Cancel the tasks and wait for them."""
        self._held.close()
        tasks = [*self._connecting, *self._wake.tasks, self._announcements.task]
        running = [t for t in tasks if t is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    # --- reject ---

    def _timed_out(self, client: Client) -> None:
        self._refuse(client, "timeout", "no pod of this pool became ready in time", 5)

    def _hold_timeout(self) -> float:
        pool = self._view.pools.get(self.name)
        return 0.0 if pool is None else pool.hold_timeout

    def _refuse_for_budget(self, pool: Pool, *clients: Client) -> bool:
        """Answer clients with a 503 if the budget prevents a wake; returns whether it does."""
        seconds = self._spent_for(pool)
        if pool.spent is None or not seconds:
            return False
        detail = answers.budget_spent(self.name, pool.spent.limit)
        for client in clients:
            self._refuse(client, "budget", detail, seconds)
        return True

    def _spent_for(self, pool: Pool) -> int:
        """Seconds for which a spent budget prevents a wake; 0 if a pod answers anyway."""
        if pool.spent is None or self._backends.any_ready:
            return 0
        return pool.spent.retry_after(pool.phase, datetime.now(UTC))

    def _refuse(self, client: Client, reason: Reason, detail: str, retry_after: int) -> None:
        self._held.remove(client)
        self._waiting.pop(client, None)
        self._next.pop(client, None)
        self._metrics.refused(self._me.namespace, self.name, reason)
        client.answer(answers.refusal(detail, retry_after))

    # --- connect ---

    def _start(self, client: Client) -> None:
        if client in self._held:
            self._waiting[client] = None
            self._wake.ensure()
            self._release()

    def _release(self) -> None:
        """Connect the announced clients if there is a pod. Before that they need no task."""
        for client in [c for c in self._resuming if self._announcements.covers(c.ticket)]:
            self._resuming.discard(client)
            client.resume()
        for client in [c for c in self._waiting if self._announcements.covers(c.ticket)]:
            del self._waiting[client]
            self._next[client] = None
        while self._next and len(self._connecting) < CONNECT_AT_ONCE:
            pod = self._backends.choose(self._load)
            if pod is None:
                return
            if not self._connection_limit.has_place(self.name):
                self._connection_limit.when_free(self._release)
                return
            client, _ = self._next.popitem(last=False)
            self._connection_limit.join(self.name)
            self._load[pod.uid] += 1
            task = asyncio.create_task(self._connect(client, pod))
            self._connecting.add(task)
            task.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        if not task.cancelled():
            self._release()

    async def _connect(self, client: Client, pod: PodView) -> None:
        """Connect to a pod and splice; after a refused connect the client waits again."""
        upstream = Upstream(client)
        joined = False
        try:
            if not await self._backends.dial(pod, client.port, upstream) or not upstream.is_there:
                await asyncio.sleep(RETRY_EVERY)
                self._start(client)
                return
            joined = client in self._held and client.is_open
        finally:
            if not joined:
                upstream.close()
                self._part(pod.uid)
        if not joined:
            return
        self._spliced[client] = pod.uid
        client.splice(upstream, asks_to_close=client.is_probe or self._is_a_detour(client))
        self._held.remove(client)  # last: a metrics request in between sees it here or in its pod
        waited = asyncio.get_running_loop().time() - client.since
        self._metrics.waited(self._me.namespace, self.name, waited)

    def _part(self, uid: str) -> None:
        """A connection to a pod has ended."""
        self._connection_limit.part(self.name)
        self._load[uid] -= 1
        if not self._load[uid]:
            del self._load[uid]

    # --- the pool's current state ---

    def _is_asked(self) -> bool:
        """Whether the operator's checks read this activator: it is Ready and not terminating."""
        pod = self._view.pods.get(self._me.pod)
        return pod is not None and pod.ready and not pod.terminating and not self.leaving

    def _users(self) -> list[Client]:
        """Spliced connections without probes, which do not keep a pool awake."""
        return [client for client in list(self._spliced) if not client.is_probe]

    def _is_a_detour(self, client: Client) -> bool:
        """Whether the client's next connection should be a new one.

        With route Auto it then goes straight to a pod; with Always, to a pod that is not
        terminating.
        """
        pool = self._view.pools.get(self.name)
        return pool is None or not pool.always or self.is_ending(client)

    def _serves(self, pool: Pool) -> bool:
        """Whether to forward even probes: the pool is Warm, and the activator is the only path."""
        return pool.always and pool.phase is Phase.WARM and self._backends.any_ready
