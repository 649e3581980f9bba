"""Validates a WarmPool's spec with the schema of its CRD, like the API server.

The schema is generated from the CRD. Its CEL rules are functions here, by their text.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from datetime import timedelta
from functools import cache
from pkgutil import get_data
from typing import Any

from kotatsu_operator.core.formats import instant, lasting, wall_date
from kotatsu_operator.core.pool.spec import KNATIVE

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
    """Why the API server would reject a spec (with its defaults), each with the field's path.

    `strict` is the field validation Strict, which also rejects unknown fields.
    """
    schema = spec_schema()
    found = list(unknown_fields(spec, schema, "spec")) if strict else []
    found += _faults(spec, schema, "spec")
    # Rules need values of the right types.
    return found or list(_broken_rules(spec, schema, "spec"))


def sentence(found: list[str]) -> str:
    """The first faults in one line."""
    more = len(found) - _SHOWN
    return "; ".join(found[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


# --- fields ---


def unknown_fields(value: Any, schema: Schema, where: str) -> Iterator[str]:
    """Fields that the schema does not have, with a suggestion."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown_fields(item, schema.get("items", {}), f"{where}[{index}]")
    known = schema.get("properties")
    if not isinstance(value, Mapping) or known is None:
        return
    for name, inner in value.items():
        if name in known:
            yield from unknown_fields(inner, known[name], f"{where}.{name}")
        else:
            yield f"{where}.{name} is not a field of a WarmPool{_hint(str(name), known, where)}"


def _hint(name: str, siblings: Mapping[str, Any], where: str) -> str:
    homes = [path for path in paths(spec_schema(), "spec") if path.endswith(f".{name}")]
    if 1 <= len(homes) <= _SHOWN:
        return f"; {name} belongs to {' or '.join(_named(home) for home in homes)}"
    from difflib import get_close_matches  # only for a field that does not exist

    close = get_close_matches(name, siblings, 1)
    if close:
        return f"; did you mean {where}.{close[0]}?"
    return f"; {where} has {', '.join(siblings)}"


def _named(path: str) -> str:
    inside_window = path.startswith("spec.windows[0].")
    return f"a window: {path}" if inside_window else path


def paths(schema: Schema, where: str) -> Iterator[str]:
    """The fields of a schema; those of a list's items with [0]."""
    for name, inner in schema.get("properties", {}).items():
        yield f"{where}.{name}"
        yield from paths(inner, f"{where}.{name}")
    if "items" in schema:
        yield from paths(schema["items"], f"{where}[0]")


# --- values ---


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "object": ("a map", lambda value: isinstance(value, Mapping)),
    "array": ("a list", lambda value: isinstance(value, list)),
    "string": ("text (put it in quotes)", lambda value: isinstance(value, str)),
    "integer": ("a whole number", _is_integer),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
}


def _faults(value: Any, schema: Schema, where: str) -> Iterator[str]:
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, str) and not _is_integer(value):
            yield f"{where} must be a whole number or text"
        return
    words, fits = _KINDS[schema["type"]]
    if not fits(value):
        yield f"{where} must be {words}"
        return
    yield from (f"{where} {problem}" for problem in _limits(value, schema))
    if isinstance(value, Mapping):
        yield from _object_faults(value, schema, where)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _faults(item, schema["items"], f"{where}[{index}]")


def _object_faults(value: Mapping[str, Any], schema: Schema, where: str) -> Iterator[str]:
    yield from (f"{where}.{n} is missing" for n in schema.get("required", ()) if n not in value)
    known = schema.get("properties", {})
    for name in (name for name in value if name in known):
        yield from _faults(value[name], known[name], f"{where}.{name}")


def _limits(value: Any, schema: Schema) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"must be one of {', '.join(schema['enum'])}"
    if isinstance(value, str):
        yield from _text_limits(value, schema)
    elif isinstance(value, list):
        yield from _list_limits(value, schema)
    elif isinstance(value, Mapping):
        return
    elif value < schema.get("minimum", value):
        yield f"must be at least {schema['minimum']}"
    elif value > schema.get("maximum", value):
        yield f"must be at most {schema['maximum']}"


_DATE, _CLOCK = r"[12]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", r"([01]\d|2[0-3]):[0-5]\d"
_INSTANT, _DAY = "a time like 2030-12-18T12:30:00+09:00", "a date like 2030-12-31"
_FORMS = {
    r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$": "a duration like 90s, 2m or 1h30m",
    rf"^{_DATE}T{_CLOCK}(:[0-5]\d)?$": "a wall-clock time like 2030-12-18T10:00",
    rf"^{_DATE}T{_CLOCK}:[0-5]\d(\.\d{{1,9}})?(Z|[+-]{_CLOCK})$": _INSTANT,
    rf"^{_DATE}$": _DAY,
    r"^[0-9]+(\.[0-9]+)?$": 'an amount like "6.5"',
}
"""The meaning of the schema's patterns."""

