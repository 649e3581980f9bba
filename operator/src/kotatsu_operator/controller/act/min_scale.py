"""Writes min-scale of the Revisions of Knative Services: plans, patches and restores it."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from kotatsu_operator.core.decide.knative import (
    MinScalePlan,
    Patch,
    SavedMinScale,
    course,
    let_go,
    refuse,
    rest,
)
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import NotFoundError, Unreachable, is_missing, is_refusal
from kotatsu_operator.kube.knative import (
    MIN_SCALE,
    KnativeCache,
    keep_newer,
    read_kept,
    revision_view,
)
from kotatsu_operator.kube.objects import KnativeRevision

log = logging.getLogger(__name__)


class MinScales:
    """The min-scale of the Revisions in one namespace."""

    def __init__(self, kube: Kube, cache: KnativeCache, namespace: str) -> None:
        self._kube, self._cache, self._namespace = kube, cache, namespace

    async def plan(
        self, floor: int, traffic: Mapping[str, int], status: Mapping[str, Any], now: datetime
    ) -> MinScalePlan:
        """What to write, from the saved values in a pool's `status`."""
        cache, kept = self._cache, read_kept(status)

        def planned() -> MinScalePlan:
            return course(floor, traffic, cache.revisions_in(self._namespace), kept, cache.defaults)

        plan = planned()
        if doubtful := let_go(kept, plan):
            for name in doubtful:
                await self._read(name)
            plan = planned()
        refused = cache.refused_in(self._namespace)
        plan = rest(plan, refused, now)
        for name in ({k.name for k in kept} | traffic.keys()) & refused.keys():
            if name not in plan.refused:
                del cache.refused[self._namespace, name]
        return plan

    async def _read(self, name: str) -> None:
        try:
            obj = await self._kube.get(KnativeRevision, self._namespace, name)
            keep_newer(self._cache.revisions, obj)
        except NotFoundError:
            self._cache.revisions.pop((self._namespace, name), None)

    async def apply(self, patches: Sequence[Patch], now: datetime) -> None:
        """Patch at the versions that the decision used; record rejected patches.

        Raises ConflictError.
        """
        for patch in patches:
            key = (self._namespace, patch.name)
            try:
                await self._patch(patch)
            except NotFoundError:
                self._cache.refused.pop(key, None)
            except Unreachable as error:
                if not is_refusal(error):
                    raise
                made = refuse(self._cache.refused.get(key), patch, str(error), now)
                self._cache.refused[key] = made
                log.warning(
                    "%s/%s: the API server rejects min-scale %s; next attempt at %s: %s",
                    *(*key, patch.min_scale, made.again, error),
                )
            else:
                self._cache.refused.pop(key, None)

    async def _patch(self, patch: Patch) -> None:
        values, namespace = {MIN_SCALE: patch.min_scale}, self._namespace
        obj = await self._kube.annotate(
            KnativeRevision, namespace, patch.name, values, patch.version
        )
        keep_newer(self._cache.revisions, obj)
        log.info("%s/%s: min-scale %s", namespace, patch.name, patch.min_scale or "removed")

    async def give_back(self, kept: Sequence[SavedMinScale]) -> list[str]:
        """Restore each Revision after reading it again. Raises ConflictError.

        Returns the Revisions that stay as they are, because another writer has changed min-scale.
        """
        left = []
        for one in kept:
            try:
                obj = await self._kube.get(KnativeRevision, self._namespace, one.name)
                revision = revision_view(obj)
                if one.holds(revision):
                    await self._patch(Patch(one.name, revision.version, one.min_scale))
                elif revision.min_scale != one.min_scale:
                    left.append(one.name)
            except NotFoundError:
                continue
            except Unreachable as error:
                if not is_missing(error):  # Knative and its Revisions are gone
                    raise
        return left
