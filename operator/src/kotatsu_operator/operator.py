"""The operator put together: kopf feeds the world, the planner looks, the reconciler acts."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import httpx
import kopf
from prometheus_client import CollectorRegistry

from . import handlers
from .accounts import Accounts
from .autoscaling import give_back
from .console.board import Board
from .core.cost import NO_PRICES, PriceTable
from .core.spec import OnDelete, SpecError, parse
from .events import Events
from .knative import floor as knative
from .knative.view import read_kept
from .knative.watch import KnativeWatch, Runtime
from .kube import ConflictError, EndpointSlice, Kube, NotFoundError, Object, Unreachable
from .metrics import PoolMetrics
from .pacer import Pacer
from .planner import Planner
from .reconcile import Reconciler
from .scrape import Scraper
from .sleep import Hook, no_hook
from .views import Key, key_of
from .world import World

log = logging.getLogger(__name__)

SWEEP_SECONDS = 10.0
"""How often slices of vanished activators and pools that nobody plans to look at are looked for."""

PACE_SECONDS = 1.0
"""How often the turns of coming warm-ups are worked out anew, if any has changed."""

_RESTORE_TRIES = 10
_RESTORE_PAUSE = 2.0


class Operator:
    """One operator over some namespaces. Everything it needs is passed in."""

    def __init__(
        self,
        kube: Kube,
        namespaces: Sequence[str],
        registry: CollectorRegistry,
        *,
        name: str = "kotatsu-operator",
        starts_per_second: float = 5.0,
        prices: PriceTable = NO_PRICES,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        hook: Hook = no_hook,
        runtime: Runtime = Runtime.AUTO,
    ) -> None:
        self.board = Board(clock)
        self.world = World(watchers=[self.board], clock=clock)
        self._kube = kube
        self._namespaces = list(namespaces)
        self._name = name
        self._ready = asyncio.Event()
        self._http = httpx.AsyncClient(trust_env=False)
        self._pacer = Pacer(starts_per_second, lambda key, at: self.planner.by(key, at))
        metrics = PoolMetrics(registry)
        self._reconciler = Reconciler(
            kube=kube,
            world=self.world,
            scraper=Scraper(self._http, clock=clock),
            events=Events(kube, name),
            displays=[metrics, self.board],
            clock=clock,
            pacer=self._pacer,
            hook=hook,
            accounts=Accounts(prices, time.monotonic),
        )
        self.planner = Planner(self._reconciler.look, clock, took=metrics.decision_seconds.observe)
        self._knative = KnativeWatch(kube, self.world, namespaces, self.planner.touch, runtime)

    @property
    def is_ready(self) -> bool:
        """Whether the watches have begun."""
        return self._ready.is_set()

    async def run(self, stop: threading.Event | asyncio.Event | None = None) -> None:
        """Run until `stop` is set (or, without one, until a signal ends kopf)."""
        helpers = [
            asyncio.create_task(self.planner.run(), name="planner"),
            asyncio.create_task(self._sweep(), name="sweep"),
            asyncio.create_task(self._pace(), name="pace"),
            asyncio.create_task(self._knative.run(), name="knative"),
        ]
        try:
            await kopf.operator(
                registry=handlers.register(self.world, self.planner, self._pool_gone),
                settings=handlers.operator_settings(),
                namespaces=self._namespaces,
                standalone=True,
                # Given, since kopf would look up the login name of a user an image need not have.
                identity=cast(Any, self._name),
                stop_flag=stop,
                ready_flag=self._ready,
            )
        finally:
            for task in helpers:
                task.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            await self._http.aclose()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for key in self.world.pools:
                if not self.planner.knows(key):
                    self.planner.touch(key)
            for orphan in self.world.orphans(self._namespaces):
                log.info("removing slice %s/%s: its activator is gone", *orphan.key)
                try:
                    await self._kube.delete(EndpointSlice, *orphan.key)
                except (ConflictError, *Unreachable) as error:
                    log.warning("cannot remove slice %s/%s: %s", *orphan.key, error)

    async def _pace(self) -> None:
        while True:
            await asyncio.sleep(PACE_SECONDS)
            self._pacer.settle()

    async def _pool_gone(self, pool: Object) -> None:
        await give_back(self._kube, pool)
        await self._restore(pool)

    async def _restore(self, pool: Object) -> None:
        """Give a deleted pool's sleeping target its replicas back (spec.onDelete: Restore)."""
        key, status = key_of(pool), pool.get("status") or {}
        try:
            spec = parse(pool["spec"])
        except SpecError:
            return
        if spec.on_delete is OnDelete.RESTORE:
            await self._restore_revisions(key, status)
        if spec.target.is_knative:
            return
        others = self.world.pools_of_deployment((key[0], spec.target.name))
        replicas = status.get("restoreReplicas")
        if spec.on_delete is OnDelete.KEEP or replicas is None or others:
            return
        for _ in range(_RESTORE_TRIES):
            try:
                scale = await self._kube.get_scale(key[0], spec.target.name)
                if scale.replicas > 0:
                    return
                await self._kube.put_scale(key[0], spec.target.name, replicas, scale.version)
            except ConflictError:
                continue  # whoever else writes to the Deployment need not have scaled it
            except NotFoundError as error:
                log.info("%s/%s was deleted, and so is its target: %s", *key, error)
                return
            except Unreachable as error:
                log.warning("%s/%s was deleted; its target has to wait: %s", *key, error)
                await asyncio.sleep(_RESTORE_PAUSE)
                continue
            name = spec.target.name
            log.info("%s/%s was deleted: %s has %d replicas again", *key, name, replicas)
            return
        log.error("%s/%s was deleted, but its target could not be given back its replicas", *key)

    async def _restore_revisions(self, key: Key, status: Object) -> None:
        """Give the Revisions of a deleted pool's Knative Service their min-scale back."""
        kept = read_kept(status)
        for _ in range(_RESTORE_TRIES if kept else 0):
            try:
                await knative.give_back(self._kube, self.world.knative, key[0], kept)
            except ConflictError:
                continue  # Knative's controllers write to a Revision too
            except Unreachable as error:
                log.warning("%s/%s was deleted; its Revisions have to wait: %s", *key, error)
                await asyncio.sleep(_RESTORE_PAUSE)
                continue
            return
        if kept:
            log.error(
                "%s/%s was deleted, but min-scale of %s could not be put back: correct the "
                "annotation autoscaling.knative.dev/min-scale of these Revisions by hand",
                *key,
                ", ".join(k.name for k in kept),
            )
