"""The uninstall Job: runs before `helm uninstall` and restores the targets that sleep.

It fails at once while the manifest of a Service lets it select no pod. Then it takes over the
Lease, so the operators stop acting, restores the targets of its own pools, which are those that its
activators serve, and sets the route to Native when the pods are Ready. A target whose pods are not
Ready after three quarters of the time is named and left to start: it does not make the uninstall of
all others fail. Pools and their CRD stay; a later install adopts them.
"""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from kotatsu_operator.controller import election
from kotatsu_operator.controller.elector import cancel, let_go
from kotatsu_operator.controller.restore import Records
from kotatsu_operator.core.formats import conditions_of, count, format_duration, is_false, table
from kotatsu_operator.core.give_back import RESTORED, give_back
from kotatsu_operator.core.objects import target_of, why_not_created, workload_selector
from kotatsu_operator.core.pool.decision import NOTHING_STARTS
from kotatsu_operator.core.pool.memory import read_warm_ups
from kotatsu_operator.core.pool.spec import BUILT_IN, KNATIVE
from kotatsu_operator.core.protocol import (
    LEASE_NAME,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    NAME_LABEL,
    OPERATOR,
    PROGRAM,
    UNINSTALL,
    home_of,
)
from kotatsu_operator.core.report.record import owed_by, owed_status, parts_of, place_of, settle
from kotatsu_operator.jobs.manifests import Manifests, accepted_service, read_manifests
from kotatsu_operator.jobs.patience import Patience
from kotatsu_operator.jobs.uninstalled import native_status, unknown, waiting_status
from kotatsu_operator.kube import errors, objects
from kotatsu_operator.kube.client import EVERYWHERE, Kube
from kotatsu_operator.kube.cluster import Cluster
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable
from kotatsu_operator.kube.objects import Key, Object, WarmPool, key_of
from kotatsu_operator.kube.views import PodView, pod_view, slice_view, starting_pods
from kotatsu_operator.runtime.settings import UninstallSettings, start

LEASE_SECONDS = 60.0
"""If this Job is killed, the operators stand by for this long and then continue."""

REFUSED_FOR = 10.0
"""Seconds for which a namespace is retried that the API server rejects. Its Role may have been
created only a moment ago."""

FOR_PODS = 0.75
"""The share of the time after which pods are waited for no longer. The activators leave in the
rest."""

_OURS = {MANAGED_BY_LABEL: MANAGED_BY}
"""The label of activators' EndpointSlices."""

_TEST = {NAME_LABEL: PROGRAM, "app.kubernetes.io/component": "test"}
"""The labels of the pod of `helm test`."""

_NAMED = 5
"""Targets of such a line; with more it says how many more there are."""

_QUOTED = 200
"""Characters that it quotes of the message of the scheduler, or of who rejects pods."""

BARE = "nothing was changed: without Kotatsu these Services would have no endpoint"
OVERRIDE = (
    "Apply the corrected manifests, and uninstall again. With the chart value "
    "uninstall.overrideManifests (`helm rollback` to the last revision, then `helm upgrade`) the "
    "Job continues: it removes that line from the Services, which have it again when their "
    "manifests are applied"
)

SKIP = "`helm uninstall … --no-hooks` skips this step, and sleeping targets stay asleep"


class UninstallError(Exception):
    """The uninstall cannot finish; the message says what to do."""


