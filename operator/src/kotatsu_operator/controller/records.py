"""The record of what targets get back, a ConfigMap in each namespace, and their restore."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial

from kotatsu_operator.controller.targets.deployment import RESTORES
from kotatsu_operator.controller.targets.kinds import owed_to
from kotatsu_operator.controller.targets.target import Restore, Restores
from kotatsu_operator.core.pool.v1alpha1 import status_from
from kotatsu_operator.core.protocol import RECORD
from kotatsu_operator.core.report.record import (
    Entry,
    entry_of,
    heir,
    owed_status,
    remembered,
    settle,
    text_of,
)
from kotatsu_operator.core.report.status import moved
from kotatsu_operator.core.schema import joined
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import (
    ConflictError,
    NotFoundError,
    Unreachable,
    retry_on_conflict,
)
from kotatsu_operator.kube.objects import ConfigMap, Key, Object, WarmPool, key_of

log = logging.getLogger(__name__)

Data = dict[str, str]


class Records:
    """The records of all namespaces. Every write names the version that was read."""

    def __init__(self, kube: Kube, restores: Restores = RESTORES) -> None:
        self._kube, self._restores = kube, restores
        self._known: dict[tuple[str, str], str] = {}
        """The entries that are known to be in the record, by (namespace, uid)."""
        self._missed: set[str] = set()

    def reset(self) -> None:
        """Forget the known entries: another operator may have changed the record."""
        self._known.clear()

    async def remember(self, pool: Object, replicas: int | None = None) -> None:
        """Record what a pool's target gets back, before the target is changed.

        `replicas` is what it gets back after its first sleep, which comes next.
        """
        namespace, uid = pool["metadata"]["namespace"], pool["metadata"]["uid"]
        known = self._known.get((namespace, uid), "")
        if text_of(pool, replicas, known) == known:
            return

        def recorded(data: Data) -> Data:
            text = text_of(pool, replicas, data.get(uid, ""))
            others = {k: v for k, v in data.items() if k != uid}
            return {**others, uid: text} if text else others

        await self._edit(namespace, recorded)

    async def gone(self, pool: Object, others: Mapping[Key, Object]) -> None:
        """Handle a deletion that the watch has shown: restore the target, then remove the entry."""
        (namespace, _), uid = key_of(pool), pool["metadata"]["uid"]
        entry = entry_of(pool)
        if entry is not None:
            pools = [p for key, p in others.items() if key[0] == namespace]
            if not await self._close(namespace, entry, pools):
                return
        await self._edit(namespace, lambda data: {k: v for k, v in data.items() if k != uid})

    async def settle(self, namespace: str, pools: list[Object] | None = None) -> list[Object]:
        """Compare the record with the existing pools; restore the targets of deleted pools.

        Returns the pools: as given, or as just listed.
        """
        if pools is None:
            pools = await self._kube.find(WarmPool, namespace)
        gone: dict[str, Entry] = {}

        def settled(data: Data) -> Data:
            settlement = settle(data, pools)
            gone.clear()
            gone.update(settlement.gone)
            return settlement.data

        await self._edit(namespace, settled)
        closed = {u for u, e in gone.items() if await self._close(namespace, e, pools)}
        if closed:
            await self._edit(namespace, lambda d: {k: v for k, v in d.items() if k not in closed})
        return pools

    async def _close(self, namespace: str, entry: Entry, pools: list[Object]) -> bool:
        """Do what onDelete says; return False if it has to be tried again."""
        taken = heir(entry, pools)
        if taken is not None:
            # The pool was deleted and created again: the new one inherits what it cannot observe.
            known = remembered(status_from(taken.get("status") or {}))
            inherited = {name: value for name, value in entry.owed.items() if name not in known}
            for name, made in self._restores.items():
                if name in known and name in entry.owed:
                    both = made.inherited(known[name], entry.owed[name])
                    inherited |= {} if both in (None, known[name]) else {name: both}
            if inherited:
                name, version = taken["metadata"]["name"], taken["metadata"]["resourceVersion"]
                try:
                    patch = joined(moved(taken.get("status") or {}), owed_status(inherited))
                    await self._kube.patch_status(namespace, name, patch, version)
                except (ConflictError, NotFoundError):
                    return False
                log.info("%s/%s takes over the target %s", namespace, name, entry.target)
            return True
        return await restore(self._kube, namespace, entry, self._restores)

    async def _edit(self, namespace: str, change: Callable[[Data], Data]) -> None:
        async def attempt() -> Data:
            obj = await self._kube.get(ConfigMap, namespace, RECORD)
            before = dict(obj.get("data") or {})
            after = change(before)
            if after != before:
                await self._kube.replace(ConfigMap, namespace, {**obj, "data": after})
            return after

        try:
            entries = await retry_on_conflict(attempt)
        except ConflictError:
            log.warning("ConfigMap %s/%s changes all the time: trying later", namespace, RECORD)
            return
        except NotFoundError:
            entries = change({})
            if namespace not in self._missed:
                log.warning(
                    "there is no ConfigMap %s/%s: if a WarmPool is deleted while no operator runs, "
                    "its sleeping target stays asleep; `helm upgrade` creates the ConfigMap",
                    *(namespace, RECORD),
                )
            self._missed.add(namespace)
        else:
            self._missed.discard(namespace)
            self._known = {k: v for k, v in self._known.items() if k[0] != namespace}
        self._known.update({(namespace, uid): text for uid, text in entries.items()})


_TRIES = 10
_PAUSE = 2.0


async def restore(kube: Kube, namespace: str, entry: Entry, restores: Restores = RESTORES) -> bool:
    """Restore a deleted pool's target with retries; return False if it must be tried again later.

    This is idempotent: replicas are only raised from exactly 0, at the version that was read.
    """
    given = owed_to(entry, restores).items()
    return all([await _patiently(kube, namespace, entry, *one) for one in given])


async def _patiently(kube: Kube, namespace: str, entry: Entry, name: str, restore: Restore) -> bool:
    where = (namespace, entry.pool)
    for _ in range(_TRIES):
        try:
            came = await retry_on_conflict(partial(restore.step, kube, namespace, entry))
        except ConflictError as error:
            log.warning("%s/%s was deleted; its target changes all the time: %s", *where, error)
            break
        except NotFoundError as error:
            came = f"its target is deleted too: {error}"
        except Unreachable as error:
            log.warning("%s/%s was deleted; its target is restored later: %s", *where, error)
            await asyncio.sleep(_PAUSE)
            continue
        if came:
            log.info("%s/%s was deleted: %s", *where, came)
        return True
    owed = entry.owed[name]
    by_hand = restore.by_hand.format(owed, **(owed if isinstance(owed, dict) else {}))
    log.error("%s/%s was deleted, but its target is not restored: %s", *where, by_hand)
    return False
