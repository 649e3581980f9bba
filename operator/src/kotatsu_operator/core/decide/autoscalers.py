"""Which autoscalers a pool can share its target with, and why others are refused."""

from collections.abc import Sequence

from kotatsu_operator.core.decide.refusal import Refusal
from kotatsu_operator.core.formats import table
from kotatsu_operator.core.objects import Object
from kotatsu_operator.core.pool.spec import PoolSpec

_MANAGED_BY = "app.kubernetes.io/managed-by"
_KEDA = "keda-operator"
_SCALED_OBJECT = "ScaledObject"

_PAUSED = "autoscaling.keda.sh/paused"
_PAUSED_AT = "autoscaling.keda.sh/paused-replicas"
_FALSE = frozenset({"0", "f", "F", "false", "False", "FALSE"})
"""What Go's strconv.ParseBool reads as false. KEDA reads every other value as true."""


def is_left_alone(scaled_object: Object) -> bool:
    """Whether KEDA leaves the workload of a ScaledObject as it is, and has no autoscaler for it.

    With `paused-replicas` KEDA sets the replicas to that number, again and again.
    """
    annotations = table(table(scaled_object.get("metadata")).get("annotations"))
    paused = annotations.get(_PAUSED, "false") not in _FALSE
    return paused and _PAUSED_AT not in annotations


def keda_refusal(of: str, namespace: str, scaled_object: str) -> Refusal:
    """KEDA scales a workload (`of`); the message has the command that pauses KEDA."""
    pause = f"kubectl annotate scaledobject {scaled_object} -n {namespace} --overwrite"
    return Refusal(
        "ForeignAutoscaler",
        f"KEDA scales {of} by ScaledObject {scaled_object} and would undo what Kotatsu sets: pause "
        f"it ({pause} {_PAUSED}=true), by which KEDA deletes its HorizontalPodAutoscaler, or "
        "leave this workload to KEDA",
    )


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


def check_autoscalers(spec: PoolSpec, namespace: str, found: Sequence[Object]) -> Refusal | None:
    """Accept at most one HorizontalPodAutoscaler, and none that another program owns.

    `found` are those that scale the target, by name.
    """
    of = f"{spec.target.kind} {spec.target.name}"
    for autoscaler in found:
        name, owner = autoscaler["metadata"]["name"], foreign_owner(autoscaler)
        if scaled_object := keda_object(autoscaler):
            return keda_refusal(of, namespace, scaled_object)
        if owner:
            return Refusal(
                "ForeignAutoscaler",
                f"HorizontalPodAutoscaler {name} scales {of} and belongs to {owner}, which would "
                "undo what Kotatsu sets: leave this workload to one of the two",
            )
    if len(found) > 1:
        names = " and ".join(a["metadata"]["name"] for a in found)
        return Refusal(
            "TwoAutoscalers",
            f"the HorizontalPodAutoscalers {names} scale {of} at once and work against each other: "
            "delete all but one",
        )
    return None
