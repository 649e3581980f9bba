"""A StatefulSet, or any other workload with a scale subresource, as a target."""

from collections.abc import Iterator
from dataclasses import dataclass

from kotatsu_operator.controller.targets.deployment import DeploymentTarget
from kotatsu_operator.controller.targets.target import Objection
from kotatsu_operator.core.budget.limit import Ends
from kotatsu_operator.core.decide.refusal import check_claims, check_kind, check_selector


@dataclass(frozen=True)
class ScaledTarget(DeploymentTarget):
    """The workload of one pool: it is scaled as a Deployment, with checks of its own."""

    @property
    def is_unknown(self) -> bool:
        """Whether the watches have not shown yet whether it exists."""
        return self.cache.is_awaited(self.key[0], self.spec.target.kind)

    def objections(self) -> Iterator[Objection]:
        """Check the kind, and what a Deployment is checked for."""
        workload = self.workload
        yield check_kind(self.spec, self.cache.scaled), Ends.NOTHING
        if workload is not None:
            yield check_selector(self.spec, workload.selector), Ends.NOTHING
            yield check_claims(self.spec, deletes=workload.deletes_claims), Ends.NOTHING
        yield from super().objections()
