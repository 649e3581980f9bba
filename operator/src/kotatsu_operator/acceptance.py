"""Whether a pool can be acted on at all; if not, a sentence that says what to change."""

from dataclasses import dataclass

from .core.spec import PoolSpec, SpecError, parse
from .kube import Object
from .views import Key
from .world import World


@dataclass(frozen=True)
class Refusal:
    """Why a pool is not acted on: a reason in one word, and a sentence."""

    reason: str
    message: str


@dataclass(frozen=True)
class Accepted:
    """A pool that can be acted on, with its target."""

    spec: PoolSpec
    deployment: Object


def accept(key: Key, pool: Object, world: World) -> Accepted | Refusal:
    """Judge a pool by what the schema cannot see: names, zones, and other pools."""
    try:
        spec = parse(pool["spec"])
    except SpecError as error:
        return Refusal("InvalidSpec", str(error))
    target = (key[0], spec.target.name)
    claimants = world.pools_of_deployment(target)
    if claimants and claimants[0] != key:
        return Refusal(
            "TargetClaimed",
            f"Deployment {target[1]} already belongs to the older WarmPool {claimants[0][1]}: "
            "delete one of the two or give this one another targetRef",
        )
    deployment = world.deployments.get(target)
    if deployment is None:
        return Refusal(
            "TargetNotFound",
            f"there is no Deployment {target[1]} in namespace {target[0]}: create it or correct "
            "spec.targetRef.name",
        )
    return Accepted(spec, deployment)
