"""Whether Knative Serving is there, and watching it where it is.

kopf binds to the APIs there are when it starts. Knative may be installed later, so its objects are
watched here: the API is looked for at the start and every now and then.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from enum import StrEnum

from kotatsu_operator.kube import KnativeRevision, KnativeService, Kube, Object, Unreachable
from kotatsu_operator.streams import Feed, Streams
from kotatsu_operator.views import Key, key_of
from kotatsu_operator.world import Concerned, World

from .view import SERVICE_LABEL

log = logging.getLogger(__name__)

LOOK_EVERY = 300.0
"""Seconds between two looks for the API."""

WAITED_FOR_EVERY = 30.0
"""The same while a pool is refused because Knative is not there."""

EXPECTED_EVERY = 5.0
"""The same where Knative is expected, and the same after the API server did not answer."""


class Runtime(StrEnum):
    """Which kinds of targets an operator keeps."""

    AUTO = "auto"
    NATIVE = "native"
    KNATIVE = "knative"


class KnativeWatch:
    """Feeds the world with the Knative Services and Revisions of some namespaces."""

    def __init__(
        self,
        kube: Kube,
        world: World,
        namespaces: Sequence[str],
        touch: Callable[[Key], None],
        runtime: Runtime,
    ) -> None:
        self._kube, self._world, self._touch = kube, world, touch
        self._namespaces = list(namespaces)
        self._runtime = runtime
        self._watching: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Look for Knative, and watch it while it is there, until cancelled."""
        if self._runtime is Runtime.NATIVE:
            self._absent(
                "this operator does not look for Knative: set the chart value runtime to auto or "
                "knative"
            )
            await asyncio.Event().wait()
        try:
            while True:
                pause = await self._look()
                await self._rest(pause)
        finally:
            await self._stop()

    async def _look(self) -> float:
        """See whether the API is there; returns the seconds until the next look."""
        try:
            is_there = await self._kube.serves(KnativeService, self._namespaces[0])
        except Unreachable as error:
            log.warning("cannot tell whether Knative Serving is there: %s", error)
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
            if self._runtime is Runtime.KNATIVE:
                log.warning("Knative Serving is expected here (runtime knative) but is not there")
                return EXPECTED_EVERY
        return LOOK_EVERY

    async def _rest(self, pause: float) -> None:
        """Wait until the next look, which comes sooner once a pool waits for Knative.

        Raises what watching has failed with.
        """
        if self._watching is not None:
            for failed in (await asyncio.wait({self._watching}, timeout=pause))[0]:
                failed.result()
            return
        step = min(pause, WAITED_FOR_EVERY)
        for _ in range(math.ceil(pause / step)):
            await asyncio.sleep(step)
            if self._world.pools_of_kind("Service"):
                return

    def _absent(self, why: str) -> None:
        knative = self._world.knative
        if knative.why_absent == why:
            return
        knative.why_absent, knative.synced = why, False
        knative.services.clear()
        knative.revisions.clear()
        self._touch_pools()

    async def _watch(self) -> None:
        streams = Streams(self._kube, feeds_of(self._world), self._namespaces, self._touch)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(streams.run())
            await streams.synced()
            self._world.knative.synced, self._world.knative.why_absent = True, ""
            self._touch_pools()

    async def _stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None

    def _touch_pools(self) -> None:
        for key in self._world.pools_of_kind("Service"):
            self._touch(key)


def feeds_of(world: World) -> list[Feed]:
    """How Knative's objects get into the world."""
    knative = world.knative

    def keep_service(obj: Object) -> Concerned:
        return world.pools_of_knative_service(key_of(obj)) if knative.keep_service(obj) else ()

    def forget_service(key: Key) -> Concerned:
        knative.services.pop(key, None)
        return world.pools_of_knative_service(key)

    def keep_revision(obj: Object) -> Concerned:
        return _pools_of(obj) if knative.keep_revision(obj) else ()

    def forget_revision(key: Key) -> Concerned:
        obj = knative.revisions.pop(key, None)
        return () if obj is None else _pools_of(obj)

    def _pools_of(revision: Object) -> Concerned:
        service = (revision["metadata"].get("labels") or {}).get(SERVICE_LABEL, "")
        return world.pools_of_knative_service((key_of(revision)[0], service))

    return [
        Feed(KnativeService, keep_service, forget_service, lambda n: _in(n, knative.services)),
        Feed(KnativeRevision, keep_revision, forget_revision, lambda n: _in(n, knative.revisions)),
    ]


def _in(namespace: str, store: dict[Key, Object]) -> list[Key]:
    return [key for key in store if key[0] == namespace]
