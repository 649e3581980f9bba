"""What targets get back: of WarmPools, of the record of deleted ones, and of what is left alone."""

from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from kotatsu_operator.core.formats import table
from kotatsu_operator.core.objects import activators_of, named_target, owners
from kotatsu_operator.core.pool.spec import BUILT_IN, KNATIVE, Scaled, ScaledKind
from kotatsu_operator.core.protocol import ACTIVATOR, OPERATOR, ROUTE_LABEL, home_of
from kotatsu_operator.core.report.record import (
    Entry,
    heir,
    inherited,
    owed_by,
    parts_of,
    place_of,
    read_in,
)

from .api import Api, find
from .errors import DemoModeError, ForbiddenError, NotFoundError
from .objects import Object, path_of
from .pools import items_of, pool_path
from .shell import Shell


@dataclass(frozen=True)
class Owed:
    """One target, and what it gets back."""

    entry: Entry
    """The pool is named like the target if only the workload is left."""
    uid: str = ""
    """The key in the record; only of a deleted pool."""
    waits_for: Sequence[str] = ()
    """The finalizers that the pool's deletion waits for."""

    @property
    def service(self) -> str:
        """Its Service; empty for Knative, which has Services of its own."""
        return str(self.entry.owed.get("takenService", ""))

    @property
    def of(self) -> str:
        """The target, for people."""
        return f"{self.entry.kind} {self.entry.target}"

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies the target."""
        return self.entry.namespace, self.entry.kind, self.entry.target


@dataclass(frozen=True)
class Everything:
    """All that can be restored, and the record of it."""

    owed: Sequence[Owed]
    records: Sequence[Object]
    """The ConfigMaps with entries of these targets."""
    kinds: Scaled
    """The kinds of targets that the pools name."""


def read_all(api: Api, namespace: str, home: str, shell: Shell) -> Everything:
    """Everything in a namespace; in all of them if it is empty.

    The record is read in the namespaces of the installs that have served the pools, and in `home`.
    It decides what is written to workloads, so no ConfigMap of another namespace is read. A kind
    that may not be read is reported, and makes the command fail.
    """
    pools = _read(api, pool_path(namespace), shell)
    homes = sorted({*map(home_of, map(activators_of, pools)), home} - {""})
    if not (homes or pools):
        shell.terminal.complain(
            "note: no WarmPool names the namespace of Kotatsu's release, which has the record of "
            "deleted ones: give it with --home"
        )
    records, entries = list[Object](), dict[str, Entry]()
    parts = [[place_of(namespace, of)] if namespace else parts_of(of) for of in homes]
    for place in chain.from_iterable(parts):
        try:
            record = find(api, path_of("v1", "configmaps", place.home, place.name))
        except ForbiddenError as error:
            shell.refuse(error)
            break
        if record is None:
            continue
        records.append(record)
        for uid, text in table(record.get("data")).items():
            entry = read_in(place, text)
            if entry is not None and namespace in ("", entry.namespace):
                entries[uid] = entry
    owed = list(_recorded(pools, entries))
    known = {one.key for one in owed}
    owed += [one for one in _alone(api, namespace, shell) if one.key not in known]
    return Everything(owed, records, dict(map(_kind, pools)))


def _read(api: Api, path: str, shell: Shell, **query: str) -> list[Object]:
    try:
        return list((find(api, path, **query) or {}).get("items") or ())
    except ForbiddenError as error:
        shell.refuse(error)
        return []


def _recorded(pools: Sequence[Object], entries: Mapping[str, Entry]) -> Iterator[Owed]:
    """Of pools and of the record; a pool inherits what a deleted one owes."""
    left: dict[str, Entry] = {}
    for uid in sorted(entries.keys() - {raw["metadata"]["uid"] for raw in pools}):
        entry, taken = entries[uid], heir(entries[uid], pools)
        if taken is None:
            yield _owed(entry, uid=uid)
        else:
            left[taken["metadata"]["uid"]] = entry
    for raw in pools:
        meta, entry = raw["metadata"], owed_by(raw)
        if (before := left.get(meta["uid"])) is not None:
            more = inherited(entry.owed, before.owed)
            entry = replace(entry, owed={**entry.owed, **more})
        ends = meta.get("finalizers") or () if "deletionTimestamp" in meta else ()
        yield _owed(entry, raw["spec"].get("service", ""), waits_for=tuple(ends))


def _owed(entry: Entry, service: str = "", **more: Any) -> Owed:
    """Of a target with a Service, the selector of it too: a status need not name it any more."""
    taken = {} if entry.kind == KNATIVE else {"takenService": service or entry.target}
    return Owed(replace(entry, owed={**taken, **entry.owed}), **more)


def _kind(pool: Object) -> tuple[str, ScaledKind]:
    """The kind of the target that a pool names."""
    kind, _ = named_target(pool)
    version = pool["spec"]["targetRef"].get("apiVersion", "apps/v1")
    return kind, ScaledKind(version, kind, f"{kind.lower()}s")


def _alone(api: Api, namespace: str, shell: Shell) -> Iterator[Owed]:
    """Of workloads that Kotatsu has scaled, with a Service that selects no pod (route Activator).

    A workload at 0 is not among them: the API server does not record who has set 0.
    """
    services = _read(api, path_of("v1", "services", namespace), shell)
    bare = {_key(raw) for raw in services if _selects_none(raw)}
    for known in BUILT_IN.values() if bare else ():
        for raw in _read(api, path_of(known.api_version, known.plural, namespace), shell):
            is_scaled = any(o.manager in (OPERATOR, ACTIVATOR) for o in owners(raw, "replicas"))
            if is_scaled and _key(raw) in bare:
                place, name = _key(raw)
                yield _owed(Entry(place, name, known.kind, name))


def _selects_none(service: Object) -> bool:
    selector = table(table(service.get("spec")).get("selector"))
    return not selector or ROUTE_LABEL in selector


def _key(raw: Object) -> tuple[str, str]:
    return raw["metadata"]["namespace"], raw["metadata"]["name"]


def choose(found: Sequence[Owed], api: Api, options: Namespace) -> list[Owed]:
    """The targets of the command line. Raises DemoModeError if it names none, or a missing one."""
    if options.selector:
        labeled = {_key(raw) for raw in items_of(api, options.namespace, options)}
        return [one for one in found if (one.entry.namespace, one.entry.pool) in labeled]
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
