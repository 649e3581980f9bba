"""Which pools the sets want in one namespace. Pure: of what is there, and not of what was.

A pool that is not of a set always wins: nothing is made for its target or for its Service. Of two
sets that select one workload, the older one has it.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kotatsu_operator.core.formats import count, table, tables
from kotatsu_operator.core.objects import Object, poolset_of, selects, service_of, target_of
from kotatsu_operator.core.pool.proposal import choose, waking
from kotatsu_operator.core.pool.spec import PoolSpec, Scaled
from kotatsu_operator.core.poolset.spec import PoolSet
from kotatsu_operator.core.protocol import (
    API_VERSION,
    NAME_LABEL,
    PROGRAM,
    SET_HASH,
    SET_LABEL,
)
from kotatsu_operator.core.report.record import found_replicas


@dataclass(frozen=True)
class Workload:
    """A workload that a set may select."""

    kind: str
    name: str
    labels: Mapping[str, str]
    """Its own labels."""
    pods: Mapping[str, str]
    """The labels of its pods."""
    controller: str = ""
    """The object whose controller made it, as KIND NAME; empty for none."""
    opts_out: bool = False
    has_disk: bool = False
    """Whether its pods have volume claims."""
    replicas: int = 1

    @property
    def of(self) -> tuple[str, str]:
        return self.kind, self.name

    @property
    def text(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def pool(self) -> str:
        """The name of its pool: that of a Deployment, or with the kind after it."""
        return self.name if self.kind == "Deployment" else f"{self.name}.{self.kind.lower()}"


@dataclass(frozen=True)
class Place:
    """A namespace as the watches show it."""

    namespace: str
    sets: Sequence[PoolSet]
    """Those that make pools there, oldest first."""
    workloads: Sequence[Workload] = ()
    services: Sequence[Object] = ()
    pools: Sequence[Object] = ()


@dataclass(frozen=True)
class Refused:
    """A workload that a set selects and has no pool of it."""

    namespace: str
    workload: str
    reason: str
    message: str


@dataclass(frozen=True)
class Made:
    """A pool that a set wants."""

    by: PoolSet
    namespace: str
    name: str
    workload: Workload
    service: str
    depends: tuple[str, ...] = ()

    def refused(self, reason: str, message: str) -> Refused:
        """The pool cannot be made, or changed."""
        return Refused(
            self.namespace, self.workload.text, reason, f"WarmPool {self.name}: {message}"
        )

    def changed(self, path: str) -> Refused:
        """A client has changed a field of the pool."""
        return self.refused(
            "Conflict",
            f"{path} is not what the set says: change it back, or delete the pool, which the set "
            "makes anew",
        )

    def limit(self, pool: Object | None) -> Mapping[str, int]:
        """The maxReplicas of pods with a disk: that of the pool, or as many as run or were found.

        Never less than a window or a calendar of the template asks for.
        """
        if not self.workload.has_disk or "maxReplicas" in self.by.template:
            return {}
        there = None if pool is None else pool["spec"].get("maxReplicas")
        # Until revision 18 the CRD filled in the default.
        if there in (None, PoolSpec.max_replicas):
            found = {} if pool is None else table(pool.get("status"))
            there = max(1, self.workload.replicas, found_replicas(found))
        named = (
            *tables(self.by.template.get("windows")),
            *tables(self.by.template.get("calendars")),
        )
        return {"maxReplicas": max(there, *(count(one.get("replicas"), 1) for one in named), 1)}

    def manifest(self, scaled: Scaled, more: Mapping[str, Any]) -> dict[str, Any]:
        """The fields to apply; `more` are those that the template leaves open."""
        of, by = self.workload, self.by
        kind = scaled[of.kind]
        ref = {"apiVersion": kind.api_version, "kind": of.kind, "name": of.name}
        spec = {**more, **by.template, "targetRef": ref, "service": self.service}
        if self.depends:
            spec["dependsOn"] = list(self.depends)
        made: dict[str, Any] = {
            "apiVersion": API_VERSION,
            "kind": "WarmPool",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": {**by.labels, SET_LABEL: by.name},
                "annotations": dict(by.annotations),
                "ownerReferences": [by.owner],
            },
            "spec": spec,
        }
        data = json.dumps(made, sort_keys=True).encode()
        made["metadata"]["annotations"][SET_HASH] = hashlib.sha256(data).hexdigest()[:16]
        return made


@dataclass(frozen=True)
class Wanted:
    """What the sets want in one namespace."""

    made: Mapping[str, Made] = field(default_factory=dict)
    """By the name of the pool."""
    refused: Mapping[str, Sequence[Refused]] = field(default_factory=dict)
    """By the name of the set."""
    selected: Mapping[str, int] = field(default_factory=dict)
    """Workloads by the name of the set."""
    twice: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Workloads that two sets select, by the names of the older and the younger one."""


