"""Names and selectors of Kubernetes objects; `core.objects` has what the plugin reads too."""

from collections.abc import Mapping
from typing import Any

from kotatsu_operator.kube.resources import Object

Key = tuple[str, str]
"""(namespace, name)."""


def key_of(obj: Object) -> Key:
    """The namespace and name of an object."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def without_owners(obj: Object) -> Object:
    """An object without managedFields: they are half of its size and no decision uses them."""
    meta = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {**obj, "metadata": meta}


def scales(autoscaler: Object) -> Key | None:
    """The Deployment that a HorizontalPodAutoscaler scales; None for another kind of target."""
    target = autoscaler["spec"]["scaleTargetRef"]
    if target.get("kind") != "Deployment":
        return None
    return autoscaler["metadata"].get("namespace", ""), target["name"]


def selector_view(selector: Mapping[str, Any]) -> Mapping[str, Any]:
    """A label selector whose values are sets: an expression can have thousands of values."""
    terms = [
        term | {"values": frozenset(term.get("values") or ())}
        for term in selector.get("matchExpressions") or ()
    ]
    return {**selector, "matchExpressions": terms} if terms else selector
