"""Reads who owns a field of a pool's spec, and how a change is only tried."""

from collections.abc import Iterator

from .pools import Object


def managers_of(raw: Object, field: str) -> Iterator[tuple[str, str, Object]]:
    """The managers of a field of the spec: name, operation, and the parts that they own."""
    for entry in raw["metadata"].get("managedFields") or ():
        parts = ((entry.get("fieldsV1") or {}).get("f:spec") or {}).get(f"f:{field}")
        if parts is not None:
            name = str(entry.get("manager") or "an unnamed manager")
            yield name, str(entry.get("operation") or ""), parts


def dry_run_query(dry_run: bool) -> dict[str, str]:
    """The query with which the API server validates a change and does not save it."""
    return {"dryRun": "All"} if dry_run else {}
