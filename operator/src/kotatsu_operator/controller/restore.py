"""What targets get back when pools are deleted or have another target, and its record.

The record is several ConfigMaps in the namespace of the release.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from kotatsu_operator.controller import target
from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.pages import Coalesced
from kotatsu_operator.controller.target import Kinds, Tools
from kotatsu_operator.core.budget.limit import Ends
from kotatsu_operator.core.formats import table
from kotatsu_operator.core.give_back import FAILED, give_back
from kotatsu_operator.core.pool.memory import Phase, Route
from kotatsu_operator.core.pool.route import all_pass
from kotatsu_operator.core.report import record
from kotatsu_operator.core.report.record import Entry, Place
from kotatsu_operator.kube import errors
from kotatsu_operator.kube.client import EVERYWHERE, Kube
from kotatsu_operator.kube.cluster import Cluster
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable
from kotatsu_operator.kube.objects import ConfigMap, Key, Object, WarmPool, key_of, ref

log = logging.getLogger(__name__)

Data = dict[str, str]
Change = Callable[[Data], Data]

AT_ONCE = 20
"""Targets of deleted pools that are restored at once."""


class Records:
    """The record of an install. Every write names the version that was read."""

    def __init__(self, kube: Kube, home: str) -> None:
        """`home` is the namespace of the release."""
        self._kube, self._home = kube, home
        self._known: dict[Place, Data] = {}
        """The entries that are known to be in the record."""
        self._missed: set[Place] = set()
        """Parts that cannot be created, of which it was said."""
        self._full: set[str] = set()
        """Namespaces without room for a further entry, of which it was said."""
        self._changes: dict[Place, list[Change]] = defaultdict(list)
        self._edits: dict[Place, Coalesced[None]] = {}
        self._gate = asyncio.Semaphore(AT_ONCE)

    def reset(self) -> None:
        """Forget the known entries: another operator may have changed the record."""
        self._known.clear()

    def place_of(self, namespace: str) -> Place:
        """Where the entries of a namespace are."""
        return record.place_of(namespace, self._home)

    async def remember(self, pool: Object) -> None:
        """Record what a pool's target gets back; nothing of a pool that is not served."""
        key, uid = key_of(pool), pool["metadata"]["uid"]
        place = self.place_of(key[0])
        known = self._known.get(place, {}).get(uid, "")

        text = record.text_of(pool) if place.takes(pool) else ""
        if text == known:
            return

        def recorded(data: Data) -> Data:
            after = record.recorded(data, uid, text, key[0])
            if after is None and key[0] not in self._full:
                self._full.add(key[0])
                log.warning(
                    "namespace %s has no room left in ConfigMap %s/%s: if a WarmPool is deleted "
                    "while no operator runs, its sleeping target stays asleep",
                    *(key[0], place.home, place.name),
                )
            return data if after is None else after

        await self._edit(place, recorded)

    async def gone(self, pool: Object, others: Mapping[Key, Object]) -> None:
        """Handle a deletion that the watch has shown: restore the target, then remove the entry."""
        (namespace, _), uid = key_of(pool), pool["metadata"]["uid"]
        entry = record.entry_of(pool)
        if entry is not None:
            pools = [p for key, p in others.items() if key[0] == namespace]
            if not await self._close(entry, pools):
                return
        await self._drop(self.place_of(namespace), {uid})

    async def settle(self, pools: list[Object] | None = None) -> list[Object]:
        """Compare the record with the existing pools; restore the targets of deleted pools.

        Returns all pools: as given, or as just listed.
        """
        if pools is None:
            pools = await self._kube.find(WarmPool, EVERYWHERE)
        of: dict[Place, list[Object]] = defaultdict(list)
        for pool in pools:
            of[self.place_of(pool["metadata"]["namespace"])].append(pool)
        places = record.parts_of(self._home)
        await asyncio.gather(*(self._settle(place, of[place]) for place in places))
        return pools

    async def _settle(self, place: Place, pools: list[Object]) -> None:
        """Compare a part of the record, and restore the targets of deleted pools."""
        gone: dict[str, Entry] = {}

        def settled(data: Data) -> Data:
            settlement = record.settle(place, data, pools)
            gone.clear()
            gone.update(settlement.gone)
            return settlement.data

        async def close(entry: Entry) -> bool:
            async with self._gate:
                return await self._close(entry, pools)

        await self._edit(place, settled)
        is_closed = await asyncio.gather(*map(close, gone.values()))
        await self._drop(place, {uid for uid, done in zip(gone, is_closed, strict=True) if done})

    async def _close(self, entry: Entry, pools: list[Object]) -> bool:
        """Restore the target; return False if it has to be tried again."""
        taken = record.heir(entry, pools)
        if taken is not None:
            # The pool was deleted and created again: the new one inherits what it cannot observe.
            known = record.remembered(table(taken.get("status")))
            inherited = record.inherited(known, entry.owed)
            if inherited:
                meta = taken["metadata"]
                key, version = (meta["namespace"], meta["name"]), meta["resourceVersion"]
                try:
                    await self._kube.patch_status(*key, record.owed_status(inherited), version)
                except (ConflictError, NotFoundError):
                    return False
                log.info("%s/%s takes over the target %s", *key, entry.target)
            return True
        return await restore(self._kube, entry)

    async def _drop(self, place: Place, uids: Collection[str]) -> None:
        if uids:
            await self._edit(place, lambda d: {k: v for k, v in d.items() if k not in uids})

    async def _edit(self, place: Place, change: Change) -> None:
        """Change a part of the record, in one write with all changes of it that wait."""
        self._changes[place].append(change)
        if place not in self._edits:
            self._edits[place] = Coalesced(partial(self._write, place))
        await self._edits[place]()

    async def _write(self, place: Place) -> None:
        changes = self._changes.pop(place, [])

        def changed(data: Data) -> Data:
            for change in changes:
                data = change(data)
            return data

        async def attempt() -> Data:
            try:
                obj = await self._kube.get(ConfigMap, place.home, place.name)
            except NotFoundError:
                return await self._create(place, changed({}))
            before = dict(obj.get("data") or {})
            after = changed(before)
            if after != before:
                await self._kube.replace(ConfigMap, place.home, {**obj, "data": after})
            return after

        at = place.home, place.name
        try:
            self._known[place] = await errors.retry_on_conflict(attempt)
        except (ConflictError, NotFoundError):
            log.warning("ConfigMap %s/%s changes all the time: trying later", *at)

    async def _create(self, place: Place, data: Data) -> Data:
        """Create a part of the record when there is something to record."""
        if data:
            metadata = {"namespace": place.home, "name": place.name}
            try:
                await self._kube.apply(ConfigMap, {"metadata": metadata, "data": data})
            except Unreachable as error:
                if not errors.is_refusal(error):
                    raise
                if place not in self._missed:
                    log.warning(
                        "ConfigMap %s/%s cannot be created (%s): if a WarmPool is deleted while no "
                        "operator runs, its sleeping target stays asleep",
                        *(place.home, place.name, error),
                    )
                self._missed.add(place)
        return data


