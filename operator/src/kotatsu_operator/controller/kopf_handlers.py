"""The kopf handlers: a WarmPool's events go into the cache, and the pool into the work queue."""

import itertools
from collections.abc import Iterator
from typing import Any

import kopf

from kotatsu_operator.controller.cache.store import Cache
from kotatsu_operator.controller.work_queue import WorkQueue
from kotatsu_operator.kube.objects import key_of
from kotatsu_operator.kube.resources import Object


class _Backoffs:
    """Seconds between tries to reach the API server: never long, and without an end.

    kopf's own list ends, and grows to 21 s: after an outage a window would be seen that much too
    late, and after a minute of refusals the operator would give up.
    """

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.5, 1.0), itertools.repeat(2.0))


def register(
    cache: Cache, work_queue: WorkQueue, on_pool_gone: Any, shown: set[str]
) -> kopf.OperatorRegistry:
    """Make the registry of handlers. `on_pool_gone(pool)` is awaited when a pool is deleted.

    `shown` keeps the uids of the pools that kopf has shown. Only WarmPools come through it. The
    other kinds change ten times as often and mostly tell nothing new: they come through `streams`,
    at a fifth of the cost (decision 0020).
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    # No index, though it would call for all pools before anything is handled: with n of them each
    # is woken n times for that, and 5,000 take two minutes of CPU. The leader lists them itself.
    @kopf.on.event("kotatsu.dev", "v1alpha1", "warmpools", registry=registry)
    async def pool_event(event: kopf.RawEvent, **_: Any) -> None:
        pool: Object = dict(event["object"])
        key, uid = key_of(pool), pool["metadata"]["uid"]
        if event["type"] == "DELETED":
            shown.discard(uid)
            cache.forget_pool(key)
            work_queue.touch(key)
            await on_pool_gone(pool)
            return
        shown.add(uid)
        if cache.keep_pool(pool):  # what we wrote ourselves comes back, and is no news
            work_queue.touch(key)

    return registry


class _NoDiffs(kopf.DiffBaseStorage):
    """No handler asks what has changed, so no object is copied to find out."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        pass


class _NoProgress(kopf.ProgressStorage):
    """No handler is tried again by kopf, so no progress is kept."""

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        pass

    def purge(self, **_: Any) -> None:
        pass

    def touch(self, **_: Any) -> None:
        pass

    def clear(self, *, essence: Any) -> Any:
        return essence


def operator_settings() -> kopf.OperatorSettings:
    """Settings of kopf itself: no posting, no annotations, watches that are never trusted long."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.watching.server_timeout = 240
    settings.watching.client_timeout = 300
    # A new watch goes on from the version last seen, so that it costs little to doubt a silence.
    settings.watching.inactivity_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.request_timeout = 30
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.progress_storage = _NoProgress()
    settings.networking.error_backoffs = _Backoffs()
    return settings
