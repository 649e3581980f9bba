"""The operator put together: kopf feeds the world, the planner looks, the reconciler acts."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import httpx
import kopf
from prometheus_client import CollectorRegistry

from . import handlers
from .core.spec import OnDelete, SpecError, parse
from .events import Events
from .kube import ConflictError, EndpointSlice, Kube, NotFoundError, Object, Unreachable
from .metrics import PoolMetrics
from .pacer import Pacer
from .planner import Planner
from .reconcile import Reconciler
from .scrape import Scraper
from .sleep import Hook, no_hook
from .views import key_of
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
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        hook: Hook = no_hook,
    ) -> None:
        self.world = World()
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
            scraper=Scraper(self._http),
            events=Events(kube, name),
            metrics=metrics,
            clock=clock,
            pacer=self._pacer,
            hook=hook,
        )
        self.planner = Planner(self._reconciler.look, clock, took=metrics.decision_seconds.observe)

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
        ]
        try:
            await kopf.operator(
                registry=handlers.register(self.world, self.planner, self._restore),
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

    async def _restore(self, pool: Object) -> None:
        """Give a deleted pool's sleeping target its replicas back (spec.onDelete: Restore)."""
        key, status = key_of(pool), pool.get("status") or {}
        try:
            spec = parse(pool["spec"])
        except SpecError:
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
