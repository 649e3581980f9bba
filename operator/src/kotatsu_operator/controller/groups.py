"""The sums of budget groups between reconciles; `core.budget.groups` has the values.

The sum of a group changes with each entry of one of its pools, at a cost that does not depend on
the number of pools. If the sum passes the limit of another pool, or 80 % of it, that pool is
reconciled.
"""

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from kotatsu_operator.core.budget.groups import (
    NEAR,
    Contribution,
    Shared,
    Terms,
    contribution_of,
    group_of,
    stored,
)
from kotatsu_operator.core.formats import amount, text
from kotatsu_operator.kube.objects import Key


@dataclass
class _Sum:
    """The pools that are added up: those of one group with the same terms and period."""

    total: Decimal = Decimal(0)
    rate: Decimal = Decimal(0)
    deleted: Decimal = Decimal(0)
    pools: list[Key] = field(default_factory=list)
    """Sorted; the first one stores `deleted`."""
    marks: list[tuple[Decimal, Key]] = field(default_factory=list)
    """The limit of each pool, and 80 % of it; sorted."""

    def add(self, pool: Key, entry: Contribution) -> None:
        insort(self.pools, pool)
        self._count(entry, 1)
        for mark in _marks(entry, pool):
            insort(self.marks, mark)

    def remove(self, pool: Key, entry: Contribution) -> None:
        del self.pools[bisect_left(self.pools, pool)]
        self._count(entry, -1)
        for mark in _marks(entry, pool):
            del self.marks[bisect_left(self.marks, mark)]

    def replace(self, pool: Key, before: Contribution, entry: Contribution) -> None:
        self._count(before, -1)
        self._count(entry, 1)
        if before.limit != entry.limit:
            for mark in _marks(before, pool):
                del self.marks[bisect_left(self.marks, mark)]
            for mark in _marks(entry, pool):
                insort(self.marks, mark)

    def _count(self, entry: Contribution, sign: int) -> None:
        self.total += sign * entry.accrued
        self.rate += sign * entry.rate

    def passed(self, one: Decimal, other: Decimal) -> list[Key]:
        """The pools with a mark above the lower and up to the higher of two totals."""
        low, high = min(one, other), max(one, other)
        begin = bisect_right(self.marks, low, key=lambda mark: mark[0])
        end = bisect_right(self.marks, high, key=lambda mark: mark[0])
        return [pool for _, pool in self.marks[begin:end]]


def _marks(entry: Contribution, pool: Key) -> list[tuple[Decimal, Key]]:
    return [] if entry.limit is None else [(entry.limit, pool), (NEAR * entry.limit, pool)]


_Group = tuple[str, str]
"""Namespace, and name of the group."""

Members = Callable[[str, str], Iterable[tuple[Key, Mapping[str, Any]]]]
"""By namespace and group: the pools that have the group in the spec or in the status."""


class Groups:
    """All groups between reconciles. `touch` reconciles another pool of a group."""

    def __init__(
        self,
        members: Members = lambda _namespace, _group: (),
        touch: Callable[[Key], None] = lambda _: None,
    ) -> None:
        self._members, self._touch = members, touch
        self._sums: defaultdict[Hashable, _Sum] = defaultdict(_Sum)
        self._entries: dict[Key, tuple[_Group, Contribution]] = {}
        self._terms: dict[_Group, dict[Terms, set[Key]]] = {}
        """The pools of each known group, by their terms."""

    def reset(self) -> None:
        """Forget everything: another operator has led. The statuses have it."""
        self._sums.clear()
        self._entries.clear()
        self._terms.clear()

    def enter(self, pool: Key, name: str, entry: Contribution) -> Shared:
        """Enter the ledger of a pool, brought up to now; return its group."""
        group = (pool[0], name)
        if group not in self._terms:
            self._load(group)
        self._put(pool, group, entry)
        here, known = self._sums[_key(group, entry)], self._terms[group]
        return Shared(
            name,
            here.total + here.deleted,
            here.rate,
            here.deleted if here.deleted and here.pools[0] == pool else None,
            _disagreement(name, known) if len(known) > 1 else "",
        )

    def leave(self, pool: Key) -> None:
        """Take a pool out of its group; what it has spent goes with it."""
        self._take(pool, stays=False)

    def delete(self, pool: Key) -> None:
        """Take a deleted pool out of its group; what it has spent stays."""
        self._take(pool, stays=True)

    # --- inside ---

    def _load(self, group: _Group) -> None:
        """Read a group from the statuses of its pools, for the first entry of this process."""
        self._terms[group] = {}
        deleted: defaultdict[Hashable, Decimal] = defaultdict(Decimal)
        for pool, obj in self._members(*group):
            entry = contribution_of(obj)
            if entry is None:
                continue
            written = stored(obj)
            if text(written.get("name")) == group[1]:
                key = _key(group, entry)
                deleted[key] = max(deleted[key], amount(written.get("deleted")) or Decimal(0))
            if group_of(obj) == group[1] and pool not in self._entries:
                self._put(pool, group, entry)
        for key in deleted.keys() & self._sums.keys():
            self._sums[key].deleted = deleted[key]

    def _put(self, pool: Key, group: _Group, entry: Contribution) -> None:
        key, known = _key(group, entry), self._entries.get(pool)
        if known is not None and _key(*known) != key:
            self._take(pool, stays=False)
            known = None
        here = self._sums[key]
        total = here.total
        if known is None:
            here.add(pool, entry)
        else:
            here.replace(pool, known[1], entry)
        self._entries[pool] = (group, entry)
        self._agree(group, pool, entry.terms)
        self._tell(here, total, pool)

    def _take(self, pool: Key, *, stays: bool) -> None:
        known = self._entries.pop(pool, None)
        if known is None:
            return
        group, entry = known
        key = _key(group, entry)
        here = self._sums[key]
        total = here.total
        here.remove(pool, entry)
        if stays:
            here.deleted += entry.accrued
        self._agree(group, pool, None)
        if not here.pools:
            del self._sums[key]
        elif stays:
            self._touch(here.pools[0])  # it stores what stays
        else:
            if here.deleted and pool < here.pools[0]:
                self._touch(here.pools[0])
            self._tell(here, total, pool)

    def _tell(self, here: _Sum, before: Decimal, pool: Key) -> None:
        for other in here.passed(before + here.deleted, here.total + here.deleted):
            if other != pool:
                self._touch(other)

    def _agree(self, group: _Group, pool: Key, terms: Terms | None) -> None:
        """Keep the terms of a pool; reconcile all pools when they begin or cease to agree."""
        known = self._terms.setdefault(group, {})
        before = len(known)
        for other in [t for t, pools in known.items() if pool in pools and t != terms]:
            known[other].discard(pool)
            if not known[other]:
                del known[other]
        if terms is not None:
            known.setdefault(terms, set()).add(pool)
        if not known:
            del self._terms[group]
        elif (before > 1) != (len(known) > 1):
            for other_pool in {one for pools in known.values() for one in pools} - {pool}:
                self._touch(other_pool)


def _key(group: _Group, entry: Contribution) -> Hashable:
    return group, entry.terms, entry.period_end


def _disagreement(name: str, known: Mapping[Terms, object]) -> str:
    some = "; ".join(sorted(map(str, known))[:3])
    return (
        f"the pools of budget group {name} do not agree ({some}), and only those that do are added "
        "up: give all of them the same currency, period and timeZone"
    )
