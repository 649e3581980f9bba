"""Accepts or rejects a pool; a rejection says what to change.

Each reconcile runs all validators again. People read the message of the first that rejects. No
rejection is stored: after a fix the pool continues from its status.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from kotatsu_operator.controller.accept.candidate import Candidate, Refusal
from kotatsu_operator.controller.accept.hpa import validate_autoscaler
from kotatsu_operator.controller.accept.service import validate_service
from kotatsu_operator.controller.cache.store import Cache
from kotatsu_operator.core.budget.limit import Ends
from kotatsu_operator.core.budget.prices import pod_requests
from kotatsu_operator.core.pool.spec import PoolSpec, SpecError, parse, salvage
from kotatsu_operator.core.protocol import ACTIVATOR, NAME_LABEL, OPERATOR, PROGRAM
from kotatsu_operator.kube.deployment import DeploymentView
from kotatsu_operator.kube.knative import SERVICE_LABEL
from kotatsu_operator.kube.objects import Key
from kotatsu_operator.kube.resources import Object

__all__ = ["Accepted", "Refusal", "Refused", "accept"]


_NO_POD: Mapping[str, Any] = {"matchLabels": {"": ""}}


@dataclass(frozen=True)
class Accepted:
    """An accepted pool, with its target and the target's autoscaler (if there is one)."""

    spec: PoolSpec
    deployment: DeploymentView | None = None
    """The Deployment; None for another kind of target."""
    autoscaler: Object | None = None
    knative_service: Object = field(default_factory=dict)
    """The Knative Service; empty for another kind of target."""
    last_selector: Mapping[str, Any] = field(default_factory=lambda: _NO_POD)
    """The selector of a deleted Deployment."""

    @property
    def selector(self) -> Mapping[str, Any]:
        """The label selector of the target's pods."""
        if self.spec.target.is_knative:
            return {"matchLabels": {SERVICE_LABEL: self.spec.target.name}}
        # The selector of a deleted Deployment is stored as long as it has pods.
        return self.last_selector if self.deployment is None else self.deployment.selector

    @property
    def requests(self) -> Mapping[str, Decimal]:
        """The resource requests of one pod of the target (base units)."""
        if self.deployment is not None:
            return self.deployment.requests
        template = (self.knative_service.get("spec") or {}).get("template") or {}
        return pod_requests(template.get("spec") or {})


@dataclass(frozen=True)
class Refused(Refusal):
    """A rejection, and what may still be done: nothing starts, but what runs may end."""

    judged: Accepted
    """The spec as far as it is readable, and the target as far as it exists."""
    ends: Ends
    counts: bool
    """Whether this pool's ledger counts the target's pods."""
    hands: str = ""
    """Why the pods stay as they are, if the message does not say it."""


def accept(
    key: Key, pool: Object, cache: Cache, last: PoolSpec | None = None
) -> Accepted | Refused:
    """Accept or reject a pool by what the CRD's schema cannot check: names, zones, other objects.

    Unreadable fields of the spec are taken from `last`, the last accepted spec, if there is one.
    """
    objections: list[tuple[Refusal, Ends]] = []
    try:
        spec = parse(pool["spec"])
    except SpecError as error:
        spec = salvage(pool["spec"], last)
        objections.append((Refusal("InvalidSpec", str(error)), Ends.SLEEP))
    candidate = Candidate(key, spec, cache)
    for validate, ends in _VALIDATORS:
        refusal = validate(candidate)
        if refusal is not None:
            objections.append((refusal, ends))
    if spec.target.is_knative:
        judged = Accepted(spec, knative_service=candidate.knative_service or {})
    else:
        selector = cache.selector_of((key[0], spec.target.name)) or _NO_POD
        autoscaler = next(iter(candidate.autoscalers), None)
        judged = Accepted(spec, candidate.deployment, autoscaler, last_selector=selector)
    return _refused(judged, objections) if objections else judged


def _refused(judged: Accepted, objections: list[tuple[Refusal, Ends]]) -> Refused:
    first, ends, hands = objections[0][0], min(ends for _, ends in objections), ""
    write = judged.deployment.write if judged.deployment is not None else None
    if write is not None and ends is not Ends.NOTHING:
        # The last writer of the replicas was not Kotatsu, so Kotatsu must not lower them.
        ends, hands = Ends.NOTHING, f"{write.by} has set the replicas"
    counts = all(refusal.reason != "TargetClaimed" for refusal, _ in objections)
    return Refused(first.reason, first.message, judged, ends, counts, hands)


def validate_runtime(candidate: Candidate) -> Refusal | None:
    """Reject a Knative target without Knative's API."""
    if candidate.spec.target.is_knative and candidate.cache.knative.why_absent:
        return Refusal("KnativeNotFound", candidate.cache.knative.why_absent)
    return None


def validate_claim(candidate: Candidate) -> Refusal | None:
    """Reject all but the oldest of the pools that have the same target."""
    older = candidate.older(candidate.claimants)
    if not older:
        return None
    return Refusal(
        "TargetClaimed",
        f"{candidate.spec.target.kind} {candidate.spec.target.name} already belongs to the older "
        f"WarmPool {older}: delete one of the two or give this one another targetRef",
    )


def validate_own(candidate: Candidate) -> Refusal | None:
    """Reject Kotatsu itself as a target: at 0 it could not wake any pool, nor itself."""
    target = candidate.spec.target
    labels = {} if candidate.deployment is None else candidate.deployment.labels
    is_own = target.name in (OPERATOR, ACTIVATOR) or labels.get(NAME_LABEL) == PROGRAM
    if target.is_knative or not is_own:
        return None
    return Refusal(
        "TargetIsKotatsu",
        f"Deployment {target.name} is Kotatsu itself, which has to run while others "
        "sleep: name another Deployment in spec.targetRef.name",
    )


def validate_target(candidate: Candidate) -> Refusal | None:
    """Reject a pool whose target does not exist."""
    is_knative = candidate.spec.target.is_knative
    if (candidate.knative_service if is_knative else candidate.deployment) is not None:
        return None
    kind = "Knative Service" if is_knative else "Deployment"
    return Refusal(
        "TargetNotFound",
        f"there is no {kind} {candidate.spec.target.name} in namespace {candidate.namespace}: "
        "create it or correct spec.targetRef.name",
    )


_VALIDATORS: tuple[tuple[Callable[[Candidate], Refusal | None], Ends], ...] = (
    (validate_runtime, Ends.NOTHING),
    (validate_own, Ends.NOTHING),
    (validate_claim, Ends.NOTHING),
    (validate_target, Ends.NOTHING),
    (validate_service, Ends.LOWER),
    (validate_autoscaler, Ends.NOTHING),
)
"""The validators, and how far a pool that one of them rejects may still be lowered."""
