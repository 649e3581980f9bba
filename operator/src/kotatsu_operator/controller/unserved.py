"""Pools in namespaces that this install does not serve: those that it has served are left."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from kotatsu_operator.controller.namespaces import Namespaces
from kotatsu_operator.controller.restore import Former
from kotatsu_operator.controller.target import Refused, Tools, refused_conditions
from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.budget.limit import Ends
from kotatsu_operator.core.claims import NEVER
from kotatsu_operator.core.formats import conditions_of, table
from kotatsu_operator.core.report.conditions import date_conditions
from kotatsu_operator.core.report.status import Status, left_status
from kotatsu_operator.kube.objects import Object, key_of

LOOK_AGAIN = timedelta(seconds=30)
"""When a pool is looked at again that cannot be left."""


@dataclass(frozen=True)
class Unserved:
    """Leaves pools, and tells their owners why nothing happens."""

    tools: Tools
    namespaces: Namespaces
    former: Former
    settle: timedelta
    """How long a change of endpoints takes to reach every node."""
    shows: Callable[[str], bool]

    async def look(self, pool: Object, now: datetime) -> datetime | None:
        """Do what is left to do; return when to look again, None if that is nothing.

        Raises ConflictError, NotFoundError or one of `Unreachable`.
        """
        namespace = key_of(pool)[0]
        if not self.namespaces.exists(namespace):
            return None  # what is in it is deleted with it
        if not self.namespaces.has(pool):
            await self._explain(pool, now)
            return None
        if not self.shows(namespace):
            return now + LOOK_AGAIN  # it is touched when it has been listed
        return await self._leave(pool, now)

    async def _leave(self, pool: Object, now: datetime) -> datetime:
        """Give the target back, then clear the status."""
        conditions = self._conditions(pool, self._why(key_of(pool)[0]), now)
        left = left_status(pool.get("status") or {}) | {"conditions": conditions}
        done = await self.former.leave(pool, self.settle, now, left, "its namespace can be left")
        if isinstance(done, datetime):
            return done
        await self._write(pool, f"{self._why(key_of(pool)[0])}; {done.message}", now)
        return now + LOOK_AGAIN

    async def _explain(self, pool: Object, now: datetime) -> None:
        """Say once that nobody serves a pool, unless another install has said anything of it."""
        namespace, status = key_of(pool)[0], table(pool.get("status"))
        is_nobodys = self.namespaces.holder(namespace) is None and not namespace.startswith(NEVER)
        if is_nobodys and not status.keys() & {"phase", "conditions"}:
            await self._write(pool, self._why(namespace), now)

    def _why(self, namespace: str) -> str:
        holder = self.namespaces.holder(namespace)
        if holder is not None:
            return f"{holder.text} serves this namespace now"
        return (
            f"no install of Kotatsu serves namespace {namespace}: label the namespace so that "
            f"the value namespaceSelector of {self.namespaces.text} selects it, or install Kotatsu "
            "there"
        )

    async def _write(self, pool: Object, why: str, now: datetime) -> None:
        known = conditions_of(table(pool.get("status"))).get("Accepted", {})
        if known.get("message") == why:
            return
        version = pool["metadata"]["resourceVersion"]
        status = {"conditions": self._conditions(pool, why, now)}
        await self.tools.kube.patch_status(*key_of(pool), status, version)

    def _conditions(self, pool: Object, why: str, now: datetime) -> list[Status]:
        known, generation = conditions_of(pool.get("status") or {}), pool["metadata"]["generation"]
        refused = Refused("NamespaceNotSelected", why, Ends.NOTHING, counts=False)
        return date_conditions(refused_conditions(refused, Ledger(), 0), known, generation, now)
