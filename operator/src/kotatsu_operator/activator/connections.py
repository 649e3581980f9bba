"""The connections of one pool: accept, hold, wake, join to a pod, leave."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from math import inf

from kotatsu_operator.activator import head
from kotatsu_operator.activator.feature import Context, FeatureOf
from kotatsu_operator.activator.head import NOTHING
from kotatsu_operator.activator.metrics import Reason
from kotatsu_operator.activator.pods import Backends
from kotatsu_operator.activator.pool import RETRY_LATE, RETRY_SOON, Pool, retry_while_starting
from kotatsu_operator.activator.registry import Registry, State
from kotatsu_operator.activator.splice import Client, Upstream
from kotatsu_operator.activator.wake import Announcements, Waker
from kotatsu_operator.core.pool.memory import Phase
from kotatsu_operator.kube.views import PodView

MOST_SILENT = 4096
"""Connections of a pool without a byte so far (twice maxHeld, if that is more): as many as may be
accepted before the first byte of any is read, even if few may be held."""

CONNECT_AT_ONCE = 256
"""Simultaneous connects to pods: a pod's accept queue is short."""

RECONNECT_EVERY = 0.02
"""Seconds until a client whose connect was refused waits for a pod again."""

TIMED_OUT_AT_ONCE = 0.01
"""Seconds: connections whose timeouts are this close together time out together."""

NEEDED_FOR = 3.0
"""Seconds for which the pool stays needed by one that depends on it. That one asks at least every
second while its requests wait."""


