"""kubectl demo-mode check -f FILE: what a WarmPoolSet would select, and what each pool would be.

It reads, and changes nothing: the operator makes the pools, by the same rules.
"""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kotatsu_operator.core.formats import count, table
from kotatsu_operator.core.objects import controller_of, disk_of, pod_labels, workload_selector
from kotatsu_operator.core.pool.parse import SpecError
from kotatsu_operator.core.pool.spec import BUILT_IN, Scaled
from kotatsu_operator.core.poolset.spec import PoolSet, is_of, read_set
from kotatsu_operator.core.poolset.wanted import Made, Place, Wanted, Workload, wanted
from kotatsu_operator.core.protocol import API_VERSION, SET_KIND
from kotatsu_operator.core.scope import Scope, namespace_of, opts_out

from .api import Api, dry_run_query, find
from .checks.installation import targets_of
from .checks.reader import Reader
from .errors import DemoModeError, ForbiddenError, NotFoundError
from .installs import scope_of, settings
from .manifests import read_objects
from .objects import Object, name_of, path_of
from .pools import pool_path
from .shell import Shell
from .terminal import Terminal, table_lines

_PAGE = "500"
_SETS = path_of(API_VERSION, "warmpoolsets", "")


@dataclass(frozen=True)
class Examined:
    """What one set would do."""

    by: PoolSet
    places: Sequence[tuple[str, Wanted]]
    """What it wants, by namespace."""
    scaled: Scaled
    notes: Sequence[str]

    @property
    def made(self) -> list[Made]:
        return [
            made
            for _, found in self.places
            for made in found.made.values()
            if made.by.name == self.by.name
        ]


def run(options: Namespace, shell: Shell) -> int:
    """Print what the sets of a file select; returns 1 if none of them makes a pool."""
    objects = read_objects(options.filename, shell.stdin, SET_KIND)
    with shell.api(options) as api:
        found = [examine(api, obj, shell.terminal) for obj in objects]
    shell.terminal.clear()
    if options.output:
        shell.terminal.dump([record(one) for one in found], options.output)
    else:
        for one in found:
            for line in lines(one, shell.terminal):
                shell.terminal.say(line)
    return int(not any(one.made for one in found))


def examine(api: Api, obj: Object, terminal: Terminal) -> Examined:
    """What a set would do. Raises DemoModeError if it, or its template, would be refused."""
    name = name_of(obj)
    if not name:
        raise DemoModeError("a WarmPoolSet has no metadata.name; add it")
    known = find(api, f"{_SETS}/{name}")
    if known is None:
        api.create(_SETS, obj, **dry_run_query(True), fieldValidation="Strict")
    meta = {"uid": "", "creationTimestamp": "~", **table((known or {}).get("metadata"))}
    obj = obj | {"metadata": meta | obj["metadata"]}
    by, notes = _read(obj), list[str]()
    reader = Reader(api, "")
    operator = next((o for o in reader.operators().items if is_of(scope_of(o), obj)), {})
    if operator and settings(operator).get("KOTATSU_SETS") != "true":
        notes.append("no pool is made: set the chart value sets.enabled")
    scope = scope_of(operator) if operator else Scope("")
    sets = [by, *_others(api, name, scope)]
    scaled = targets_of(operator) if operator else BUILT_IN
    terminal.progress("reading the namespaces")
    places = [
        (place.namespace, wanted(place))
        for place in _places(api, sets, scope, scaled, terminal)
        if any(one.name == name for one in place.sets)
    ]
    made = Examined(by, places, scaled, notes)
    if made.made:
        _try(api, made.made[0], scaled)
    return made


def _read(obj: Object) -> PoolSet:
    try:
        return read_set(obj)
    except SpecError as error:
        raise DemoModeError(f"WarmPoolSet {name_of(obj)}: {error}") from None


