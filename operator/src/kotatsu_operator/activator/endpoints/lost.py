"""The endpoints of lost activators: withdrawn by the others, restored on return.

A lost pod (see `kube.pod.PodView.lost`) stays a ready endpoint while its object exists, because
normally only its own activator changes a slice.
"""

import asyncio
import logging
from math import inf

from kotatsu_operator.activator.cache.namespace import View
from kotatsu_operator.activator.cache.pool import Pool
from kotatsu_operator.activator.cache.ports import PodIdentity
from kotatsu_operator.activator.endpoints.slices import (
    is_ready,
    may_serve,
    may_take_back,
    state_of_lost,
    taken_back,
)
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable
from kotatsu_operator.kube.objects import EndpointSlice, Object
from kotatsu_operator.kube.views import PodView, owner_of, slice_view

log = logging.getLogger(__name__)

TAKE_AGAIN = 10.0
"""Seconds between two withdrawals of one slice: if its activator sees its pod differently, the two
must not overwrite each other in a loop."""

BELIEVED_FOR = 5.0
"""Seconds for which a pod that the API server reported as lost is not read again."""

ENDS_WITHIN = 2.0
"""Seconds for which a terminating activator may still update its slices itself."""

RETRY = 1.0


class Lost:
    """The endpoints of lost activators, including its own."""

    def __init__(self, kube: Kube, view: View, me: PodIdentity) -> None:
        self._kube, self._view, self._me = kube, view, me
        self._taken_at: dict[str, float] = {}
        """When a slice was last withdrawn, by name, in loop time."""
        self._believed_at: dict[str, float] = {}
        """When the API server last reported a pod as lost, by uid."""
        self._ending_since: dict[str, float] = {}
        """When a serving pod was first seen terminating, by uid."""

    def state(self, pool: Pool, family: str, there: Object | None) -> str:
        """The state to publish this endpoint in: serving, or that of a lost pod."""
        me = self._my_pod
        others_answer = me is not None and me.lost and self._others_answer(pool, family)
        if may_serve(me, mine_is_ready=is_ready(there), others_answer=others_answer):
            return "serving"
        return "lost" if me is None else state_of_lost(me)

    async def take_back(self, pool: Pool, family: str, mine: Object | None) -> list[float]:
        """Make the endpoints of lost activators not ready; returns delays in seconds until retries.

        `mine` is this activator's slice of the pool and family.
        """
        due: list[float] = []
        for obj in self._view.published(pool.name, family):
            pod = self._view.owner(obj)
            if pod is None or not pod.lost or pod.uid == self._me.uid or not is_ready(obj):
                continue
            native = self._native_ready(pool, family)
            if may_take_back(pod, self._my_pod, mine_is_ready=is_ready(mine), native_ready=native):
                due += await self._take_one_back(pool, obj, pod)
        return due

    def forget_old(self) -> None:
        now = asyncio.get_running_loop().time()
        for noted in (self._taken_at, self._believed_at, self._ending_since):
            for key in [key for key, at in noted.items() if at + TAKE_AGAIN < now]:
                del noted[key]

    @property
    def _my_pod(self) -> PodView | None:
        pod = self._view.pods.get(self._me.pod)
        return pod if pod is not None and pod.uid == self._me.uid else None

    def _others_answer(self, pool: Pool, family: str) -> bool:
        """Whether clients would get an answer if this activator were no endpoint."""
        if self._native_ready(pool, family) > 0:
            return True
        published = self._view.published(pool.name, family)
        owners = [self._view.owner(obj) for obj in published if is_ready(obj)]
        return any(pod and not pod.lost and pod.uid != self._me.uid for pod in owners)

    def _native_ready(self, pool: Pool, family: str) -> int:
        """Ready endpoints of the pool's own pods; 0 with route Always: its Service selects none."""
        return 0 if pool.always else self._view.native_ready(pool.service, family)

    async def _take_one_back(self, pool: Pool, obj: Object, pod: PodView) -> list[float]:
        name, now = obj["metadata"]["name"], asyncio.get_running_loop().time()
        wait = self._taken_at.get(name, -inf) + TAKE_AGAIN - now
        if state_of_lost(pod) == "leaving":
            wait = max(wait, self._ending_since.setdefault(pod.uid, now) + ENDS_WITHIN - now)
        if wait > 0:
            return [wait]
        try:
            if not await self._is_lost(obj, pod.uid, now):
                return [RETRY]  # the watch of pods has not shown it yet
            await self._kube.replace(EndpointSlice, self._me.namespace, taken_back(obj, pod))
        except (ConflictError, NotFoundError):
            return [RETRY]  # its activator or another one was faster
        except (*Unreachable, OSError) as error:
            log.warning(
                "%s: cannot withdraw the endpoint of a lost activator: %s", pool.name, error
            )
            return [RETRY]
        log.warning("%s: activator %s is lost; its endpoint is withdrawn", pool.name, pod.key[1])
        self._taken_at[name] = now
        return []

    async def _is_lost(self, obj: Object, uid: str, now: float) -> bool:
        """Whether the API server reports a pod as lost; one read serves all pools."""
        if self._believed_at.get(uid, -inf) + BELIEVED_FOR < now:
            pod = await owner_of(self._kube, slice_view(obj))
            if pod is None or not pod.lost:
                return False
            self._believed_at[uid] = now
        return True
