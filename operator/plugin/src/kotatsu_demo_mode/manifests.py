"""WarmPools out of files, for planning without a cluster."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from kotatsu_operator.core.spec import Scaling

from .errors import DemoModeError
from .pools import Object, Pool, read_pool, requests_of


def read_manifests(filename: str, stdin: TextIO) -> list[Pool]:
    """The WarmPools of a YAML or JSON file (`-` is stdin), of any number of documents.

    A Deployment in the same file tells what one of its pods requests. Raises DemoModeError.
    """
    try:
        text = stdin.read() if filename == "-" else Path(filename).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise DemoModeError(f"{filename} cannot be read: {reason}; check its name") from None
    objects = list(_flat(_documents(text, filename), filename))
    workloads = {
        (o["kind"], _meta(o, "namespace"), _meta(o, "name")): requests_of(o)
        for o in objects
        if o["kind"] in ("Deployment", "Service") and (o.get("spec") or {}).get("template")
    }
    pools = []
    for o in objects:
        if o["kind"] != "WarmPool":
            continue
        _check(o, filename)
        target = o["spec"]["targetRef"]
        key = (target.get("kind", "Deployment"), _meta(o, "namespace"), target["name"])
        pools.append(read_pool(o, workloads.get(key)))
    if not pools:
        raise DemoModeError(f"{filename} holds no WarmPool; name the manifest that has one")
    return pools


def _meta(o: Object, name: str) -> str:
    return str((o.get("metadata") or {}).get(name) or "")


def _documents(text: str, filename: str) -> list[Any]:
    try:
        return [json.loads(text)]
    except ValueError:
        pass
    import yaml  # 60 ms that only YAML needs

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """Reads times as the API server does: as text."""

        yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML's own way)
            first: [(tag, form) for tag, form in forms if not tag.endswith(":timestamp")]
            for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    try:
        return list(yaml.load_all(text, Loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise DemoModeError(f"{filename} is not YAML{line}; correct it there") from None


def _flat(documents: Sequence[Any], filename: str) -> list[Object]:
    found: list[Object] = []
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
            raise DemoModeError(f"{filename} holds something without a kind; give it manifests")
        if document["kind"].endswith("List"):
            found += _flat(document.get("items") or [], filename)
        else:
            found.append(document)
    return found


def _check(o: Object, filename: str) -> None:
    """What the API server's schema would refuse and the core takes for granted."""
    name = _meta(o, "name")
    where = f"{filename}: WarmPool {name or '(without a name)'}"
    spec = o.get("spec")
    if not name or not isinstance(spec, dict):
        raise DemoModeError(f"{where} lacks metadata.name or spec; add them")
    target = spec.get("targetRef")
    if not isinstance(target, dict) or not isinstance(target.get("name"), str):
        raise DemoModeError(f"{where} lacks spec.targetRef.name; name the Deployment there")
    windows = spec.get("windows") or []
    if not isinstance(windows, list) or not all(isinstance(w, dict) for w in windows):
        raise DemoModeError(f"{where}: spec.windows is not a list of windows; write one")
    scaling = spec.get("scaling") or {}
    if not isinstance(scaling, dict):
        raise DemoModeError(f"{where}: spec.scaling is not a map; write it like {{maxReplicas: 5}}")
    most = scaling.get("maxReplicas", Scaling.max_replicas)
    for window in windows:
        _check_window(window, most, where)
    names = [w["name"] for w in windows]
    if len(set(names)) < len(names):
        raise DemoModeError(f"{where}: two windows have one name; rename one of them")


def _check_window(window: Mapping[str, Any], most: int, where: str) -> None:
    name, replicas = window.get("name"), window.get("replicas")
    if not isinstance(name, str):
        raise DemoModeError(f"{where}: a window has no name; give it one")
    if isinstance(replicas, bool) or not isinstance(replicas, int) or replicas < 1:
        raise DemoModeError(f"{where}: window {name} needs replicas, a number from 1 on")
    if replicas > most:
        raise DemoModeError(
            f"{where}: window {name} asks for more replicas than scaling.maxReplicas ({most}); "
            "raise that or ask for fewer"
        )
    given = {key for key in ("start", "end", "schedule", "duration") if key in window}
    if given not in ({"start", "end"}, {"schedule", "duration"}):
        raise DemoModeError(
            f"{where}: window {name} has either start and end, or schedule and duration; "
            "give it one of the two pairs"
        )
    if not all(isinstance(window[key], str) for key in given):
        raise DemoModeError(f"{where}: the times of window {name} are text; put them in quotes")
