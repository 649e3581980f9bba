"""NetworkPolicies read into values: whose clients they limit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kotatsu_operator.core.objects import selector_view
from kotatsu_operator.kube.objects import Object


@dataclass(frozen=True)
class IngressPolicy:
    """The relevant fields of a NetworkPolicy that limits which clients reach pods."""

    pods: Mapping[str, Any]
    """The label selector of the pods."""
    admits_all: bool
    """Whether it admits every client to more than some single ports."""


def ingress_policy(obj: Object) -> IngressPolicy | None:
    """Read a NetworkPolicy; None if it limits no ingress."""
    spec = obj.get("spec") or {}
    if "Ingress" not in (spec.get("policyTypes") or ("Ingress",)):
        return None
    return IngressPolicy(
        selector_view(spec.get("podSelector") or {}),
        any(
            not rule.get("from")
            and (not rule.get("ports") or any("endPort" in port for port in rule["ports"]))
            for rule in spec.get("ingress") or ()
        ),
    )
