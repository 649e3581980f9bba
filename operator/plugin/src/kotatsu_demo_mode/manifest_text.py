"""Writes a manifest as YAML for people: a comment above each field that needs one."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from textwrap import wrap
from typing import Any

from .terminal import plain

Path = tuple[str, ...]
Comments = Mapping[Path, str]
"""What is said above a field, by its path."""

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*", re.ASCII)
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""Words that YAML 1.1 reads as something else than text."""
_WIDTH = 100


def manifest_text(value: Mapping[str, Any], comments: Comments) -> str:
    """The YAML of an object whose fields are maps, lists of flat maps, and single values."""
    return "\n".join([*_fields(value, comments, ()), ""])


def commented(notes: Iterable[str]) -> str:
    """Sentences as comments, above a manifest."""
    lines = (f"# {line}" for note in notes for line in wrap(plain(note), _WIDTH - 2))
    return "".join(f"{line}\n" for line in lines)


def _fields(value: Mapping[str, Any], comments: Comments, path: Path) -> Iterator[str]:
    indent = "  " * len(path)
    for key, inner in value.items():
        here = (*path, key)
        if here in comments:
            said = wrap(plain(comments[here]), _WIDTH - len(indent) - 2, break_on_hyphens=False)
            yield from (f"{indent}# {line}" for line in said)
        if isinstance(inner, Mapping) and inner:
            yield f"{indent}{key}:"
            yield from _fields(inner, comments, here)
        elif isinstance(inner, list) and inner:
            yield f"{indent}{key}:"
            yield from (f"{indent}  - {_flow(item)}" for item in inner)
        else:
            yield f"{indent}{key}: {_flow(inner)}"


def _flow(value: Any) -> str:
    """A value in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value)
