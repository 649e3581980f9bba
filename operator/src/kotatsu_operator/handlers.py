"""What kopf calls: events go into the world, and the pools they concern are looked at."""

from typing import Any

import kopf

from .kube import Object
from .planner import Planner
from .views import ACTIVATOR_LABELS, Key, key_of, selects
from .world import World

_ACTIVATOR = {"matchLabels": ACTIVATOR_LABELS}


def register(world: World, planner: Planner, on_pool_gone: Any) -> kopf.OperatorRegistry:
    """Make the registry of handlers. `on_pool_gone(pool)` is awaited when a pool is deleted."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    # kopf calls the index functions for all that it lists before it lets any event handler run: no
    # pool is judged by half a world. It calls them for each later change too, before the event
    # handlers, which only forget and touch. (They return nothing: kopf keeps no index of its own.)
    @kopf.index("kotatsu.dev", "v1alpha1", "warmpools", registry=registry)
    async def know_pool(body: kopf.Body, **_: Any) -> None:
        world.keep_pool(dict(body))

    @kopf.index("apps", "v1", "deployments", registry=registry)
    async def know_deployment(body: kopf.Body, **_: Any) -> None:
        world.keep_deployment(dict(body))

    @kopf.index("", "v1", "pods", registry=registry)
    async def know_pod(body: kopf.Body, **_: Any) -> None:
        world.keep_pod(dict(body))

    @kopf.index("discovery.k8s.io", "v1", "endpointslices", registry=registry)
    async def know_slice(body: kopf.Body, **_: Any) -> None:
        world.keep_slice(dict(body))

    @kopf.on.event("kotatsu.dev", "v1alpha1", "warmpools", registry=registry)
    async def pool_event(event: kopf.RawEvent, **_: Any) -> None:
        pool = _object(event)
        if event["type"] == "DELETED":
            world.pools.pop(key_of(pool), None)
        planner.touch(key_of(pool))
        if event["type"] == "DELETED":
            await on_pool_gone(pool)

    @kopf.on.event("apps", "v1", "deployments", registry=registry)
    async def deployment_event(event: kopf.RawEvent, **_: Any) -> None:
        deployment = _object(event)
        if event["type"] == "DELETED":
            world.deployments.pop(key_of(deployment), None)
        for key in world.pools_of_deployment(key_of(deployment)):
            planner.touch(key)

    @kopf.on.event("", "v1", "pods", registry=registry)
    async def pod_event(event: kopf.RawEvent, **_: Any) -> None:
        pod = _object(event)
        if event["type"] == "DELETED":
            world.forget_pod(key_of(pod))
        for key in _pools_of_pod(world, pod):
            planner.touch(key)

    @kopf.on.event("discovery.k8s.io", "v1", "endpointslices", registry=registry)
    async def slice_event(event: kopf.RawEvent, **_: Any) -> None:
        key = key_of(_object(event))
        view = world.slices.get(key)
        if event["type"] == "DELETED":
            world.slices.pop(key, None)
        if view is not None:  # else it is somebody else's
            planner.touch((view.key[0], view.pool))

    return registry


def _object(event: kopf.RawEvent) -> Object:
    return dict(event["object"])


def _pools_of_pod(world: World, pod: Object) -> list[Key]:
    namespace = pod["metadata"].get("namespace", "")
    labels = pod["metadata"].get("labels") or {}
    if selects(_ACTIVATOR, labels):
        return [key for key in world.pools if key[0] == namespace]
    return world.pools_of_pod(namespace, labels)


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
    settings.networking.connect_timeout = 5
    settings.networking.request_timeout = 30
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.progress_storage = _NoProgress()
    return settings