_TRIES = 10
_PAUSE = 2.0


async def restore(kube: Kube, entry: Entry) -> bool:
    """Restore a deleted pool's target with retries; return False if it must be tried later."""
    for tries_left in range(_TRIES - 1, -1, -1):
        steps = await give_back(Cluster(kube), entry)
        for step in steps:
            is_over = step.error is not None and not tries_left
            failure = logging.ERROR if is_over else logging.WARNING
            level = failure if step.result == FAILED else logging.INFO
            log.log(level, "%s/%s was deleted: %s", entry.namespace, entry.pool, step.message)
        if all(step.error is None for step in steps):
            return True
        if tries_left:
            await asyncio.sleep(_PAUSE)
    return False


# --- a former target ---
#
# The target that a pool had before its spec named another one is given back first. Until then the
# status says which target the pool has. Activators go on to wake it, and another pool cannot take
# it.

LEFT_WITHIN = timedelta(seconds=60)
"""How long a target that was given back may take to be Ready, with the activators gone from its
Service: it may never be."""

LOOK_AGAIN = timedelta(seconds=1)
"""How often it is asked whether it is."""

_REMEMBERED = (*record.OWED, "keepsOne", "target", "parkedSince")
"""What is remembered and says nothing of another target."""

_LEFT = record.owed_status(dict.fromkeys(_REMEMBERED)) | dict.fromkeys(("phase", "phaseSince"))


