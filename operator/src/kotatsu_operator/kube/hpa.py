"""HorizontalPodAutoscalers read into values."""

from kotatsu_operator.core.objects import owners
from kotatsu_operator.core.pool.observation import Autoscaler
from kotatsu_operator.core.protocol import OPERATOR
from kotatsu_operator.kube.resources import Object


def read_autoscaler(autoscaler: Object) -> Autoscaler:
    """Read a HorizontalPodAutoscaler (`minReplicas` defaults to 1)."""
    spec = autoscaler["spec"]
    return Autoscaler(
        name=autoscaler["metadata"]["name"],
        min_replicas=spec.get("minReplicas", 1),
        max_replicas=spec["maxReplicas"],
        ours=any(o.manager == OPERATOR for o in owners(autoscaler, "minReplicas")),
        version=autoscaler["metadata"]["resourceVersion"],
    )
