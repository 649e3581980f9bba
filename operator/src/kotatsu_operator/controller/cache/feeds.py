"""Which watch fills which part of the cache."""

from collections.abc import Callable, Iterable
from functools import partial

from kotatsu_operator.controller.cache.store import Cache
from kotatsu_operator.core.pool.spec import BUILT_IN
from kotatsu_operator.kube.informer import Feed
from kotatsu_operator.kube.objects import (
    EndpointSlice,
    HorizontalPodAutoscaler,
    Key,
    NetworkPolicy,
    Pod,
    Service,
    parts,
    resource_of,
)


def feeds_of(cache: Cache) -> list[Feed[Key]]:
    """The kinds besides WarmPools that decisions depend on; every cluster has them."""

    def pods_in(namespace: str) -> Iterable[Key]:
        return [(namespace, name) for name in cache.pods[namespace]]

    scalers = among(cache.autoscalers)
    return [
        *workload_feeds(cache, BUILT_IN),
        Feed(Pod, cache.keep_pod, cache.forget_pod, pods_in),
        Feed(EndpointSlice, cache.keep_slice, cache.forget_slice, cache.slices_in),
        Feed(Service, cache.keep_service, cache.forget_service, among(cache.services)),
        Feed(HorizontalPodAutoscaler, cache.keep_autoscaler, cache.forget_autoscaler, scalers),
    ]


def policy_feed(cache: Cache) -> Feed[Key]:
    """NetworkPolicies: no decision depends on them, only a condition."""
    return Feed(NetworkPolicy, cache.keep_policy, cache.forget_policy, among(cache.policies))


def workload_feeds(cache: Cache, kinds: Iterable[str]) -> list[Feed[Key]]:
    """The feeds of some kinds of workloads."""

    def workloads_in(kind: str, namespace: str) -> list[Key]:
        found = [(n, *parts(workload)) for n, workload in cache.workloads if n == namespace]
        return [(n, name) for n, of, name in found if of == kind]

    return [
        Feed(
            resource_of(cache.scaled[kind]),
            partial(cache.keep_workload, kind),
            partial(cache.forget_workload, kind),
            partial(workloads_in, kind),
        )
        for kind in kinds
    ]


def among(store: Iterable[Key]) -> Callable[[str], Iterable[Key]]:
    """The keys of a store by namespace."""
    return lambda namespace: [key for key in store if key[0] == namespace]
