"""The record of what targets get back: kept in a ConfigMap, and settled with what is there."""

import logging
from collections.abc import Callable, Mapping

from kotatsu_operator.controller.restore.steps import restore
from kotatsu_operator.core.decide.knative import inherit
from kotatsu_operator.core.protocol import RECORD
from kotatsu_operator.core.report.record import Entry, entry_of, heir, settle, told_of
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError
from kotatsu_operator.kube.knative import kept_status, read_kept
from kotatsu_operator.kube.objects import Key, key_of
from kotatsu_operator.kube.resources import ConfigMap, Object, WarmPool

log = logging.getLogger(__name__)


_TRIES = 10

Data = dict[str, str]


class Records:
    """The records of all namespaces. Every write names the version it read."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._known: dict[tuple[str, str], str] = {}
        """What is known to stand in the record, by (namespace, uid)."""
        self._missed: set[str] = set()

    def reset(self) -> None:
        """Forget what is known to be written: another operator may have been at it."""
        self._known.clear()

    async def remember(self, pool: Object, replicas: int | None = None) -> None:
        """Write down what a pool owes, before it is changed; free when that stands already.

        `replicas` is what the target gets back after a first sleep that is about to come.
        """
        namespace, uid = pool["metadata"]["namespace"], pool["metadata"]["uid"]
        known = self._known.get((namespace, uid), "")
        if told_of(pool, replicas, known) == known:
            return

        def told(data: Data) -> Data:
            text = told_of(pool, replicas, data.get(uid, ""))
            return {**data, uid: text} if text else data

        await self._edit(namespace, told)

    async def gone(self, pool: Object, others: Mapping[Key, Object]) -> None:
        """A pool was deleted while we watched: give its target back, and strike it out."""
        (namespace, _), uid = key_of(pool), pool["metadata"]["uid"]
        entry = entry_of(pool)
        if entry is not None:
            pools = [p for key, p in others.items() if key[0] == namespace]
            if not await self._close(namespace, entry, pools):
                return
        await self._edit(namespace, lambda data: {k: v for k, v in data.items() if k != uid})

    async def settle(self, namespace: str) -> list[Object]:
        """Compare with the pools there are now; whose pool is gone is given back its target.

        Returns the pools as listed afresh.
        """
        pools = await self._kube.find(WarmPool, namespace)
        gone: dict[str, Entry] = {}

        def told(data: Data) -> Data:
            settlement = settle(data, pools)
            gone.clear()
            gone.update(settlement.gone)
            return settlement.data

        await self._edit(namespace, told)
        closed = {u for u, e in gone.items() if await self._close(namespace, e, pools)}
        if closed:
            await self._edit(namespace, lambda d: {k: v for k, v in d.items() if k not in closed})
        return pools

    async def _close(self, namespace: str, entry: Entry, pools: list[Object]) -> bool:
        """Do what onDelete says; False when it has to be tried again."""
        taken = heir(entry, pools)
        if taken is not None:
            # Deleted and made anew: the newer pool inherits what it could not have seen itself.
            known = taken.get("status") or {}
            inherited = {name: value for name, value in entry.owed.items() if name not in known}
            if "knative" in known and "knative" in entry.owed:
                mine, theirs = read_kept(known), read_kept(entry.owed)
                if (both := inherit(mine, theirs)) != mine:
                    inherited["knative"] = kept_status(both)
            if inherited:
                name, version = taken["metadata"]["name"], taken["metadata"]["resourceVersion"]
                try:
                    await self._kube.patch_status(namespace, name, inherited, version)
                except (ConflictError, NotFoundError):
                    return False
                log.info("%s/%s inherits the target %s", namespace, name, entry.target)
            return True
        return await restore(self._kube, namespace, entry)

    async def _edit(self, namespace: str, change: Callable[[Data], Data]) -> None:
        for _ in range(_TRIES):
            try:
                obj = await self._kube.get(ConfigMap, namespace, RECORD)
                before = dict(obj.get("data") or {})
                after = change(before)
                if after != before:
                    await self._kube.replace(ConfigMap, namespace, {**obj, "data": after})
            except ConflictError:
                continue
            except NotFoundError:
                told = change({})
                self._known.update({(namespace, uid): text for uid, text in told.items()})
                if namespace not in self._missed:
                    log.warning(
                        "there is no ConfigMap %s/%s: what sleeps when its WarmPool is deleted "
                        "while no operator runs stays asleep; `helm upgrade` makes it again",
                        *(namespace, RECORD),
                    )
                self._missed.add(namespace)
                return
            self._missed.discard(namespace)
            self._known = {k: v for k, v in self._known.items() if k[0] != namespace}
            self._known.update({(namespace, uid): text for uid, text in after.items()})
            return
        log.warning("ConfigMap %s/%s changes all the time; again later", namespace, RECORD)
