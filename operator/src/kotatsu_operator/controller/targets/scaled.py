"""A StatefulSet, or any other workload with a scale subresource, as a target."""

from collections.abc import Iterator
from dataclasses import dataclass

from kotatsu_operator.controller.targets.deployment import DeploymentTarget
from kotatsu_operator.controller.targets.target import Objection, Refusal
from kotatsu_operator.core.budget.limit import Ends


@dataclass(frozen=True)
class ScaledTarget(DeploymentTarget):
    """The workload of one pool: it is scaled as a Deployment, with checks of its own."""

    @property
    def is_unknown(self) -> bool:
        """Whether the watches have not shown yet whether it exists."""
        return self.cache.is_awaited(self.key[0], self.spec.target.kind)

    def objections(self) -> Iterator[Objection]:
        """Check the kind, and what a Deployment is checked for."""
        yield self._is_permitted(), Ends.NOTHING
        yield self._has_selector(), Ends.NOTHING
        yield self._keeps_claims(), Ends.NOTHING
        yield from super().objections()

    def _is_permitted(self) -> Refusal | None:
        """Reject a kind that the operator may not read and scale."""
        of = self.spec.target
        known = self.cache.scaled.get(of.kind)
        if known is not None and known.api_version == of.api_version:
            return None
        return Refusal(
            "KindNotPermitted",
            f"Kotatsu may not scale {of.kind} of {of.api_version}: add {{apiVersion: "
            f"{of.api_version}, kind: {of.kind}, resource: …}} to the chart value `targets`, or "
            "correct spec.targetRef",
        )

    def _has_selector(self) -> Refusal | None:
        if self.workload is None or self.workload.selector:
            return None
        of = self.spec.target
        return Refusal(
            "TargetHasNoSelector",
            f"{of.kind} {of.name} shows no label selector of its pods (spec.selector, or "
            "status.selector as text), so its pods are unknown: name a workload that has one",
        )

    def _keeps_claims(self) -> Refusal | None:
        """Reject a StatefulSet that would lose its volumes with each sleep."""
        if self.workload is None or not self.workload.deletes_claims:
            return None
        of = self.spec.target
        return Refusal(
            "ClaimsDeleted",
            f"{of.kind} {of.name} deletes the volume claims of pods that are scaled down, so each "
            "sleep would delete its data: set persistentVolumeClaimRetentionPolicy.whenScaled to "
            "Retain",
        )
