"""Whether a pool can be acted on at all; if not, a sentence that says what to change.

Acceptance is judged afresh at every look, by small functions in a row: the first that objects is
what people read. Nothing is remembered of a refusal, so whatever it named can be mended at any time
and the pool goes on from where its status says it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from .case import Case, Refusal
from .core.cost import pod_requests
from .core.spec import PoolSpec, SpecError, parse
from .deployment import DeploymentView
from .hpa import judge_autoscaler
from .knative.view import SERVICE_LABEL
from .kube import Object
from .service import judge_service
from .views import ACTIVATOR, OPERATOR, Key
from .world import World

__all__ = ["Accepted", "Refusal", "accept"]


@dataclass(frozen=True)
class Accepted:
    """A pool that can be acted on, with its target and the autoscaler on it (if there is one)."""

    spec: PoolSpec
    deployment: DeploymentView | None = None
    """The Deployment; None for another kind of target."""
    autoscaler: Object | None = None
    knative_service: Object = field(default_factory=dict)
    """The Knative Service; empty for another kind of target."""

    @property
    def selector(self) -> Mapping[str, Any]:
        """What the target's pods are selected by."""
        if self.deployment is None:
            return {"matchLabels": {SERVICE_LABEL: self.spec.target.name}}
        return self.deployment.selector

    @property
    def requests(self) -> Mapping[str, Decimal]:
        """What one pod of the target requests (base units)."""
        if self.deployment is not None:
            return self.deployment.requests
        template = (self.knative_service.get("spec") or {}).get("template") or {}
        return pod_requests(template.get("spec") or {})


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
    if case.spec.target.is_knative:
        return Accepted(case.spec, knative_service=case.knative_service or {})
    return Accepted(case.spec, case.deployment, next(iter(case.autoscalers), None))


def judge_runtime(case: Case) -> Refusal | None:
    """A Knative target needs Knative's API."""
    if case.spec.target.is_knative and case.world.knative.why_absent:
        return Refusal("KnativeNotFound", case.world.knative.why_absent)
    return None


def judge_claim(case: Case) -> Refusal | None:
    """Of the pools that name one target, the oldest has it."""
    older = case.older(case.claimants)
    if not older:
        return None
    return Refusal(
        "TargetClaimed",
        f"{case.spec.target.kind} {case.spec.target.name} already belongs to the older WarmPool "
        f"{older}: delete one of the two or give this one another targetRef",
    )


def judge_own(case: Case) -> Refusal | None:
    """Kotatsu does not scale itself: at 0 the operator could wake nothing, itself included."""
    if case.spec.target.is_knative or case.spec.target.name not in (OPERATOR, ACTIVATOR):
        return None
    return Refusal(
        "TargetIsKotatsu",
        f"Deployment {case.spec.target.name} is Kotatsu itself, which has to run while others "
        "sleep: name another Deployment in spec.targetRef.name",
    )


def judge_target(case: Case) -> Refusal | None:
    """The target must be there."""
    is_knative = case.spec.target.is_knative
    if (case.knative_service if is_knative else case.deployment) is not None:
        return None
    kind = "Knative Service" if is_knative else "Deployment"
    return Refusal(
        "TargetNotFound",
        f"there is no {kind} {case.spec.target.name} in namespace {case.namespace}: create it "
        "or correct spec.targetRef.name",
    )


_JUDGES: tuple[Callable[[Case], Refusal | None], ...] = (
    judge_runtime,
    judge_own,
    judge_claim,
    judge_target,
    judge_service,
    judge_autoscaler,
)