@dataclass
class Former:
    """Gives former targets back."""

    tools: Tools
    cache: Cache
    kinds: Kinds
    _since: dict[Key, datetime] = field(default_factory=dict)
    """When each was given back that is awaited."""
    _in_front: dict[Key, datetime] = field(default_factory=dict)
    """When activators were last seen in front of each."""

    def forget(self, key: Key) -> None:
        self._since.pop(key, None)
        self._in_front.pop(key, None)

    def reset(self) -> None:
        """Remove all state, which gets outdated while another operator leads."""
        self._since.clear()
        self._in_front.clear()

    async def leave(
        self,
        pool: Object,
        settle: timedelta,
        now: datetime,
        left: Object = _LEFT,
        purpose: str = "the pool can have another one",
    ) -> datetime | target.Refused:
        """Give the target back, then write the status `left`; return when to reconcile again.

        Its Service gets its own pods back before: an activator forwards what a node still sends it
        after `settle` to the next target. Refused if it cannot be given back. Raises ConflictError
        or one of `Unreachable`.
        """
        key, entry = key_of(pool), record.entry_of(pool)
        if entry is not None:
            why = await self._give_back(key, entry, is_suspended=bool(pool["spec"].get("suspend")))
            if why:
                text = (
                    f"the former target {entry.kind} {entry.target} must be restored before "
                    f"{purpose}; {why}"
                )
                return target.Refused("FormerTarget", text, Ends.NOTHING, counts=False)
            since = self._since.setdefault(key, now)
            if now - since < LEFT_WITHIN and await self._is_awaited(pool, entry, settle, now):
                return now + LOOK_AGAIN
        pool = await self._write(pool, left)
        self.forget(key)
        await self.tools.remember(pool)
        return now + target.RETRY

    async def _write(self, pool: Object, status: Object) -> Object:
        version = pool["metadata"]["resourceVersion"]
        pool = await self.tools.kube.patch_status(*key_of(pool), status, version)
        self.cache.keep_pool(pool)
        return pool

    async def _is_awaited(
        self, pool: Object, entry: Entry, settle: timedelta, now: datetime
    ) -> bool:
        """Whether its pods are not Ready yet, or connections may still reach an activator."""
        key, route = key_of(pool), table(table(pool.get("status")).get("route"))
        if self._starts(key[0], entry):
            return True
        if all_pass(pool) and "takenService" not in entry.owed:
            return False  # its Service selects no pod
        if route.get("target") == Route.ACTIVATOR:
            home = {"phase": Phase.WARM.value, "route": {"target": Route.NATIVE.value}}
            await self._write(pool, home)
        if route.get("target") == Route.ACTIVATOR or self.cache.activators.is_in_front(key):
            self._in_front[key] = now
        return key in self._in_front and now - self._in_front[key] < settle

    async def _give_back(self, key: Key, entry: Entry, *, is_suspended: bool) -> str:
        """Do what a deletion of the pool would do; return why it is not done."""
        kube = self.tools.kube
        if is_suspended:
            return "the pool is suspended: set spec.suspend to false"
        if entry.kind not in (*self.kinds, *kube.scaled):
            return f"{entry.kind} is not among the chart value `targets` any more: add it"
        for step in await give_back(Cluster(kube), entry):
            if step.error is not None and errors.is_refusal(step.error):
                return f"the API server rejects it: {step.message}"
            if step.error is not None:
                raise step.error
            if key not in self._since:
                log.info("%s/%s has another target now: %s", *key, step.message)
        return ""

    def _starts(self, namespace: str, entry: Entry) -> bool:
        """Whether pods of a target start that was at 0."""
        place = namespace, ref(entry.kind, entry.target)
        workload = self.cache.workloads.get(place)
        if workload is None or not entry.owed.get("foundReplicas"):
            return False
        pods = self.cache.target_pods(namespace, self.cache.selector_of(place) or {})
        return not any(pod.ready and not pod.terminating for pod in pods)
