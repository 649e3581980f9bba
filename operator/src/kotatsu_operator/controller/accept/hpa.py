"""Validates the HorizontalPodAutoscalers on a pool's target."""

from kotatsu_operator.controller.accept.candidate import Candidate, Refusal
from kotatsu_operator.kube.hpa import foreign_owner


def validate_autoscaler(candidate: Candidate) -> Refusal | None:
    """Accept at most one HorizontalPodAutoscaler, and none that another program owns."""
    found = candidate.autoscalers
    target = candidate.spec.target.name
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
