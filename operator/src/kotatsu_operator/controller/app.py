"""The operator: watches fill the cache, the elector leads, the work queue reconciles pools."""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.demand import Observer, Scraper
from kotatsu_operator.controller.election import TIMES, Times
from kotatsu_operator.controller.elector import Elector
from kotatsu_operator.controller.feature import Feature, kinds_of
from kotatsu_operator.controller.namespaces import Namespaces
from kotatsu_operator.controller.pacer import Pacer
from kotatsu_operator.controller.pool_watch import PoolWatch
from kotatsu_operator.controller.reconciler import Reconciler
from kotatsu_operator.controller.report import NamespaceMetric, PoolMetrics, Reporter
from kotatsu_operator.controller.restore import Records
from kotatsu_operator.controller.scale_down import Hook, no_hook
from kotatsu_operator.controller.served import Served
from kotatsu_operator.controller.target import Tools
from kotatsu_operator.controller.unserved import NAMESPACE_TOO_LARGE
from kotatsu_operator.controller.work_queue import WorkQueue
from kotatsu_operator.core.pool.memory import FIRST_START
from kotatsu_operator.core.pool.news import Note
from kotatsu_operator.core.pool.spec import BUILT_IN, PLATFORM, Platform
from kotatsu_operator.core.scope import Scope
from kotatsu_operator.kube import objects
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable, is_refusal
from kotatsu_operator.kube.informer import Feed, Informer, among
from kotatsu_operator.kube.objects import Key, Object, key_of
from kotatsu_operator.kube.retained import Retained
from kotatsu_operator.kube.views import PodView, SliceView, owner_of
from kotatsu_operator.runtime.loop import Heartbeat, started_in

log = logging.getLogger(__name__)

SWEEP_SECONDS = 10.0
"""Seconds between two sweeps, which remove the slices of deleted activators and queue pools without
a planned reconcile."""

STRANGERS_SECONDS = 60.0
"""Seconds for which slices of other activators may stay ready once those of the pool's own are."""

PACE_SECONDS = 1.0
"""How often the starts of coming warm-ups are computed again, if a claim has changed."""

COMPARE_EVERY = 60
"""Sweeps between two comparisons of the record with the existing pools. They are also compared when
leading begins, and when a kind was listed again and a deletion may have been missed."""


@dataclass(frozen=True)
class Options:
    """The settings of an operator."""

    name: str = "kotatsu-operator"
    """Unique among running operators: the name of the pod."""
    starts_per_second: float = 5.0
    first_start: timedelta = FIRST_START
    """The time to Ready that is assumed for a pool that has never started."""
    platform: Platform = PLATFORM
    times: Times = TIMES
    features: Sequence[Feature] = ()
    """The optional features, in the order of their hooks."""
    retained: Retained = field(default_factory=Retained)
    """How much memory the cache, and each namespace in it, may have."""