def wanted(place: Place) -> Wanted:
    """What the sets want in a namespace."""
    names = {by.name for by in place.sets}
    others = [pool for pool in place.pools if poolset_of(pool) not in names]
    taken = _Taken(
        {target_of(pool): _name(pool) for pool in others},
        {service_of(pool): _name(pool) for pool in others},
        {_name(pool) for pool in others},
    )
    made: dict[str, Made] = {}
    refused: dict[str, list[Refused]] = {name: [] for name in names}
    selected, twice = Counter[str](), Counter[tuple[str, str]]()
    for of in sorted(place.workloads, key=lambda of: of.of):
        ways = waking(of.pods, place.services)
        by = [one for one in place.sets if _selects(one, of, has_service=bool(ways))]
        if not by:
            continue
        first, *rest = by
        selected[first.name] += 1
        twice.update((first.name, one.name) for one in rest)
        service = choose(of.name, of.pods, place.services) if ways else ""
        if why := taken.refuses(of, service):
            refused[first.name].append(Refused(place.namespace, of.text, *why))
        else:
            taken.services[service] = of.pool
            made[of.pool] = Made(first, place.namespace, of.pool, of, service)
    targets = taken.targets | {one.workload.of: name for name, one in made.items()}
    there = {of.of: of.labels for of in place.workloads}
    ordered = {
        name: replace(one, depends=_dependencies(one, targets, there)) for name, one in made.items()
    }
    return Wanted(ordered, refused, selected, twice)


@dataclass(frozen=True)
class _Taken:
    """What other pools of a namespace have, with their names."""

    targets: dict[tuple[str, str], str]
    services: dict[str, str]
    names: set[str]

    def refuses(self, of: Workload, service: str) -> tuple[str, str] | None:
        """Why a set cannot make a pool for a workload: a reason, and what to do."""
        found = None
        if (pool := self.targets.get(of.of)) is not None:
            found = "HasPool", f"WarmPool {pool}, which is not of a set, has it"
        elif of.controller:
            found = "OwnedByController", _OWNED.format(of.controller)
        elif not service:
            found = "ServiceNotFound", _NO_SERVICE
        elif (pool := self.services.get(service)) is not None:
            found = "ServiceClaimed", _CLAIMED.format(service, pool)
        elif of.pool in self.names:
            found = "NameTaken", _NAME_TAKEN.format(of.pool)
        return found


_OWNED = (
    "{} made it, and its controller may set the replicas again: write a WarmPool by hand if it "
    "leaves them to the pool"
)
_NO_SERVICE = (
    "no Service with a cluster IP selects its pods, so no request could wake it: create one, or "
    "change spec.selector"
)
_CLAIMED = "Service {} is that of WarmPool {}: give the workload a Service of its own"
_NAME_TAKEN = "WarmPool {} is not of a set and has another target: rename one of the two"


def _selects(by: PoolSet, of: Workload, *, has_service: bool) -> bool:
    if (of.opts_out and by.heeds_opt_out) or of.pods.get(NAME_LABEL) == PROGRAM:
        return False
    return has_service if by.workloads is None else selects(by.workloads, of.labels)


def _dependencies(
    one: Made,
    pools: Mapping[tuple[str, str], str],
    labels: Mapping[tuple[str, str], Mapping[str, str]],
) -> tuple[str, ...]:
    """The pools of the entries after the one that selects the workload; of all, if none does."""
    order, own = one.by.order, one.workload.labels
    after = next((n + 1 for n, entry in enumerate(order) if selects(entry, own)), 0)
    found: Iterable[str] = (
        pools[of]
        for entry in order[after:]
        for of in sorted(pools)
        if of in labels and selects(entry, labels[of]) and of != one.workload.of
    )
    return tuple(dict.fromkeys([*one.by.names, *found]))


def _name(pool: Object) -> str:
    return str(pool["metadata"]["name"])


def differs(given: Any, there: Any, path: str = "spec") -> str:
    """The first field in which what is there is not what was given; empty if none is."""
    if isinstance(given, Mapping) and isinstance(there, Mapping):
        parts = (differs(value, there.get(name), f"{path}.{name}") for name, value in given.items())
        return next(filter(None, parts), "")
    if isinstance(given, list) and all(isinstance(one, str) for one in given):
        return "" if sorted(given) == sorted(map(str, there or ())) else path  # a set of texts
    if isinstance(given, list) and isinstance(there, list) and len(given) == len(there):
        pairs = zip(given, there, strict=True)
        return next(filter(None, (differs(a, b, path) for a, b in pairs)), "")
    return "" if given == there else path
