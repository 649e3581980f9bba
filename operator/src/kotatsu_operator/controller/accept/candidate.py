"""The input of the validators: a pool's spec and the other objects of its namespace."""

from dataclasses import dataclass

from kotatsu_operator.controller.cache.store import Cache
from kotatsu_operator.core.pool.spec import PoolSpec
from kotatsu_operator.kube.deployment import DeploymentView
from kotatsu_operator.kube.objects import Key
from kotatsu_operator.kube.resources import Object


@dataclass(frozen=True)
class Refusal:
    """Why a pool is rejected: a reason (one word) and a message."""

    reason: str
    message: str


@dataclass(frozen=True)
class Candidate:
    """One pool to accept or reject."""

    key: Key
    spec: PoolSpec
    cache: Cache

    @property
    def namespace(self) -> str:
        """The namespace of the pool and of all objects that it names."""
        return self.key[0]

    @property
    def deployment(self) -> DeploymentView | None:
        """The target, if it is a Deployment; None if it does not exist."""
        return self.cache.deployments.get((self.namespace, self.spec.target.name))

    @property
    def knative_service(self) -> Object | None:
        """The target, if it is a Knative Service; None if it does not exist."""
        return self.cache.knative.services.get((self.namespace, self.spec.target.name))

    @property
    def claimants(self) -> list[Key]:
        """The pools with this target, oldest first."""
        target = (self.namespace, self.spec.target.name)
        if self.spec.target.is_knative:
            return self.cache.pools_of_knative_service(target)
        return self.cache.pools_of_deployment(target)

    def older(self, claimants: list[Key]) -> str:
        """The name of the oldest claimant; empty if that is this pool or there is none."""
        is_mine = not claimants or claimants[0] == self.key
        return "" if is_mine else claimants[0][1]

    @property
    def service(self) -> Object | None:
        """The Service whose clients wake the pool."""
        return self.cache.services.get((self.namespace, self.spec.service))

    @property
    def foreign_slices(self) -> list[tuple[str, str]]:
        """The Service's EndpointSlices with endpoints of other controllers: name and manager."""
        cache = self.cache.foreign_slices
        keys = sorted(cache.having((self.namespace, self.spec.service)))
        return [(key[1], cache[key].manager) for key in keys]

    @property
    def autoscalers(self) -> list[Object]:
        """The HorizontalPodAutoscalers of a Deployment, by name; Knative has its own autoscaler."""
        if self.spec.target.is_knative:
            return []
        return self.cache.autoscalers_of((self.namespace, self.spec.target.name))
