"""Pools that another install has, or whose namespace this one does not serve (any more)."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from kotatsu_operator.controller import election
from kotatsu_operator.controller.restore import Former
from kotatsu_operator.controller.served import Served
from kotatsu_operator.controller.target import Refused, Tools, refused_conditions
from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.budget.limit import Ends
from kotatsu_operator.core.formats import conditions_of, table
from kotatsu_operator.core.objects import activators_of
from kotatsu_operator.core.protocol import INSTALL_LABEL, LEASE_NAME
from kotatsu_operator.core.report.conditions import date_conditions
from kotatsu_operator.core.report.status import Status, left_status
from kotatsu_operator.core.scope import NEVER, install_text
from kotatsu_operator.kube import objects
from kotatsu_operator.kube.errors import NotFoundError, Unreachable
from kotatsu_operator.kube.objects import Object, key_of

log = logging.getLogger(__name__)

NAMESPACE_NOT_SELECTED = "NamespaceNotSelected"
NAMESPACE_TOO_LARGE = "NamespaceTooLarge"
"""Why nothing is decided in a namespace: no install serves it, or see `kube.retained`."""

LOOK_AGAIN = timedelta(seconds=30)
"""When a pool is looked at again that cannot be left."""

ASK_AGAIN = timedelta(seconds=5)
"""When the Lease of another install is read again."""

GONE_AFTER = timedelta(seconds=20)
"""How long another install has had no Lease, so that its pools are taken over. Its operator would
create the Lease again within seconds."""

SILENT_AFTER = timedelta(minutes=10)
"""How long nobody has renewed that Lease."""


@dataclass(frozen=True)
class _Seen:
    """The Lease of another install, by this process's clock."""

    lease: object
    """Its content; None if there is none."""
    since: datetime
    """Since when it has not changed."""
    at: datetime
    """When it was read."""

    @property
    def is_over(self) -> bool:
        """Whether that install was gone for good by then."""
        return self.at - self.since >= (GONE_AFTER if self.lease is None else SILENT_AFTER)


@dataclass
class Unserved:
    """Leaves pools, waits for those of other installs, and says in a pool why nothing happens."""

    tools: Tools
    served: Served
    former: Former
    settle: timedelta
    """How long a change of endpoints takes to reach every node."""
    shows: Callable[[str], bool]
    why_full: Callable[[str], str]
    """Why nothing is decided in a namespace that is too large."""
    _seen: dict[str, _Seen] = field(default_factory=dict)
    """The Leases of other installs, by their namespaces."""

    async def look(self, pool: Object, now: datetime) -> datetime | None:
        """Do what is left to do; return when to look again, None if that is nothing.

        Raises ConflictError, NotFoundError or one of `Unreachable`.
        """
        namespace = key_of(pool)[0]
        if not self.served.exists(namespace):
            return None  # what is in it is deleted with it
        if self.served.is_mine(pool):  # its namespace is too large
            await self._write(pool, self.why_full(namespace), now, NAMESPACE_TOO_LARGE)
            return None
        if self.served.serves(namespace):
            await self._wait_for(self.served.other(pool), pool, now)
            return now + ASK_AGAIN
        if not activators_of(pool):
            await self._explain(pool, now)
            return None
        if self.served.other(pool):
            return None
        if not self.shows(namespace):
            return now + LOOK_AGAIN  # it is touched when it has been listed
        return await self._leave(pool, now)

    async def _wait_for(self, home: str, pool: Object, now: datetime) -> None:
        """Take a pool over if the other install that has it is gone for good."""
        seen = self._seen.get(home)
        if seen is not None and now - seen.at < ASK_AGAIN and not seen.is_over:
            return  # of a thousand pools, one asks
        lease: object = None
        try:
            found = await self.tools.kube.get(objects.Lease, home, LEASE_NAME)
            lease = election.read_spec(table(found.get("spec")))
        except NotFoundError:
            pass
        except Unreachable:
            self._seen.pop(home, None)
            return
        is_same = seen is not None and seen.lease == lease and now - seen.at < 3 * ASK_AGAIN
        self._seen[home] = seen = _Seen(lease, seen.since if seen and is_same else now, now)
        if not seen.is_over:
            return
        (namespace, name), version = key_of(pool), pool["metadata"]["resourceVersion"]
        log.info("%s/%s: %s is gone: taking the pool over", namespace, name, install_text(home))
        status = {"internal": {"activators": self.served.scope.set_of(namespace)}}
        await self.tools.kube.patch_status(namespace, name, status, version)

    # --- namespaces that are not served ---

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
        is_nobodys = not self._named(namespace) and self.served.scope.unlabeled
        if not is_nobodys or namespace.startswith(NEVER):
            return
        if not status.keys() & {"phase", "conditions"}:
            await self._write(pool, self._why(namespace), now)

    def _named(self, namespace: str) -> str:
        """The install that the label of a namespace names; empty without the label."""
        return self.served.known[namespace].labels.get(INSTALL_LABEL, "")

    def _why(self, namespace: str) -> str:
        if named := self._named(namespace):
            return f"{install_text(named)} serves it now"
        mine = self.served.scope
        return (
            f"no install of Kotatsu serves namespace {namespace}: label the namespace so that "
            f"the value namespaceSelector of {mine.text} selects it, or give it the label "
            f"{INSTALL_LABEL}: {mine.home}"
        )

    async def _write(
        self, pool: Object, why: str, now: datetime, reason: str = NAMESPACE_NOT_SELECTED
    ) -> None:
        known = conditions_of(table(pool.get("status"))).get("Accepted", {})
        if known.get("message") == why:
            return
        version = pool["metadata"]["resourceVersion"]
        status = {"conditions": self._conditions(pool, why, now, reason)}
        await self.tools.kube.patch_status(*key_of(pool), status, version)

    def _conditions(
        self, pool: Object, why: str, now: datetime, reason: str = NAMESPACE_NOT_SELECTED
    ) -> list[Status]:
        known, generation = conditions_of(pool.get("status") or {}), pool["metadata"]["generation"]
        refused = Refused(reason, why, Ends.NOTHING, counts=False)
        return date_conditions(refused_conditions(refused, Ledger(), 0), known, generation, now)
