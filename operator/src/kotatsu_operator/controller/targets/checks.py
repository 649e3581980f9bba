"""Checks that several kinds of targets share: other claimants, existence, autoscalers."""

from collections.abc import Sequence

from kotatsu_operator.controller.targets.target import Refusal, Target
from kotatsu_operator.kube.hpa import foreign_owner
from kotatsu_operator.kube.objects import Key
from kotatsu_operator.kube.resources import Object


def older_pool(target: Target, claimants: Sequence[Key]) -> str:
    """The name of the oldest claimant; empty if that is this pool, or there is none."""
    return "" if not claimants or claimants[0] == target.key else claimants[0][1]


def check_claim(target: Target) -> Refusal | None:
    """Reject all but the oldest of the pools that have the same target."""
    of = target.spec.target
    older = older_pool(target, target.cache.pools_of_target(of.kind, (target.key[0], of.name)))
    if not older:
        return None
    return Refusal(
        "TargetClaimed",
        f"{of.kind} {of.name} already belongs to the older WarmPool {older}: delete one of the two "
        "or give this one another targetRef",
    )


def check_exists(target: Target, kind: str, *, exists: bool) -> Refusal | None:
    """Reject a pool whose target does not exist."""
    if exists:
        return None
    return Refusal(
        "TargetNotFound",
        f"there is no {kind} {target.spec.target.name} in namespace {target.key[0]}: "
        "create it or correct spec.targetRef.name",
    )


def check_autoscalers(target: Target, found: Sequence[Object]) -> Refusal | None:
    """Accept at most one HorizontalPodAutoscaler, and none that another program owns."""
    of = f"{target.spec.target.kind} {target.spec.target.name}"
    for autoscaler in found:
        owner = foreign_owner(autoscaler)
        if owner:
            return Refusal(
                "ForeignAutoscaler",
                f"HorizontalPodAutoscaler {autoscaler['metadata']['name']} scales {of} and belongs "
                f"to {owner}, which would undo what Kotatsu sets: leave this workload to one of "
                "the two",
            )
    if len(found) > 1:
        names = " and ".join(a["metadata"]["name"] for a in found)
        return Refusal(
            "TwoAutoscalers",
            f"the HorizontalPodAutoscalers {names} scale {of} at once and work against each other: "
            "delete all but one",
        )
    return None
