"""The operator: watches fill the cache, the elector leads, the work queue reconciles pools."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import kopf
from prometheus_client import CollectorRegistry

from kotatsu_operator.console.board import Board
from kotatsu_operator.controller import kopf_handlers
from kotatsu_operator.controller.accounts import Accounts
from kotatsu_operator.controller.act.scale_down import Hook, no_hook
from kotatsu_operator.controller.cache.knative import KnativeWatch
from kotatsu_operator.controller.cache.store import Cache
from kotatsu_operator.controller.cache.streams import Streams, feeds_of
from kotatsu_operator.controller.leader.election import TIMES, Times
from kotatsu_operator.controller.leader.elector import Elector
from kotatsu_operator.controller.observe.observer import Observer
from kotatsu_operator.controller.observe.scraper import Scraper
from kotatsu_operator.controller.pacer import Pacer
from kotatsu_operator.controller.reconciler import Reconciler
from kotatsu_operator.controller.report.events import Events
from kotatsu_operator.controller.report.metrics import NamespaceMetrics, PoolMetrics
from kotatsu_operator.controller.restore.records import Records
from kotatsu_operator.controller.resync import BlindError, MissedEvents
from kotatsu_operator.controller.work_queue import WorkQueue
from kotatsu_operator.core.budget.prices import NO_PRICES, PriceTable
from kotatsu_operator.core.decide.knative import Runtime
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable, is_answer
from kotatsu_operator.kube.objects import key_of
from kotatsu_operator.kube.owners import owner_of
from kotatsu_operator.kube.resources import EndpointSlice, Object, WarmPool
from kotatsu_operator.kube.slices import SliceView
from kotatsu_operator.runtime.heartbeat import Heartbeat

log = logging.getLogger(__name__)

SWEEP_SECONDS = 10.0
"""Seconds between two sweeps, which remove the slices of deleted activators and queue pools without
a planned reconcile."""

LIST_AGAIN_SECONDS = 1.0
"""Seconds until the pools of a namespace are listed again after a failure."""

LONGEST_PAUSE_SECONDS = 30.0
"""Seconds until then at most, after the API server has rejected the list."""

PACE_SECONDS = 1.0
"""How often the starts of coming warm-ups are computed again, if a claim has changed."""

SETTLE_EVERY = 60
"""Sweeps between two comparisons of the record with the existing pools. They are also compared when
leading begins, and when a stream lists again and may have missed a deletion."""


class Operator:
    """The operator of some namespaces. All collaborators and settings are parameters.

    It watches from the start, but acts only while it holds the Lease in `lease_namespace`.
    """

    def __init__(
        self,
        kube: Kube,
        namespaces: Sequence[str],
        registry: CollectorRegistry,
        *,
        name: str = "kotatsu-operator",
        starts_per_second: float = 5.0,
        prices: PriceTable = NO_PRICES,
        lease_namespace: str = "",
        times: Times = TIMES,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        hook: Hook = no_hook,
        runtime: Runtime = Runtime.AUTO,
        knative_namespace: str = "",
    ) -> None:
        self.board = Board(clock)
        self.cache = Cache(watchers=[self.board], clock=clock)
        self._namespaces = list(namespaces)
        self._name = name
        self._ready = asyncio.Event()
        self.heartbeat = Heartbeat()
        # With its own thread and connections: a renewal must not wait behind the calls of a
        # thousand reconciles, or for one that blocks the event loop.
        self.elector = Elector(
            kube.apart(),
            lease_namespace or namespaces[0],
            name,
            registry,
            times=times,
            late=lambda: self.heartbeat.late,
        )
        # All actions use this client: after the Lease has expired, nothing is written.
        self._kube = kube.guarded(lambda: self.elector.leads)
        self.records = Records(self._kube)
        self._scraper = Scraper(clock=clock)
        self._unsettled: set[str] = set()
        self._shown: set[str] = set()
        """The uids of the pools that kopf has shown."""
        self._unseen: dict[str, MissedEvents] = {}
        self._pacer = Pacer(starts_per_second, lambda key, at: self.work_queue.by(key, at))
        metrics = PoolMetrics(registry)
        self._reconciler = Reconciler(
            kube=self._kube,
            cache=self.cache,
            observer=Observer(
                self._kube,
                self.cache,
                self._scraper,
                catching_up=lambda: self.elector.catching_up,
                aside=lambda key: self.work_queue.aside(key),
            ),
            events=Events(self._kube, name),
            displays=[metrics, self.board],
            clock=clock,
            pacer=self._pacer,
            hook=hook,
            accounts=Accounts(prices, time.monotonic),
            remember=self.records.remember,
            shows=self._shows,
        )
        self.work_queue = WorkQueue(
            self._reconciler.look, clock, took=metrics.decision_seconds.observe
        )
        self._streams = Streams(
            kube,
            feeds_of(self.cache),
            namespaces,
            self.work_queue.touch,
            self._unsettled.add,
            self._complete,
        )
        self._unlisted = dict.fromkeys(namespaces, "WarmPools are not listed yet")
        """Namespaces whose pools have not been listed yet, with the reason."""
        registry.register(NamespaceMetrics(namespaces, self._shows))
        self._knative = KnativeWatch(
            kube, self.cache, namespaces, self.work_queue.touch, runtime, knative_namespace
        )
        self._term: asyncio.TaskGroup | None = None

    @property
    def why_not_ready(self) -> str:
        """A sentence about what is not ready; empty when ready, also while standing by."""
        if self._streams.awaited:
            return f"not listed yet: {', '.join(self._streams.awaited)}"
        return "" if self._ready.is_set() else "the watch of WarmPools has not begun"

    @property
    def left_out(self) -> str:
        """A sentence about what the API server does not list; empty if there is nothing."""
        # A copy, because the health server's thread also reads this.
        refused = [f"WarmPool in {namespace}" for namespace in list(self._unlisted)]
        refused += self._streams.missing
        if not refused:
            return ""
        return (
            f"left out, since the API server refuses to list it: {', '.join(sorted(refused))}; "
            "the pools there stay as they are until it can be listed"
        )

    def _shows(self, namespace: str) -> bool:
        return namespace not in self._unlisted and self._streams.shows(namespace)

    def _complete(self, namespace: str) -> None:
        if self._shows(namespace):
            for key in self.cache.pools.having(("namespace", namespace)):
                self.work_queue.touch(key)

    async def watching(self) -> None:
        """Wait until kopf has started."""
        await self._ready.wait()

    async def run(self, stop: threading.Event | asyncio.Event | None = None) -> None:
        """Run until `stop` is set (or, without it, until a signal ends kopf).

        Raises the error of any part; the process then restarts.
        """
        ended = asyncio.Event()
        electing = asyncio.create_task(self._elect(), name="elector")
        watching = asyncio.create_task(self._watch(ended), name="kopf")
        stopping = asyncio.create_task(_wait_for(stop), name="stop")
        streaming = asyncio.create_task(self._streams.run(), name="streams")
        knative = asyncio.create_task(self._knative.run(), name="knative")
        beating = asyncio.create_task(self.heartbeat.run(), name="heartbeat")
        tasks = (electing, watching, streaming, knative, stopping, beating)
        try:
            first, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            # Release the Lease first: kopf needs time to end.
            electing.cancel()
            await asyncio.wait([electing])
            ended.set()
            await watching
            for task in {*first, electing}:
                if not task.cancelled():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._scraper.aclose()

    async def _watch(self, stop: asyncio.Event) -> None:
        await kopf.operator(
            registry=kopf_handlers.register(
                self.cache, self.work_queue, self._pool_gone, self._shown
            ),
            settings=kopf_handlers.operator_settings(),
            namespaces=self._namespaces,
            standalone=True,
            # Set, because kopf would look up the login name of the user, which an image may lack.
            identity=cast(Any, self._name),
            stop_flag=stop,
            ready_flag=self._ready,
        )

    async def _elect(self) -> None:
        # The operator leads only after it has seen all objects: an older pool may claim the same
        # target. A namespace that the API server rejects is left out until it can be listed.
        await self._streams.synced()
        answers = {namespace: asyncio.Event() for namespace in self._namespaces}
        listing = [asyncio.create_task(self._list_pools(*entry)) for entry in answers.items()]
        try:
            for answer in answers.values():
                await answer.wait()
            if self.left_out:
                log.warning("%s", self.left_out)
            await self.elector.run(self._lead)
        finally:
            for task in listing:
                task.cancel()
            await asyncio.gather(*listing, return_exceptions=True)

    async def _list_pools(self, namespace: str, answer: asyncio.Event) -> None:
        """List all pools of a namespace, with retries. Afterwards kopf shows the changes.

        `answer` is set once the API server has listed or rejected them.
        """
        pause = LIST_AGAIN_SECONDS
        while True:
            try:
                for pool in await self._kube.find(WarmPool, namespace):
                    self.cache.keep_pool(pool)
                break
            except (NotFoundError, *Unreachable) as error:
                if str(error) != self._unlisted[namespace]:
                    log.warning("cannot list the WarmPools of namespace %s: %s", namespace, error)
                    self._unlisted[namespace] = str(error)
                if isinstance(error, NotFoundError) or is_answer(error):
                    answer.set()
                    pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                await asyncio.sleep(pause)
        del self._unlisted[namespace]
        answer.set()
        self._complete(namespace)

    async def _lead(self) -> None:
        """Act until cancelled. Starts without memory, because others may have led meanwhile."""
        self._reconciler.reset()
        self.records.reset()
        self._unseen.clear()
        for key in self.cache.pools:
            self.work_queue.touch(key)
        try:
            async with asyncio.TaskGroup() as term:
                self._term = term
                term.create_task(self.work_queue.run(), name="work queue")
                term.create_task(self._sweep(), name="sweep")
                term.create_task(self._pace(), name="pace")
        finally:
            self._term = None
            self._reconciler.reset()  # the next leader publishes these metrics

    async def _pool_gone(self, pool: Object) -> None:
        """Restore a deleted pool's target if leading; else the next leader's sweep finds it."""
        if self._term is not None:
            self._term.create_task(self._give_back(pool), name="give back")

    async def _give_back(self, pool: Object) -> None:
        try:
            await self.records.gone(pool, self.cache.pools)
        except (ConflictError, *Unreachable) as error:
            log.warning("%s/%s was deleted; its target has to wait: %s", *key_of(pool), error)

    async def _sweep(self) -> None:
        count = 0
        while True:
            due = self._namespaces if count % SETTLE_EVERY == 0 else sorted(self._unsettled)
            self._unsettled.clear()
            for namespace in due:
                await self._settle(namespace)
            await asyncio.sleep(SWEEP_SECONDS)
            count += 1
            for key in self.cache.pools:
                if not self.work_queue.knows(key):
                    self.work_queue.touch(key)
            for of in self.cache.orphans(self._namespaces):
                await self._remove_slice(of)
            for of in self.cache.lost_slices(self._namespaces):
                await self._remove_slice(of, though_there=True)

    async def _remove_slice(self, of: SliceView, *, though_there: bool = False) -> None:
        """Remove a slice if the API server confirms that its activator is gone (or lost)."""
        try:
            pod = await owner_of(self._kube, of)
            if pod is not None and not (though_there and pod.lost):
                return  # the pod watch lags
            log.info("removing slice %s/%s: its activator is gone or lost", *of.key)
            await self._kube.delete(EndpointSlice, *of.key)
        except (ConflictError, *Unreachable) as error:
            log.warning("cannot remove slice %s/%s: %s", *of.key, error)

    async def _pace(self) -> None:
        while True:
            await asyncio.sleep(PACE_SECONDS)
            self._pacer.settle()

    async def _settle(self, namespace: str) -> None:
        """Find pools whose deletion was missed: without an operator, or between two watches."""
        known = {k: p["metadata"]["uid"] for k, p in self.cache.pools.items() if k[0] == namespace}
        try:
            there = {p["metadata"]["uid"] for p in await self.records.settle(namespace)}
        except (ConflictError, NotFoundError, *Unreachable) as error:
            log.warning("cannot settle the record of namespace %s: %s", namespace, error)
            self._unsettled.add(namespace)
            return
        for key, uid in known.items():
            pool = self.cache.pools.get(key)
            if uid not in there and pool is not None and pool["metadata"]["uid"] == uid:
                log.info("%s/%s was deleted unseen", *key)
                self._shown.discard(uid)
                self.cache.forget_pool(key)
                self.work_queue.touch(key)
        self._notice_blindness(namespace, there)

    def _notice_blindness(self, namespace: str, there: set[str]) -> None:
        """Raise BlindError if kopf does not show existing pools."""
        unseen = self._unseen.get(namespace, MissedEvents()).after(there - self._shown)
        self._unseen[namespace] = unseen
        if unseen.is_blind:
            raise BlindError(
                f"{len(unseen.uids)} WarmPools of namespace {namespace} are there and their watch "
                "does not show them: ending, to begin afresh"
            )
        if unseen.uids:
            self._unsettled.add(namespace)


async def _wait_for(stop: threading.Event | asyncio.Event | None) -> None:
    if stop is None:
        await asyncio.Event().wait()
    elif isinstance(stop, asyncio.Event):
        await stop.wait()
    else:
        await asyncio.to_thread(stop.wait)
