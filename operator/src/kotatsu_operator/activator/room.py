"""A room: what an activator does for the pools of one namespace."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf

from kotatsu_operator.activator.connections import Connections
from kotatsu_operator.activator.feature import Context, FeatureOf
from kotatsu_operator.activator.limits import ConnectionLimit
from kotatsu_operator.activator.metrics import ActivatorMetrics
from kotatsu_operator.activator.namespace import View
from kotatsu_operator.activator.pool import PodIdentity, Pool, Port, pool_view
from kotatsu_operator.activator.ports import Ports
from kotatsu_operator.activator.publisher import Publisher
from kotatsu_operator.activator.slices import Gone, Slices
from kotatsu_operator.activator.splice import Client
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.informer import Pods
from kotatsu_operator.kube.objects import Object

log = logging.getLogger(__name__)

FAILED_REST = 5.0
"""Seconds until a room goes on whose work failed for a reason that nobody foresaw."""


@dataclass(frozen=True)
class RoomContext:
    """What all rooms of a process have in common."""

    kube: Kube
    me: PodIdentity
    metrics: ActivatorMetrics
    limit: ConnectionLimit = field(default_factory=ConnectionLimit)
    features: Sequence[FeatureOf] = ()
    read: Callable[[Object], Pool] = pool_view
    peers: Pods = field(default_factory=Pods)
    """The activators of the set, by name."""
    ports: Ports = field(default_factory=Ports)


class Room:
    """The work of an activator in one namespace. The rules of docs/protocol.md hold in each."""

    def __init__(self, namespace: str, shared: RoomContext) -> None:
        self._shared = shared
        self._changed = asyncio.Event()
        self._telling = False
        self.view = View(
            self._on_change,
            read=shared.read,
            scaled=shared.kube.scaled,
            namespace=namespace,
            activators=shared.peers,
            retained=shared.limit.retained,
        )
        self._news = self.view.mailbox()
        slices = Slices(shared.kube, namespace)
        self.publisher = Publisher(
            slices, self.view, shared.me, self._new_client, self._carries, shared.ports
        )
        self.connections: dict[str, Connections] = {}
        self._counted: set[str] = set()
        self.entering: set[str] = set()
        """Kinds of which the namespace is yet to be listed alone."""
        self.adopted = False

    @property
    def is_needed(self) -> bool:
        """Whether a pool of the namespace is this activator's, or is still published or used."""
        return (
            not self.adopted
            or any(pool.mine for pool in self.view.pools.values())
            or bool(self.publisher.published)
            or self.busy > 0
        )

    @property
    def busy(self) -> int:
        """Connections that are held or joined to a pod."""
        return sum(connections.busy for connections in self.connections.values())

    def asked(self, name: str) -> None:
        """Record that the operator looks at a pool. Called from any thread."""
        connections = self.connections.get(name)
        if connections is not None:
            connections.asked()

    async def run(self) -> None:
        """Publish what changes, until cancelled. An unforeseen error is logged, and tried again.

        One namespace must not end the activator of all.
        """
        while True:
            try:
                await self._work()
            except Exception:
                namespace = self.view.namespace
                log.exception("%s: the work failed; next attempt in 5 s", namespace)
                await asyncio.sleep(FAILED_REST)

    async def _work(self) -> None:
        while not self.view.is_synced:
            await self._next_change(inf)
        if not self.adopted:
            await self.publisher.adopt()
            self.adopted = True
        while True:
            self._count_pools()
            await self._next_change(await self.publisher.sync())

    async def sweep(self, gone: Gone) -> None:
        """Remove what other activators and deleted pools have left."""
        if self.adopted:
            await self.publisher.sweep(gone)
            self._forget_gone()

    def look_after(self) -> None:
        """Abort stalled connections; call it periodically."""
        for connections in self.connections.values():
            connections.look_after()

    def leave(self) -> None:
        """The activator ends: mark its endpoints, and finish its connections."""
        self.view.leaving = True
        self._changed.set()

    async def close(self) -> None:
        """End what still runs."""
        for connections in self.connections.values():
            await connections.close()
        self.publisher.close()

    def forget(self) -> None:
        """Remove the series of its pools; nothing is kept of the namespace any more."""
        self._shared.limit.retained.forget(self.view.namespace)
        for name in self._counted | self.connections.keys():
            self._shared.metrics.forget(self.view.namespace, name)

    def _connections(self, pool: str) -> Connections:
        known = self.connections.get(pool)
        if known is None:
            shared = self._shared
            context = Context(
                pool, shared.kube, self.view, shared.me, shared.metrics, self._needs, shared.limit
            )
            known = Connections(context, shared.features)
            known.changed()
            self.connections[pool] = known
        return known

    def _carries(self, pool: str) -> bool:
        return pool in self.connections and self.connections[pool].busy > 0

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
            if pool.accepted and pool.mine and name not in self._counted:
                self._counted.add(name)
                self._shared.metrics.know(self.view.namespace, name)

    def _forget_gone(self) -> None:
        for name in self._counted | self.connections.keys():
            known = self.connections.get(name)
            if name in self.view.pools or (known is not None and known.busy):
                continue
            self.connections.pop(name, None)
            self._counted.discard(name)
            self._shared.metrics.forget(self.view.namespace, name)

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
        for name in self._news - self.connections.keys():
            # It acknowledges the marks of its pods.
            if name in self.view.pools and self.view.has_marks(self.view.pools[name]):
                self._connections(name)
        self._news.clear()

    async def _next_change(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == inf else seconds):
                await self._changed.wait()
        self._changed.clear()