@dataclass
class Uninstall(Patience):
    """One run. `say` prints a line of progress; times are in seconds."""

    kube: Kube
    home: str
    """The namespace of the release."""
    timeout: float
    say: Callable[[str], None]
    route_settle: float = 5.0
    override_manifests: bool = False
    """Whether to continue although manifests let Services select no pod."""
    poll: float = 0.5
    handover: float = election.TIMES.renew_deadline + 1.0
    """A leader that cannot read its Lease has stopped acting after this time."""
    _late: list[str] = field(default_factory=list)
    """The targets whose pods were not Ready in time, and why."""
    _unread: str = ""
    """Why the pools or the record could not be read; empty if they were."""
    _awake: dict[Key, Object] = field(default_factory=dict)
    """Pools whose targets run or are starting; the activators must leave their Services."""
    _restored: dict[Key, int] = field(default_factory=dict)
    _unmet: dict[Key, str] = field(default_factory=dict)
    """What the awake ones lack that are waited for, as their conditions have it."""
    _serving: set[Key] = field(default_factory=set)
    """Those of them that have a Ready pod."""
    _pools: list[Object] = field(default_factory=list)
    """All WarmPools of the cluster."""
    _manifests: Manifests = field(default_factory=Manifests)
    _remain: list[str] = field(default_factory=list)
    """The targets that stay at 0: no pod answers for their Services."""

    async def run(self) -> None:
        """Run all steps. Raises UninstallError; the operators then continue as before."""
        renewing: asyncio.Task[None] | None = None
        self._end = asyncio.get_running_loop().time() + self.timeout
        try:
            async with asyncio.timeout(self.timeout):
                await self._check_manifests()
                if await self._trying(self._take_lease):
                    renewing = asyncio.create_task(self._renew())
                    self.say("the operators stop acting")
                    await asyncio.sleep(self.handover)
                await self._give_back_all()
                await self._until(self._unready, "waiting for pods", FOR_PODS * self.timeout)
                await self._each("left pods", dict(self._unmet), self._leave_late)
                await self._each(
                    "changed routes", self._awake, lambda key: self._edit(key, native_status)
                )
                await self._leave_path()
                with contextlib.suppress(*Unreachable):
                    await self._remove_slices()
                    await self._delete_test()
                if not self._unread:
                    await self._delete_record()
                await cancel(renewing)
                # Running operators have seen the holder and wait. A later install does not have to.
                lease = objects.Lease, self.home, LEASE_NAME
                await self._trying(partial(self.kube.delete, *lease))
        except TimeoutError:
            raise UninstallError(
                f"not done after {self.timeout:.0f} s: {self._trouble or 'no progress'}. Correct "
                "this and uninstall again (more time: chart value uninstall.timeout), or: " + SKIP
            ) from None
        finally:
            await cancel(renewing)
            with contextlib.suppress(ConflictError, NotFoundError, *Unreachable):
                await let_go(self.kube, self.home, UNINSTALL)
        lacking = [*self._manifests.bare, *self._remain]
        needs = "" if self._unread or lacking else "no Service needs Kotatsu any more; "
        but = f"; not Ready in time: {_named(self._late)}" if self._late else ""
        but += f"; what remains: {_named(lacking)}" if lacking else ""
        self.say(f"done: {needs}the WarmPools and their CRD stay{but}")

    # --- the manifests ---

    async def _check_manifests(self) -> None:
        """Raise UninstallError, before anything changes, if Services would have no endpoint.

        Without activators they have none already: then the targets are restored all the same.
        """
        end = asyncio.get_running_loop().time() + REFUSED_FOR
        try:
            self._manifests = await self._trying(self._read_manifests, refused_until=end)
        except Unreachable:
            return  # restoring says what cannot be read
        bare = self._manifests.bare
        if bare and not self.override_manifests and self._manifests.has_activators:
            raise UninstallError("\n- ".join([BARE, *bare]) + "\n" + OVERRIDE)
        for text in bare:
            self.say(text)

    async def _read_manifests(self) -> Manifests:
        return await read_manifests(self.kube, self.home, self._mine(await self._find()))

    def _mine(self, pools: list[Object]) -> list[Object]:
        """The pools of this install."""
        return [p for p in pools if place_of(key_of(p)[0], self.home).takes(p)]

    # --- the Lease ---

    async def _take_lease(self) -> bool:
        """Take over the Lease from any holder; return False if no operator has ever led here."""
        try:
            obj = await self.kube.get(objects.Lease, self.home, LEASE_NAME)
        except NotFoundError:
            self.say("there is no Lease: no operator runs")
            return False
        lease = election.read_spec(obj.get("spec") or {})
        new = election.taken(lease, UNINSTALL, datetime.now(UTC), LEASE_SECONDS)
        obj = {**obj, "spec": election.write_spec(new)}
        await self.kube.replace(objects.Lease, self.home, obj)
        return True

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 6)
            await self._trying(self._take_lease)

    # --- the targets ---

    async def _give_back_all(self) -> None:
        """Restore all targets. The permission to read them may have been given a moment ago."""
        end = asyncio.get_running_loop().time() + REFUSED_FOR
        try:
            await self._trying(self._settle, refused_until=end)
        except Unreachable as error:
            self._unread = str(error)
            self.say(
                f"the cluster cannot be read ({error}), so sleeping targets stay at 0, and their "
                "Services will have no endpoint: scale them by hand"
            )
            return
        if not self._pools:
            self.say("there are no WarmPools")
        mine = self._mine(self._pools)
        await self._each(
            "restored targets", mine, lambda pool: self._trying(lambda: self._give_back_one(pool))
        )

    async def _settle(self) -> None:
        """Read the pools, once the targets of deleted ones are restored or have an heir."""
        await Records(self.kube, self.home).settle(await self._find())
        self._pools = await self._find()

    async def _find(self) -> list[Object]:
        """The WarmPools; none if their CRD is gone, and their targets are in the record."""
        try:
            return await self.kube.find(WarmPool, EVERYWHERE)
        except (NotFoundError, *Unreachable) as error:
            if not (isinstance(error, NotFoundError) or errors.is_missing(error)):
                raise
        return []

    async def _delete_record(self) -> None:
        """Delete the record, which Helm keeps, unless a deleted pool's target is not restored."""
        for place in parts_of(self.home):
            at = objects.ConfigMap, place.home, place.name
            with contextlib.suppress(ConflictError, NotFoundError, *Unreachable):
                record = await self.kube.get(*at)
                if not settle(place, record.get("data") or {}, self._pools).gone:
                    await self.kube.delete(*at)

    async def _give_back_one(self, pool: Object) -> None:
        key, entry = key_of(pool), owed_by(pool)
        kind, name = target_of(pool)
        if kind != KNATIVE:  # also a term of the manifest, which has it until it is applied again
            taken = {"takenService": accepted_service(pool), **entry.owed}
            entry = replace(entry, owed=taken)
        if kind != KNATIVE and kind not in self.kube.scaled:
            text = f"{kind} {name} stays as it is: the chart value `targets` does not name its kind"
            self._tell(key, text)
            await self._note(key, text)
            return
        steps = await give_back(Cluster(self.kube), entry)
        failed = [step.error for step in steps if step.error is not None]
        for step in steps:
            no_endpoint = "; its Service will have no endpoint" if step.replicas == 0 else ""
            if step.result == RESTORED or not failed:
                self._tell(key, f"{step.message}{no_endpoint}")
            if step.result == RESTORED and step.replicas is not None:
                self._restored[key] = step.replicas
        if failed:
            raise failed[0]
        replicas = next((s.replicas for s in steps if s.replicas is not None), None)
        if kind == KNATIVE:
            await self._note(key, "Knative alone scales the target")
        elif replicas is None:
            return
        elif replicas == 0:
            self._remain.append(f"{kind} {key[0]}/{name} stays at 0")
            await self._note(key, f"{name} stays at 0")
        elif key in self._manifests.unselective:
            await self._note(key, "its Service has no selector, so it has no endpoint")
        else:
            self._awake[key] = pool

    def _tell(self, key: Key, text: str) -> None:
        self.say(f"{key[0]}/{key[1]}: {text}")

    async def _unready(self) -> str:
        """The targets whose pods are not Ready: all restored ones, or one if it ran before.

        Those that cannot become Ready by themselves are named and left alone from then on.
        """
        unmet: dict[Key, str] = {}

        async def look(key: Key) -> None:
            if lack := await self._lack(key):
                unmet[key] = lack

        await self._each("read workloads", list(self._awake), look)
        self._unmet = unmet
        return _named(list(unmet.values()))

    async def _lack(self, key: Key) -> str:
        """What the target of an awake pool lacks; empty for nothing, or if it is not waited for."""
        if (pool := self._awake.get(key)) is None:
            return ""  # a round that has failed meanwhile has left it alone
        kind, name = target_of(pool)
        try:
            resource = objects.resource_of(self.kube.scaled[kind])
            workload = await self.kube.get(resource, key[0], name)
        except NotFoundError:
            return ""
        ready = await self._ready(kind, workload)
        wanted = min(self._restored.get(key, 1), count(workload["spec"].get("replicas", 1)))
        if ready >= wanted:
            return ""
        status = pool.get("status") or {}
        starting = NOTHING_STARTS
        with contextlib.suppress(*Unreachable):
            starting = starting_pods(await self._pods(workload))
        if why := _why_never_ready(status) or starting.failing:
            await self._leave_alone(key, f"{why}, so it is not waited for")
            return ""
        lack = f"{ready} of {wanted} pods of {kind} {key[0]}/{name} are Ready"
        if why := starting.no_node or why_not_created(table(workload.get("status"))):
            lack += f" ({why[:_QUOTED]})"
        elif measured := max((up.seconds for up in read_warm_ups(status)), default=0.0):
            lack += f" (a start has taken {format_duration(timedelta(seconds=measured))})"
        (self._serving.add if ready else self._serving.discard)(key)
        if self._unmet.get(key) != lack:
            await self._edit(key, partial(waiting_status, text=lack))
        return lack

    async def _leave_late(self, key: Key) -> None:
        """Leave a target alone whose pods were not Ready in time: it starts without Kotatsu."""
        lack = self._unmet[key]
        self._late.append(lack)
        text = f"{lack} after {FOR_PODS * self.timeout:.0f} s, so it is not waited for any longer"
        text += " (more time: chart value uninstall.timeout)"
        if key in self._serving:
            self._tell(key, text)  # the activators leave its Service as they do others
        else:
            await self._leave_alone(key, text)

    async def _leave_alone(self, key: Key, text: str) -> None:
        self._tell(key, f"{text}; its Service has no endpoint until a pod is Ready")
        await self._edit(key, partial(native_status, text=text))
        self._awake.pop(key, None)

    async def _pods(self, workload: Object) -> list[PodView]:
        """The pods of a workload."""
        return [pod_view(pod) for pod in await Cluster(self.kube).pods(workload)]

    async def _ready(self, kind: str, workload: Object) -> int:
        """The Ready pods of a workload. The status of a further kind need not count them."""
        if kind in BUILT_IN:
            return count(table(workload.get("status")).get("readyReplicas"))
        if not workload_selector(workload):
            # Its pods are unknown: it is not waited for.
            return count(workload["spec"].get("replicas", 1))
        return sum(p.ready and not p.terminating for p in await self._pods(workload))

    async def _note(self, key: Key, text: str) -> None:
        message = f"Kotatsu was uninstalled; {text}"
        fields = ("hpa", "knative", "reduced", "takenService", "activators")
        owed = owed_status(dict.fromkeys(fields))
        await self._edit(key, lambda old: owed | {"conditions": unknown(old, message)})

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
        await asyncio.sleep(self.route_settle)

    async def _in_path(self) -> str:
        for obj in await self._slices() if self._awake else ():
            view = slice_view(obj)
            if view.ready and (view.key[0], view.pool) in self._awake:
                return f"activator {view.pod_name} is still an endpoint of {view.service}"
        return ""

    async def _remove_slices(self) -> None:
        """Remove the slices of this release's activators.

        Activators end without the permission to do so: Helm deletes their roles at the same time.
        One that has not seen yet that it serves the pool no more publishes it again, so this is
        done until none was ready.
        """
        found = [(obj, slice_view(obj)) for obj in await self._slices()]
        ours = [(obj, view) for obj, view in found if home_of(view.set) == self.home]
        for obj, _ in ours:
            with contextlib.suppress(ConflictError, NotFoundError):  # its activator was faster
                await self.kube.delete(objects.EndpointSlice, *key_of(obj))
        if any(view.ready for _, view in ours):
            await asyncio.sleep(self.poll)
            await self._remove_slices()

    async def _delete_test(self) -> None:
        """Delete the pod of `helm test`, which Helm leaves."""
        for pod in await self.kube.find(objects.Pod, self.home, _TEST):
            await self.kube.delete(objects.Pod, *key_of(pod))

    async def _slices(self) -> list[Object]:
        """The EndpointSlices of activators; none if nothing was read before."""
        if self._unread:
            return []
        return await self.kube.find(objects.EndpointSlice, EVERYWHERE, _OURS)


def _why_never_ready(status: Object) -> str:
    """Why a pool's pods are not expected to become Ready; empty if they have been before."""
    unproven = is_false(conditions_of(status).get("Proven"))
    if "phase" not in status or (unproven and not read_warm_ups(status)):
        return "its pods have never been Ready"
    return ""


def _named(lacks: Sequence[str]) -> str:
    more = f", and {len(lacks) - _NAMED} more" if len(lacks) > _NAMED else ""
    return ", ".join(lacks[:_NAMED]) + more


async def _run(settings: UninstallSettings) -> int:
    # The operator's field manager: a later install would treat another one as a foreign writer.
    kube = Kube.connect(OPERATOR, scaled=settings.targets)

    def say(line: str) -> None:
        print(line, flush=True)  # noqa: T201

    try:
        await Uninstall(
            kube,
            settings.pod_namespace,
            settings.timeout,
            say,
            settings.route_settle,
            settings.override_manifests,
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
