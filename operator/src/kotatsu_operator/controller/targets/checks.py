"""Gives the core's checks of a pool, which several kinds of targets share, what the cache shows."""

from collections.abc import Mapping, Sequence

from kotatsu_operator.controller.targets.target import Target
from kotatsu_operator.core.decide import refusal
from kotatsu_operator.core.decide.refusal import Refusal, ServiceFacts
from kotatsu_operator.kube.objects import Key, Object


def older_pool(target: Target, claimants: Sequence[Key]) -> str:
    """The name of the oldest claimant; empty if that is this pool, or there is none."""
    return "" if not claimants or claimants[0] == target.key else claimants[0][1]


def check_claim(target: Target) -> Refusal | None:
    """Reject all but the oldest of the pools that have the same target."""
    of = target.spec.target
    claimants = target.cache.pools_of_target(of.kind, (target.key[0], of.name))
    return refusal.check_claim(target.spec, older_pool(target, claimants))


def check_exists(target: Target, kind: str, *, exists: bool) -> Refusal | None:
    """Reject a pool whose target does not exist."""
    return refusal.check_exists(target.spec, target.key[0], kind, exists=exists)


def check_autoscalers(target: Target, found: Sequence[Object]) -> Refusal | None:
    """Accept at most one HorizontalPodAutoscaler, and none that another program owns."""
    return refusal.check_autoscalers(target.spec, target.key[0], found)


def check_service(target: Target, labels: Mapping[str, str]) -> Refusal | None:
    """Check the Service of a target whose pods have these labels."""
    cache, key = target.cache, (target.key[0], target.spec.service)
    slices = cache.foreign_slices
    other = min(slices.having(key), default=None)
    facts = ServiceFacts(
        namespace=key[0],
        labels=labels,
        service=cache.services.get(key),
        older=older_pool(target, cache.pools_of_service(key)),
        foreign=None if other is None else (other[1], slices[other].manager),
    )
    return refusal.check_service(target.spec, facts)
