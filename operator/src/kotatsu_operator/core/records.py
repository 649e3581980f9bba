"""What the operator owes to the targets of its pools, written down outside of them. Pure.

A WarmPool has no finalizer, so that deleting it can never get stuck; one that is deleted while no
operator runs takes its status with it, and with that what its target had before. So one entry a
pool is kept under the pool's uid in a ConfigMap of its namespace.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .spec import OnDelete

OWED = ("restoreReplicas", "hpa", "knative")
"""The fields of a WarmPool's status that say what its target gets back."""


@dataclass(frozen=True)
class Entry:
    """What one pool's target gets back when the pool is gone."""

    pool: str
    kind: str
    target: str
    on_delete: OnDelete
    owed: Mapping[str, Any] = field(default_factory=dict)
    """Some of OWED, as they stand in the status."""

    def text(self) -> str:
        """The entry as it stands in the ConfigMap."""
        target = {"kind": self.kind, "name": self.target}
        told = {"pool": self.pool, "target": target, "onDelete": self.on_delete.value}
        return json.dumps(told | {name: self.owed[name] for name in OWED if name in self.owed})


@dataclass(frozen=True)
class Settlement:
    """What the record should say, and whose pool is gone."""

    data: dict[str, str]
    """Every entry, those of `gone` pools still among them."""
    gone: dict[str, Entry]
    """Entries by uid whose pool is no more."""


def entry_of(pool: Mapping[str, Any], replicas: int | None = None) -> Entry | None:
    """The entry of a pool; None when its target is as it was found.

    `replicas` is what the target gets back when the status does not tell yet.
    """
    spec, status = pool["spec"], pool.get("status") or {}
    owed = {name: status[name] for name in OWED if status.get(name) is not None}
    if replicas is not None:
        owed.setdefault("restoreReplicas", replicas)
    if not owed:
        return None
    target = spec["targetRef"]
    return Entry(
        pool=pool["metadata"]["name"],
        kind=target.get("kind", "Deployment"),
        target=target["name"],
        on_delete=OnDelete(spec.get("onDelete", OnDelete.RESTORE)),
        owed=owed,
    )


def read_entry(text: str) -> Entry | None:
    """Read one entry; None when somebody has made it unreadable."""
    try:
        raw = json.loads(text)
        return Entry(
            pool=str(raw["pool"]),
            kind=str(raw["target"]["kind"]),
            target=str(raw["target"]["name"]),
            on_delete=OnDelete(raw["onDelete"]),
            owed={name: raw[name] for name in OWED if name in raw},
        )
    except (ValueError, KeyError, TypeError):
        return None


def told_of(pool: Mapping[str, Any], replicas: int | None, before: str = "") -> str:
    """What the record should say of a pool; empty for nothing.

    What was written ahead of the status, for a sleep under way, stays.
    """
    ahead = read_entry(before)
    if replicas is None and ahead is not None:
        replicas = ahead.owed.get("restoreReplicas")
    entry = entry_of(pool, replicas)
    return "" if entry is None else entry.text()


def settle(data: Mapping[str, str], pools: Iterable[Mapping[str, Any]]) -> Settlement:
    """Compare the record with the pools there are.

    The pools' own statuses win: a record that was emptied or edited is made whole again. What
    cannot be read and belongs to no pool is dropped.
    """
    alive = {pool["metadata"]["uid"]: pool for pool in pools}
    told = {uid: told_of(pool, None, data.get(uid, "")) for uid, pool in alive.items()}
    entries = {uid: read_entry(text) for uid, text in data.items() if uid not in alive}
    gone = {uid: entry for uid, entry in entries.items() if entry is not None}
    kept = {uid: data[uid] for uid in gone}
    return Settlement({uid: text for uid, text in told.items() if text} | kept, gone)


def heir(entry: Entry, pools: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The pool that has taken over a gone pool's target: the oldest, if any."""
    claimants = [
        pool
        for pool in pools
        if pool["spec"]["targetRef"]["name"] == entry.target
        and pool["spec"]["targetRef"].get("kind", "Deployment") == entry.kind
    ]
    return min(
        claimants,
        key=lambda p: (p["metadata"].get("creationTimestamp", ""), p["metadata"]["name"]),
        default=None,
    )
