"""WarmPoolSets as a feature: it makes, changes and deletes the WarmPools that the sets want.

Each namespace is settled by itself: what the sets want there is compared with the pools that are
there. A change of a set, a workload, a Service, a pool or a Namespace queues its namespace; nothing
is polled. All else follows from the pools: the operator decides on them as on any other.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from prometheus_client import CollectorRegistry, Gauge

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.feature import Setup, Turn
from kotatsu_operator.controller.namespaces import Namespaces
from kotatsu_operator.controller.pages import Pages
from kotatsu_operator.controller.report import WRITE_QUIET
from kotatsu_operator.core.exposition import GAUGE_NAMES, Silence, count_of, find_gauge
from kotatsu_operator.core.formats import conditions_of, table
from kotatsu_operator.core.objects import poolset_of
from kotatsu_operator.core.pool.parse import SpecError, parse
from kotatsu_operator.core.pool.proposal import gauge_pages, metric_field
from kotatsu_operator.core.pool.spec import Budget, InFlightMetric, RouteMode
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
from kotatsu_operator.core.report.status import read_shared, worth_writing
from kotatsu_operator.features.sets.members import Members
from kotatsu_operator.features.sets.purse import Purse
from kotatsu_operator.features.sets.status import Seen, set_status, visited
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ApiError, ConflictError, NotFoundError, Unreachable
from kotatsu_operator.kube.informer import CLUSTER, Feed, Informer, until_listed
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

AGAIN, AGAIN_AT_MOST = 5.0, 60.0
"""Seconds until a namespace is settled again in which a call has failed; after each further failure
twice as many."""

PAUSE = 5.0
"""Seconds between two writes of the statuses that have changed."""

STATES = ("asleep", "awake", "refused", "unused")

_FINAL = (400, 422)
"""How the API server answers for a field: only an edit helps."""
_FORBIDDEN = 403
"""How it answers for a quota, a policy or a webhook, which may allow the same later."""


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
    forbidden: str = ""
    """Why the API server has not judged its template yet."""
    checked: int = 0
    """The generation whose template the API server has judged."""
    budget: Budget | None = None
    """That of the last generation that this process has accepted; None for none yet."""
    written: datetime | None = None
    shown: Mapping[str, Any] | None = None
    """The status as this process wrote it last. The answer to that write may have a newer spec than
    the watch has shown, so `obj` is never taken from it."""

    @property
    def generation(self) -> int:
        return int(self.obj["metadata"]["generation"])

    def is_same(self, obj: Object) -> bool:
        """Whether this is the same version of the same set, but for its status."""
        parts = ("uid", "generation", "labels")
        return all(self.obj["metadata"].get(part) == obj["metadata"].get(part) for part in parts)


class PoolSets(Members):
    """The sets of an install, and their pools."""

    _kube: Kube
    _used: Namespaces
    _again: Callable[[], None]

    def __init__(
        self, registry: CollectorRegistry, clock: Callable[[], datetime], currency: str = ""
    ) -> None:
        super().__init__(clock, currency)
        self._known: dict[str, Known] = {}
        self._leads = False
        """Whether this operator has listed the sets since it leads."""
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
        self._pauses: dict[str, float] = {}
        """After how many seconds, of those that have failed."""
        self._work = asyncio.Event()
        self._synced = asyncio.Event()
        self._stale: set[str] = set()
        """The sets whose status may have changed."""
        self._pages = Pages(clock=clock)
        self._pools = set_metric(registry)

    @classmethod
    def of(cls, setup: Setup) -> Members | Self:
        clock, currency = setup.clock, setup.settings.prices.currency
        return (
            cls(setup.registry, clock, currency)
            if setup.settings.sets
            else Members(clock, currency)
        )

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
        before = self._members.get(key)
        super().observe(key, pool)
        member = self._members.get(key)
        self._stale.update(one.of for one in (before, member) if one is not None)
        if not (before and member):
            self._enqueue(key[0])

    def prepare(self, turn: Turn) -> Turn:
        """Add the budget of the set, and whether the pool is used."""
        turn, known = super().prepare(turn), self._known.get(poolset_of(turn.pool))
        after = None if known is None or known.by is None else known.by.unused_after
        if after is None or turn.refused is not None:
            return turn
        said = visited(turn.pool, after, turn.now)
        return replace(turn, further=(*turn.further, said))

    def reset(self) -> None:
        super().reset()
        self._leads = False
        for known in self._known.values():
            known.written = known.shown = None

    async def run(self, touch: Callable[[Key], None]) -> None:  # noqa: ARG002
        """Settle what is queued, and write the statuses of the sets, until cancelled."""
        await self._synced.wait()
        await until_listed("WarmPoolSets", self._begin)
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
        if known is not None and known.obj["metadata"]["uid"] != obj["metadata"]["uid"]:
            del self._known[name]
            self._purses.pop(name, None)
        known = self._known.setdefault(name, Known(obj))
        known.obj, known.checked = obj, 0
        try:
            known.by, why = read_set(obj), ""
        except SpecError as error:
            known.by, why = None, str(error)
        self._judge(known, why)
        self._follow()
        return (name,)

    def _forget(self, key: Key) -> Iterable[str]:
        if self._known.pop(key[1], None) is not None:
            self._purses.pop(key[1], None)
            for state in STATES:
                self._pools.labels(key[1], state).set(0)
            self._follow()
        return ()

    async def _begin(self) -> None:
        """Take over what the last leader has written, of which the watch may lack the end."""
        for obj in await self._kube.find(WarmPoolSet, CLUSTER):
            self._keep(obj)
        self._leads = True
        for of, purse in self._purses.items():
            self._recall(of, purse, self._clock())
        self._stale.update(self._known)

    def _judge(self, known: Known, why: str, *, is_accepted: bool = False) -> None:
        """Note whether a set is accepted; its pools then have its budget, or keep the last one."""
        of, is_new = known.obj["metadata"]["name"], known.why != why
        known.why, known.forbidden = why, ""
        if why:
            known.by = None
        elif is_accepted and known.by is not None:
            known.budget = known.by.budget or Budget()
        for key in self._keys_of(of):
            if is_new or self._lacks(known.budget, key):
                self._touch(key)
        self._stale.add(of)

    def _lacks(self, budget: Budget | None, key: Key) -> bool:
        """Whether the status of a pool has another budget."""
        there = read_shared(table(self._cache.pools[key].get("status"))) or Budget()
        return budget is not None and replace(there, beside=budget.beside) != budget

    def _budget(self, of: str, turn: Turn) -> Budget | None:
        """The budget of the last generation that was accepted."""
        if (known := self._known.get(of)) is None:
            return super()._budget(of, turn)
        why = ", which is not accepted now," if known.why else ""
        if known.budget is None:
            return self._last(of, turn, why)
        return replace(known.budget, shared=f"WarmPoolSet {of}{why}")

    def _recall(self, of: str, purse: Purse, now: datetime) -> None:
        if self._leads and (known := self._known.get(of)) is not None:
            purse.recall(table(known.obj.get("status")), now)
        else:
            super()._recall(of, purse, now)

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
            if await self._is_settled(namespace):
                self._pauses.pop(namespace, None)
            elif namespace not in self._later:
                pause = min(self._pauses.get(namespace, AGAIN / 2) * 2, AGAIN_AT_MOST)
                self._pauses[namespace] = pause
                self._later.add(namespace)
                asyncio.get_running_loop().call_later(pause, self._try_again, namespace)
            self._busy.discard(namespace)
            self._work.set()

    async def _is_settled(self, namespace: str) -> bool:
        """Settle a namespace; whether that has succeeded."""
        try:
            return await self._settle(namespace)
        except (ConflictError, NotFoundError, *Unreachable) as error:
            log.warning("cannot settle the WarmPools of %s: %s", namespace, error)
            return False
        except Exception:
            # An unforeseen error of one namespace must not end the operator.
            log.exception("cannot settle the WarmPools of %s", namespace)
            return False

    def _try_again(self, namespace: str) -> None:
        self._later.discard(namespace)
        self._enqueue(namespace)

    async def _settle(self, namespace: str) -> bool:
        """Make, change and delete pools in one namespace, until they are what the sets want.

        Returns whether nothing was forbidden: that may be allowed later.
        """
        served = self._cache.served
        if not served.serves(namespace) or (
            self._uses(namespace) and not self._used.lists(namespace)
        ):
            # It is queued again when it is listed.
            self._stale.update(self._found.pop(namespace, Wanted()).selected)
            return True
        is_allowed = True
        here, sets, judged = served.known[namespace], list[PoolSet](), dict[str, PoolSet]()
        for by in self._sets():
            if not by.has(namespace, here):
                judged[by.name] = by
            elif await self._accepts(by):
                judged[by.name] = by
                sets.append(by)
            else:
                known = self._known.get(by.name)
                is_allowed = is_allowed and not (known and known.forbidden)
        found = wanted(self._place(namespace, sets))
        before = self._found.pop(namespace, Wanted())
        if found != Wanted():
            self._found[namespace] = found
        for name, made in found.made.items():
            if (refused := await self._make(made)) is None:
                self._failed.pop((namespace, name), None)
            else:
                self._failed[namespace, name] = made.by.name, refused
                is_allowed = is_allowed and refused.reason != "Forbidden"
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
        return is_allowed

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
            return not known.why
        home = self._cache.served.scope.home
        pattern = Made(by, home, by.name, Workload("Deployment", by.name, {}, {}), by.name)
        manifest, generation = pattern.manifest(self._cache.scaled, {}), known.generation
        manifest["metadata"]["generateName"] = f"{manifest['metadata'].pop('name')}-"
        why, forbidden = "", ""
        try:
            parse((await self._kube.judged(WarmPool, manifest))["spec"])
        except SpecError as error:
            why = f"spec.template: {error}"
        except ApiError as error:
            why = f"spec.template: {error}"
            if error.code == _FORBIDDEN:
                why, forbidden = "", why
            elif error.code not in _FINAL:
                raise
        if known.by is not by:
            return False  # edited meanwhile
        if forbidden:
            known.forbidden = forbidden
            self._stale.add(by.name)
            return False
        known.checked = generation
        self._judge(known, why, is_accepted=not why)
        return not why

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
            if error.code == _FORBIDDEN:
                return made.refused("Forbidden", str(error))
            if error.code not in _FINAL:
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
        members = {key: self._members[key] for key in self._keys_of(name)}
        failed = [refused for of, refused in self._failed.values() if of == name]
        found = list(self._found.values())
        purse = self._purses.get(name)
        if known.budget is not None:
            has_limit = known.budget.limit is not None
            purse = self._purse(name, known.budget, now) if has_limit else None
        seen = Seen(name, known.why, known.forbidden, purse, members, found, failed)
        status = set_status(seen)
        if known.budget is None and purse is None:  # it may have one: what is written stays
            del status["cost"], status["internal"]
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
