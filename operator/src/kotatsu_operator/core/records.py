"""What the operator has put to sleep, written down outside of the WarmPool. Pure.

A WarmPool has no finalizer, so that deleting it can never get stuck; one that is deleted while no
operator runs takes its status with it, and with that the replicas its target had. So one entry a
pool is kept under the pool's uid in a ConfigMap of its namespace.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .spec import OnDelete


@dataclass(frozen=True)
class Entry:
    """One target that a pool has put to sleep before, and what it gets back."""

    pool: str
    kind: str
    target: str
    replicas: int
    on_delete: OnDelete

    def text(self) -> str:
        """The entry as it stands in the ConfigMap."""
        return json.dumps(
            {
                "pool": self.pool,
                "target": {"kind": self.kind, "name": self.target},
                "restoreReplicas": self.replicas,
                "onDelete": self.on_delete.value,
            }
        )


@dataclass(frozen=True)
class Settlement:
    """What the record should say, and whose pool is gone."""

    data: dict[str, str]
    """Every entry, those of `gone` pools still among them."""
    gone: dict[str, Entry]
    """Entries by uid whose pool is no more."""


def entry_of(pool: Mapping[str, Any], replicas: int | None = None) -> Entry | None:
    """The entry of a pool; None when it has put nothing to sleep yet.

    `replicas` is what its target gets back when its status does not tell yet.
    """
    spec, status = pool["spec"], pool.get("status") or {}
    known = status.get("restoreReplicas", replicas)
    if known is None:
        return None
    target = spec["targetRef"]
    return Entry(
        pool=pool["metadata"]["name"],
        kind=target.get("kind", "Deployment"),
        target=target["name"],
        replicas=int(known),
        on_delete=OnDelete(spec.get("onDelete", OnDelete.RESTORE)),
    )


def read_entry(text: str) -> Entry | None:
    """Read one entry; None when somebody has made it unreadable."""
    try:
        raw = json.loads(text)
        return Entry(
            pool=str(raw["pool"]),
            kind=str(raw["target"]["kind"]),
            target=str(raw["target"]["name"]),
            replicas=int(raw["restoreReplicas"]),
            on_delete=OnDelete(raw["onDelete"]),
        )
    except (ValueError, KeyError, TypeError):
        return None


def settle(data: Mapping[str, str], pools: Iterable[Mapping[str, Any]]) -> Settlement:
    """Compare the record with the pools there are.

    The pools' own statuses win: a record that was emptied or edited is made whole again. What
    cannot be read and belongs to no pool is dropped.
    """
    alive = {pool["metadata"]["uid"]: pool for pool in pools}
    told: dict[str, str] = {}
    gone: dict[str, Entry] = {}
    for uid, text in data.items():
        entry = read_entry(text)
        if uid not in alive and entry is not None:
            told[uid], gone[uid] = text, entry
        elif uid in alive and entry is not None and entry_of(alive[uid]) is None:
            told[uid] = text  # written ahead of the status, for a sleep under way
    for uid, pool in alive.items():
        known = entry_of(pool)
        if known is not None:
            told[uid] = known.text()
    return Settlement(told, gone)


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
