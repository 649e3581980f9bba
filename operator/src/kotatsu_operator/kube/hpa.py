"""HorizontalPodAutoscalers read into values, and the programs that own them."""

from kotatsu_operator.core.pool.observation import Autoscaler
from kotatsu_operator.core.protocol import OPERATOR
from kotatsu_operator.kube.objects import owners
from kotatsu_operator.kube.resources import Object

_MANAGED_BY = "app.kubernetes.io/managed-by"
_KEDA = "keda-operator"
_SCALED_OBJECT = "ScaledObject"

KEDA_PAUSE = "autoscaling.keda.sh/paused=true"
"""The annotation by which KEDA leaves a workload as it is, and deletes its autoscaler."""


def keda_object(autoscaler: Object) -> str:
    """The ScaledObject of KEDA that owns an autoscaler; empty if none does."""
    owners_of = autoscaler["metadata"].get("ownerReferences") or ()
    named = [owner["name"] for owner in owners_of if owner.get("kind") == _SCALED_OBJECT]
    return str(named[0]) if named else ""


def foreign_owner(autoscaler: Object) -> str:
    """The program that owns an autoscaler; empty if people manage it."""
    meta = autoscaler["metadata"]
    for owner in meta.get("ownerReferences") or ():
        if owner.get("controller"):
            return f"{owner['kind']} {owner['name']}"
    if (meta.get("labels") or {}).get(_MANAGED_BY) == _KEDA:
        return "KEDA"
    return ""


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
