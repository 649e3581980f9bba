"""Whether a pool can be acted on at all; if not, a sentence that says what to change."""

from dataclasses import dataclass, field

from .core.spec import PoolSpec, SpecError, parse
from .knative.view import SERVICE_LABEL
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
    """The Deployment; empty for another kind of target."""
    knative_service: Object = field(default_factory=dict)
    """The Knative Service; empty for another kind of target."""

    @property
    def selector(self) -> Object:
        """What the target's pods are selected by."""
        if self.knative_service:
            return {"matchLabels": {SERVICE_LABEL: self.spec.target.name}}
        selector: Object = self.deployment["spec"]["selector"]
        return selector


def accept(key: Key, pool: Object, world: World) -> Accepted | Refusal:
    """Judge a pool by what the schema cannot see: names, zones, and other pools."""
    try:
        spec = parse(pool["spec"])
    except SpecError as error:
        return Refusal("InvalidSpec", str(error))
    target = (key[0], spec.target.name)
    if spec.target.is_knative and world.knative.why_absent:
        return Refusal("KnativeNotFound", world.knative.why_absent)
    is_knative = spec.target.is_knative
    claimants = (world.pools_of_knative_service if is_knative else world.pools_of_deployment)(
        target
    )
    if claimants and claimants[0] != key:
        return Refusal(
            "TargetClaimed",
            f"{spec.target.kind} {target[1]} already belongs to the older WarmPool "
            f"{claimants[0][1]}: delete one of the two or give this one another targetRef",
        )
    if is_knative:
        service = world.knative.services.get(target)
        if service is None:
            return Refusal(
                "TargetNotFound",
                f"there is no Knative Service {target[1]} in namespace {target[0]}: create it or "
                "correct spec.targetRef.name",
            )
        return Accepted(spec, {}, service)
    deployment = world.deployments.get(target)
    if deployment is None:
        return Refusal(
            "TargetNotFound",
            f"there is no Deployment {target[1]} in namespace {target[0]}: create it or correct "
            "spec.targetRef.name",
        )
    return Accepted(spec, deployment)
