"""Writes one entry of spec.windows, and reads who else owns it."""

import json
from collections.abc import Sequence
from typing import Any

from .api import JSON_PATCH, MANAGER, Api
from .errors import ConflictError, DemoModeError, NotFoundError, changed
from .managers import dry_run_query, managers_of
from .pools import Object, Pool
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


def write(api: Api, pool: Pool, edits: Sequence[Edit], *, dry_run: bool) -> Object:
    """Write changes if the spec is still as it was read; returns the pool.

    The operator writes the status at any time, so the generation is compared, not the version of
    the object. Raises DemoModeError.
    """
    try:
        return api.patch(pool.path, operations(pool, edits), JSON_PATCH, dry_run_query(dry_run))
    except NotFoundError:
        raise
    except DemoModeError as error:
        if _generation(api.get(pool.path)) == _generation(pool.raw):
            raise error from None
        raise changed(pool.name) from None


def operations(pool: Pool, edits: Sequence[Edit]) -> list[Object]:
    """The JSON patch (RFC 6902) of changes of different windows.

    Positions are those of the pool that was read: entries are replaced first, then removed from the
    end, then added.
    """
    made = [edit for edit in edits if edit.is_change]
    found: list[Object] = [
        {"op": "test", "path": "/metadata/generation", "value": _generation(pool.raw)}
    ]
    found += [
        {"op": "replace", "path": f"/spec/windows/{e.index}", "value": e.value}
        for e in made
        if e.index is not None and e.value is not None
    ]
    gone = sorted((e.index for e in made if e.index is not None and e.value is None), reverse=True)
    found += [{"op": "remove", "path": f"/spec/windows/{index}"} for index in gone]
    new = [e.value for e in made if e.index is None and e.value is not None]
    if new and "windows" not in pool.raw["spec"]:
        return [*found, {"op": "add", "path": "/spec/windows", "value": new}]
    return found + [{"op": "add", "path": "/spec/windows/-", "value": value} for value in new]


def _generation(raw: Object) -> Any:
    return raw["metadata"].get("generation")
