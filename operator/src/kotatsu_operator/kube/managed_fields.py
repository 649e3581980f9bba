"""Other managers that own a field which Kotatsu sets, read from managedFields."""

from dataclasses import dataclass
from datetime import datetime

from kotatsu_operator.core.formats import instant
from kotatsu_operator.core.pool.observation import Write
from kotatsu_operator.core.protocol import ACTIVATOR, OPERATOR
from kotatsu_operator.kube.resources import Object

_FRIENDS = frozenset({OPERATOR, ACTIVATOR, "kube-controller-manager"})
"""Kotatsu's own managers, and that of the HPA controller, which may scale the target too."""


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


def foreign_write(deployment: Object) -> Write | None:
    """The write of `replicas` by another manager that owns the field; None if there is none.

    A manager that writes another value takes over the field. So another owner has written after
    Kotatsu, or before Kotatsu's first write.
    """
    found = [o for o in owners(deployment, "replicas") if o.manager not in _FRIENDS]
    if not found:
        return None
    # A manager that applies will apply again, so it comes first; among equals the newest does.
    owner = max(found, key=lambda o: (o.applies, str(o.at)))
    return Write(owner.manager, owner.at, applied=owner.applies)