class Operator:
    """The operator of an install. It always watches, and acts while it holds the Lease."""

    def __init__(
        self,
        kube: Kube,
        scope: Scope,
        registry: CollectorRegistry,
        options: Options | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        hook: Hook = no_hook,
    ) -> None:
        self._options = options = options or Options()
        metrics = PoolMetrics(registry)
        self._features = features = [metrics, *options.features]
        self._term: asyncio.TaskGroup | None = None
        """The tasks of the leader; None while another operator leads."""
        self._is_uncompared = False
        """Whether pools must be compared at the next sweep."""
        self._strangers: dict[Key, float] = {}
        """Since when slices of other activators are ready beside those of their pool."""

        # --- who acts ---
        self.heartbeat = heartbeat = Heartbeat()
        # With its own thread and connections: a renewal must not wait behind the calls of a
        # thousand reconciles, or for one that blocks the event loop.
        self.elector = elector = Elector(
            kube.separate(),
            (scope.home, options.name),
            registry,
            times=options.times,
            late=lambda: heartbeat.late,
        )
        # All actions use this client: after the Lease has expired, nothing is written.
        self._kube = acting = kube.guarded(lambda: elector.leads)
        self.records = Records(acting, scope.home)

        # --- what is watched ---
        self.work_queue = queue = WorkQueue(clock, took=metrics.decision_seconds.observe)
        kinds = kinds_of(features)
        labels = {name: kind.pod_label for name, kind in kinds.items() if kind.pod_label}
        self.cache = cache = Cache(
            Served(scope),
            clock=clock,
            scaled=kube.scaled,
            pod_labels=labels,
            touch=queue.touch,
            retained=options.retained,
        )
        self._pools = PoolWatch(kube.separate(), cache, queue.touch, self._pool_gone)
        self._namespaces = used = Namespaces(cache, queue.touch, self._pools.list_again)
        cache.retained.on_change = self._weighed
        cache.tell(*(feature.observe for feature in features), used.see)
        watched = partial(Informer[Key], touch=queue.touch)
        self._first = watched(kube.separate(), [names_of(used, cache.served)])
        self._informer = watched(
            kube.separate(), feeds_of(cache), began_anew=self._note_uncompared, keeps=used.keeps
        )
        # Apart: a kind that the cluster does not have, or that the operator may not read, must not
        # stop the pools of other kinds.
        self._further = watched(kube.separate(), further_feeds(cache), keeps=used.keeps)
        used.listed_by(self._informer)
        used.listed_by(self._further, must=False)
        self._known = asyncio.Event()
        """Set once it is known what is served."""
        self._shows = self._pools.shows, self._informer.shows, used.shows
        NamespaceMetric(registry, self._readable)

        # --- what reconciles use ---
        self._pacer = Pacer(options.starts_per_second, queue.by)
        observer = Observer(cache, Scraper(clock=clock), elector.catching_up, queue.aside)
        self._reporter = Reporter(acting, cache, clock, options.name)
        self._reconciler = Reconciler(
            Tools(acting, observer, clock, hook, self.records.remember),
            cache,
            self._reporter,
            features=features,
            pacer=self._pacer,
            monotonic=time.monotonic,
            first_start=options.first_start,
            platform=options.platform,
            shows=self._shows,
            awaits=self._further.awaits,
        )

    @property
    def why_not_ready(self) -> str:
        """A sentence about what is not ready; empty when ready, also while standing by."""
        if awaited := [*self._first.awaited, *self._informer.awaited]:
            return f"not listed yet: {', '.join(awaited)}"
        if stopped := [*self._first.stopped, *self._informer.stopped]:
            return f"the watch has stopped and is started again: {', '.join(stopped)}"
        if not self._pools.has_begun:
            return "the watch of WarmPools has not begun"
        return self._pools.why_blind

    @property
    def left_out(self) -> str:
        """A sentence about what the API server does not list; empty if that is nothing."""
        refused = ["WarmPool"] if self._pools.unlisted else []
        refused += [*self._first.missing, *self._informer.missing]
        if not refused:
            return ""
        return (
            f"the API server rejects the list of: {', '.join(sorted(refused))}; the pools stay as "
            "they are until it can be listed"
        )

    def _weighed(self, namespace: str) -> None:
        self._namespaces.weighed(namespace)
        if namespace in self.cache.retained.full:
            started_in(self._term, self._say_full(namespace), f"event of {namespace}")

    def _say_full(self, namespace: str) -> Coroutine[Any, Any, None]:
        """Post an event of a namespace that is too large."""
        note = Note(NAMESPACE_TOO_LARGE, self.cache.why_full(namespace), warning=True)
        meta = {"namespace": namespace, "name": namespace}
        of = {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}
        return self._reporter.post(of, [note])

    def _readable(self) -> Iterator[tuple[str, bool]]:
        for name in self._namespaces.used:
            yield name, all(shows(name) for shows in self._shows)

    async def run(self, stop: threading.Event | asyncio.Event | None = None) -> None:
        """Run until `stop` is set, or until a signal. Raises the error of any part."""
        stop = asyncio.Event() if stop is None else stop
        electing = asyncio.create_task(self._elect(), name="elector")
        watch = self._kube, self._namespaces, self.cache, self.work_queue.touch
        parts = [
            ("stop", _wait_for(stop)),
            ("pools", self._pools.run(self._options.name, stop.set)),
            ("heartbeat", self.heartbeat.run()),
            ("what is served", self._find_out()),
            ("informer", self._then(self._informer.run)),
            ("further kinds", self._then(self._further.run)),
            ("namespaces in use", self._then(self._namespaces.run)),
            *(
                (f"watch of {type(one).__name__}", self._then(partial(one.watch, *watch)))
                for one in self._features
            ),
        ]
        tasks = {asyncio.create_task(part, name=name) for name, part in parts}
        tasks.add(electing)
        try:
            first, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            # Release the Lease first: the watch of WarmPools needs time to end.
            electing.cancel()
            await asyncio.wait([electing])
            for task in {*first, electing}:
                if not task.cancelled():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _find_out(self) -> None:
        """Find out what is served, and watch the Namespaces.

        Before all other kinds are listed: so the lists show what is in use.
        """
        watching = asyncio.create_task(self._first.run(), name="watch Namespaces")
        try:
            await self._first.synced()
            await self._pools.answered()
            self._namespaces.begin()
            self._known.set()
            await watching
        finally:
            watching.cancel()

    async def _then(self, watch: Callable[[], Awaitable[None]]) -> None:
        await self._known.wait()
        await watch()

    async def _elect(self) -> None:
        # The operator leads only after it has seen all objects: an older pool may claim the same
        # target. A namespace that the API server rejects is left out until it can be listed.
        listing = asyncio.create_task(self._pools.list_all())
        try:
            await self._informer.synced()
            await self._pools.answered()
            if self.left_out:
                log.warning("%s", self.left_out)
            await self.elector.run(self._lead)
        finally:
            listing.cancel()
            await asyncio.gather(listing, return_exceptions=True)

    async def _lead(self) -> None:
        """Act until cancelled. Starts without memory, because others may have led meanwhile."""
        self._reconciler.reset()
        self.records.reset()
        for key in self.cache.pools:
            self.work_queue.touch(key)
        try:
            async with asyncio.TaskGroup() as term:
                self._term = term
                term.create_task(self.work_queue.run(self._reconciler.reconcile), name="work queue")
                term.create_task(self._sweep(), name="sweep")
                term.create_task(self._pace(), name="pace")
                for namespace in self.cache.retained.full:
                    term.create_task(self._say_full(namespace), name=f"event of {namespace}")
                for feature in self._features:
                    work = feature.run(self.work_queue.touch)
                    term.create_task(work, name=type(feature).__name__)
        finally:
            self._reconciler.reset()  # the next leader publishes these metrics

    async def _pool_gone(self, pool: Object) -> None:
        """Restore a deleted pool's target if leading; else the next leader's sweep finds it."""
        if not self.cache.served.has(pool):
            return
        started_in(self._term, self._restore(pool), "restore")

    async def _restore(self, pool: Object) -> None:
        try:
            await self.records.gone(pool, self.cache.pools)
        except (ConflictError, *Unreachable) as error:
            log.warning("%s/%s was deleted; its target is restored later: %s", *key_of(pool), error)

    async def _sweep(self) -> None:
        count = 0
        while True:
            if self._is_uncompared or count % COMPARE_EVERY == 0:
                self._is_uncompared = False
                await self._compare()
            await asyncio.sleep(SWEEP_SECONDS)
            count += 1
            for key in self.cache.pools:
                if not self.work_queue.knows(key) and self.cache.served.uses(key[0]):
                    self.work_queue.touch(key)
            await self._sweep_slices()

    async def _sweep_slices(self) -> None:
        activators, served = self.cache.activators, self.cache.served
        for of in filter(served.sweeps, activators.orphans(self._informer.shows)):
            await self._remove_slice(of)
        for of in filter(served.sweeps, activators.lost(self.cache.answers)):
            await self._remove_slice(of, lambda pod: not pod.lost)
        found = activators.strangers(self.cache.is_served)
        now, strangers = time.monotonic(), [of for of in found if served.serves(of.key[0])]
        self._strangers = {of.key: self._strangers.get(of.key, now) for of in strangers}
        for of in strangers:
            if now - self._strangers[of.key] >= STRANGERS_SECONDS:
                # One that is Ready hands over by itself. Those of other releases cannot be read.
                await self._remove_slice(of, lambda pod: pod.ready, though_unreadable=True)

    async def _remove_slice(
        self,
        of: SliceView,
        stays: Callable[[PodView], bool] = lambda _: True,
        *,
        though_unreadable: bool = False,
    ) -> None:
        """Remove a slice unless the API server shows its activator, and that one `stays`."""
        try:
            try:
                pod = await owner_of(self._kube, of)
            except Unreachable as error:
                if not (though_unreadable and is_refusal(error)):
                    raise
                pod = None
            if pod is None or not stays(pod):  # otherwise the pod watch lags
                log.info("removing slice %s/%s: its activator is not needed any more", *of.key)
                await self._kube.delete(objects.EndpointSlice, *of.key)
        except (ConflictError, *Unreachable) as error:
            log.warning("cannot remove slice %s/%s: %s", *of.key, error)

    async def _pace(self) -> None:
        while True:
            await asyncio.sleep(PACE_SECONDS)
            self._pacer.settle()

    async def _compare(self) -> None:
        """Find pools whose deletion was missed: without an operator, or between two watches."""
        before = self._pools.known
        try:
            pools = await self.records.settle()
        except (ConflictError, NotFoundError, *Unreachable) as error:
            log.warning("cannot compare the record with the WarmPools: %s", error)
            self._is_uncompared = True
            return
        self._pools.take(before, pools)

    def _note_uncompared(self) -> None:
        self._is_uncompared = True


