"""The feature: detects Knative Serving, which may be installed later, and watches its objects."""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any, Self

from kotatsu_operator.controller.cache import Cache, Concerned
from kotatsu_operator.controller.feature import Feature, Setup
from kotatsu_operator.controller.namespaces import Namespaces
from kotatsu_operator.controller.target import Kind
from kotatsu_operator.core.pool.spec import KNATIVE
from kotatsu_operator.features.knative.fields import SERVICE_LABEL
from kotatsu_operator.features.knative.min_scale import NO_DEFAULTS
from kotatsu_operator.features.knative.objects import (
    AUTOSCALER_CONFIG,
    KnativeCache,
    KnativeRevision,
    KnativeService,
    defaults_of,
    keep_newer,
)
from kotatsu_operator.features.knative.target import KnativeTarget
from kotatsu_operator.kube.client import EVERYWHERE, Kube
from kotatsu_operator.kube.errors import NotFoundError, Unreachable
from kotatsu_operator.kube.informer import Feed, Informer, among
from kotatsu_operator.kube.objects import ConfigMap, Key, Object, key_of
from kotatsu_operator.runtime.settings import Runtime

log = logging.getLogger(__name__)

LOOK_EVERY = 300.0
"""Seconds between two checks for the API, and between two looks at Knative's defaults."""

WAITED_FOR_EVERY = 30.0
"""The same while a pool is rejected because Knative is not installed."""

EXPECTED_EVERY = 5.0
"""The same if Knative is expected, after the API server did not respond, and once after the API
disappeared: an API server that has just started may not serve all APIs yet."""


class Knative(Feature):
    """Knative Services as a kind of targets, beside those with a scale.

    `namespace` is that of Knative's ConfigMap; empty if it must not be read.
    """

    def __init__(self, runtime: Runtime = Runtime.AUTO, namespace: str = "") -> None:
        self.runtime, self.namespace = runtime, namespace
        self.known = known = KnativeCache()
        made = Kind(lambda key, spec, cache: KnativeTarget(key, spec, cache, known), SERVICE_LABEL)
        self.kinds = {KNATIVE: made}
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, setup: Setup) -> Self:
        return cls(setup.settings.runtime, setup.settings.knative_namespace)

    async def watch(
        self, kube: Kube, namespaces: Namespaces, cache: Cache, touch: Callable[[Key], None]
    ) -> None:
        """Check for Knative and watch it while it is installed, until cancelled."""
        self._kube, self._namespaces, self._cache, self._touch = kube, namespaces, cache, touch
        if self.runtime is Runtime.NATIVE:
            self._absent(
                "this operator does not watch Knative: set the chart value knative.enabled to "
                "auto or true"
            )
            await asyncio.Event().wait()
        try:
            while True:
                pause = await self._look()
                await self._rest(pause)
        finally:
            await self._stop()

    async def _look(self) -> float:
        """Check for the API; return the seconds until the next check."""
        try:
            is_there = await self._kube.serves(KnativeService, EVERYWHERE)
            is_there = is_there and await self._kube.serves(KnativeRevision, EVERYWHERE)
            if is_there:
                await self._read_defaults()
        except Unreachable as error:
            log.warning("cannot check whether Knative Serving is installed: %s", error)
            return EXPECTED_EVERY
        if is_there and self._watching is None:
            log.info("watching Knative Services")
            self._watching = asyncio.create_task(self._watch(), name="watch Knative")
        elif not is_there:
            await self._stop()
            self._absent(
                "this cluster has no Knative Serving (serving.knative.dev/v1): install it, or name "
                "a Deployment in spec.targetRef"
            )
            if self.runtime is Runtime.KNATIVE:
                return EXPECTED_EVERY
        return LOOK_EVERY

    async def _read_defaults(self) -> None:
        knative, why = self.known, ""
        before = (knative.defaults, knative.why_no_defaults)
        place = f"{self.namespace or '…'}/{AUTOSCALER_CONFIG}"
        if not self.namespace:
            why = "it has no permission"
        else:
            try:
                config = await self._kube.get(ConfigMap, self.namespace, AUTOSCALER_CONFIG)
                knative.defaults = defaults_of(config)
            except (NotFoundError, *Unreachable) as error:
                why = str(error)
        if why:
            knative.defaults = NO_DEFAULTS
            why = (
                f"the operator cannot read Knative's defaults (ConfigMap {place}): {why}. A "
                "min-scale there that is higher than the pool's floor is lowered while the floor "
                "is in effect: run `helm upgrade` once Knative is installed, or see "
                "docs/how-to/knative.md"
            )
        knative.why_no_defaults = why
        if before != (knative.defaults, why):
            if why:
                log.warning("%s", why)
            self._touch_pools()

    async def _rest(self, pause: float) -> None:
        """Wait until the next check, which comes sooner once a pool needs Knative.

        Raises the error of the watch if it has failed.
        """
        if self._watching is not None:
            for ended in (await asyncio.wait({self._watching}, timeout=pause))[0]:
                self._watching = None
                ended.result()  # the watch ends when its kinds are no longer served
                await asyncio.sleep(EXPECTED_EVERY)
            return
        step = min(pause, WAITED_FOR_EVERY)
        for _ in range(math.ceil(pause / step)):
            await asyncio.sleep(step)
            if self._cache.pools_of_kind(KNATIVE):
                return

    def _absent(self, why: str) -> None:
        knative = self.known
        if knative.why_absent == why:
            return
        if self.runtime is Runtime.KNATIVE:
            log.warning(
                "Knative Serving is expected (knative.enabled is true) but is not installed"
            )
        elif knative.synced:
            log.warning("Knative Serving was removed; the operator checks for it from time to time")
        knative.why_absent, knative.synced = why, False
        for known in (knative.services, knative.revisions, knative.refused):
            known.clear()
        self._touch_pools()

    async def _watch(self) -> None:
        feeds, keeps = knative_feeds(self._cache, self.known), self._namespaces.keeps
        informer = Informer(self._kube, feeds, self._touch, may_go=True, keeps=keeps)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(informer.run())
                self._namespaces.listed_by(informer, must=False)
                await informer.synced()
                self.known.synced, self.known.why_absent = True, ""
                self._touch_pools()
        except* NotFoundError as gone:
            log.info("the API server no longer serves Knative's objects: %s", gone.exceptions[0])
        finally:
            self._namespaces.not_listed_by(informer)

    async def _stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None

    def _touch_pools(self) -> None:
        for key in self._cache.pools_of_kind(KNATIVE):
            self._touch(key)


def knative_feeds(cache: Cache, knative: KnativeCache) -> list[Feed[Key]]:
    """How Knative's objects get into its cache; `cache` has the pools."""

    def feed(kind: Any, store: dict[Key, Object], service_of: Callable[[Object], str]) -> Feed[Key]:
        def pools_of(obj: Object) -> Concerned:
            return cache.pools_of_target(KNATIVE, (key_of(obj)[0], service_of(obj)))

        def keep(obj: Object) -> Concerned:
            return pools_of(obj) if keep_newer(store, obj) else ()

        def forget(key: Key) -> Concerned:
            if kind is KnativeRevision:
                knative.refused.pop(key, None)
            obj = store.pop(key, None)
            return () if obj is None else pools_of(obj)

        return cache.feed(kind, keep, forget, among(store), store.get)

    return [
        feed(KnativeService, knative.services, lambda obj: key_of(obj)[1]),
        feed(
            KnativeRevision,
            knative.revisions,
            lambda obj: (obj["metadata"].get("labels") or {}).get(SERVICE_LABEL, ""),
        ),
    ]
