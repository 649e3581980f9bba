"""docs/reference/warmpool.md and warmpoolset.md: the fields, generated from the CRDs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .markdown import cell, line, row

_INTRODUCTION = """\
The API version is `kotatsu.dev/v1beta1`. Durations are written like `90s`, `2m` or `1h30m`.
Amounts of money are decimal strings.
"""

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """One object of the schema: a heading and a table of the page."""

    path: str
    """Like `spec.windows[]`."""
    schema: Schema

    def rules(self) -> list[str]:
        """What the API server checks of it beyond the types, in the words of the error."""
        own = _messages(self.schema)
        fields: Mapping[str, Schema] = self.schema.get("properties", {})
        # Those of an object that has a table of its own stand there.
        return own + [m for s in fields.values() if not _object(s)[0] for m in _messages(s)]


def body(crd: Mapping[str, Any]) -> str:
    """The page below its head."""
    version = crd["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]["properties"]
    lines = [_INTRODUCTION]
    for name in ("spec", "status"):
        for part in _parts(Part(name, schema[name])):
            lines += _section(part)
    return "\n".join(lines)


def _parts(part: Part) -> Iterator[Part]:
    """An object, and every object within it."""
    yield part
    for name, schema in part.schema["properties"].items():
        nested, suffix = _object(schema)
        if nested is not None:
            yield from _parts(Part(f"{part.path}.{name}{suffix}", nested))


def _object(schema: Schema) -> tuple[Schema | None, str]:
    """The object that a field holds, one or many of it; None if it holds something else."""
    if "properties" in schema:
        return schema, ""
    items = schema.get("items", {})
    return (items, "[]") if "properties" in items else (None, "")


def _section(part: Part) -> list[str]:
    lines = [f"{'#' * (2 if '.' not in part.path else 3)} {part.path}", ""]
    if text := part.schema.get("description"):
        lines += [_sentence(text), ""]
    defaults = part.path.startswith("spec")
    lines += (
        ["| field | type | default | description |", "|---|---|---|---|"]
        if defaults
        else ["| field | type | description |", "|---|---|---|"]
    )
    required = part.schema.get("required", ())
    for name, schema in part.schema["properties"].items():
        default = "required" if name in required else _default(schema)
        cells = [f"`{name}`", _type(schema), default, _description(schema)]
        lines.append(row(*(cells if defaults else cells[:2] + cells[3:])))
    if rules := part.rules():
        lines += ["", "The API server refuses it with:", "", *(f"- {rule}" for rule in rules)]
    return [*lines, ""]


def _messages(schema: Schema) -> list[str]:
    return [rule["message"] for rule in schema.get("x-kubernetes-validations", ())]


def _type(schema: Schema) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if "enum" in schema:
        return " \\| ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}s"
    if "additionalProperties" in schema:
        return f"map of {_type(schema['additionalProperties'])}s"
    name = "time" if schema.get("format") == "date-time" else str(schema["type"])
    low, high = schema.get("minimum"), schema.get("maximum")
    return f"{name}, {low:,} to {high:,}" if low is not None and high is not None else name


def _default(schema: Schema) -> str:
    default = schema.get("default")
    if default in (None, {}):
        return ""
    values = default if isinstance(default, list) else [default]
    return ", ".join(f"`{str(v).lower() if isinstance(v, bool) else v}`" for v in values)


def _description(schema: Schema) -> str:
    return cell(_sentence(schema.get("description", "")))


def _sentence(text: str) -> str:
    """A text as a sentence, on one line."""
    words = line(text)
    return f"{words[:1].upper()}{words[1:]}" + ("" if words.endswith(".") or not words else ".")
