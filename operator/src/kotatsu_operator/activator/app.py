"""The activator's process: the watches, the rooms of the namespaces, and an end in order."""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from kotatsu_operator.activator.feature import FeatureOf
from kotatsu_operator.activator.limits import ConnectionLimit
from kotatsu_operator.activator.metrics import ActivatorMetrics
from kotatsu_operator.activator.pool import PodIdentity, Pool, pool_view
from kotatsu_operator.activator.publisher import are_complete
from kotatsu_operator.activator.room import Room, RoomContext
from kotatsu_operator.activator.slices import Gone
from kotatsu_operator.activator.sockets import PATIENCE
from kotatsu_operator.core.protocol import ACTIVATOR_LABELS, set_of_pod
from kotatsu_operator.kube.client import EVERYWHERE, Kube
from kotatsu_operator.kube.informer import Pods, Watch
from kotatsu_operator.kube.objects import KINDS, Object, key_of, resource_of
from kotatsu_operator.kube.views import is_ours, pod_view, slice_view

log = logging.getLogger(__name__)

SWEEP_EVERY = 10.0
QUIET_FOR = 6.0
"""Seconds that an ending activator stays after its slices are marked: kube-proxy syncs in that
time."""

ENTERED_AT_ONCE = 4
"""Namespaces that come into use and are listed at the same time."""


