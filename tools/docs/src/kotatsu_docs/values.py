"""docs/reference/values.md: the values of the chart, from its values.yaml and its schema."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from .markdown import cell, row

_KEY = re.compile(r"( *)([\w-]+):(?: +(.+))?$")
_PART = re.compile(r"# --- (.+) ---$")


@dataclass(frozen=True)
class Value:
    """A value of the chart, or a group of values."""

    path: tuple[str, ...]
    default: str
    """As YAML on one line; empty for a group."""
    text: str
    """The comment above it, otherwise the description of the schema."""


def body(text: str, schema: Mapping[str, Any]) -> str:
    """The page below its head: each top-level value with those that it consists of."""
    lines: list[str] = []
    for value in values(text, schema):
        if isinstance(value, str):
            lines += ["", f"## {value}"]
            continue
        if len(value.path) == 1:
            lines += ["", f"### {value.path[0]}", "", value.text]
            lines += ["", f"Default: `{value.default}`"] if value.default else []
            in_table = False
            continue
        if not in_table:
            lines += ["", "| value | default | |", "|---|---|---|"]
            in_table = True
        default = f"`{value.default}`" if value.default else ""
        lines.append(row(f"`{'.'.join(value.path)}`", default, cell(value.text)))
    return "\n".join(lines[1:]) + "\n"


def values(text: str, schema: Mapping[str, Any]) -> Iterator[Value | str]:
    """Every value of a values.yaml, in its order, with the titles of its parts (`# --- … ---`)."""
    loaded, path, comment = yaml.safe_load(text), list[str](), list[str]()
    depths, item_of = list[int](), -1
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip())
        words = line.strip()
        if item_of >= 0 and words and depth > item_of:
            continue  # a part of a list, which is shown as one
        item_of = -1
        if part := _PART.match(line):
            yield part[1]
        elif words.startswith("#"):
            comment.append(words[1:].removeprefix(" "))
        elif found := _KEY.match(line):
            while depths and depths[-1] >= depth:
                depths.pop()
                path.pop()
            depths.append(depth)
            path.append(found[2])
            given = _at(loaded, path)
            is_group = isinstance(given, dict) and found[3] is None
            if isinstance(given, list) and found[3] is None:
                item_of = depth
            default = "" if is_group else found[3] or _flow(given)
            yield Value(tuple(path), default, _text(comment, _described(schema, path)))
            comment = []
        else:
            comment = []


def _at(loaded: Any, path: list[str]) -> Any:
    for name in path:
        loaded = loaded[name]
    return loaded


def _flow(given: Any) -> str:
    return yaml.safe_dump(given, default_flow_style=True, width=10_000, sort_keys=False).strip()


def _text(comment: list[str], described: Mapping[str, Any]) -> str:
    """A comment on one line, its indented lines as code; the schema's words if there is none."""
    words = [f"`{line.strip()}`" if line.startswith("  ") else line for line in comment]
    text = " ".join(words) or str(described.get("description", ""))
    choices = [str(c).lower() if isinstance(c, bool) else str(c) for c in described.get("enum", ())]
    if choices and not all(choice in text for choice in choices):
        text += f" One of {', '.join(f'`{choice}`' for choice in choices)}."
    return text


def _described(schema: Mapping[str, Any], path: list[str]) -> Mapping[str, Any]:
    """What the schema says of a value; nothing for one that it leaves open."""
    here: Mapping[str, Any] = schema
    for name in path:
        here = _resolved(schema, here.get("properties", {}).get(name, {}))
    return here


def _resolved(schema: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(part.get("$ref", "")).rpartition("/")[2]
    found: Mapping[str, Any] = schema["definitions"][name] if name else {}
    return {**found, **part}
