"""The target that a pool had before its spec named another one: it is given back first.

Until then the status says which target the pool has. Activators go on to wake it, and another pool
cannot take it.
"""

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from kotatsu_operator.controller.cache.store import Cache
from kotatsu_operator.controller.targets.deployment import why_at_0
from kotatsu_operator.controller.targets.kinds import Kinds, Refused, owed_to
from kotatsu_operator.controller.targets.target import RETRY, Restores, Tools
from kotatsu_operator.core.budget.limit import Ends
from kotatsu_operator.core.decide.refusal import Refusal
from kotatsu_operator.core.formats import table
from kotatsu_operator.core.pool.memory import Phase, Route
from kotatsu_operator.core.pool.spec import RouteMode
from kotatsu_operator.core.report.record import OWED, Entry, entry_of, owed_status
from kotatsu_operator.kube.errors import NotFoundError, Unreachable, is_refusal, retry_on_conflict
from kotatsu_operator.kube.objects import Key, Object, key_of, ref

log = logging.getLogger(__name__)

LEFT_WITHIN = timedelta(seconds=60)
"""How long a target that was given back may take to be Ready, with the activators gone from its
Service: it may never be."""

LOOK_AGAIN = timedelta(seconds=1)
"""How often it is asked whether it is."""

_REMEMBERED = (*OWED, "foundReplicas", "target", "parkedSince")
"""What is remembered and says nothing of another target."""


@dataclass
class Former:
    """Gives former targets back."""

    tools: Tools
    cache: Cache
    kinds: Kinds
    restores: Restores
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

    async def leave(self, pool: Object, settle: timedelta, now: datetime) -> datetime | Refused:
        """Give the target back, then remove it from the status; return when to reconcile again.

        Its Service gets its own pods back before: an activator forwards what a node still sends it
        after `settle` to the next target. Refused if it cannot be given back. Raises ConflictError
        or one of `Unreachable`.
        """
        key, entry = key_of(pool), entry_of(pool)
        if entry is not None:
            why = await self._give_back(key, entry, is_suspended=bool(pool["spec"].get("suspend")))
            if why:
                return _refused(entry, why)
            since = self._since.setdefault(key, now)
            if now - since < LEFT_WITHIN and await self._is_awaited(pool, entry, settle, now):
                return now + LOOK_AGAIN
        gone = owed_status(dict.fromkeys(_REMEMBERED)) | dict.fromkeys(("phase", "phaseSince"))
        pool = await self._write(pool, gone)
        self.forget(key)
        await self.tools.remember(pool, None)
        return now + RETRY

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
        if pool["spec"].get("route") == RouteMode.ALWAYS and "takenService" not in entry.owed:
            return False  # its Service selects no pod
        if route.get("target") == Route.ACTIVATOR:
            home = {"phase": Phase.WARM.value, "route": {"target": Route.NATIVE.value}}
            await self._write(pool, home)
        if route.get("target") == Route.ACTIVATOR or self.cache.is_in_front(key):
            self._in_front[key] = now
        return key in self._in_front and now - self._in_front[key] < settle

    async def _give_back(self, key: Key, entry: Entry, *, is_suspended: bool) -> str:
        """Do what a deletion of the pool would do; return why it is not done."""
        kube = self.tools.kube
        if is_suspended:
            return "the pool is suspended: set spec.suspend to false"
        if entry.kind not in (*self.kinds, *kube.scaled):
            return f"{entry.kind} is not among the chart value `targets` any more: add it"
        for restore in owed_to(entry, self.restores).values():
            try:
                came = await retry_on_conflict(partial(restore.step, kube, key[0], entry))
            except NotFoundError as error:
                came = f"it is deleted: {error}"
            except Unreachable as error:
                if not is_refusal(error):
                    raise
                return f"the API server rejects it: {error}"
            if came and key not in self._since:
                log.info("%s/%s has another target now: %s", *key, came)
        return ""

    def _starts(self, namespace: str, entry: Entry) -> bool:
        """Whether pods of a target start that was at 0."""
        place = namespace, ref(entry.kind, entry.target)
        workload = self.cache.workloads.get(place)
        if workload is None or why_at_0(entry):
            return False
        pods = self.cache.target_pods(namespace, self.cache.selector_of(place) or {})
        return not any(pod.ready and not pod.terminating for pod in pods)


def _refused(entry: Entry, why: str) -> Refused:
    of = Refusal(
        "FormerTarget",
        f"the former target {entry.kind} {entry.target} must be restored before the pool can have "
        f"another one; {why}",
    )
    return Refused(of.reason, of.message, Ends.NOTHING, counts=False)
