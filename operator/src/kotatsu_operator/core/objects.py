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
