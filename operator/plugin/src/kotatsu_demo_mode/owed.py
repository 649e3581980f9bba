"""What targets get back: of WarmPools, of the record of deleted ones, and of what is left alone."""

from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kotatsu_operator.core.formats import internal, table
from kotatsu_operator.core.objects import activators_of, named_target, owners, target_of
from kotatsu_operator.core.pool.spec import BUILT_IN, KNATIVE, OnDelete
from kotatsu_operator.core.protocol import ACTIVATOR, OPERATOR, RECORD, ROUTE_LABEL
from kotatsu_operator.core.report.record import (
    Entry,
    Place,
    heir,
    parts_of,
    place_of,
    read_entry,
    read_in,
    settle,
    text_of,
)
from kotatsu_operator.features.knative.min_scale import inherited

from .api import Api, find
from .checks.reader import path_of
from .errors import DemoModeError, ForbiddenError, NotFoundError
from .pools import Object, items_of, pool_path
from .shell import Shell


@dataclass(frozen=True)
class Owed:
    """One target, and what it gets back."""

    namespace: str
    entry: Entry
    """The pool is named like the target if only the workload is left."""
    api_version: str = ""
    """Of the target; empty if it is not recorded."""
    service: str = ""
    """Empty for Knative, which has Services of its own."""
    parks: bool = False
    uid: str = ""
    """The key in the record; only of a deleted pool."""
    waits_for: Sequence[str] = ()
    """The finalizers that the pool's deletion waits for."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies the target."""
        return self.namespace, self.entry.kind, self.entry.target


@dataclass(frozen=True)
class Everything:
    """All that can be restored, by namespace."""

    owed: Sequence[Owed]
    records: Mapping[str, Sequence[Object]]
    """The ConfigMaps with entries of each namespace, its own one last."""


def read_all(api: Api, namespace: str, shell: Shell) -> Everything:
    """Everything in a namespace; in all of them if it is empty.

    A kind that may not be read is reported, and makes the command fail.
    """
    pools: dict[str, list[Object]] = defaultdict(list)
    for raw in _read(api, pool_path(namespace), shell):
        pools[raw["metadata"]["namespace"]].append(raw)
    found_records = _read(
        api,
        path_of("v1", "configmaps", namespace),
        shell,
        fieldSelector=f"metadata.name={RECORD}",
    )
    records: dict[str, list[Object]] = defaultdict(list)
    for raw in _shared_records(api, namespace, pools, shell):
        for place in _places_in(raw) if not namespace else [namespace]:
            records[place].append(raw)
    for raw in found_records:
        records[raw["metadata"]["namespace"]].append(raw)
    owed: list[Owed] = []
    for place in sorted({*pools, *records}):
        data = {uid: text for raw in records[place] for uid, text in table(raw.get("data")).items()}
        owed += _recorded(place, pools[place], data)
    known = {one.key for one in owed}
    for one in _alone(api, namespace, shell):
        if one.key not in known:
            owed.append(one)
    return Everything(owed, records)


def _shared_records(
    api: Api, namespace: str, pools: Mapping[str, Sequence[Object]], shell: Shell
) -> Iterator[Object]:
    """The parts of records of installs for the whole cluster, whose activators serve the pools."""
    sets = {activators_of(raw) for found in pools.values() for raw in found} - {""}
    for home in sorted({name.partition("/")[0] for name in sets}):
        parts = [place_of(namespace, home)] if namespace else parts_of(home)
        for part in parts:
            try:
                raw = find(api, path_of("v1", "configmaps", home, part.name))
            except ForbiddenError as error:
                shell.refuse(error)
                return
            if raw is not None:
                yield dict(raw)


def _places_in(record: Object) -> set[str]:
    """The namespaces of the entries of a part."""
    place = Place(record["metadata"]["namespace"], record["metadata"]["name"])
    entries = (read_in(place, text) for text in table(record.get("data")).values())
    return {entry.namespace for entry in entries if entry is not None}


def _read(api: Api, path: str, shell: Shell, **query: str) -> list[Object]:
    try:
        return list((find(api, path, **query) or {}).get("items") or ())
    except ForbiddenError as error:
        shell.refuse(error)
        return []


