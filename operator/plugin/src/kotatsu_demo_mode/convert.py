"""kubectl demo-mode convert: manifests of v1alpha1 become manifests of v1beta1."""

import json
import re
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from kotatsu_operator.core.formats import table
from kotatsu_operator.core.pool.v1alpha1 import NEW, OLD, spec_from

from .manifests import documents, read_text
from .pools import Object
from .shell import Shell
from .terminal import Terminal

_DOCUMENT = re.compile(r"^(?=---(?:\s|$))", re.MULTILINE)
"""The beginning of each document but the first: no text of YAML may have this at a line's start."""

_HEAD = re.compile(r"^(?:(?:---)?[ \t]*(?:#.*)?\n)*")
"""What stands before the first field: comments, and the beginning of the document."""

_COMMENT = re.compile(r"^[^\"'\n]*?(?:^|\s)#", re.MULTILINE)


def run(options: Namespace, shell: Shell) -> int:
    """Print the files, with each WarmPool of v1alpha1 converted; notes go to stderr."""
    names = options.filename or ["-"]
    made = [convert(read_text(name, shell.stdin), name, shell.terminal) for name in names]
    for index, text in enumerate(made):
        is_apart = index == 0 or text.startswith("---") or not text.strip()
        shell.terminal.say_as_is(("" if is_apart else "---\n") + text.rstrip("\n"))
    return 0


def convert(given: str, filename: str, terminal: Terminal) -> str:
    """A file's text with its WarmPools converted; all else is as it was. Raises DemoModeError."""
    read = documents(given, filename)  # an error names the line of the file
    if not any(_is_former(o) for document in read for o in _objects(document)):
        return given
    if given.lstrip().startswith("{") and len(read) == 1:
        return json.dumps(_converted(read[0], terminal), indent=2, ensure_ascii=False)
    return "".join(_document(part, filename, terminal) for part in _DOCUMENT.split(given))


def _document(part: str, filename: str, terminal: Terminal) -> str:
    """One document of a YAML file, with its separator."""
    given = documents(part, filename)
    if not any(_is_former(o) for document in given for o in _objects(document)):
        return part
    import yaml  # takes 60 ms to load

    head = _HEAD.match(part)
    kept = head.group() if head else ""
    if _COMMENT.search(part[len(kept) :]):
        name = next(_name(o) for o in _objects(given[0]) if _is_former(o))
        terminal.complain(f"WarmPool {name}: the comments in its manifest are lost")
    made = _converted(given[0], terminal)
    return kept + yaml.safe_dump(made, sort_keys=False, allow_unicode=True)


def _converted(document: Any, terminal: Terminal) -> Any:
    """An object, or a list of them, with every WarmPool converted."""
    if isinstance(document, dict) and isinstance(items := document.get("items"), list):
        return document | {"items": [_converted(item, terminal) for item in items]}
    if not _is_former(document):
        return document
    made = spec_from(table(document.get("spec")))
    for note in made.notes:
        terminal.complain(f"WarmPool {_name(document)}: {note}")
    metadata = dict(table(document.get("metadata")))
    if made.annotations:
        metadata["annotations"] = {**table(metadata.get("annotations")), **made.annotations}
    # The status is the operator's.
    kept = {name: value for name, value in document.items() if name != "status"}
    return kept | {"apiVersion": NEW, "metadata": metadata, "spec": made.spec}


def _objects(document: Any) -> Iterator[Any]:
    items = document.get("items") if isinstance(document, dict) else None
    yield from items if isinstance(items, list) else [document]


def _is_former(o: Any) -> bool:
    return isinstance(o, dict) and (o.get("apiVersion"), o.get("kind")) == (OLD, "WarmPool")


def _name(o: Object) -> str:
    return str(table(o.get("metadata")).get("name") or "without a name")
