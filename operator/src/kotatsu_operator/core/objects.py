"""Selectors, ports and owners in the objects of Kubernetes, as plain values.

Operator, activator and the kubectl plugin read them alike.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kotatsu_operator.core.formats import instant

Object = Mapping[str, Any]
"""An object of the API server, as JSON."""


def selector_view(selector: Mapping[str, Any]) -> Mapping[str, Any]:
    """A label selector whose values are sets: an expression can have thousands of values."""
    terms = [
        term | {"values": frozenset(term.get("values") or ())}
        for term in selector.get("matchExpressions") or ()
    ]
    return {**selector, "matchExpressions": terms} if terms else selector


def workload_selector(obj: Object) -> Mapping[str, Any]:
    """The label selector of a workload's pods; empty if it names none.

    `spec.selector`, or the text in its status that its scale shows (`a=b,c=d`).
    """
    given = obj["spec"].get("selector")
    if isinstance(given, Mapping) and given.keys() & {"matchLabels", "matchExpressions"}:
        return selector_view(given)
    status = obj.get("status") or {}
    shown = status.get("selector") or status.get("labelSelector")
    terms = [_EQUAL.fullmatch(term) for term in shown.split(",")] if isinstance(shown, str) else []
    labels = {term[1]: term[2] for term in terms if term is not None}
    return {"matchLabels": labels} if labels and len(labels) == len(terms) else {}


_EQUAL = re.compile(r"^\s*([A-Za-z0-9._/-]{1,317})\s*==?\s*([A-Za-z0-9._-]{0,63})\s*")
"""One term of a selector in text form that asks for a value."""


def pod_labels(workload: Object) -> Mapping[str, str]:
    """The labels of a workload's pods.

    Without a template of its own, they have at least the labels that it selects.
    """
    template = workload["spec"].get("template") or {}
    labels = (template.get("metadata") or {}).get("labels")
    return labels or workload_selector(workload).get("matchLabels") or {}


def deletes_claims(workload: Object) -> bool:
    """Whether a StatefulSet deletes the volume claims of the pods that it scales down."""
    policy = workload["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    return bool(policy.get("whenScaled") == "Delete")


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector (matchLabels and matchExpressions) matches."""
    if any(labels.get(k) != v for k, v in (selector.get("matchLabels") or {}).items()):
        return False
    for term in selector.get("matchExpressions") or ():
        value, wanted = labels.get(term["key"]), term.get("values") or ()
        matches = {
            "In": value in wanted,
            "NotIn": value not in wanted,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[term["operator"]]
        if not matches:
            return False
    return True


_REVISION = "rollouts-pod-template-hash"
"""Argo Rollouts sets this label on its pods, and adds it to the selector of the Services that a
strategy names (activeService, stableService and others). The pod template does not have it."""


def serves(selector: Mapping[str, str], template: Mapping[str, str]) -> bool:
    """Whether a Service with this selector leads to pods of a template with these labels."""
    named = {label: value for label, value in selector.items() if label != _REVISION}
    return selects({"matchLabels": named}, template)


_NUMBER = re.compile(r"[0-9]{1,9}")


def port_number(ports: Mapping[str, int], wanted: str | int) -> int | None:
    """The number of a port given by name or number; None for an unknown name.

    A spec may contain any text: some digits are not decimal (²), and numbers can be too long.
    """
    if isinstance(wanted, int) or _NUMBER.fullmatch(wanted):
        return int(wanted)
    return ports.get(wanted)


@dataclass(frozen=True)
class Owner:
    """A manager that owns a field, and when the fields of its entry last changed."""

    manager: str
    applies: bool
    """Whether it owns the field by server-side apply: its manifest will be applied again."""
    at: datetime | None


def owners(obj: Object, field: str) -> list[Owner]:
    """The managers that own one field of an object's spec."""
    return [
        Owner(
            entry.get("manager", ""), entry.get("operation") == "Apply", instant(entry.get("time"))
        )
        for entry in obj["metadata"].get("managedFields") or ()
        if f"f:{field}" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]
