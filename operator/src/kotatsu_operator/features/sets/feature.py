"""WarmPoolSets as a feature: it makes, changes and deletes the WarmPools that the sets want.

Each namespace is settled by itself: what the sets want there is compared with the pools that are
there. A change of a set, a workload, a Service, a pool or a Namespace queues its namespace; nothing
is polled. All else follows from the pools: the operator decides on them as on any other.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self
from zoneinfo import ZoneInfo

from prometheus_client import CollectorRegistry, Gauge

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.feature import Feature, Report, Setup, Turn
from kotatsu_operator.controller.namespaces import Namespaces
from kotatsu_operator.controller.pages import Pages
from kotatsu_operator.controller.report import WRITE_QUIET
from kotatsu_operator.core.calendar.wallclock import zones
from kotatsu_operator.core.exposition import GAUGE_NAMES, Silence, count_of, find_gauge
from kotatsu_operator.core.formats import conditions_of, table, text
from kotatsu_operator.core.objects import poolset_of
from kotatsu_operator.core.pool.parse import SpecError, parse
from kotatsu_operator.core.pool.proposal import gauge_pages, metric_field
from kotatsu_operator.core.pool.spec import InFlightMetric, RouteMode
from kotatsu_operator.core.poolset.spec import PoolSet, is_of, read_set
from kotatsu_operator.core.poolset.wanted import (
    Made,
    Place,
    Refused,
    Wanted,
    Workload,
    differs,
    wanted,
)
from kotatsu_operator.core.protocol import SET_HASH
from kotatsu_operator.core.report.conditions import date_conditions
from kotatsu_operator.core.report.status import read_ledger, worth_writing
from kotatsu_operator.features.sets.purse import Purse
from kotatsu_operator.features.sets.status import Member, Seen, member_of, set_status, visited
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ApiError, ConflictError, NotFoundError, Unreachable
from kotatsu_operator.kube.informer import Feed, Informer
from kotatsu_operator.kube.objects import (
    Key,
    Object,
    WarmPool,
    WarmPoolSet,
    key_of,
    ref,
    target_ports,
)
from kotatsu_operator.kube.views import PodView

log = logging.getLogger(__name__)

MANAGER = "kotatsu-sets"
"""The field manager of what a set asks for."""

AT_ONCE = 8
"""Namespaces that are settled at once."""

AGAIN = 5.0
"""Seconds until a namespace is settled again in which a call has failed."""

PAUSE = 5.0
"""Seconds between two writes of the statuses that have changed."""

STATES = ("asleep", "awake", "refused", "unused")

_REJECTED = (400, 403, 422)
"""How the API server answers for a field, a policy or a quota."""


def set_metric(registry: CollectorRegistry) -> Gauge:
    """The metric of the sets."""
    return Gauge(
        "kotatsu_set_pools",
        "WarmPools of a WarmPoolSet by state; refused: also workloads without one.",
        ("set", "state"),
        registry=registry,
    )


@dataclass
class Known:
    """A WarmPoolSet, and what is known of it."""

    obj: Object
    by: PoolSet | None = None
    """None while it is not accepted."""
    why: str = ""
    """Why it is not."""
    checked: int = 0
    """The generation whose template the API server has checked."""
    purse: Purse = field(default_factory=Purse)
    written: datetime | None = None
    shown: Mapping[str, Any] | None = None
    """The status as this process wrote it last. The answer to that write may have a newer spec than
    the watch has shown, so `obj` is never taken from it."""

    @property
    def generation(self) -> int:
        return int(self.obj["metadata"]["generation"])

    @property
    def has_budget(self) -> bool:
        return self.by is not None and self.by.budget is not None

    def is_same(self, obj: Object) -> bool:
        """Whether this is the same version of the same set, but for its status."""
        parts = ("uid", "generation", "labels")
        return all(self.obj["metadata"].get(part) == obj["metadata"].get(part) for part in parts)

    def turn(self, now: datetime, currency: str | None = None) -> bool:
        """Begin a new period of the budget if it is time; returns whether it was."""
        if self.by is None or self.by.budget is None:
            return False
        name = text(self.by.template.get("timeZone"), "UTC")
        zone = ZoneInfo(name if name in zones() else "UTC")
        return self.purse.turn(self.by.budget, zone, now, currency)


class PoolSets(Feature):
    """The sets of an install, and their pools."""

    _kube: Kube
    _used: Namespaces
    _cache: Cache
    _touch: Callable[[Key], None]
    _again: Callable[[], None]

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._known: dict[str, Known] = {}
        self._members: dict[Key, Member] = {}
        self._found: dict[str, Wanted] = {}
        """What the sets want, by namespace, when it was settled last."""
        self._failed: dict[Key, tuple[str, Refused]] = {}
        """Pools that could not be made or changed, with the names of their sets."""
        self._queue: dict[str, None] = {}
        """The namespaces to settle."""
        self._busy: set[str] = set()
        """Those that are settled now."""
        self._later: set[str] = set()
        """Those that are tried again after a while."""
        self._work = asyncio.Event()
        self._synced = asyncio.Event()
        self._stale: set[str] = set()
        """The sets whose status may have changed."""
        self._pages = Pages(clock=clock)
        self._pools = set_metric(registry)

    @classmethod
    def of(cls, setup: Setup) -> Feature | Self:
        return cls(setup.registry, setup.clock) if setup.settings.sets else Feature()

    # --- the hooks ---

    async def watch(
        self, kube: Kube, namespaces: Namespaces, cache: Cache, touch: Callable[[Key], None]
    ) -> None:
        self._kube, self._used, self._cache, self._touch = kube, namespaces, cache, touch
        self._again = namespaces.use(self._uses)
        cache.listen(self._enqueue)
        feed = Feed[str](WarmPoolSet, self._keep, self._forget, lambda _: self._keys)
        informer = Informer[str](kube, [feed], touch=self._stale.add)
        async with asyncio.TaskGroup() as group:
            group.create_task(informer.run())
            await informer.synced()
            self._synced.set()

    def observe(self, key: Key, pool: Object | None) -> None:
        before = self._members.pop(key, None)
        member = None if pool is None else member_of(pool)
        if before is not None and (member is None or member.of != before.of):
            self._stale.add(before.of)
            if (known := self._known.get(before.of)) is not None:
                known.purse.leave(key)
        if member is not None and pool is not None:
            self._members[key] = member
            self._stale.add(member.of)
            if (known := self._known.get(member.of)) is not None and known.has_budget:
                known.purse.enter(key, read_ledger(table(pool.get("status"))))
        if not (before and member):
            self._enqueue(key[0])

    def prepare(self, turn: Turn) -> Turn:
        """Add what the other pools of the set have spent, and whether the pool is used."""
        known = self._known.get(poolset_of(turn.pool))
        if known is None or known.by is None:
            return turn
        by, spec = known.by, turn.spec
        if by.budget is not None:
            if known.turn(turn.now, spec.platform.prices.currency):
                self._enter_all(known)
            budget = by.budget.shared_with(
                spec.budget.limit, known.purse.beside(turn.key), f"WarmPoolSet {by.name}"
            )
            turn = replace(turn, target=replace(turn.target, spec=replace(spec, budget=budget)))
        if by.unused_after is None or turn.refused is not None:
            return turn
        said = visited(turn.pool, by.unused_after, turn.now)
        return replace(turn, further=(*turn.further, said))

    def status(self, turn: Turn, report: Report) -> Report:
        """Add the cost of a pool to that of its set; once the budget is spent, all pools follow."""
        known = self._known.get(poolset_of(turn.pool))
        budget = None if known is None or known.by is None else known.by.budget
        if self._cache.uid_of(turn.key) != turn.pool["metadata"]["uid"]:
            return report  # deleted meanwhile, and counted as such
        if known is not None and budget is not None and (limit := budget.limit) is not None:
            before = known.purse.total
            known.purse.enter(turn.key, report.ledger)
            if (before < limit) != (known.purse.total < limit):
                for key, member in self._members.items():
                    if member.of == known.obj["metadata"]["name"]:
                        self._touch(key)
        return report

    async def run(self, touch: Callable[[Key], None]) -> None:  # noqa: ARG002
        """Settle what is queued, and write the statuses of the sets, until cancelled."""
        await self._synced.wait()
        self._stale.update(self._known)
        for known in self._known.values():
            self._begin(known)
        for namespace in self._cache.served.known:
            self._enqueue(namespace)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(self._settle_all())
                group.create_task(self._report())
        finally:
            self._busy.clear()
            self._found.clear()
            self._failed.clear()

    # --- what is watched ---

    @property
    def _keys(self) -> list[Key]:
        return [("", name) for name in self._known]

    def _keep(self, obj: Object) -> Iterable[str]:
        name = obj["metadata"]["name"]
        if not is_of(self._cache.served.scope, obj):
            return self._forget(("", name))
        known = self._known.get(name)
        if known is not None and known.is_same(obj):
            known.obj = obj
            return ()
        is_edited = known is not None and known.obj["metadata"]["uid"] == obj["metadata"]["uid"]
        purse = known.purse if known is not None and is_edited else Purse()
        known = self._known[name] = Known(obj, purse=purse)
        try:
            known.by, known.why = read_set(obj), ""
        except SpecError as error:
            known.by, known.why = None, str(error)
        self._begin(known)
        self._follow()
        return (name,)

    def _forget(self, key: Key) -> Iterable[str]:
        if self._known.pop(key[1], None) is not None:
            for state in STATES:
                self._pools.labels(key[1], state).set(0)
            self._follow()
        return ()

    def _begin(self, known: Known) -> None:
        known.turn(self._clock())
        self._enter_all(known)

    def _enter_all(self, known: Known) -> None:
        """Count what the pools of a set have spent, also those that are deleted."""
        for key, member in self._members.items():
            if member.of == known.obj["metadata"]["name"]:
                known.purse.enter(key, read_ledger(table(self._cache.pools[key].get("status"))))
        known.purse.recall(table(known.obj.get("status")))

    def _follow(self) -> None:
        """Follow a change of a set: other namespaces may be in use, and want other pools."""
        self._again()
        for namespace in self._cache.served.known:
            self._enqueue(namespace)

    def _sets(self) -> list[PoolSet]:
        """The accepted sets, oldest first."""
        found = (known.by for known in self._known.values() if known.by is not None)
        return sorted(found, key=lambda by: by.made)

    def _uses(self, namespace: str) -> bool:
        here = self._cache.served.known.get(namespace)
        return here is not None and any(by.has(namespace, here) for by in self._sets())

    # --- making pools ---

    def _enqueue(self, namespace: str) -> None:
        self._queue[namespace] = None
        self._work.set()

    async def _settle_all(self) -> None:
        while True:
            namespace = next((one for one in self._queue if one not in self._busy), None)
            if namespace is None:
                self._work.clear()
                await self._work.wait()
                continue
            del self._queue[namespace]
            self._busy.add(namespace)
            if not await self._is_settled(namespace) and namespace not in self._later:
                self._later.add(namespace)
                asyncio.get_running_loop().call_later(AGAIN, self._try_again, namespace)
            self._busy.discard(namespace)
            self._work.set()

    async def _is_settled(self, namespace: str) -> bool:
        """Settle a namespace; whether that has succeeded."""
        try:
            await self._settle(namespace)
        except (ConflictError, NotFoundError, *Unreachable) as error:
            log.warning("cannot settle the WarmPools of %s: %s", namespace, error)
            return False
        except Exception:
            # An unforeseen error of one namespace must not end the operator.
            log.exception("cannot settle the WarmPools of %s", namespace)
            return False
        return True

    def _try_again(self, namespace: str) -> None:
        self._later.discard(namespace)
        self._enqueue(namespace)

    async def _settle(self, namespace: str) -> None:
        """Make, change and delete pools in one namespace, until they are what the sets want."""
        served = self._cache.served
        if not served.serves(namespace) or (
            self._uses(namespace) and not self._used.lists(namespace)
        ):
            # It is queued again when it is listed.
            self._stale.update(self._found.pop(namespace, Wanted()).selected)
            return
        here, sets, judged = served.known[namespace], list[PoolSet](), dict[str, PoolSet]()
        for by in self._sets():
            if not by.has(namespace, here):
                judged[by.name] = by
            elif await self._accepts(by):
                judged[by.name] = by
                sets.append(by)
        found = wanted(self._place(namespace, sets))
        before = self._found.pop(namespace, Wanted())
        if found != Wanted():
            self._found[namespace] = found
        for name, made in found.made.items():
            if (refused := await self._make(made)) is None:
                self._failed.pop((namespace, name), None)
            else:
                self._failed[namespace, name] = made.by.name, refused
        for key in self._cache.pools.having(("namespace", namespace)):
            member = self._members.get(key)
            known = None if member is None else self._known.get(member.of)
            if member is None or known is None or key[1] in found.made:
                continue
            # Of a set that was edited meanwhile it is not known what it wants.
            if known.by is not None and known.by is judged.get(member.of):
                log.info("deleting WarmPool %s/%s: no set wants it any more", *key)
                self._failed.pop(key, None)
                await self._kube.delete(WarmPool, *key)
        self._stale.update(found.selected, before.selected)

    def _place(self, namespace: str, sets: list[PoolSet]) -> Place:
        cache = self._cache
        workloads = [
            Workload(
                kind,
                of.key[1],
                of.own_labels,
                of.labels,
                of.controller,
                opts_out=of.opts_out,
                has_disk=of.disk is not None,
                replicas=of.replicas,
            )
            for kind, of in cache.workloads_of(namespace)
        ]
        services = [cache.services[key] for key in sorted(cache.services.having(namespace))]
        pools = [cache.pools[key] for key in cache.pools.having(("namespace", namespace))]
        return Place(namespace, sets, workloads, services, pools)

    async def _accepts(self, by: PoolSet) -> bool:
        """Whether the API server accepts the template; it is asked once for each generation."""
        known = self._known.get(by.name)
        if known is None or known.by is not by:
            return False
        if known.checked == known.generation:
            return True
        home = self._cache.served.scope.home
        pattern = Made(by, home, by.name, Workload("Deployment", by.name, {}, {}), by.name)
        manifest, generation = pattern.manifest(self._cache.scaled, {}), known.generation
        manifest["metadata"]["generateName"] = f"{manifest['metadata'].pop('name')}-"
        try:
            parse((await self._kube.judged(WarmPool, manifest))["spec"])
        except SpecError as error:
            known.by, known.why = None, f"spec.template: {error}"
        except ApiError as error:
            if error.code not in _REJECTED:
                raise
            known.by, known.why = None, f"spec.template: {error}"
        known.checked = generation
        self._stale.add(by.name)
        return known.by is by

    async def _make(self, made: Made) -> Refused | None:
        """Make a pool, or change it; returns why that is impossible."""
        pool = self._cache.pools.get((made.namespace, made.name))
        more = {**made.limit(pool), **await self._route(made, pool)}
        manifest = made.manifest(self._cache.scaled, more)
        mark = manifest["metadata"]["annotations"][SET_HASH]
        if pool is not None and table(pool["metadata"].get("annotations")).get(SET_HASH) == mark:
            path = differs(manifest["spec"], pool["spec"])
            return made.changed(path) if path else None
        try:
            pool = await self._kube.offer(WarmPool, manifest, MANAGER)
        except ConflictError as error:
            return made.refused("Conflict", str(error))
        except ApiError as error:
            if error.code not in _REJECTED:
                raise
            return made.refused("Rejected", str(error))
        if self._cache.keep_pool(pool):  # the watch shows it too late: an echo touches nothing
            self._touch(key_of(pool))
        return None

    async def _route(self, made: Made, pool: Object | None) -> Mapping[str, Any]:
        """The way of the requests: as the template says, as it is, or by what a pod reports."""
        if any(name in made.by.template for name in ("route", "inFlightMetric")):
            return {}
        if pool is None:
            gauge = await self._gauge(made)
            mode = RouteMode.ACTIVATOR if gauge is None else RouteMode.AUTO
        else:
            mode, there = pool["spec"]["route"], pool["spec"]["inFlightMetric"]
            gauge = str(there["port"]), there["path"]
        metric = {} if gauge is None else metric_field(*gauge)
        return {"route": str(mode), **({"inFlightMetric": metric} if metric else {})}

    async def _gauge(self, made: Made) -> tuple[str, str] | None:
        """The port and path of a Ready pod's gauge of requests in flight; None without one."""
        cache, namespace, of = self._cache, made.namespace, made.workload
        selector = cache.selector_of((namespace, ref(of.kind, of.name))) or {}
        pods = cache.target_pods(namespace, selector) if selector else []
        pod = next((pod for pod in pods if pod.ready and not pod.lost), None)
        if pod is None:
            return None
        served = map(pod.port, target_ports(cache.services.get((namespace, made.service))))
        numbers = [number for number in served if number is not None]
        for port, path in gauge_pages(pod.ports, {}):
            found = [await self._in_flight(pod, port, path, numbers) for _ in range(2)]
            if None not in found:
                # A gauge that counts the request for its page is above 0 both times.
                return (port, path) if 0 in found else None
        return None

    async def _in_flight(self, pod: PodView, port: str, path: str, served: list[int]) -> int | None:
        """The requests in flight that a page reports; None if it reports none."""
        own = InFlightMetric.name
        page = await self._pages.read(pod, port, path, (own, *GAUGE_NAMES))
        if isinstance(page, Silence):
            return None
        if own in page.samples:
            return count_of(page.samples[own])
        found = find_gauge(page.samples, pod.port(port), served)
        return found if isinstance(found, int) else None

    # --- the statuses of the sets ---

    async def _report(self) -> None:
        while True:
            for name in list(self._stale):
                self._stale.discard(name)
                if (known := self._known.get(name)) is None:
                    continue
                try:
                    await self._write(name, known)
                except (ConflictError, NotFoundError, *Unreachable) as error:
                    log.warning("cannot write the status of WarmPoolSet %s: %s", name, error)
                    self._stale.add(name)
                except Exception:
                    # An unforeseen error of one set must not end the operator.
                    log.exception("cannot write the status of WarmPoolSet %s", name)
            await asyncio.sleep(PAUSE)

    async def _write(self, name: str, known: Known) -> None:
        now, before = self._clock(), known.shown or table(known.obj.get("status"))
        members = {key: one for key, one in self._members.items() if one.of == name}
        failed = [refused for of, refused in self._failed.values() if of == name]
        found = list(self._found.values())
        status = set_status(Seen(name, known.by, known.why, known.purse, members, found, failed))
        status["observedGeneration"] = known.generation
        status["conditions"] = date_conditions(
            status["conditions"], conditions_of(before), known.generation, now
        )
        for state in STATES:
            self._pools.labels(name, state).set(status[state])
        if not worth_writing(status, before, quiet_too=True):
            return
        is_due = known.written is None or abs(now - known.written) >= WRITE_QUIET
        if not (is_due or worth_writing(status, before, quiet_too=False)):
            self._stale.add(name)
            return
        await self._kube.merge(WarmPoolSet.Status, None, name, {"status": status})
        known.written, known.shown = now, status
