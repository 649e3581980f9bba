"""WarmPools from files, for plans without a cluster."""

import contextlib
import json
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

from kotatsu_operator.core.formats import table
from kotatsu_operator.core.protocol import API_VERSION

from .errors import DemoModeError
from .objects import Object
from .pools import Pool, read_pool


def read_manifests(filename: str, stdin: TextIO) -> list[Pool]:
    """The WarmPools of a YAML or JSON file (`-` is stdin), of any number of documents.

    Raises DemoModeError.
    """
    return [_pool(o, filename) for o in read_objects(filename, stdin, "WarmPool")]


def read_objects(filename: str, stdin: TextIO, kind: str) -> list[Object]:
    """The objects of a kind in such a file. Raises DemoModeError, also if there are none."""
    try:
        text = stdin.read() if filename == "-" else Path(filename).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise DemoModeError(f"{filename} cannot be read: {reason}; check its name") from None
    objects = list(_flat(_documents(text, filename), filename))
    found = [o for o in objects if o["kind"] == kind]
    if not found:
        raise DemoModeError(f"{filename} contains no {kind}; give a manifest with one")
    return found


def _meta(o: Object, name: str) -> str:
    return str(table(o.get("metadata")).get(name) or "")


def _pool(o: Object, filename: str) -> Pool:
    """A WarmPool, validated like the API server does."""
    if o.get("apiVersion") != API_VERSION:
        raise DemoModeError(
            f"{filename}: a WarmPool has apiVersion {o.get('apiVersion')!r}; write {API_VERSION}"
        )
    if not isinstance(table(o.get("metadata")).get("name"), str) or not _meta(o, "name"):
        raise DemoModeError(f"{filename}: a WarmPool has no metadata.name; add it")
    unknown = o.keys() - {"apiVersion", "kind", "metadata", "spec", "status"}
    if unknown:
        name = min(map(str, unknown))
        raise DemoModeError(
            f"{filename}: WarmPool {_meta(o, 'name')}: {name} is not a field of a WarmPool; "
            "its fields are in spec"
        )
    try:
        return read_pool(o, strict=True)
    except DemoModeError as error:
        raise DemoModeError(f"{filename}: {error}") from None


_DEEPEST = 100
"""Levels of a file: no object of Kubernetes needs a third of them."""

_REPEATED = 200_000
"""Values that the aliases of a file may add by repeating others. A kilobyte of aliases of aliases
would stand for more than any machine can read."""


def _documents(text: str, filename: str) -> list[Any]:
    found = _parsed(text, filename)
    level, left = found, len(text) + _REPEATED
    for _ in range(_DEEPEST):
        level = list(islice(chain.from_iterable(map(_inner, level)), left + 1))
        left -= len(level)
        if left < 0:
            raise DemoModeError(
                f"{filename} repeats too much by aliases; write out what they stand for"
            )
        if not level:
            return found
    raise _is_deep(filename)


def _inner(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _is_deep(filename: str) -> DemoModeError:
    return DemoModeError(f"{filename} is nested too deeply; give a file of manifests")


def _parsed(text: str, filename: str) -> list[Any]:
    def once(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
        """A map; the API server rejects a map with a duplicate field."""
        found: dict[Any, Any] = {}
        for name, value in pairs:
            if name in found:
                raise DemoModeError(
                    f"{filename} has the field {name} twice in one map; remove one of them"
                )
            found[name] = value
        return found

    try:
        with contextlib.suppress(ValueError):
            return [json.loads(text, object_pairs_hook=once)]
        return _yaml(text, once, filename)
    except RecursionError:
        raise _is_deep(filename) from None


def _yaml(text: str, once: Callable[..., object], filename: str) -> list[Any]:
    import yaml  # takes 60 ms to load

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """Reads times as text, like the API server; a duplicate field is an error."""

        yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML's own way)
            first: [(tag, form) for tag, form in forms if not tag.endswith(":timestamp")]
            for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
            once([(key.value, None) for key in own if isinstance(key.value, str)])
            return super().construct_mapping(node, deep)

    try:
        return list(yaml.load_all(text, Loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise DemoModeError(f"{filename} is not YAML{line}; correct it there") from None
    except (
        AttributeError,
        LookupError,
        ValueError,
    ):  # a value that does not match its tag, like `!!int x`
        raise DemoModeError(
            f"{filename} has a value that does not match its YAML tag; correct it"
        ) from None


def _flat(documents: Sequence[Any], filename: str) -> list[Object]:
    found: list[Object] = []
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
            raise DemoModeError(
                f"{filename} contains an object without a kind; give a file of manifests"
            )
        if document["kind"].endswith("List"):
            items = document.get("items") or []
            found += _flat(items if isinstance(items, list) else [items], filename)
        else:
            found.append(document)
    return found