_FORMATS: dict[str, tuple[Callable[[str], Any], str]] = {
    "date-time": (instant, _INSTANT),
    "date": (wall_date, _DAY),
}
"""Days that no month has match the patterns."""


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern with the semantics of Go: ASCII digits, and $ only at the end of the text."""
    return re.compile(pattern.replace("$", r"\Z"), re.ASCII)


def _text_limits(value: str, schema: Schema) -> Iterator[str]:
    if len(value) < schema.get("minLength", 0):
        yield f"must have at least {schema['minLength']} characters"
    if len(value) > schema.get("maxLength", len(value)):
        yield f"must have at most {schema['maxLength']} characters"
        return  # the cost of a pattern is bounded by the length of the text
    if "pattern" in schema and not _compiled(schema["pattern"]).search(value):
        wanted = _FORMS.get(schema["pattern"], f"a match of {schema['pattern']}")
        yield f"is {value[:40]!r}, not {wanted}"
        return
    read, wanted = _FORMATS.get(schema.get("format", ""), (lambda _: True, ""))
    if read(value) is None:
        yield f"is {value[:40]!r}, not {wanted}"


def _list_limits(value: list[Any], schema: Schema) -> Iterator[str]:
    if len(value) > schema.get("maxItems", len(value)):
        yield f"has more than {schema['maxItems']} entries"
        return
    keys = schema.get("x-kubernetes-list-map-keys", ())
    unique = schema.get("x-kubernetes-list-type") in ("map", "set")
    reported: list[Any] = []
    for item in value if unique else ():
        mark = [item.get(key) for key in keys] if isinstance(item, Mapping) else item
        if mark in reported:
            shown = mark[0] if isinstance(mark, list) and len(mark) == 1 else mark
            yield f"has {shown!r} twice; each may appear once"
        reported.append(mark)


# --- rules ---


def _has_its_version(kind: str, version: str) -> bool:
    if kind in ("Deployment", "StatefulSet"):
        return version == "apps/v1"
    if kind == KNATIVE:
        return version == "serving.knative.dev/v1"
    return "/" in version and not version.startswith("apps/")


def _fits(spec: Schema, *asked: Schema) -> bool:
    """Whether a spec's maximum allows the replicas of these parts of it."""
    return all(part.get("replicas", 1) <= spec["maxReplicas"] for part in asked)


def _windows(spec: Schema) -> list[Schema]:
    return list(spec.get("windows", ()))


def _calendars(spec: Schema) -> list[Schema]:
    return list(spec.get("calendars", ()))


RULES: dict[str, Callable[[Any], bool]] = {
    "!has(self.windows) || self.windows.all(w, w.replicas <= self.maxReplicas)": lambda s: _fits(
        s, *_windows(s)
    ),
    "!has(self.windows) || self.windows.map(w, has(w.excludeDates) ? size(w.excludeDates) : 0)"
    ".sum() <= 1000": lambda s: sum(len(w.get("excludeDates", ())) for w in _windows(s)) <= 1000,
    "!has(self.calendars) || self.calendars.all(c, !has(c.replicas) || "
    "c.replicas <= self.maxReplicas)": lambda s: _fits(s, *_calendars(s)),
    "has(self.mode) && self.mode == 'Closed' ? !has(self.replicas) && !has(self.match) : "
    "has(self.replicas)": lambda c: (
        not c.keys() & {"replicas", "match"} if c.get("mode") == "Closed" else "replicas" in c
    ),
    "!has(self.override) || !has(self.override.replicas) || "
    "self.override.replicas <= self.maxReplicas": lambda s: _fits(s, s.get("override", {})),
    "self.route == 'Auto' || self.targetRef.kind != 'Service'": lambda s: (
        s["route"] == "Auto" or s["targetRef"]["kind"] != "Service"
    ),
    "self.kind in ['Deployment', 'StatefulSet'] ? self.apiVersion == 'apps/v1' : "
    "self.kind == 'Service' ? self.apiVersion == 'serving.knative.dev/v1' : "
    "self.apiVersion.contains('/') && !self.apiVersion.startsWith('apps/')": lambda s: (
        _has_its_version(s["kind"], s["apiVersion"])
    ),
    "(has(self.start) && has(self.end) && !has(self.schedule) && !has(self.duration)) || "
    "(has(self.schedule) && has(self.duration) && !has(self.start) && !has(self.end))": lambda w: (
        w.keys() & {"start", "end", "schedule", "duration"}
        in ({"start", "end"}, {"schedule", "duration"})
    ),
    "!has(self.start) || !has(self.end) || self.end > self.start": lambda w: (
        "start" not in w or "end" not in w or w["end"] > w["start"]
    ),
    "!has(self.excludeDates) || has(self.schedule)": lambda w: (
        "excludeDates" not in w or "schedule" in w
    ),
    "duration(self) <= duration('24h')": lambda text: lasting(text) <= timedelta(hours=24),
    "duration(self) <= duration('1h')": lambda text: lasting(text) <= timedelta(hours=1),
    "duration(self) > duration('0s')": lambda text: lasting(text) > timedelta(),
    "duration(self) > duration('0s') && duration(self) <= duration('744h')": lambda text: (
        timedelta() < lasting(text) <= timedelta(hours=744)
    ),
    "self.mode == 'Warm' || !has(self.replicas)": lambda o: (
        o["mode"] == "Warm" or "replicas" not in o
    ),
}
"""The CRD's rules by their text; other rules are checked only by the API server."""


def _broken_rules(value: Any, schema: Schema, where: str) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        check = RULES.get(rule["rule"])
        if check is not None and not check(value):
            yield f"{where}{rule.get('fieldPath', '')}: {rule['message']}"
    if isinstance(value, Mapping):
        known = schema.get("properties", {})
        for name, inner in value.items():
            if name in known:
                yield from _broken_rules(inner, known[name], f"{where}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _broken_rules(item, schema.get("items", {}), f"{where}[{index}]")
