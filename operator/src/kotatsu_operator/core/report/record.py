"""The record of what the operator must restore to the targets of its pools (decision 16). Pure.

A ConfigMap holds one entry per pool, under the pool's uid. Anyone with permission to edit
ConfigMaps there may write anything into it, and an invalid name (`../../theirs/deployments/web`)
must never become part of a request path. So only well-formed values are read, here and from a
status, and a part of the record says nothing of a namespace whose entries are in another part.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kotatsu_operator.core.formats import internal, is_name, table
from kotatsu_operator.core.objects import activators_of, target_of
from kotatsu_operator.core.protocol import RECORD, RECORD_PARTS, home_of, record_part
from kotatsu_operator.core.schema import Schema, several

OWED = ("foundReplicas", "hpa", "knative", "reduced", "takenService")
"""The fields of a WarmPool's status with values to restore: people read some, others are in
`internal`."""

_SHOWN = frozenset({"foundReplicas", "reduced"})
_MOST = 2**31 - 1


@dataclass(frozen=True)
class Place:
    """A ConfigMap of the record, for many namespaces."""

    home: str
    """The namespace of the release, in which it is."""
    name: str

    def holds(self, namespace: str) -> bool:
        """Whether the entries of a namespace's pools are here."""
        return record_part(namespace) == self.name

    def takes(self, pool: Mapping[str, Any]) -> bool:
        """Whether a pool gets an entry here: the pools of another install do not."""
        return home_of(activators_of(pool)) == self.home and self.holds(
            pool["metadata"]["namespace"]
        )


def place_of(namespace: str, home: str) -> Place:
    """Where the entries of a namespace are, in the record of an install."""
    return Place(home, record_part(namespace))


def parts_of(home: str) -> list[Place]:
    """The whole record of an install."""
    return [Place(home, f"{RECORD}-{number:x}") for number in range(RECORD_PARTS)]


@dataclass(frozen=True)
class Entry:
    """What to restore to one pool's target when the pool is gone."""

    namespace: str
    pool: str
    kind: str
    target: str
    owed: Mapping[str, Any] = field(default_factory=dict)
    """Some of OWED, with the same content as in the status, but all beside each other."""

    def text(self) -> str:
        target = {"kind": self.kind, "name": self.target}
        of = {"namespace": self.namespace, "pool": self.pool}
        named = of | {"target": target}
        return json.dumps(named | {name: self.owed[name] for name in OWED if name in self.owed})


