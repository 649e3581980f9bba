"""Publishes slices and opens their listeners: the I/O for the decisions in `slices`."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf

from kotatsu_operator.activator.namespace import View
from kotatsu_operator.activator.pool import FAMILIES, PodIdentity, Pool, Port, successors
from kotatsu_operator.activator.ports import Ports, PortsTakenError
from kotatsu_operator.activator.slices import (
    PORT_REST,
    Gone,
    Lost,
    Slices,
    families,
    make_slice,
    same_slice,
    slice_name,
    wants_slice,
)
from kotatsu_operator.activator.sockets import prepare
from kotatsu_operator.activator.splice import Client
from kotatsu_operator.core.pool.memory import Route
from kotatsu_operator.core.protocol import pool_of_slice
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable, is_refusal
from kotatsu_operator.kube.objects import Object, version_of
from kotatsu_operator.kube.views import SliceView, slice_view

log = logging.getLogger(__name__)

LOOK_AGAIN = 900.0
"""Seconds until a pool is checked again without a change, as the operator does while it sleeps:
every change is watched, so this only repairs what should not happen."""

REFUSED_REST = 5.0
"""Seconds until a slice that the API server has rejected is written again."""

DELETE_AGAIN = 1.0
"""Seconds between two attempts to delete a slice after a restart."""

DELETED_REST = 60.0
"""Seconds that the slice of a deleted pool waits for its target's own pods to answer."""

CARRIED_REST = 5.0
"""Seconds between two looks whether an emptied slice has no connection any more."""

NewClient = Callable[[str, Port], Client]
"""Creates the protocol for a connection to a pool, by a port of its Service."""


@dataclass
class Listener:
    """A listening socket for one port of a Service."""

    port: Port
    number: int = 0
    """The port number that the activator listens on."""
    server: asyncio.Server | None = None


@dataclass
class Published:
    """What is published of one pool in one address family: a slice and its listeners."""

    name: str
    """The slice's."""
    address: str | None
    """The address to listen on."""
    new_client: Callable[[Port], asyncio.BaseProtocol]
    """Creates the protocol for a connection to a port of the Service."""
    namespace: str
    ports: Ports
    there: Object | None = None
    """The slice as last read, written or watched."""
    listeners: list[Listener] = field(default_factory=list)
    watched: bool = False
    """Whether the watch has shown the slice."""
    emptied_at: float | None = None
    since: dict[str, float] = field(default_factory=dict)
    """Since when it has been as `lasting` was told, in loop time."""

    @property
    def serves(self) -> bool:
        return bool(self.there and self.there.get("endpoints"))

    def catch_up(self, seen: Object | None) -> None:
        """Detect changes of the slice by other clients, so that it is published again."""
        if seen is None and self.watched:
            self.there = None
        elif seen is not None and self.there is not None:
            # `seen` if they are equal: the view keeps it, so that there is one of it.
            self.there = max(seen, self.there, key=version_of)
        self.watched = seen is not None

    def lasting(self, what: str, now: float, *, holds: bool) -> float | None:
        """For how many seconds something has been so at each look; None if it is not."""
        if not holds:
            self.since.pop(what, None)
            return None
        return now - self.since.setdefault(what, now)

    async def follow(self, ports: Sequence[Port]) -> None:
        """Listen for each port of the Service; an edited port keeps its listener."""
        known = successors([listener.port for listener in self.listeners], ports)
        for listener in self.listeners:
            listener.port = known.get(listener.port, listener.port)
        for port in ports:
            if port not in known.values():
                await self.listen(port)

    async def listen(self, port: Port, number: int | None = None) -> None:
        """Listen for one port, on a free number or on this one. Raises as `Ports.listen`."""
        listener = Listener(port)
        listener.server = await self.ports.listen(
            self.namespace, lambda: self.new_client(listener.port), self.address, number
        )
        for made in listener.server.sockets:
            prepare(made)
        listener.number = listener.server.sockets[0].getsockname()[1]
        self.listeners.append(listener)

    def close(self) -> None:
        for listener in self.listeners:
            if listener.server is not None:
                listener.server.close()
                self.ports.give_back(self.namespace)
        self.listeners.clear()


