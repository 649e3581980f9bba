"""Writes one entry of spec.windows, and reads who else owns it."""

import json
from typing import Any

from .api import JSON_PATCH, MANAGER, Api
from .errors import ConflictError, DemoModeError, NotFoundError, changed
from .managers import dry_run_query, managers_of
from .pools import Object
from .windows import Edit

_BY_HAND = {
    "kubectl-client-side-apply": "the next `kubectl apply` of its manifest",
    "helm": "the next `helm upgrade` that changes windows",
}
"""Clients that replace the whole list, but only when a person runs them."""


def owners(raw: Object, name: str) -> list[str]:
    """The field managers of a window."""
    found = []
    for manager, _, windows in managers_of(raw, "windows"):
        names = (json.loads(key[2:]).get("name") for key in windows if key.startswith("k:"))
        if name in names:
            found.append(manager)
    return list(dict.fromkeys(found))


def list_writers(raw: Object) -> list[str]:
    """The field managers that write spec.windows as a whole, and so would remove a new window.

    A server-side apply keeps the windows of other managers. kubectl's other commands (edit, patch)
    do not write again.
    """
    found = []
    for manager, operation, _ in managers_of(raw, "windows"):
        by_person = manager.startswith("kubectl") and manager not in _BY_HAND
        if operation != "Apply" and manager != MANAGER and not by_person:
            found.append(manager)
    return list(dict.fromkeys(found))


def check_owners(edit: Edit, *, force: bool) -> list[str]:
    """Notes about other managers of the windows. Raises ConflictError without `force`."""
    raw, pool = edit.pool.raw, edit.pool
    others = [owner for owner in owners(raw, edit.name) if owner != MANAGER]
    if others and not force:
        instead = "change it there" if edit.value else "remove it there"
        raise ConflictError(
            f"the window {edit.name} of {pool.name} is owned by {' and '.join(others)}; {instead}, "
            "or use --force-conflicts (a GitOps tool may write it again)"
        )
    if edit.index is not None:
        return []
    writers = list_writers(raw)
    tools = [writer for writer in writers if writer not in _BY_HAND]
    if tools and not force:
        raise ConflictError(
            f"spec.windows of {pool.name} is owned by {' and '.join(tools)}, which may remove "
            "other windows; add the window there, or use --force-conflicts"
        )
    return [
        f"{_BY_HAND[writer]} removes this window unless you add it there too"
        for writer in writers
        if writer in _BY_HAND
    ]


def write(api: Api, edit: Edit, *, dry_run: bool) -> Object:
    """Write the change if the spec is still as it was read; returns the pool.

    The operator writes the status at any time, so the generation is compared, not the version of
    the object. Raises DemoModeError.
    """
    pool = edit.pool
    try:
        return api.patch(pool.path, operations(edit), JSON_PATCH, dry_run_query(dry_run))
    except NotFoundError:
        raise
    except DemoModeError as error:
        if _generation(api.get(pool.path)) == _generation(pool.raw):
            raise error from None
        raise changed(pool.name) from None


def operations(edit: Edit) -> list[Object]:
    """The JSON patch (RFC 6902) of a change."""
    test = {"op": "test", "path": "/metadata/generation", "value": _generation(edit.pool.raw)}
    if edit.value is None:
        return [test, {"op": "remove", "path": f"/spec/windows/{edit.index}"}]
    if edit.index is not None:
        return [test, {"op": "replace", "path": f"/spec/windows/{edit.index}", "value": edit.value}]
    if "windows" not in edit.pool.raw["spec"]:
        return [test, {"op": "add", "path": "/spec/windows", "value": [edit.value]}]
    return [test, {"op": "add", "path": "/spec/windows/-", "value": edit.value}]


def _generation(raw: Object) -> Any:
    return raw["metadata"].get("generation")
