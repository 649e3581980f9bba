"""Validates the fields of a WarmPool's spec with the schema of its CRD, like the API server.

The schema is generated from the CRD. What its rules (CEL) ask of several fields, `core.pool.parse`
refuses where a plan depends on it, and otherwise the API server.
"""

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from pkgutil import get_data
from typing import Any

from kotatsu_operator.core.formats import table

Schema = dict[str, Any]

_SHOWN = 3
"""Faults in one sentence at most, and suggestions for an unknown field."""


@cache
def spec_schema() -> Schema:
    schema: Schema = json.loads(get_data(__package__, "schema.json") or "{}")
    return schema


def defaulted(value: Any, schema: Schema) -> Any:
    """A value with the schema's defaults and without nulls, as the API server stores it."""
    if isinstance(value, Mapping):
        known = schema.get("properties", {})
        given = {name: inner for name, inner in value.items() if inner is not None}
        for name, inner in known.items():
            if name not in given and "default" in inner:
                given[name] = deepcopy(inner["default"])
        return {name: defaulted(inner, known.get(name, {})) for name, inner in given.items()}
    if isinstance(value, list):
        return [defaulted(inner, schema.get("items", {})) for inner in value]
    if schema.get("type") == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def faults(spec: Any, *, strict: bool) -> list[str]:
    """Why the API server would reject fields of a spec (with its defaults), each with its path.

    `strict` is the field validation Strict, which also rejects unknown fields.
    """
    return list(_faults(spec, spec_schema(), "spec", strict))


def sentence(found: list[str]) -> str:
    """The first faults in one line."""
    more = len(found) - _SHOWN
    return "; ".join(found[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def paths(schema: Schema, where: str) -> Iterator[str]:
    """The fields of a schema; those of a list's items with [0]."""
    for name, inner in schema.get("properties", {}).items():
        yield f"{where}.{name}"
        yield from paths(inner, f"{where}.{name}")
    if "items" in schema:
        yield from paths(schema["items"], f"{where}[0]")


_KINDS: dict[str, tuple[str, Any]] = {
    "object": ("a map", Mapping),
    "array": ("a list", list),
    "string": ("text (put it in quotes)", str),
    "integer": ("a whole number", int),
    "boolean": ("true or false", bool),
    "": ("a whole number or text", int | str),
}


def _faults(value: Any, schema: Schema, where: str, strict: bool) -> Iterator[str]:
    words, kind = _KINDS[schema.get("type", "")]
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        yield f"{where} must be {words}"
        return
    yield from (f"{where} {problem}" for problem in _limits(value, schema))
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _faults(item, schema["items"], f"{where}[{index}]", strict)
    elif isinstance(value, Mapping):
        yield from (f"{where}.{n} is missing" for n in schema.get("required", ()) if n not in value)
        known = schema.get("properties", {})
        for name, inner in value.items():
            if name in known:
                yield from _faults(inner, known[name], f"{where}.{name}", strict)
            elif strict:
                hint = _hint(str(name), known, where)
                yield f"{where}.{name} is not a field of a WarmPool; {hint}"


def _hint(name: str, siblings: Mapping[str, Any], where: str) -> str:
    near = [path for path in paths(spec_schema(), "spec") if path.endswith(f".{name}")][:_SHOWN]
    if not near:
        from difflib import get_close_matches  # only for a field that does not exist

        near = [f"{where}.{close}" for close in get_close_matches(name, siblings, 1)]
    return f"did you mean {' or '.join(near)}?" if near else f"{where} has {', '.join(siblings)}"


_BOUNDS = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "maxItems": "must have at most {} entries",
}

_DATE, _CLOCK = r"[12]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", r"([01]\d|2[0-3]):[0-5]\d"
_FORMS = {
    r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$": "a duration like 90s, 2m or 1h30m",
    rf"^{_DATE}T{_CLOCK}(:[0-5]\d)?$": "a wall-clock time like 2030-12-18T10:00",
    rf"^{_DATE}T{_CLOCK}:[0-5]\d(\.\d{{1,9}})?(Z|[+-]{_CLOCK})$": (
        "a time like 2030-12-18T12:30:00+09:00"
    ),
    rf"^{_DATE}$": "a date like 2030-12-31",
    r"^[0-9]+(\.[0-9]+)?$": 'an amount like "6.5"',
}
"""The meaning of the schema's patterns; `parse` refuses days that match and do not exist."""


def _limits(value: Any, schema: Schema) -> Iterator[str]:
    size = value if isinstance(value, int) else len(value)
    for bound, words in _BOUNDS.items():
        limit = schema.get(bound, size)
        if size < limit if bound.startswith("min") else size > limit:
            yield words.format(limit)
            return  # the cost of what follows is bounded by the size
    if "enum" in schema and value not in schema["enum"]:
        yield f"must be one of {', '.join(schema['enum'])}"
    # The semantics of Go: ASCII digits, and $ only at the end of the text.
    pattern = schema.get("pattern", "").replace("$", r"\Z")
    if pattern and not re.compile(pattern, re.ASCII).search(value):
        wanted = _FORMS.get(schema["pattern"], f"a match of {schema['pattern']}")
        yield f"is {value[:40]!r}, not {wanted}"
    if schema.get("x-kubernetes-list-type") in ("map", "set"):
        keys = schema.get("x-kubernetes-list-map-keys", ())
        marks = [", ".join(str(table(i).get(k)) for k in keys) if keys else i for i in value]
        twice = (mark for index, mark in enumerate(marks) if mark in marks[:index])
        yield from (f"has {mark!r} twice; each may appear once" for mark in twice)
