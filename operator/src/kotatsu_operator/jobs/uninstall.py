"""The uninstall Job: runs before `helm uninstall` and restores the targets that sleep.

It takes over the Lease, so the operators stop acting, restores each target, and sets the route to
Native when the pods are Ready. Pools and their CRD stay; a later install adopts them.
"""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from kotatsu_operator.controller.leader import election
from kotatsu_operator.controller.leader.elector import LEASE_NAME, let_go
from kotatsu_operator.controller.records import Records
from kotatsu_operator.controller.targets.deployment import why_at_0
from kotatsu_operator.controller.targets.kinds import kind_of, restores
from kotatsu_operator.core.formats import count, seconds_of, stamp, table
from kotatsu_operator.core.pool.memory import Phase, Route
from kotatsu_operator.core.pool.spec import RouteMode
from kotatsu_operator.core.protocol import OPERATOR
from kotatsu_operator.core.report.record import OWED, entry_of
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import (
    ConflictError,
    NotFoundError,
    Unreachable,
    is_missing,
    is_refusal,
    retry_on_conflict,
)
from kotatsu_operator.kube.objects import (
    EndpointSlice,
    Key,
    Object,
    WarmPool,
    key_of,
    resource_of,
    target_of,
)
from kotatsu_operator.kube.objects import Lease as LeaseKind
from kotatsu_operator.kube.slices import is_ours, slice_view
from kotatsu_operator.runtime.settings import UninstallSettings, start

HOLDER = "uninstall"
LEASE_SECONDS = 60.0
"""If this Job is killed, the operators stand by for this long and then continue."""

REFUSED_FOR = 10.0
"""Seconds for which a namespace is retried that the API server rejects. Its Role may have been
created only a moment ago."""

SKIP = "`helm uninstall … --no-hooks` skips this step, and sleeping targets stay asleep"

T = TypeVar("T")


class UninstallError(Exception):
    """The uninstall cannot finish; the message says what to do."""