async def _wait_for(stop: threading.Event | asyncio.Event) -> None:
    if isinstance(stop, threading.Event):
        await asyncio.to_thread(stop.wait)
    else:
        await stop.wait()


# --- which watch fills which part of the cache ---


def names_of(used: Namespaces, served: Served) -> Feed[Key]:
    """The Namespaces."""
    return Feed(
        objects.Namespace, used.keep, used.forget, lambda _: [("", n) for n in served.known]
    )


def feeds_of(cache: Cache) -> list[Feed[Key]]:
    """The kinds besides WarmPools that decisions depend on; every cluster has them."""
    return [
        *(_workloads(cache, kind) for kind in BUILT_IN),
        cache.feed(objects.Pod, cache.keep_pod, cache.forget_pod, cache.pods_in, cache.pod_of),
        cache.feed(
            *(objects.EndpointSlice, cache.keep_slice, cache.forget_slice),
            *(cache.slices_in, cache.slice_of),
        ),
        cache.feed(
            *(objects.Service, cache.keep_service, cache.forget_service),
            *(among(cache.services), cache.services.get),
        ),
        cache.feed(
            *(objects.HorizontalPodAutoscaler, cache.keep_autoscaler, cache.forget_autoscaler),
            *(among(cache.autoscalers), cache.autoscalers.get),
        ),
    ]


def further_feeds(cache: Cache) -> list[Feed[Key]]:
    """The kinds of the chart, and NetworkPolicies, on which only a condition depends."""
    policies = cache.feed(
        *(objects.NetworkPolicy, cache.keep_policy, cache.forget_policy),
        *(among(cache.policies), cache.policies.get),
    )
    return [*(_workloads(cache, kind) for kind in cache.scaled if kind not in BUILT_IN), policies]


def _workloads(cache: Cache, kind: str) -> Feed[Key]:
    return cache.feed(
        objects.resource_of(cache.scaled[kind]),
        partial(cache.keep_workload, kind),
        partial(cache.forget_workload, kind),
        partial(cache.workloads_in, kind),
        partial(cache.workload_of, kind),
    )