class Connections:
    """The connections of one pool, and the tasks that join them to its pods."""

    def __init__(self, context: Context, features: Sequence[FeatureOf] = ()) -> None:
        self.forwarded = context.metrics.forwarded(*context.key)
        self.context = context
        self.namespace = context.view.namespace
        self.limit = context.limit
        self.wrote, self.weighed = self.limit.wrote, self.limit.kept.keep
        self.backends = Backends(context)
        self._clients: Registry[Client] = Registry()
        self._features = [feature_of(context) for feature_of in features]
        self._hold_timer: asyncio.TimerHandle | None = None
        self._connecting: set[asyncio.Task[None]] = set()
        self._load: Counter[str] = Counter()
        """Connections of each pod by uid, including those in progress."""
        self._announcements = Announcements(self)
        self._waker = Waker(self, self._announcements)
        self._needed_until = 0.0
        self._need = 0
        """The announcement that covers the need."""
        self._last_activity = 0.0
        self.idle_timeout = inf
        """Seconds for which a quiet connection is in use: until `changed` is called."""
        self._is_going = True
        """Whether the pool is going down, or its phase is unknown: until `changed` is called."""
        context.metrics.follow(
            *context.key,
            held=lambda: self.waiting,
            spliced=lambda: len(self._clients.joined),
            active=self.count_active,
            last_activity=self.last_activity,
            marked=self.uses_of_marked,
        )

    # --- accept ---

    def came(self, client: Client) -> None:
        """A connection was accepted; it may never send a byte."""
        if not self.limit.enter(client, self.context.key):
            self._count_refused("room")
            client.abort()
            return
        state = State.LISTENING if client.port.server_first else State.SILENT
        self._clients.move(client, state)
        pool = self.context.pool
        most = max(MOST_SILENT, 2 * pool.max_held if pool else 0)
        while self._clients.count(state) > most and (oldest := self._clients.first(state)):
            self._clients.move(oldest, State.ENDING)
            oldest.close()
        if state is State.LISTENING:
            self.join_waiting()

    def began(self, client: Client) -> None:
        """A client has sent a part of its first bytes: it does not wait for those of a server."""
        self._clients.move(client, State.SILENT)

    # --- hold ---

    def arrived(self, client: Client) -> None:
        """A client has sent its first bytes: answer a probe, reject, or hold."""
        self.limit.spoke(client)
        pool = self.context.pool
        if pool is None:
            self._answer(client, head.refusal("this pool has been deleted", 5))
            return
        client.is_probe = client.seen.path in pool.health_check_paths
        if client.is_probe and not self._serves(pool):
            self._answer(client, head.PROBE_OK)
            return
        if self._refuse_for_memory(client) or self._refuse_for_budget(pool, client):
            return
        if self.held >= pool.max_held:
            self._refuse(client, "full", "too many requests are waiting for this pool to wake", 1)
            return
        client.since = asyncio.get_running_loop().time()
        self._clients.move(client, State.HELD)
        if self._hold_timer is None:
            self._check_holds()
        self._waker.ensure()  # first: a pod takes longer than the announcement
        client.announcement = 0 if client.is_probe else self._announcements.want(pool)

    def completed(self, client: Client) -> None:
        """The request head is complete: join the client once it is announced and there is a pod.

        Called with each read from then on, until there is a pod.
        """
        if client.state is not State.HELD or self._is_answered(client):
            return
        if (pool := self.context.pool) is not None and not self.backends.any_ready:
            for feature in self._features:
                feature.holds(pool, client)
        self._wait(client)

    def _wait(self, client: Client) -> None:
        self._clients.move(client, State.ANNOUNCING)
        self._waker.ensure()
        self.join_waiting()

    def _is_answered(self, client: Client) -> bool:
        """Let a feature answer in place of a pod, if no pod answers."""
        pool = self.context.pool
        if pool is None or self.backends.any_ready or client.is_probe:
            return False
        for feature in self._features:
            # First: it counts as waiting, so that the wake which it has begun goes on.
            if (answer := feature.answer(pool, client.head)) is not None:
                self._answer(client, answer)
                return True
        return False

    def evicted(self, client: Client) -> None:
        """The memory for buffered bytes is exhausted: reject or abort this connection."""
        if client in self._clients.held and client.upstream is None:
            detail = "too much is waiting for a pool of this namespace"
            self._refuse(client, "full", detail, self._retry_after())
        else:
            self._count_refused("room")
            client.abort()
            if client.upstream is not None:
                client.upstream.abort()

    def _check_holds(self) -> None:
        """Reject clients that were held for too long; the first of the others is checked in time.

        They are in order of arrival. A changed timeout applies to those that already wait.
        """
        self._stop_checking()
        pool, loop = self.context.pool, asyncio.get_running_loop()
        since = loop.time() - (0.0 if pool is None else pool.hold_timeout)
        late = list(takewhile(lambda client: client.since <= since, self._clients.held))
        if late:
            detail = "no pod of this pool became ready in time; the start goes on"
            if awaited := ", ".join(self._waker.awaits):
                detail += f": it waits for WarmPool {awaited} (spec.dependsOn)"
            for client in late:
                self._refuse(client, "timeout", detail, self._retry_after())
        if (first := next(iter(self._clients.held), None)) is not None:
            after = max(first.since - since, TIMED_OUT_AT_ONCE)
            self._hold_timer = loop.call_later(after, self._check_holds)

    def _retry_after(self) -> int:
        pool = self.context.pool
        if pool is None:
            return RETRY_SOON
        starts = self.context.view.starts_of(pool)
        began = [start.scheduled_at for start in starts if start.scheduled_at is not None]
        now = datetime.now(UTC)  # of a start that waits for a node, all of it is left
        return retry_while_starting(pool.usual_wake, min(began, default=now), now)

    def _stop_checking(self) -> None:
        if self._hold_timer is not None:
            self._hold_timer.cancel()
            self._hold_timer = None

    def _refuse_for_memory(self, *clients: Client) -> bool:
        """Answer clients with a 503 if the namespace is too large; returns whether it is."""
        view = self.context.view
        if view.is_refused:
            detail = view.retained.why_full(self.namespace, "an activator")
            for client in clients:
                self._refuse(client, "room", detail, RETRY_LATE)
        return view.is_refused

    def _refuse_for_budget(self, pool: Pool, *clients: Client) -> bool:
        """Answer clients with a 503 if the budget prevents a wake; returns whether it does."""
        seconds = self._spent_for(pool)
        if pool.spent is None or not seconds:
            return False
        detail = head.budget_spent(self.context.name, pool.spent.limit, pool.poolset)
        for client in clients:
            self._refuse(client, "budget", detail, seconds)
        return True

    def _spent_for(self, pool: Pool) -> int:
        """Seconds for which a spent budget prevents a wake; 0 if a pod answers anyway."""
        if pool.spent is None or self.backends.any_ready:
            return 0
        return pool.spent.retry_after(pool.phase, datetime.now(UTC))

    def _refuse(self, client: Client, reason: Reason, detail: str, retry_after: int) -> None:
        self._count_refused(reason)
        self._answer(client, head.refusal(detail, retry_after))

    def _count_refused(self, reason: Reason) -> None:
        self.context.metrics.refused(*self.context.key, reason)

    def _answer(self, client: Client, answer: bytes) -> None:
        self._clients.move(client, State.ENDING)
        client.answer(answer)

    # --- wake ---

    def asked(self) -> None:
        """The operator looks at this pool. May be called from any thread."""
        self._announcements.asked()

    def changed(self) -> None:
        pool = self.context.pool
        self._is_going = pool is None or pool.is_going_down
        self.idle_timeout = inf if pool is None else pool.connection_idle_timeout
        self._announcements.changed(pool)
        self.backends.refresh()
        self._refuse_for_memory(*self._clients.held)
        if pool is not None:
            self._refuse_for_budget(pool, *self._clients.held)
        self._waker.changed()
        self._check_holds()
        self.join_waiting()

    def need(self) -> bool:
        """Wake the pool for one that depends on it; returns whether a pod answers, and stays.

        The need is announced, and counts, like a request that is held: no check of the operator
        misses it.
        """
        pool, now = self.context.pool, time.monotonic()
        if pool is None or self._spent_for(pool) or self.context.view.is_refused:
            return False
        is_new, self._needed_until = now >= self._needed_until, now + NEEDED_FOR
        self._waker.ensure()
        if is_new:
            self._need = self._announcements.want(pool)
        return self.backends.any_ready and self._announcements.covers(self._need)

    # --- join ---

    def join_waiting(self) -> None:
        """Join the announced clients if there is a pod. Before that they need no task.

        And those that wait for a pod to speak: they wake none, and keep none awake.
        """
        for client in self._announced(State.RESUMING):
            self._clients.move(client, State.JOINED)
            client.resume()
        for client in self._announced(State.ANNOUNCING):
            self._clients.move(client, State.QUEUED)
        while len(self._connecting) < CONNECT_AT_ONCE:
            first = self._clients.first(State.QUEUED) or self._clients.first(State.LISTENING)
            pod = None if first is None else self.backends.choose(self._load)
            if first is None or pod is None:
                return
            if not self.limit.has_place(self.context.key):
                self.limit.when_free(self.join_waiting)
                return
            state = State.CONNECTING if first.state is State.QUEUED else State.GREETED
            self._clients.move(first, state)
            self.limit.join(self.context.key)
            self._load[pod.uid] += 1
            task = asyncio.create_task(self._connect(first, pod, state))
            self._connecting.add(task)
            task.add_done_callback(self._connected)

    def _announced(self, state: State) -> list[Client]:
        clients = self._clients.of(state)
        return [client for client in clients if self._announcements.covers(client.announcement)]

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        if not task.cancelled():
            self.join_waiting()

    async def _connect(self, client: Client, pod: PodView, state: State) -> None:
        """Connect to a pod and splice; after a refused connect the client waits again."""
        upstream = Upstream(client)
        joined = False
        try:
            if not await self.backends.dial(pod, client.port, upstream) or not upstream.is_there:
                await asyncio.sleep(RECONNECT_EVERY)
                if client.state is state is State.CONNECTING:
                    self._wait(client)
                elif client.state is state:
                    self._clients.move(client, State.LISTENING)
                return
            joined = client.state is state and client.is_there
        finally:
            if not joined:
                client.resume_reading()
                upstream.close()
                self._part(pod.uid)
        if not joined:
            if client.state is state:
                client.close()  # its end may be behind bytes that are not read
            return
        client.pod = pod.uid
        if state is State.GREETED:
            self.limit.spoke(client)
        client.splice(upstream, asks_to_close=client.is_probe or self._is_a_detour(client))
        # Last: a metrics request in between sees it held or in its pod.
        self._clients.move(client, State.JOINED)
        if state is State.CONNECTING:
            waited = asyncio.get_running_loop().time() - client.since
            self.context.metrics.waits.labels(*self.context.key).observe(waited)

    def _part(self, uid: str) -> None:
        self.limit.part(self.context.key)
        self._load[uid] -= 1
        if not self._load[uid]:
            del self._load[uid]

    def _serves(self, pool: Pool) -> bool:
        """Whether to forward even probes: an awake pool that keeps the activator in its route."""
        stays = pool.phase is Phase.PARKED or (pool.counted and pool.phase is Phase.WARM)
        return stays and self.backends.any_ready

    def _is_a_detour(self, client: Client) -> bool:
        """Whether the client's next connection should be a new one, to a pod that stays.

        A connection that counts as demand stays here until its pod or this activator ends: a
        client that goes straight to a pod is not seen any more.
        """
        pool = self.context.pool
        return pool is None or not pool.counted or self.is_ending(client)

    # --- joined ---

    def may_resume(self, client: Client) -> bool:
        """Whether a quiet joined connection may forward its next bytes now; else `resume` follows.

        Where connections count as demand, they are announced like a new request: the operator
        counts a quiet connection as idle. Those to a parked pool do not wait for it. The first
        bytes of a client that was joined before them are announced in any pool.
        """
        pool = self.context.pool
        is_seen = client.seen is NOTHING or (pool is not None and pool.counted)
        if pool is None or not (is_seen and pool.is_announced):
            return True
        client.announcement = self._announcements.want(pool)
        if self._announcements.covers(client.announcement):
            return True
        self._clients.move(client, State.RESUMING)
        return False

    def is_ending(self, client: Client) -> bool:
        """Whether the request that begins should be the last of its connection."""
        ends = self.context.view.leaving or self._is_going
        return ends or client.pod not in self.backends.staying_pods

    def look_after(self) -> None:
        """Abort stalled connections; call it periodically."""
        for client in list(self._clients.joined):
            client.look_after()

    @property
    def held(self) -> int:
        return len(self._clients.held)

    @property
    def waiting(self) -> int:
        """Held connections, one for the clients of a feature, one for pools that need this."""
        is_needed = time.monotonic() < self._needed_until
        others = any(feature.are_waiting for feature in self._features)
        return self.held + is_needed + (others and not self.backends.any_ready)

    def awaits_announcement(self) -> bool:
        return bool(self.waiting or self._clients.count(State.RESUMING))

    @property
    def busy(self) -> int:
        return self.held + len(self._clients.joined)

    def count_active(self) -> int:
        """The busy connections; without one, 1 if quiet ones are in use.

        Those keep the pool awake and ask for no more pods. May be called from any thread.
        """
        now, timeout = time.monotonic(), self.idle_timeout
        traffic = [client.traffic for client in self._users()]
        busy = sum(one.is_busy(now, timeout) for one in traffic)
        return busy or int(any(one.in_use(now, timeout) for one in traffic))

    def uses_of_marked(self) -> Mapping[str, int]:
        """Connections in use, or in progress, to each pod that this activator knows as marked.

        By name of the pod. May be called from any thread.
        """
        # In this order: a marked pod gets no new connection, and one in progress is counted once at
        # least.
        marked, load = self.backends.marked, dict(self._load)
        if not marked:
            return {}
        now, timeout = time.monotonic(), self.idle_timeout
        joined = list(self._clients.joined)
        used = Counter(
            of.pod for of in joined if not of.is_probe and of.traffic.in_use(now, timeout)
        )
        known = Counter(of.pod for of in joined)
        return {
            name: used[uid] + max(load.get(uid, 0) - known[uid], 0) for uid, name in marked.items()
        }

    def last_activity(self) -> float:
        """The Unix time of the last byte that is not of a keepalive; 0 before the first.

        May be called from any thread.
        """
        last = [self._last_activity, *(client.traffic.used_at for client in self._users())]
        return time.time() - (time.monotonic() - max(last)) if max(last) > 0 else 0.0

    def _users(self) -> list[Client]:
        """Joined connections without probes, which do not keep a pool awake."""
        return [client for client in list(self._clients.joined) if not client.is_probe]

    # --- leave ---

    def left(self, client: Client) -> None:
        """The connection has ended."""
        self._clients.remove(client)
        self.limit.left(client)
        if client.pod:
            self._part(client.pod)
            if not client.is_probe:
                self._last_activity = max(self._last_activity, client.traffic.used_at)

    async def close(self) -> None:
        self._stop_checking()
        tasks = [*self._connecting, self._waker.task, self._announcements.task]
        running = [t for t in tasks if t is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