def _others(api: Api, name: str, scope: Scope) -> Iterator[PoolSet]:
    for obj in _all(api, _SETS):
        if name_of(obj) != name and is_of(scope, obj):
            try:
                yield read_set(obj)
            except SpecError:
                continue  # the operator makes nothing for it


def _places(
    api: Api, sets: Sequence[PoolSet], scope: Scope, scaled: Scaled, terminal: Terminal
) -> Iterator[Place]:
    for obj in _all(api, "/api/v1/namespaces"):
        name, here = name_of(obj), namespace_of(obj)
        chosen = sorted((by for by in sets if by.has(name, here)), key=lambda by: by.made)
        if not chosen or here.is_ending or not scope.serves(name, here.labels):
            continue
        terminal.progress(f"reading {name}")
        yield Place(
            name,
            chosen,
            [
                _workload(kind.kind, one)
                for kind in scaled.values()
                for one in _all(api, path_of(kind.api_version, kind.plural, name))
                if workload_selector(one)
            ],
            list(_all(api, path_of("v1", "services", name))),
            list(_all(api, pool_path(name))),
        )


def _workload(kind: str, obj: Object) -> Workload:
    meta = table(obj.get("metadata"))
    return Workload(
        kind,
        name_of(obj),
        table(meta.get("labels")),
        pod_labels(obj),
        controller_of(meta),
        opts_out=opts_out(table(meta.get("annotations"))),
        has_disk=disk_of(obj) is not None,
        replicas=count(table(obj.get("spec")).get("replicas"), 1),
    )


def _all(api: Api, path: str) -> Iterator[Object]:
    """All objects of a list; none of a kind that the cluster does not have."""
    query = {"limit": _PAGE}
    while True:
        try:
            page = api.get(path, **query)
        except NotFoundError:
            return
        except ForbiddenError as error:
            raise DemoModeError(f"{error}: what a set selects is for administrators") from None
        yield from page.get("items") or ()
        more = table(page.get("metadata")).get("continue")
        if not more:
            return
        query = {"limit": _PAGE, "continue": more}


def _try(api: Api, made: Made, scaled: Scaled) -> None:
    """Let the API server check one pool of the template. Raises DemoModeError."""
    manifest = made.manifest(scaled, made.limit(None))
    # As a pool of the user's own: only the operator makes one that a set owns.
    manifest["metadata"] = {"generateName": f"{made.by.name}-", "namespace": made.namespace}
    path = pool_path(made.namespace)
    api.create(path, manifest, **dry_run_query(True), fieldValidation="Strict")


def lines(found: Examined, terminal: Terminal) -> Iterator[str]:
    """What a set would do, for people."""
    rows = [("NAMESPACE", "WORKLOAD", "POOL", "SERVICE", "AFTER")]
    rows += [
        (one.namespace, one.workload.text, one.name, one.service, ", ".join(one.depends))
        for one in found.made
    ]
    if found.made:
        yield from table_lines(terminal, rows)
        yield ""
    refused = [one for _, wants in found.places for one in wants.refused[found.by.name]]
    for one in refused:
        yield f"refused  {one.namespace}  {one.workload}: {one.reason}: {one.message}"
    selected = sum(wants.selected.get(found.by.name, 0) for _, wants in found.places)
    twice = sum(
        count
        for _, wants in found.places
        for (_, younger), count in wants.twice.items()
        if younger == found.by.name
    )
    if twice:
        yield f"left to older sets: {twice}"
    yield from found.notes
    yield (
        f"WarmPoolSet {found.by.name} selects {selected} workloads in {len(found.places)} "
        f"namespaces: {len(found.made)} pools, {len(refused)} refused"
    )


def record(found: Examined) -> dict[str, Any]:
    """What a set would do, for programs."""
    return {
        "set": found.by.name,
        "pools": [one.manifest(found.scaled, one.limit(None)) for one in found.made],
        "refused": [asdict(one) for _, w in found.places for one in w.refused[found.by.name]],
        "notes": list(found.notes),
    }