@dataclass
class Uninstall:
    """One run. `say` prints a line of progress; times are in seconds."""

    kube: Kube
    namespaces: Iterable[str]
    lease_namespace: str
    timeout: float
    say: Callable[[str], None]
    poll: float = 0.5
    handover: float = election.TIMES.renew_deadline + 1.0
    """A leader that cannot read its Lease has stopped acting after this time."""
    _trouble: str = ""
    _left: list[str] = field(default_factory=list)
    """Namespaces that could not be read."""
    _awake: dict[Key, Object] = field(default_factory=dict)
    """Pools whose targets run or are starting; the activators must leave their Services."""
    _restored: dict[Key, int] = field(default_factory=dict)

    async def run(self) -> None:
        """Run all steps. Raises UninstallError; the operators then continue as before."""
        renewing: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(self.timeout):
                if await self._trying(self._take_lease):
                    renewing = asyncio.create_task(self._renew())
                    self.say("the operators stop acting")
                    await asyncio.sleep(self.handover)
                await self._give_back_all()
                await self._until(self._unready, "waiting for pods")
                for key in self._awake:
                    await self._edit(key, _native_status)
                await self._leave_path()
                await _end(renewing)
                await self._trying(self._delete_lease)
        except TimeoutError:
            raise UninstallError(
                f"not done after {self.timeout:.0f} s: {self._trouble or 'no progress'}. Correct "
                "this and uninstall again (more time: chart value uninstall.timeout), or: " + SKIP
            ) from None
        finally:
            await _end(renewing)
            with contextlib.suppress(ConflictError, NotFoundError, *Unreachable):
                await let_go(self.kube, self.lease_namespace, HOLDER)
        but = f", except those in {', '.join(self._left)}" if self._left else ""
        self.say(f"done: no Service needs Kotatsu any more{but}; the WarmPools and their CRD stay")

    # --- the Lease ---

    async def _take_lease(self) -> bool:
        """Take over the Lease from any holder; return False if no operator has ever led here."""
        try:
            obj = await self.kube.get(LeaseKind, self.lease_namespace, LEASE_NAME)
        except NotFoundError:
            self.say("there is no Lease: no operator runs")
            return False
        lease = election.read_spec(obj.get("spec") or {})
        new = election.taken(lease, HOLDER, datetime.now(UTC), LEASE_SECONDS)
        obj = {**obj, "spec": election.write_spec(new)}
        await self.kube.replace(LeaseKind, self.lease_namespace, obj)
        return True

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 6)
            await self._trying(self._take_lease)

    async def _delete_lease(self) -> None:
        # Running operators have seen the holder and wait. A later install does not have to.
        await self.kube.delete(LeaseKind, self.lease_namespace, LEASE_NAME)

    # --- the targets ---

    async def _give_back_all(self) -> None:
        """Restore all namespaces; a namespace that stays unreadable does not block the others."""
        end = asyncio.get_running_loop().time() + REFUSED_FOR
        refused = dict.fromkeys(self.namespaces, "")
        while True:
            for namespace in list(refused):
                if why := await self._give_back(namespace):
                    refused[namespace] = why
                else:
                    del refused[namespace]
            if not refused or asyncio.get_running_loop().time() > end:
                break
            await asyncio.sleep(self.poll)
        self._left = list(refused)
        for namespace, why in refused.items():
            self.say(
                f"{namespace}: cannot be read ({why}), so sleeping targets there stay at 0, and "
                "their Services will have no endpoint: scale them by hand"
            )

    async def _give_back(self, namespace: str) -> str:
        """Restore a namespace; return why the API server rejects it, empty when done."""
        try:
            pools = await self._trying(lambda: Records(self.kube).settle(namespace), refusals=False)
        except (NotFoundError, *Unreachable) as error:
            if isinstance(error, NotFoundError) or is_missing(error):
                self.say(f"{namespace}: there are no WarmPools")
                return ""
            return str(error)
        for pool in pools:
            await self._trying(partial(self._give_back_one, pool))
        return ""

    async def _give_back_one(self, pool: Object) -> None:
        key, entry, spec = key_of(pool), entry_of(pool), pool["spec"]
        kind, name = target_of(pool)
        target = kind_of(kind)
        before = None
        with contextlib.suppress(NotFoundError):
            before = await target.read_replicas(self.kube, pool)
        if entry is not None:
            for restore in restores(entry).values():
                with contextlib.suppress(NotFoundError):
                    came = await restore.step(self.kube, key[0], entry)
                    self._tell(key, came or "there is nothing to restore")
        if not target.has_scale:
            await self._note(key, "Knative alone scales the target")
        elif before is None:
            self._tell(key, f"there is no {kind} {name}")
        elif before == 0 and (why := why_at_0(entry)):
            text = f"{kind} {name} stays at 0, because {why}: its Service will have no endpoint"
            self._tell(key, text)
            await self._note(key, f"{name} stays at 0")
        elif spec.get("route") == RouteMode.ALWAYS:
            service = spec.get("service") or name
            text = f"Service {service} selects no pod (route Always), so it will have no endpoint"
            self._tell(key, f"{text}: add the selector of {kind} {name}")
            await self._note(key, text)
        else:
            self._awake[key] = pool
            if before == 0 and entry is not None:
                self._restored[key] = int(entry.owed["restoreReplicas"])

    def _tell(self, key: Key, text: str) -> None:
        self.say(f"{key[0]}/{key[1]}: {text}")

    async def _unready(self) -> str:
        """The first target whose pods are not Ready: all restored ones, or one if it ran before."""
        for key, pool in self._awake.items():
            kind, name = target_of(pool)
            try:
                workload = await self.kube.get(resource_of(self.kube.scaled[kind]), key[0], name)
            except NotFoundError:
                continue
            ready = count(table(workload.get("status")).get("readyReplicas"))
            wanted = min(self._restored.get(key, 1), count(workload["spec"].get("replicas", 1)))
            if ready < wanted:
                return f"{ready} of {wanted} pods of {kind} {key[0]}/{name} are Ready"
        return ""

    async def _note(self, key: Key, text: str) -> None:
        message = f"Kotatsu was uninstalled; {text}"
        owed = dict.fromkeys(("hpa", "knative", "reduced"))
        await self._edit(key, lambda old: owed | {"conditions": _unknown(old, message)})

    async def _edit(self, key: Key, change: Callable[[Object], Object]) -> None:
        """Change a pool's status; a deleted pool stays deleted."""

        async def attempt() -> None:
            pool = await self.kube.get(WarmPool, *key)
            if status := change(pool.get("status") or {}):
                await self.kube.patch_status(*key, status, pool["metadata"]["resourceVersion"])

        with contextlib.suppress(NotFoundError):
            await self._trying(attempt)

    async def _leave_path(self) -> None:
        if not await self._trying(self._in_path):
            return
        await self._until(self._in_path, "waiting for the activators to leave the Services")
        # kube-proxy applies the change a moment later. Until then the activators must run.
        settles = [p["spec"].get("drain") or {} for p in self._awake.values()]
        await asyncio.sleep(max(seconds_of(d.get("routeSettle", "5s"), 5.0) for d in settles))

    async def _in_path(self) -> str:
        for namespace in {key[0] for key in self._awake}:
            for obj in await self.kube.find(EndpointSlice, namespace):
                view = slice_view(obj) if is_ours(obj) else None
                if view is not None and view.ready and (namespace, view.pool) in self._awake:
                    return f"activator {view.pod_name} is still an endpoint of {view.service}"
        return ""

    # --- patience ---

    async def _until(self, trouble: Callable[[], Awaitable[str]], what: str) -> None:
        """Wait until `trouble()` returns an empty string; print it whenever it changes."""
        said = ""
        while True:
            self._trouble = await self._trying(trouble)
            if not self._trouble:
                return
            if self._trouble != said:
                said = self._trouble
                self.say(f"{what}: {said}")
            await asyncio.sleep(self.poll)

    async def _trying(self, act: Callable[[], Awaitable[T]], *, refusals: bool = True) -> T:
        """Call `act` again after conflicts and while the API server rejects it or does not answer.

        Without `refusals`, a request that the API server rejects is raised.
        """
        while True:
            try:
                return await retry_on_conflict(act)
            except (ConflictError, *Unreachable) as error:
                if is_refusal(error) and not refusals:
                    raise
                self._trouble = f"the API server: {error}"
                self.say(self._trouble)
                await asyncio.sleep(self.poll * 2)