def _recorded(namespace: str, pools: Sequence[Object], data: Mapping[str, str]) -> Iterator[Owed]:
    """Of the pools of a namespace and of its record; a pool inherits what a deleted one owes."""
    gone = settle(Place(namespace), data, pools).gone
    inherited: dict[str, Entry] = {}
    for uid, entry in gone.items():
        taken = heir(entry, pools)
        if taken is None:
            service = "" if entry.kind == KNATIVE else entry.owed.get("takenService", entry.target)
            yield Owed(namespace, entry, service=service, uid=uid)
        else:
            inherited[taken["metadata"]["uid"]] = entry
    for raw in pools:
        made = _of_pool(raw, data)
        before = inherited.get(raw["metadata"]["uid"])
        yield made if before is None else replace(made, entry=_inherit(made.entry, before))


def _inherit(mine: Entry, theirs: Entry) -> Entry:
    owed = {**theirs.owed, **mine.owed}
    if "knative" in mine.owed and "knative" in theirs.owed:
        owed["knative"] = inherited(mine.owed["knative"], theirs.owed["knative"])
    return replace(mine, owed=owed)


def _of_pool(raw: Object, data: Mapping[str, str]) -> Owed:
    meta, spec = raw["metadata"], raw["spec"]
    kind, name = target_of(raw)
    is_named = (kind, name) == named_target(raw)
    entry = read_entry(text_of(raw, None, data.get(meta["uid"], "")), meta["namespace"])
    entry = entry or Entry(meta["namespace"], meta["name"], kind, name, OnDelete.RESTORE)
    found = internal(raw.get("status")).get("foundReplicas")
    if type(found) is int and found >= 0:
        entry = replace(entry, owed={"restoreReplicas": found, **entry.owed})
    is_ending = "deletionTimestamp" in meta
    return Owed(
        meta["namespace"],
        entry,
        api_version=spec["targetRef"].get("apiVersion", "apps/v1") if is_named else "",
        service=""
        if kind == KNATIVE
        else entry.owed.get("takenService") or spec.get("service") or name,
        parks="parkedFor" in spec,
        waits_for=tuple(meta.get("finalizers") or ()) if is_ending else (),
    )


def _alone(api: Api, namespace: str, shell: Shell) -> Iterator[Owed]:
    """Of workloads that Kotatsu has scaled and whose Service selects no pod, as with route Always.

    A workload at 0 is not among them: the API server does not record who has set 0.
    """
    services = _read(api, path_of("v1", "services", namespace), shell)
    bare = {_key(raw) for raw in services if _selects_none(raw)}
    for known in BUILT_IN.values() if bare else ():
        for raw in _read(api, path_of(known.api_version, known.plural, namespace), shell):
            is_scaled = any(o.manager in (OPERATOR, ACTIVATOR) for o in owners(raw, "replicas"))
            if is_scaled and _key(raw) in bare:
                place, name = _key(raw)
                entry = Entry(place, name, known.kind, name, OnDelete.RESTORE)
                yield Owed(place, entry, api_version=known.api_version, service=name)


def _selects_none(service: Object) -> bool:
    selector = table(table(service.get("spec")).get("selector"))
    return not selector or ROUTE_LABEL in selector


def _key(raw: Object) -> tuple[str, str]:
    return raw["metadata"]["namespace"], raw["metadata"]["name"]


def choose(found: Sequence[Owed], api: Api, options: Namespace) -> list[Owed]:
    """The targets of the command line. Raises DemoModeError if it names none, or a missing one."""
    if options.selector:
        labeled = {_key(raw) for raw in items_of(api, options.namespace, options)}
        return [one for one in found if (one.namespace, one.entry.pool) in labeled]
    if options.pools:
        wanted = [name.rpartition("/")[2] for name in options.pools]
        missing = set(wanted) - {one.entry.pool for one in found}
        if missing:
            raise NotFoundError(
                f"there is nothing to restore of {', '.join(sorted(missing))} in namespace "
                f"{options.namespace}; it has {_names(found) or 'nothing of Kotatsu'}"
            )
        return [one for one in found if one.entry.pool in wanted]
    if not (options.everything or options.all_namespaces) and len(found) > 1:
        raise DemoModeError(
            f"name a pool ({_names(found)}), as in `kubectl demo-mode restore "
            f"{found[0].entry.pool}`, or use --all"
        )
    return list(found)


def _names(found: Iterable[Owed]) -> str:
    return ", ".join(sorted({one.entry.pool for one in found}))