class Activator:
    """The work of one activator pod. All collaborators are passed in.

    It has a room in each namespace with a pool of its set.
    """

    def __init__(
        self,
        kube: Kube,
        me: PodIdentity,
        metrics: ActivatorMetrics,
        limit: ConnectionLimit | None = None,
        features: Sequence[FeatureOf] = (),
        read: Callable[[Object], Pool] = pool_view,
    ) -> None:
        self._kube, self._me, self._read = kube, me, read
        self._peers = Pods()
        limit = ConnectionLimit() if limit is None else limit
        self._retained = limit.retained
        self._retained.on_change = self._weighed
        self._shared = RoomContext(kube, me, metrics, limit, features, read, self._peers)
        self.rooms: dict[str, Room] = {}
        further = {name: resource_of(kind) for name, kind in kube.scaled.items()}
        self._watches = {
            name: Watch(
                kube,
                kind,
                EVERYWHERE if me.is_shared else me.namespace,
                partial(self._on_change, name),
                keeps=partial(self._keeps, name),
            )
            for name, kind in {**KINDS, **further}.items()
        }
        self._early: dict[str, dict[str, Pool]] = defaultdict(dict)
        """Pools on the first list of WarmPools, in namespaces without a room so far."""
        self._listed: set[str] = set()
        """Kinds that were listed once."""
        self._pools_listed = asyncio.Event()
        self._entering = asyncio.Semaphore(ENTERED_AT_ONCE)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """The work of each room."""
        self._was_complete = False
        self._leaving = False

    def why_not_ready(self) -> str:
        """Empty if all pools that need this activator are published; otherwise a sentence.

        Called from any thread. Later, a namespace that comes into use does not count until it is
        published: the other ones need this activator.
        """
        rooms = [room for room in list(self.rooms.values()) if not room.view.is_full]
        if not self._was_complete and not self._has_read(rooms):
            return "still reading the cluster"
        if self._leaving:
            return "ending"
        publishers = [room.publisher for room in rooms]
        if self._was_complete:
            publishers = [of for of in publishers if of.has_synced]
        if are_complete(publishers):
            self._was_complete = True
            return ""
        return "some slices are not published yet"

    def _has_read(self, rooms: Iterable[Room]) -> bool:
        return self._listed >= KINDS.keys() and all(room.adopted for room in rooms)

    def asked(self, pools: Iterable[str]) -> None:
        """Record that the operator looks at pools (step 4), before it is answered.

        They are named NAMESPACE/NAME. Called from any thread.
        """
        for pool in pools:
            namespace, _, name = pool.rpartition("/")
            room = self.rooms.get(namespace)
            if room is not None:
                room.asked(name)

    async def run(self, stop: asyncio.Event, drain_timeout: float) -> None:
        """Run until `stop` is set, then drain for at most `drain_timeout` seconds and end."""
        endless: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._watch()),
            asyncio.create_task(self._look_after()),
        ]
        ended = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([ended, *endless], return_when=asyncio.FIRST_COMPLETED)
            for task in endless:
                if task.done():
                    task.result()  # a failed task ends the process, which then restarts
            await self._leave(drain_timeout)
        finally:
            tasks = [ended, *endless, *self._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for room in self.rooms.values():
                await room.close()

    async def _watch(self) -> None:
        """Watch all kinds, WarmPools first: they say which namespaces matter."""
        await asyncio.gather(*(self._follow(*one) for one in self._watches.items()))

    async def _follow(self, kind: str, watch: Watch) -> None:
        if kind != "WarmPool":
            await self._pools_listed.wait()
        await watch.run()

    # --- rooms ---

    def _open(self, namespace: str) -> Room:
        """The room of a namespace. One that is made later lists the namespace by itself."""
        room = self.rooms.get(namespace)
        if room is None:
            room = self.rooms[namespace] = Room(namespace, self._shared)
            if self._pools_listed.is_set():
                room.entering |= self._watches.keys()
            if self._leaving:
                room.leave()
            for pool in self._early.pop(namespace, {}).values():
                room.view.keep_pool(pool)
            self._tasks[namespace] = asyncio.create_task(self._attend(room))
        return room

    def _weighed(self, namespace: str) -> None:
        """A namespace has become too large, or is tried again."""
        room, task = self.rooms.get(namespace), self._tasks.get(namespace)
        if room is None:
            return
        if room.view.is_full:
            if task is not None:
                task.cancel()
            # Not now: a change of its objects is being stored.
            asyncio.get_running_loop().call_soon(room.view.empty)
        else:
            room.entering |= self._watches.keys()
            self._tasks[namespace] = asyncio.create_task(self._attend(room))

    async def _attend(self, room: Room) -> None:
        namespace = room.view.namespace
        if room.view.is_full:
            return
        async with asyncio.TaskGroup() as further:
            if room.entering:
                # No room waits for the kinds of `targets`: the cluster may not have one of them.
                for kind in self._watches.keys() - KINDS.keys():
                    entering = self._watches[kind].enter(namespace)
                    further.create_task(entering, name=f"{kind} in {namespace}")
                async with self._entering:
                    for kind in KINDS:
                        await self._watches[kind].enter(namespace)
            await room.run()

    async def _close(self, namespace: str) -> None:
        """Give up a room in which nothing is left. A pool that comes meanwhile gets a new one."""
        log.info("no pool of namespace %s is served any more", namespace)
        room, task = self.rooms.pop(namespace), self._tasks.pop(namespace)
        room.forget()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await room.close()

    async def _look_after(self) -> None:
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            gone: Gone = {}
            for namespace, room in list(self.rooms.items()):
                await room.sweep(gone)
                await asyncio.sleep(0)  # a thousand namespaces delay no connection
                if not room.is_needed:
                    await self._close(namespace)
            if loop.time() - looked >= PATIENCE:
                looked = loop.time()
                for room in self.rooms.values():
                    room.look_after()

    async def _leave(self, drain_timeout: float) -> None:
        """Mark the endpoints as terminating, drain connections, and delete the slices last."""
        log.info("ending: waiting for held and joined connections")
        self._leaving = True
        for room in self.rooms.values():
            room.leave()
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() - began < drain_timeout:
            if loop.time() - began >= QUIET_FOR and not self._is_needed():
                break
            await asyncio.sleep(0.1)
        await asyncio.gather(*(room.publisher.withdraw() for room in self.rooms.values()))

    def _is_needed(self) -> bool:
        """Whether connections are left, or a pool whose only endpoint this activator is."""
        rooms = self.rooms.values()
        return any(room.busy for room in rooms) or any(r.publisher.is_needed for r in rooms)

    # --- what the watches show ---

    def _keeps(self, kind: str, obj: Object) -> bool:
        """Whether an object is read: of namespaces with a room, and what makes one."""
        if kind == "WarmPool" or (kind == "Pod" and self._is_peer(obj)):
            return True
        namespace = key_of(obj)[0]
        if namespace in self._retained.full:
            return False
        return namespace in self.rooms or (kind == "EndpointSlice" and self._is_mine(obj))

    def _is_mine(self, obj: Object) -> bool:
        """Whether this pod has published a slice, before its process started anew."""
        return is_ours(obj) and slice_view(obj).pod_uid == self._me.uid

    def _is_peer(self, obj: Object) -> bool:
        """Whether a pod is an activator of the same set."""
        if key_of(obj)[0] != self._me.namespace:
            return False  # most pods of the cluster
        labels = obj["metadata"].get("labels") or {}
        is_activator = ACTIVATOR_LABELS.items() <= labels.items()
        return is_activator and set_of_pod(self._me.namespace, labels) == self._me.activators

    def _on_change(self, kind: str, scope: str, change: str, obj: Object) -> None:
        """Show a change to the rooms that it concerns."""
        if change not in ("PART", "LIST"):
            self._show(kind, key_of(obj)[0], change, obj)
            return
        items, before = _by_namespace(obj["items"]), _by_namespace(obj.get("before", ()))
        for namespace, some in items.items():
            self._show(kind, namespace, "PART", {"items": some})
        if change == "LIST":
            if kind == "Pod" and scope in (EVERYWHERE, self._me.namespace):
                self._forget_peers([*obj["items"], *obj.get("before", ())])
            for namespace in [scope] if scope != EVERYWHERE else list(self.rooms):
                there = [*items.get(namespace, ()), *before.get(namespace, ())]
                self._end_list(kind, scope, namespace, there)
            self._listed.add(kind)
            if kind == "WarmPool":
                self._pools_listed.set()
                self._early.clear()

    def _show(self, kind: str, namespace: str, change: str, obj: Object) -> None:
        found = obj["items"] if change == "PART" else [obj]
        if kind == "Pod":
            for pod in filter(self._is_peer, found):
                self._change_peer(key_of(pod)[1], None if change == "DELETED" else pod)
        elif change != "DELETED" and namespace not in self.rooms:
            self._note_need(kind, namespace, found)
        room = self.rooms.get(namespace)
        if room is not None:
            room.view.on_change(kind)(change, obj)

    def _end_list(self, kind: str, scope: str, namespace: str, there: list[Object]) -> None:
        """Forget what a list does not have. A room that is yet to be entered may miss a part."""
        room = self.rooms.get(namespace)
        if room is None or (scope == EVERYWHERE and kind in room.entering):
            return
        room.entering.discard(kind)
        room.view.on_change(kind)("LIST", {"items": [], "before": there})

    def _note_need(self, kind: str, namespace: str, found: Iterable[Object]) -> None:
        """Open a room for a pool that is this activator's, or that it has published before."""
        if kind == "EndpointSlice":
            self._open(namespace)  # others are not kept
        if kind != "WarmPool":
            return
        pools: dict[str, Pool] = {}
        for obj in found:
            with contextlib.suppress(Exception):  # the room logs it, if there is ever one
                pools[key_of(obj)[1]] = self._read(obj)
        if not self._pools_listed.is_set():
            self._early[namespace] |= pools
        if any(pool.mine for pool in pools.values()):
            self._open(namespace)

    def _change_peer(self, name: str, obj: Object | None) -> None:
        before, now = self._peers.pop(name, None), None if obj is None else pod_view(obj)
        if now is not None:
            self._peers[name] = now
        for room in self.rooms.values():
            room.view.note_peer(before, now)

    def _forget_peers(self, listed: Iterable[Object]) -> None:
        home = self._me.namespace
        there = {name for namespace, name in map(key_of, listed) if namespace == home}
        for name in self._peers.keys() - there:
            self._change_peer(name, None)


def _by_namespace(objects: Iterable[Object]) -> dict[str, list[Object]]:
    found: dict[str, list[Object]] = defaultdict(list)
    for obj in objects:
        found[key_of(obj)[0]].append(obj)
    return found