def _native_status(old: Object) -> Object:
    """The status of a pool whose pods alone answer; a later install continues from there."""
    now = stamp(datetime.now(UTC))
    if "phase" not in old:
        return {}
    return {
        "phase": Phase.WARM.value,
        "phaseSince": now if old["phase"] != Phase.WARM else old.get("phaseSince"),
        "route": (old.get("route") or {}) | {"target": Route.NATIVE.value},
        "lastActive": now,
        **dict.fromkeys((*OWED, "foundReplicas")),
        "nextTransition": None,
        "activeWindow": None,
        "conditions": _unknown(old, "Kotatsu was uninstalled; the target runs on its own"),
    }


def _unknown(status: Object, message: str) -> list[Object]:
    made = {
        "status": "Unknown",
        "reason": "Uninstalled",
        "message": message,
        "lastTransitionTime": stamp(datetime.now(UTC)),
    }
    return [c if c["type"] == "Accepted" else c | made for c in status.get("conditions") or ()]


async def _end(task: asyncio.Task[Any] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _run(settings: UninstallSettings) -> int:
    # The operator's field manager: a later install would treat another one as a foreign writer.
    kube = Kube.connect(OPERATOR, scaled=settings.targets)

    def say(line: str) -> None:
        print(line, flush=True)  # noqa: T201

    try:
        await Uninstall(
            kube, settings.namespaces, settings.pod_namespace, settings.timeout, say
        ).run()
    except UninstallError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    finally:
        await kube.close()
    return 0


def main() -> int:
    """Read the settings from the environment and run; return the exit status."""
    settings = start(
        UninstallSettings,
        "python -m kotatsu_operator.jobs.uninstall",
        "Restores sleeping targets before Kotatsu is uninstalled.",
    )
    return asyncio.run(_run(settings))


if __name__ == "__main__":
    sys.exit(main())
