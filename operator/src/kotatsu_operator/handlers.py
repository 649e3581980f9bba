"""What kopf calls: events go into the world, and the pools they concern are looked at."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import kopf

from .knative.view import SERVICE_LABEL as KNATIVE_SERVICE_LABEL
from .kube import Object
from .planner import Planner
from .views import ACTIVATOR_LABELS, Key, key_of, scales, selects
from .world import World

_ACTIVATOR = {"matchLabels": ACTIVATOR_LABELS}


class _Backoffs:
    """Seconds between tries to reach the API server: never long, and without an end.

    kopf's own list ends, and grows to 21 s: after an outage a window would be seen that much too
    late, and after a minute of refusals the operator would give up.
    """

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.5, 1.0), itertools.repeat(2.0))


def register(world: World, planner: Planner, on_pool_gone: Any) -> kopf.OperatorRegistry:
    """Make the registry of handlers. `on_pool_gone(pool)` is awaited when a pool is deleted."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    # kopf calls the index functions for all that it lists before it lets any event handler run: no
    # pool is judged by half a world. It calls them for each later change too, before the event
    # handlers, which only forget and touch. (They return nothing: kopf keeps no index of its own.)
    for group, version, plural, keep in (
        ("kotatsu.dev", "v1alpha1", "warmpools", world.keep_pool),
        ("apps", "v1", "deployments", world.keep_deployment),
        ("", "v1", "pods", world.keep_pod),
        ("discovery.k8s.io", "v1", "endpointslices", world.keep_slice),
        ("", "v1", "services", world.keep_service),
        ("autoscaling", "v2", "horizontalpodautoscalers", world.keep_autoscaler),
    ):
        kopf.index(group, version, plural, id=plural, registry=registry)(_keeper(keep))

    @kopf.on.event("kotatsu.dev", "v1alpha1", "warmpools", registry=registry)
    async def pool_event(event: kopf.RawEvent, **_: Any) -> None:
        pool = _object(event)
        if event["type"] == "DELETED":
            world.forget_pool(key_of(pool))
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

    @kopf.on.event("", "v1", "services", registry=registry)
    async def service_event(event: kopf.RawEvent, **_: Any) -> None:
        key = key_of(_object(event))
        if event["type"] == "DELETED":
            world.services.pop(key, None)
        for pool in world.pools_of_service(key):
            planner.touch(pool)

    @kopf.on.event("autoscaling", "v2", "horizontalpodautoscalers", registry=registry)
    async def autoscaler_event(event: kopf.RawEvent, **_: Any) -> None:
        autoscaler = _object(event)
        key, target = key_of(autoscaler), scales(autoscaler)
        if event["type"] == "DELETED":
            world.autoscalers.pop(key, None)
        # One that has been pointed at another target has left the pool that remembers it.
        concerned = set(world.pools_of_autoscaler(key))
        concerned |= set(world.pools_of_deployment(target) if target is not None else ())
        for pool in concerned:
            planner.touch(pool)

    return registry


def _keeper(keep: Callable[[Object], object]) -> Any:
    async def know(body: kopf.Body, **_: Any) -> None:
        keep(dict(body))

    return know


def _object(event: kopf.RawEvent) -> Object:
    return dict(event["object"])


def _pools_of_pod(world: World, pod: Object) -> list[Key]:
    namespace = pod["metadata"].get("namespace", "")
    labels = pod["metadata"].get("labels") or {}
    if selects(_ACTIVATOR, labels):
        return [key for key in world.pools if key[0] == namespace]
    knative_service = (namespace, labels.get(KNATIVE_SERVICE_LABEL, ""))
    return world.pools_of_knative_service(knative_service) + world.pools_of_pod(namespace, labels)


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
