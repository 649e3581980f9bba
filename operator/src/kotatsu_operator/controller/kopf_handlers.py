"""The kopf handlers: store each changed WarmPool in the cache and queue it."""

import itertools
from collections.abc import Iterator
from typing import Any

import kopf

from kotatsu_operator.controller.cache.store import Cache
from kotatsu_operator.controller.work_queue import WorkQueue
from kotatsu_operator.kube.objects import key_of
from kotatsu_operator.kube.resources import Object


class _Backoffs:
    """Seconds between attempts to reach the API server: short and unlimited.

    kopf's own list ends and grows to 21 s. After an outage the operator would see a window that
    much too late, and after a minute of rejections it would give up.
    """

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.5, 1.0), itertools.repeat(2.0))


def register(
    cache: Cache, work_queue: WorkQueue, on_pool_gone: Any, shown: set[str]
) -> kopf.OperatorRegistry:
    """Create the registry of handlers. `on_pool_gone(pool)` is awaited when a pool is deleted.

    `shown` collects the uids of the pools that kopf has shown. kopf watches only WarmPools. Other
    kinds change ten times as often, mostly without relevance: `cache.streams` watches them at a
    fifth of the cost (decision 0020).
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    # No kopf index, although it would handle all pools before any event: with n pools it wakes each
    # pool n times, and 5,000 pools take two minutes of CPU. The leader lists the pools itself.
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
        if cache.keep_pool(pool):  # False for the echo of the operator's own write
            work_queue.touch(key)

    return registry


class _NoDiffs(kopf.DiffBaseStorage):
    """Stores no diff base: no handler uses diffs, so no object has to be copied."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        pass


class _NoProgress(kopf.ProgressStorage):
    """Stores no progress: kopf does not retry any handler."""

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
    """Settings of kopf: no events, no annotations, short watches."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.watching.server_timeout = 240
    settings.watching.client_timeout = 300
    # A new watch continues from the last version, so replacing a silent one is cheap.
    settings.watching.inactivity_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.request_timeout = 30
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.progress_storage = _NoProgress()
    settings.networking.error_backoffs = _Backoffs()
    return settings
