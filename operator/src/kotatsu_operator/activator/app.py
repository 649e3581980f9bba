"""The activator of one namespace: start, watch, publish, and end in order."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from urllib.parse import parse_qs

from kotatsu_operator.activator.connections import Connections
from kotatsu_operator.activator.feature import Context, FeatureOf
from kotatsu_operator.activator.limits import ConnectionLimit
from kotatsu_operator.activator.metrics import ActivatorMetrics
from kotatsu_operator.activator.namespace import View
from kotatsu_operator.activator.pool import PodIdentity, Pool, Port, pool_view
from kotatsu_operator.activator.publisher import Publisher
from kotatsu_operator.activator.sockets import PATIENCE
from kotatsu_operator.activator.splice import Client
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.informer import Watch
from kotatsu_operator.kube.objects import KINDS, Object, resource_of

log = logging.getLogger(__name__)

SWEEP_EVERY = 10.0
QUIET_FOR = 6.0
"""Seconds that an ending activator stays after its slices are marked: kube-proxy syncs in that
time."""


class Activator:
    """The work of one activator pod. All collaborators are passed in."""

    def __init__(
        self,
        kube: Kube,
        me: PodIdentity,
        metrics: ActivatorMetrics,
        limit: ConnectionLimit | None = None,
        features: Sequence[FeatureOf] = (),
        read: Callable[[Object], Pool] = pool_view,
    ) -> None:
        self._kube, self._me, self._metrics = kube, me, metrics
        self._limit = ConnectionLimit() if limit is None else limit
        self._features = features
        self._changed = asyncio.Event()
        self._telling = False
        self.view = View(self._on_change, read, scaled=kube.scaled)
        self._news = self.view.mailbox()
        self.publisher = Publisher(kube, self.view, me, self._new_client)
        self.connections: dict[str, Connections] = {}
        self._counted: set[str] = set()
        self.adopted = False

    def why_not_ready(self) -> str:
        """Empty if all pools that need this activator are published; otherwise a sentence."""
        if not self.view.is_synced or not self.adopted:
            return "still reading the namespace"
        if self.publisher.leaving:
            return "ending"
        return "" if self.publisher.complete else "some slices are not published yet"

    def asked(self, query: str) -> None:
        """Record a request for the metrics page, before it is answered. Called from any thread.

        `looks` names the pools that the operator is about to put to sleep (step 4); without it, all
        count.
        """
        looks = parse_qs(query, keep_blank_values=True).get("looks")
        for name, connections in list(self.connections.items()):
            if looks is None or name in looks:
                connections.asked()

    async def run(self, stop: asyncio.Event, drain_timeout: float) -> None:
        """Run until `stop` is set, then drain for at most `drain_timeout` seconds and end."""
        further = {name: resource_of(kind) for name, kind in self._kube.scaled.items()}
        watches = [
            asyncio.create_task(
                Watch(self._kube, kind, self._me.namespace, self._shown(name)).run()
            )
            for name, kind in {**KINDS, **further}.items()
        ]
        work = asyncio.create_task(self._work())
        ended, endless = asyncio.create_task(stop.wait()), [work, *watches]
        try:
            await asyncio.wait([ended, *endless], return_when=asyncio.FIRST_COMPLETED)
            for task in endless:
                if task.done():
                    task.result()  # a failed task ends the process, which then restarts
            await self._leave(drain_timeout)
        finally:
            ended.cancel()
            for task in endless:
                task.cancel()
            await asyncio.gather(ended, *endless, return_exceptions=True)
            for connections in self.connections.values():
                await connections.close()

    def _shown(self, kind: str) -> Callable[[str, str, Object], None]:
        apply = self.view.on_change(kind)
        return lambda _, change, obj: apply(change, obj)

    async def _work(self) -> None:
        while not self.view.is_synced:
            await self._next_change(0.5)
        await self.publisher.adopt()
        self.adopted = True
        loop = asyncio.get_running_loop()
        swept = looked = loop.time()
        while True:
            self._count_pools()
            soonest = await self.publisher.sync()
            if loop.time() - looked >= PATIENCE:
                looked = loop.time()
                for connections in self.connections.values():
                    connections.look_after()
            if loop.time() - swept >= SWEEP_EVERY:
                swept = loop.time()
                await self.publisher.sweep()
                self._forget_gone()
            await self._next_change(soonest)

    async def _leave(self, drain_timeout: float) -> None:
        """Mark this endpoint as terminating, drain connections, and delete the slices last."""
        log.info("ending: waiting for held and joined connections")
        self.publisher.leaving = True
        for connections in self.connections.values():
            connections.leaving = True
        self._changed.set()
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() - began < drain_timeout:
            busy = sum(c.busy for c in self.connections.values())
            if loop.time() - began >= QUIET_FOR and busy == 0:
                break
            await asyncio.sleep(0.1)
        await self.publisher.withdraw()

    def _connections(self, pool: str) -> Connections:
        known = self.connections.get(pool)
        if known is None:
            context = Context(pool, self._kube, self.view, self._me, self._metrics)
            known = Connections(context, self._needs, self._limit, self._features)
            known.leaving = self.publisher.leaving
            known.changed()
            self.connections[pool] = known
        return known

    def _needs(self, pool: str) -> bool:
        """Wake a pool for another one; returns whether the other one need not wait for it.

        A pool that activators cannot wake is not waited for.
        """
        known = self.view.pools.get(pool)
        if known is None or known.deleted or not known.was_accepted:
            return True
        return self._connections(pool).need()

    def _new_client(self, pool: str, port: Port) -> Client:
        return Client(self._connections(pool), port)

    def _count_pools(self) -> None:
        for name, pool in self.view.pools.items():
            if pool.accepted and name not in self._counted:
                self._counted.add(name)
                self._metrics.know(self._me.namespace, name)

    def _forget_gone(self) -> None:
        for name in self._counted | self.connections.keys():
            known = self.connections.get(name)
            if name in self.view.pools or (known is not None and known.busy):
                continue
            self.connections.pop(name, None)
            self._counted.discard(name)
            self._metrics.forget(self._me.namespace, name)

    def _on_change(self) -> None:
        self._changed.set()
        if not self._telling:
            self._telling = True
            asyncio.get_running_loop().call_soon(self._tell_connections)

    def _tell_connections(self) -> None:
        # Do not wait for the publisher, which may wait for a slow API server.
        self._telling = False
        for name in self._news & self.connections.keys():
            self.connections[name].changed()
        self._news.clear()

    async def _next_change(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        self._changed.clear()
