"""Whether a pool can be acted on at all; if not, a sentence that says what to change.

Acceptance is judged afresh at every look, by small functions in a row: the first that objects is
what people read. Nothing is remembered of a refusal, so whatever it named can be mended at any time
and the pool goes on from where its status says it is.
"""

from collections.abc import Callable

from .case import Case, Refusal
from .core.spec import PoolSpec, SpecError, parse
from .hpa import judge_autoscaler
from .kube import Object
from .service import judge_service
from .views import Key
from .world import World

__all__ = ["Accepted", "Refusal", "accept"]


class Accepted:
    """A pool that can be acted on, with its target and the autoscaler on it (if there is one)."""

    def __init__(self, spec: PoolSpec, deployment: Object, autoscaler: Object | None = None):
        self.spec, self.deployment, self.autoscaler = spec, deployment, autoscaler


def accept(key: Key, pool: Object, world: World) -> Accepted | Refusal:
    """Judge a pool by what the schema cannot see: names, zones, and what else there is."""
    try:
        case = Case(key, parse(pool["spec"]), world)
    except SpecError as error:
        return Refusal("InvalidSpec", str(error))
    for judge in _JUDGES:
        refusal = judge(case)
        if refusal is not None:
            return refusal
    deployment = case.deployment
    assert deployment is not None  # noqa: S101  (judge_target has seen it)
    return Accepted(case.spec, deployment, next(iter(case.autoscalers), None))


def judge_claim(case: Case) -> Refusal | None:
    """Of the pools that name one target, the oldest has it."""
    name = case.spec.target.name
    claimants = case.world.pools_of_deployment((case.namespace, name))
    if not claimants or claimants[0] == case.key:
        return None
    return Refusal(
        "TargetClaimed",
        f"Deployment {name} already belongs to the older WarmPool {claimants[0][1]}: "
        "delete one of the two or give this one another targetRef",
    )


def judge_target(case: Case) -> Refusal | None:
    """The target must be there."""
    if case.deployment is not None:
        return None
    return Refusal(
        "TargetNotFound",
        f"there is no Deployment {case.spec.target.name} in namespace {case.namespace}: create it "
        "or correct spec.targetRef.name",
    )


_JUDGES: tuple[Callable[[Case], Refusal | None], ...] = (
    judge_claim,
    judge_target,
    judge_service,
    judge_autoscaler,
)
