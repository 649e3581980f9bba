"""Whether Knative Serving is there, and watching it where it is.

kopf binds to the APIs there are when it starts. Knative may be installed later, so its objects are
watched here: the API is looked for at the start and every now and then.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from enum import StrEnum

from kotatsu_operator.kube import (
    KnativeRevision,
    KnativeService,
    Kube,
    Object,
    Unreachable,
    follow_forever,
)
from kotatsu_operator.views import Key, key_of
from kotatsu_operator.world import World

from .view import SERVICE_LABEL

log = logging.getLogger(__name__)

LOOK_EVERY = 60.0
"""Seconds between two looks for the API."""

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
        self._watches: list[asyncio.Task[None]] = []
        self._listed: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Look for Knative, and watch it while it is there, until cancelled."""
        if self._runtime is Runtime.NATIVE:
            self._absent(
                "this operator does not look for Knative: set the chart value runtime to auto or "
                "knative"
            )
            return
        try:
            while True:
                pause = await self._look()
                await asyncio.sleep(pause)
        finally:
            await self._stop()

    async def _look(self) -> float:
        """See whether the API is there; returns the seconds until the next look."""
        try:
            is_there = await self._kube.serves(KnativeService, self._namespaces[0])
        except Unreachable as error:
            log.warning("cannot tell whether Knative Serving is there: %s", error)
            return EXPECTED_EVERY
        if is_there and not self._watches:
            log.info("watching Knative Services")
            self._start()
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

    def _absent(self, why: str) -> None:
        knative = self._world.knative
        if knative.why_absent == why:
            return
        knative.why_absent, knative.synced = why, False
        knative.services.clear()
        knative.revisions.clear()
        self._touch_pools()

    def _start(self) -> None:
        self._listed.clear()
        self._watches = [
            asyncio.create_task(
                follow_forever(self._kube, kind, namespace, self._on_change(kind, namespace)),
                name=f"watch Knative {kind.__name__} in {namespace}",
            )
            for namespace in self._namespaces
            for kind in (KnativeService, KnativeRevision)
        ]

    async def _stop(self) -> None:
        for task in self._watches:
            task.cancel()
        for task in self._watches:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._watches.clear()

    def _on_change(self, kind: type, namespace: str) -> Callable[[str, Object], None]:
        knative = self._world.knative
        is_service = kind is KnativeService
        store = knative.services if is_service else knative.revisions
        keep = knative.keep_service if is_service else knative.keep_revision

        def apply(change: str, obj: Object) -> None:
            if change == "LIST":
                there = {item["metadata"]["name"] for item in obj["items"]}
                for key in [k for k in store if k[0] == namespace and k[1] not in there]:
                    del store[key]
                for item in obj["items"]:
                    keep(item)
                self._note_listed(namespace, kind.__name__)
                return
            if change == "DELETED":
                store.pop(key_of(obj), None)
            elif change in ("ADDED", "MODIFIED"):
                keep(obj)
            name = obj["metadata"]["name"]
            if not is_service:
                name = (obj["metadata"].get("labels") or {}).get(SERVICE_LABEL, "")
            for pool in self._world.pools_of_knative_service((namespace, name)):
                self._touch(pool)

        return apply

    def _note_listed(self, namespace: str, kind: str) -> None:
        self._listed.add((namespace, kind))
        if len(self._listed) == 2 * len(self._namespaces):
            self._world.knative.synced, self._world.knative.why_absent = True, ""
            self._touch_pools()

    def _touch_pools(self) -> None:
        for key in self._world.pools_of_kind("Service"):
            self._touch(key)
