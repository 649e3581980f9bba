"""What the modules of one pool have in common, and the contract of optional features."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kotatsu_operator.activator.limits import ConnectionLimit
from kotatsu_operator.activator.metrics import ActivatorMetrics
from kotatsu_operator.activator.namespace import View
from kotatsu_operator.activator.pool import PodIdentity, Pool
from kotatsu_operator.kube.client import Kube

if TYPE_CHECKING:
    from kotatsu_operator.activator.splice import Client


@dataclass(frozen=True)
class Context:
    """A namespace, and one of its pools by name."""

    name: str
    kube: Kube
    view: View
    me: PodIdentity
    metrics: ActivatorMetrics
    needs: Callable[[str], bool] = lambda _: True
    """Wakes another pool; returns whether a pod of that one answers."""
    limit: ConnectionLimit = field(default_factory=ConnectionLimit)

    @property
    def pool(self) -> Pool | None:
        """The pool as the watch has shown it; None if it is gone."""
        return self.view.pools.get(self.name)

    @property
    def key(self) -> tuple[str, str]:
        """The labels of the pool's series: namespace and name."""
        return self.view.namespace, self.name

    @property
    def is_asked(self) -> bool:
        """Whether each check of the operator reads this activator: it is Ready and stays."""
        pod = self.view.activators.get(self.me.pod)
        return pod is not None and pod.ready and not (pod.terminating or self.view.leaving)


class Feature:
    """An optional part beside the connections of one pool. A feature overrides what it needs."""

    @property
    def are_waiting(self) -> bool:
        """Whether clients without a connection wait, so that the pool must wake.

        May be called from any thread.
        """
        return False

    def answer(self, _pool: Pool, _head: bytes) -> bytes | None:
        """The answer to a request (its complete head) while no pod answers; None: it is held."""
        return None

    def holds(self, _pool: Pool, _client: "Client") -> None:
        """A request, whose head is complete, waits for a pod."""


FeatureOf = Callable[[Context], Feature]
"""Makes the feature of one pool."""

FEATURES = "kotatsu_activator.features"
"""The group of entry points: each names a `FeatureOf` that is installed."""