PoolFamily = tuple[str, str]
"""The name of a pool and an address family: the key of one slice."""


class Publisher:
    """Updates the slices of one activator when the view changes."""

    def __init__(
        self,
        slices: Slices,
        view: View,
        me: PodIdentity,
        new_client: NewClient,
        carries: Callable[[str], bool] = lambda _: False,
        ports: Ports | None = None,
    ) -> None:
        self._slices, self._view, self._me, self._new_client = slices, view, me, new_client
        self._carries = carries
        """Whether this activator has connections of a pool: its slice is the record of them too."""
        self._ports = Ports() if ports is None else ports
        self._lost = Lost(slices, view, me)
        self.published: dict[PoolFamily, Published] = {}
        self._said_leaving = False
        self._withdrawn = False
        self._news = view.mailbox()
        self._due: dict[str, float] = {}
        """When to check a pool even without a change, in loop time."""
        self.has_synced = False
        self._incomplete: set[str] = set()
        """Pools that need a slice and have none yet."""
        self._refused: set[str] = set()
        """Pools whose slice the API server rejects, or without a port; others are not affected."""
        self._swept: tuple[set[str], int] | None = None
        """The activators and the state of the slices with which the last sweep found nothing."""

    async def adopt(self) -> None:
        """After a restart in place: listen again on the ports in this activator's slices.

        No other port is bound before that. If one cannot be bound again, its slice is deleted
        first.
        """
        unheard: list[tuple[PoolFamily, Published]] = []
        for obj in self._view.ours():
            if slice_view(obj).pod_uid != self._me.uid:
                continue
            key = (pool_of_slice(obj), obj["addressType"])
            record = self._new_record(key, obj)
            try:
                for port in obj.get("ports") or ():
                    # An edited slice may name no port number, or an invalid one.
                    await record.listen(Port(port.get("name", "")), port.get("port") or -1)
            except (OSError, OverflowError, ValueError) as error:
                log.warning("%s: cannot listen again, deleting the slice: %s", key[0], error)
                record.close()
                unheard.append((key, record))
                continue
            self._adopt_one(key, record)
        for key, record in unheard:
            if not await self._discard(record):
                self._adopt_one(key, record)

    def _new_record(self, key: PoolFamily, there: Object | None = None) -> Published:
        pool, family = key
        name, address = slice_name(pool, self._me, family), self._me.address(family)
        new_client, namespace = partial(self._new_client, pool), self._view.namespace
        return Published(name, address, new_client, namespace, self._ports, there)

    def _adopt_one(self, key: PoolFamily, record: Published) -> None:
        if not record.serves:
            record.emptied_at = asyncio.get_running_loop().time()
        self.published[key] = record

    async def _discard(self, record: Published) -> bool:
        """Delete a slice and retry until it succeeds; False if the API server rejects it."""
        while True:
            try:
                await self._slices.delete(record.name)
            except (ConflictError, *Unreachable) as error:
                log.warning("cannot delete the slice %s: %s", record.name, error)
                if is_refusal(error):
                    return False
                await asyncio.sleep(DELETE_AGAIN)
            else:
                return True

    async def sync(self) -> float:
        """Update the slices of every pool that has changed or is due.

        Returns the seconds until the next call; infinity without a pool.
        """
        loop = asyncio.get_running_loop()
        if self._view.leaving and not self._said_leaving:
            self._said_leaving = True
            self._news |= {name for name, _ in self.published}
        due = {name for name, at in self._due.items() if at <= loop.time()}
        due |= self._news | self._incomplete
        self._news.clear()
        for name in sorted(due):
            if self._withdrawn:
                break
            soonest = await self._sync_pool(name)
            if soonest is None:
                self._due.pop(name, None)
            else:
                self._due[name] = loop.time() + soonest
        self.has_synced = True
        return max(0.0, min(self._due.values(), default=inf) - loop.time())

    @property
    def is_complete(self) -> bool:
        """Whether every pool that needs a slice had one after the last `sync`."""
        return self.has_synced and not self._incomplete

    @property
    def is_refused(self) -> bool:
        """Whether the API server rejects the slices of a pool."""
        return bool(self._refused)

    @property
    def serves(self) -> bool:
        """Whether a pool has this activator as an endpoint. Called from any thread."""
        return any(record.serves for record in list(self.published.values()))

    async def _sync_pool(self, name: str) -> float | None:
        """Update a pool's slices; returns the seconds until the next check, or None."""
        soonest: list[float] = []
        complete = True
        self._refused.discard(name)
        for key in self._keys(name):
            try:
                soonest += await self._sync_family(key)
                soonest += await self._take_back(key)
            except (ConflictError, NotFoundError) as error:
                log.debug("%s: slice changed meanwhile: %s", name, error)
                await self._reread(key)
                # A namespace that is gone has no place for a slice.
                is_gone = isinstance(error, NotFoundError) and not self._is_there(key)
                soonest = [*soonest, REFUSED_REST if is_gone else 0.05]
                complete = complete and is_gone
            except (*Unreachable, OSError) as error:
                log.warning("%s: cannot publish yet: %s", name, error)
                if is_refusal(error) or isinstance(error, PortsTakenError):
                    self._refused.add(name)
                    soonest = [*soonest, REFUSED_REST]
                else:
                    soonest, complete = [*soonest, 0.2], False
        (self._incomplete.discard if complete else self._incomplete.add)(name)
        is_known = name in self._view.pools or bool(soonest)
        return min(soonest, default=LOOK_AGAIN) if is_known else None

    async def sweep(self, gone: Gone) -> None:
        """Delete the slices of activators of the set whose pod is gone."""
        uids = {pod.uid for pod in self._view.activators.values()} | {self._me.uid}
        seen = uids, self._view.slice_changes
        if seen != self._swept:
            left = [of for of in map(slice_view, self._view.ours()) if of.pod_uid not in uids]
            left = [of for of in left if of.set == self._me.activators]
            self._swept = None if left else seen
            for of in left:
                await self._remove(of, gone)
        self._lost.forget_old()

    async def _remove(self, of: SliceView, gone: Gone) -> None:
        """Delete a slice if the API server says that its pod is gone."""
        with contextlib.suppress(*Unreachable):
            if of.pod_uid not in gone:
                gone[of.pod_uid] = await self._slices.owner(of) is None
            if gone[of.pod_uid]:
                log.info("deleting the slice %s of an activator that no longer exists", of.key[1])
                await self._slices.delete(of.key[1])

    @property
    def is_needed(self) -> bool:
        """Whether a pool has no other endpoint than this activator, which ends."""
        pools = self._view.pools
        return any(
            not self._lost.others_answer(pools[name], family)
            for (name, family), record in self.published.items()
            if record.serves and name in pools and not pools[name].deleted
        )

    async def withdraw(self) -> None:
        """Delete all slices of this activator: the last step before the process ends."""
        self._withdrawn = True
        for record in list(self.published.values()):
            if record.there is not None:
                with contextlib.suppress(*Unreachable):
                    await self._slices.delete(record.name)

    def close(self) -> None:
        """Close all listeners."""
        for record in self.published.values():
            record.close()

    # --- one pool ---

    def _keys(self, name: str) -> list[PoolFamily]:
        """A pool with each family that has a slice, or that both its Service and this pod have."""
        pool = self._view.pools.get(name)
        wanted = [] if pool is None else self._families(pool)
        return [(name, f) for f in FAMILIES if f in wanted or (name, f) in self.published]

    def _families(self, pool: Pool) -> list[str]:
        return families(self._view.services.get(pool.service), self._me)

    async def _sync_family(self, key: PoolFamily) -> list[float]:
        """Update one slice; returns the delays in seconds until the next checks."""
        now = asyncio.get_running_loop().time()
        name, family = key
        pool, record = self._view.pools.get(name), self.published.get(key)
        if record is None:
            record = self.published[key] = self._new_record(key)
        record.catch_up(self._view.slices.get(record.name))
        is_native = pool is not None and self._view.native_ready(pool.service, family) > 0
        native_for = record.lasting("native", now, holds=is_native)
        is_taken = pool is not None and not pool.mine and self._view.is_taken(pool, family)
        taken_for = record.lasting("taken", now, holds=is_taken)
        deleted_for = record.lasting("deleted", now, holds=pool is not None and pool.deleted)
        is_ending = self._view.leaving or deleted_for is not None
        wanted = (
            pool is not None
            and family in self._families(pool)
            and wants_slice(pool, native_for, record.serves, taken_for)
            and (record.serves or not is_ending)  # ending: publish nothing new
            and (deleted_for is None or deleted_for < DELETED_REST)
        )
        if pool is not None and wanted and self._view.ports(pool.service):
            await self._publish(pool, key, record)
            left_for = native_for if pool.route is Route.NATIVE else None
            ends = (left_for, pool.settle), (taken_for, pool.settle), (deleted_for, DELETED_REST)
            return [max(0.05, rest - lasted) for lasted, rest in ends if lasted is not None]
        if record.serves:
            await self._empty(record, now)
        elif record.listeners and record.emptied_at is None:
            record.emptied_at = now  # another client has deleted or emptied the slice
        if pool is not None and pool.deleted:
            of = [r for f in FAMILIES if (r := self.published.get((name, f))) is not None]
            # Until kube-proxy has synced, clients still come, and its pods serve them.
            if not any(r.serves or (is_native and r.listeners) for r in of):
                self._view.drop_pool(name)
        if record.emptied_at is not None and now - record.emptied_at >= PORT_REST:
            if self._carries(name):
                return [CARRIED_REST]
            if record.there is not None:
                await self._slices.delete(record.name)
            record.close()
            del self.published[key]
        elif record.there is None and not record.listeners:
            del self.published[key]
        elif record.emptied_at is not None:
            return [max(0.05, record.emptied_at + PORT_REST - now)]
        return []

    async def _take_back(self, key: PoolFamily) -> list[float]:
        pool, record = self._view.pools.get(key[0]), self.published.get(key)
        if pool is None or self._view.leaving:
            return []
        return await self._lost.take_back(pool, key[1], None if record is None else record.there)

    async def _publish(self, pool: Pool, key: PoolFamily, record: Published) -> None:
        """Listen for the ports of the Service, and create or replace the slice that names them."""
        service, ports = self._view.services[pool.service], self._view.ports(pool.service)
        if ports != [listener.port for listener in record.listeners]:
            await record.follow(ports)
        numbers = {li.port.name: li.number for li in record.listeners if li.port in ports}
        state = "leaving" if self._view.leaving else self._lost.state(pool, key[1], record.there)
        obj = make_slice(pool, service, self._me, key[1], numbers, state=state)
        there = record.there
        if there is None:
            record.there = await self._slices.create(obj)
        elif not same_slice(obj, there):
            obj["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"]
            record.there = await self._slices.replace(obj)
        record.emptied_at = None

    async def _empty(self, record: Published, now: float) -> None:
        """Remove this activator's endpoint; the slice stays and records its ports."""
        assert record.there is not None  # noqa: S101  (it serves)
        record.there = await self._slices.replace(dict(record.there) | {"endpoints": []})
        record.emptied_at = now

    def _is_there(self, key: PoolFamily) -> bool:
        return key in self.published and self.published[key].there is not None

    async def _reread(self, key: PoolFamily) -> None:
        record = self.published.get(key)
        if record is None:
            return
        try:
            record.there = await self._slices.get(record.name)
        except NotFoundError:
            record.there = None
        except Unreachable as error:
            log.warning("%s: cannot read the slice: %s", key[0], error)


def are_complete(publishers: Sequence[Publisher]) -> bool:
    """Whether an activator has published what it has to, in all namespaces.

    A pool whose slice is rejected stays awake, since its epoch is not acknowledged; it must not
    keep other pools awake. If all slices are rejected, the pool is not the cause.
    """
    if not all(of.is_complete for of in publishers):
        return False
    return not any(of.is_refused for of in publishers) or any(of.serves for of in publishers)
