"""Who else sets a field that Kotatsu sets, read from the field's owners (managedFields)."""

from dataclasses import dataclass
from datetime import datetime

from kotatsu_operator.core.formats import instant
from kotatsu_operator.core.pool.observation import Write
from kotatsu_operator.core.protocol import ACTIVATOR, OPERATOR
from kotatsu_operator.kube.resources import Object

_FRIENDS = frozenset({OPERATOR, ACTIVATOR, "kube-controller-manager"})
"""Ours, and the HorizontalPodAutoscaler's controller, with which the work is shared."""


@dataclass(frozen=True)
class Owner:
    """A manager that owns a field now, and when its fields last changed."""

    manager: str
    applies: bool
    """By server-side apply: the field stands in a manifest that will be applied again."""
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
    """Somebody else's hold on `replicas`, if there is one: whoever wrote last owns the field.

    A manager that writes another value takes the field over, so an owner that is not ours has
    written after us (or before we ever did).
    """
    found = [o for o in owners(deployment, "replicas") if o.manager not in _FRIENDS]
    if not found:
        return None
    # One that applies comes back with its manifest; among equals the newest is the one to name.
    owner = max(found, key=lambda o: (o.applies, str(o.at)))
    return Write(owner.manager, owner.at, applied=owner.applies)