def remembered(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a status holds of its target, as it is written: OWED and `target`."""
    shown = {name: status[name] for name in _SHOWN if name in status}
    return {**internal(status), **shown}


def owed_status(values: Mapping[str, Any]) -> dict[str, Any]:
    """Such values as a part of the status; None removes one."""
    shown = {name: value for name, value in values.items() if name in _SHOWN}
    inner = {name: value for name, value in values.items() if name not in _SHOWN}
    return shown | ({"internal": inner} if inner else {})


def taken_service(status: Mapping[str, Any]) -> str | None:
    """The Service whose selector a pool has taken over; None if there is none."""
    name = remembered(status).get("takenService")
    return name if is_name(name) else None


def found_replicas(status: Mapping[str, Any]) -> int:
    """The replicas that a pool found its target with; 0 if that is not known."""
    return int(_owed(remembered(status)).get("foundReplicas", 0))


MIN_SCALE = "autoscaling.knative.dev/min-scale"
"""The annotation of a Knative Revision."""


@dataclass(frozen=True)
class SavedMinScale:
    """A Revision's min-scale before the pool set it; None: the annotation was missing."""

    name: str
    min_scale: str | None
    written: tuple[str, ...] = ()
    """The values that the pool has set or is about to set."""
    uid: str = ""

    def holds(self, uid: str, min_scale: str | None) -> bool:
        """Whether this is the same Revision and its min-scale is still a value of the pool."""
        return self.uid == uid and min_scale in self.written


_KEPT = several(Schema(SavedMinScale, brief=("uid",)), 1000)


def read_kept(status: Mapping[str, Any]) -> tuple[SavedMinScale, ...]:
    """The saved min-scale of each Revision: from `internal` of a status, or from a record."""
    kept: tuple[SavedMinScale, ...] = _KEPT.read(table(status.get("knative")).get("revisions"))
    return tuple(one for one in kept if is_name(one.name))


def kept_status(kept: Sequence[SavedMinScale]) -> dict[str, Any] | None:
    """The saved min-scales as part of the status; None if there are none."""
    return {"revisions": _KEPT.write(kept)} if kept else None


@dataclass(frozen=True)
class Settlement:
    """The new content of the record, and the entries whose pool is gone."""

    data: dict[str, str]
    """All entries, including those of `gone` pools."""
    gone: dict[str, Entry]
    """Entries by uid whose pool no longer exists."""


def entry_of(pool: Mapping[str, Any]) -> Entry | None:
    """The entry of a pool; None if nothing is known of its target yet."""
    owed = _owed(remembered(table(pool.get("status"))))
    kind, name = target_of(pool)
    if not owed or not is_name(name):
        return None
    return Entry(
        namespace=pool["metadata"]["namespace"],
        pool=pool["metadata"]["name"],
        kind=kind,
        target=name,
        owed=owed,
    )


def owed_by(pool: Mapping[str, Any]) -> Entry:
    """What the target of a pool gets back; it need not be anything."""
    return entry_of(pool) or Entry(
        pool["metadata"]["namespace"], pool["metadata"]["name"], *target_of(pool)
    )


def read_entry(text: str, namespace: str) -> Entry | None:
    """Parse one entry of a namespace; None if it is not valid, or of another one."""
    try:
        raw = json.loads(text)
        if raw["namespace"] != namespace:
            return None
        entry = Entry(
            namespace=namespace,
            pool=str(raw["pool"]),
            kind=str(raw["target"]["kind"]),
            target=str(raw["target"]["name"]),
            owed=_owed(raw),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return entry if is_name(entry.target) else None


def read_in(place: Place, text: str) -> Entry | None:
    """Parse one entry of a place; None if it is not valid, or does not belong there."""
    try:
        namespace = json.loads(text)["namespace"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    is_here = is_name(namespace) and place.holds(namespace)
    return read_entry(text, namespace) if is_here else None


def _owed(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The well-formed values to restore."""
    if "foundReplicas" not in raw:  # of version 0.1
        raw = {**raw, "foundReplicas": raw.get("restoreReplicas")}
    return {name: raw[name] for name, is_good in _WELL_FORMED.items() if is_good(raw.get(name))}


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MOST


def _is_autoscaler(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and is_name(value.get("name"))
        and _is_count(value.get("minReplicas"))
    )


def _is_kept(value: object) -> bool:
    revisions = value.get("revisions") if isinstance(value, Mapping) else None
    return isinstance(revisions, list) and all(
        isinstance(r, Mapping)
        and is_name(r.get("name"))
        and isinstance(r.get("minScale"), str | None)
        and isinstance(r.get("uid", ""), str)
        and isinstance(r.get("written", []), list)
        and all(isinstance(value, str) for value in r.get("written", []))
        for r in revisions
    )


_WELL_FORMED: Mapping[str, Callable[[object], bool]] = {
    "foundReplicas": _is_count,
    "hpa": _is_autoscaler,
    "knative": _is_kept,
    "reduced": lambda value: value is True,
    "takenService": is_name,
}


def text_of(pool: Mapping[str, Any]) -> str:
    """The text of the record for a pool; empty for none."""
    entry = entry_of(pool)
    return "" if entry is None else entry.text()


MOST = 1_000_000
"""Characters of a part: a ConfigMap can have 1 MiB."""

_FREE = MOST * 3 // 4
"""Up to here any namespace gets more of a part, and then none that has this much already:"""
_SHARE = MOST // 16


def _has_room(taken: int, mine: int) -> bool:
    """Whether a part may have so many characters, of which so many are one namespace's."""
    return taken <= _FREE or (taken <= MOST and mine <= _SHARE)


def recorded(data: Mapping[str, str], uid: str, text: str, namespace: str) -> dict[str, str] | None:
    """A part of the record with the text of a pool, or without it (empty); None without room."""
    after = {key: value for key, value in data.items() if key != uid} | (
        {uid: text} if text else {}
    )
    if not text or uid in data:
        return after
    taken, mine = sum(map(len, after)) + sum(map(len, after.values())), 0
    if taken > _FREE:  # many pools may go to sleep at once, of parts that are far from full
        mark = json.dumps({"namespace": namespace})[:-1]
        mine = sum(len(key) + len(value) for key, value in after.items() if value.startswith(mark))
    return after if _has_room(taken, mine) else None


def settle(place: Place, data: Mapping[str, str], pools: Iterable[Mapping[str, Any]]) -> Settlement:
    """Compare a part of the record with the existing pools, whose own statuses take precedence.

    The entry of a pool that another install has by now is dropped: that one restores its target.
    """
    alive = {p["metadata"]["uid"]: p for p in pools if place.holds(p["metadata"]["namespace"])}
    mine = {
        uid: pool
        for uid, pool in alive.items()
        if place.takes(pool) or (uid in data and not activators_of(pool))
    }
    entries = {uid: read_in(place, text) for uid, text in data.items() if uid not in alive}
    gone = {uid: entry for uid, entry in entries.items() if entry is not None}
    after, new = {uid: data[uid] for uid in gone}, dict[str, str]()
    for uid, pool in mine.items():
        if text := text_of(pool):
            (after if uid in data else new)[uid] = text
    of = {uid: entry.namespace for uid, entry in gone.items()}
    of |= {uid: pool["metadata"]["namespace"] for uid, pool in mine.items()}
    by = Counter[str]()
    for uid, text in after.items():
        by[of[uid]] += len(uid) + len(text)
    taken = by.total()
    for uid, text in new.items():
        more = len(uid) + len(text)
        if _has_room(taken + more, by[of[uid]] + more):
            after[uid] = text
            taken += more
            by[of[uid]] += more
    return Settlement(after, gone)


def heir(entry: Entry, pools: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The pool that has taken over a deleted pool's target: the oldest, or None."""
    claimants = [
        pool
        for pool in pools
        if pool["metadata"]["namespace"] == entry.namespace
        and target_of(pool) == (entry.kind, entry.target)
    ]
    return min(
        claimants,
        key=lambda p: (p["metadata"].get("creationTimestamp", ""), p["metadata"]["name"]),
        default=None,
    )


def inherited(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """What an heir takes over of what a deleted pool owed: all that it does not owe itself.

    What the heir has found may be what the deleted pool has set, and so may be the min-scale that
    it has stored of a Revision.
    """
    found = "foundReplicas"
    more = {name: value for name, value in theirs.items() if name not in mine or name == found}
    if more.get(found) == mine.get(found):
        more.pop(found, None)
    known = {kept.name: kept for kept in read_kept(mine)}
    for old in read_kept(theirs) if "knative" in mine else ():
        new = known.get(old.name)
        if new is None:
            known[old.name] = old
        elif new.uid == old.uid and new.min_scale in old.written:
            known[old.name] = replace(new, min_scale=old.min_scale)
    both = kept_status(tuple(known.values()))
    return more if both in (None, mine.get("knative")) else more | {"knative": both}
