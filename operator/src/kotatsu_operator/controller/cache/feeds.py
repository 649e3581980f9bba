"""Which watch fills which part of the cache."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from kotatsu_operator.controller.cache.store import Cache, Concerned
from kotatsu_operator.core.pool.spec import BUILT_IN, KNATIVE
from kotatsu_operator.kube.informer import Feed
from kotatsu_operator.kube.knative import SERVICE_LABEL, keep_newer
from kotatsu_operator.kube.objects import (
    EndpointSlice,
    HorizontalPodAutoscaler,
    Key,
    KnativeRevision,
    KnativeService,
    Object,
    Pod,
    Service,
    key_of,
    resource_of,
)


def feeds_of(cache: Cache) -> list[Feed[Key]]:
    """The kinds besides WarmPools that decisions depend on; every cluster has them."""

    def pods_in(namespace: str) -> Iterable[Key]:
        return [(namespace, name) for name in cache.pods[namespace]]

    scalers = _among(cache.autoscalers)
    return [
        *workload_feeds(cache, BUILT_IN),
        Feed(Pod, cache.keep_pod, cache.forget_pod, pods_in),
        Feed(EndpointSlice, cache.keep_slice, cache.forget_slice, cache.slices_in),
        Feed(Service, cache.keep_service, cache.forget_service, _among(cache.services)),
        Feed(HorizontalPodAutoscaler, cache.keep_autoscaler, cache.forget_autoscaler, scalers),
    ]


def workload_feeds(cache: Cache, kinds: Iterable[str]) -> list[Feed[Key]]:
    """The feeds of some kinds of workloads."""
    return [
        Feed(
            resource_of(cache.scaled[kind]),
            partial(cache.keep_workload, kind),
            partial(cache.forget_workload, kind),
            partial(cache.workloads_in, kind),
        )
        for kind in kinds
    ]


def knative_feeds(cache: Cache) -> list[Feed[Key]]:
    """How Knative's objects get into the cache."""
    knative = cache.knative

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

        return Feed(kind, keep, forget, _among(store))

    return [
        feed(KnativeService, knative.services, lambda obj: key_of(obj)[1]),
        feed(
            KnativeRevision,
            knative.revisions,
            lambda obj: (obj["metadata"].get("labels") or {}).get(SERVICE_LABEL, ""),
        ),
    ]


def _among(store: Iterable[Key]) -> Callable[[str], Iterable[Key]]:
    return lambda namespace: [key for key in store if key[0] == namespace]
