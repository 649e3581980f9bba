"""What the modules of one pool have in common."""

from dataclasses import dataclass

from kotatsu_operator.activator.cache.namespace import View
from kotatsu_operator.activator.cache.pool import Pool
from kotatsu_operator.activator.cache.ports import PodIdentity
from kotatsu_operator.activator.metrics import ActivatorMetrics
from kotatsu_operator.kube.client import Kube


@dataclass(frozen=True)
class Context:
    """The activator's namespace, and one of its pools by name."""

    name: str
    kube: Kube
    view: View
    me: PodIdentity
    metrics: ActivatorMetrics

    @property
    def pool(self) -> Pool | None:
        """The pool as the watch has shown it; None if it is gone."""
        return self.view.pools.get(self.name)

    @property
    def key(self) -> tuple[str, str]:
        """The labels of the pool's series: namespace and name."""
        return self.me.namespace, self.name
