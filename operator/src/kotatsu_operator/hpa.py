"""The HorizontalPodAutoscaler on a pool's target: whether it can be shared, and what it says."""

from .case import Case, Refusal
from .contest import owners
from .core.autoscaler import Autoscaler
from .kube import Object
from .views import OPERATOR

_MANAGED_BY = "app.kubernetes.io/managed-by"
_KEDA = "keda-operator"


def judge_autoscaler(case: Case) -> Refusal | None:
    """One HorizontalPodAutoscaler of a person's is fine; two, or another program's, are not."""
    found = case.autoscalers
    target = case.spec.target.name
    for autoscaler in found:
        owner = foreign_owner(autoscaler)
        if owner:
            return Refusal(
                "ForeignAutoscaler",
                f"HorizontalPodAutoscaler {autoscaler['metadata']['name']} scales Deployment "
                f"{target} and belongs to {owner}, which would undo what Kotatsu sets: leave "
                "this workload to one of the two",
            )
    if len(found) > 1:
        names = " and ".join(a["metadata"]["name"] for a in found)
        return Refusal(
            "TwoAutoscalers",
            f"the HorizontalPodAutoscalers {names} scale Deployment {target} at once and work "
            "against each other: delete all but one",
        )
    return None


def foreign_owner(autoscaler: Object) -> str:
    """The program that keeps an autoscaler as its own; empty for one that people keep."""
    meta = autoscaler["metadata"]
    for owner in meta.get("ownerReferences") or ():
        if owner.get("controller"):
            return f"{owner['kind']} {owner['name']}"
    if (meta.get("labels") or {}).get(_MANAGED_BY) == _KEDA:
        return "KEDA"
    return ""


def read_autoscaler(autoscaler: Object) -> Autoscaler:
    """What matters of an HorizontalPodAutoscaler (`minReplicas` is 1 when left out)."""
    spec = autoscaler["spec"]
    return Autoscaler(
        name=autoscaler["metadata"]["name"],
        min_replicas=spec.get("minReplicas", 1),
        max_replicas=spec["maxReplicas"],
        ours=any(o.manager == OPERATOR for o in owners(autoscaler, "minReplicas")),
        version=autoscaler["metadata"]["resourceVersion"],
    )
