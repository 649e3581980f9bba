"""Writes and removes spec.override, and no other field of a pool."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .api import APPLY, MANAGER, MERGE, Api
from .errors import ConflictError, changed
from .managers import dry_run_query, managers_of
from .pools import Object, Pool
from .times import stamp


def override(mode: str, until: datetime, *, by: str, reason: str, replicas: int | None) -> Object:
    """The value of spec.override."""
    fields = {"mode": mode, "replicas": replicas, "until": stamp(until), "by": by, "reason": reason}
    return {key: value for key, value in fields.items() if value}


def other_managers(raw: Object) -> list[str]:
    """The field managers, other than this plugin, that own a part of spec.override."""
    return [name for name, *_ in managers_of(raw, "override") if name != MANAGER]


def set_override(api: Api, pool: Pool, value: Object, *, force: bool, dry_run: bool) -> Object:
    """Apply an override, server-side. Raises ConflictError if another field manager owns it."""
    query = dry_run_query(dry_run) | ({"force": "true"} if force else {})
    try:
        return api.patch(pool.path, _only(pool, {"override": value}), APPLY, query)
    except ConflictError as error:
        raise _held(pool, other_managers(pool.raw), str(error)) from None


def end_override(api: Api, pool: Pool, *, force: bool, dry_run: bool) -> Object:
    """Remove the override. Raises ConflictError if another field manager owns it."""
    others = other_managers(pool.raw)
    if not others:
        # An apply without it removes what only this field manager owns.
        return api.patch(pool.path, _only(pool, None), APPLY, dry_run_query(dry_run))
    if not force:
        raise _held(pool, others, "")
    version = pool.raw["metadata"]["resourceVersion"]
    body = {"metadata": {"resourceVersion": version}, "spec": {"override": None}}
    try:
        return api.patch(pool.path, body, MERGE, dry_run_query(dry_run))
    except ConflictError:
        raise changed(pool.name) from None


def _only(pool: Pool, spec: Mapping[str, Any] | None) -> Object:
    body: Object = {
        "apiVersion": "kotatsu.dev/v1alpha1",
        "kind": "WarmPool",
        "metadata": {"name": pool.name, "namespace": pool.namespace},
    }
    return body if spec is None else body | {"spec": dict(spec)}


def _held(pool: Pool, others: list[str], said: str) -> ConflictError:
    who = " and ".join(others)
    reason = f"is owned by {who}" if who else f"is owned by another field manager ({said})"
    return ConflictError(
        f"the override of {pool.name} {reason}; take it over with --force-conflicts (a GitOps tool "
        "may write it again)"
    )
