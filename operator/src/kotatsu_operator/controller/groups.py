"""The sums of budget groups between reconciles; `core.budget.groups` has the values.

The sum of a group changes with each entry of one of its pools, at a cost that does not depend on
the number of pools. If the sum passes the limit of another pool, or 80 % of it, that pool is
reconciled.
"""

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
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

_Part = tuple[Terms, datetime | None]
"""The terms and the end of the period: pools are added up that have both in common."""

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
        self._groups: dict[_Group, dict[_Part, _Sum]] = {}
        self._entries: dict[Key, tuple[_Group, Contribution]] = {}

    def reset(self) -> None:
        """Forget everything: another operator has led. The statuses have it."""
        self._groups.clear()
        self._entries.clear()

    def enter(self, pool: Key, name: str, entry: Contribution) -> Shared:
        """Enter the ledger of a pool, brought up to now; return its group."""
        group = (pool[0], name)
        if group not in self._groups:
            self._load(group)
        self._put(pool, group, entry)
        here, terms = self._groups[group][_part(entry)], self._terms(group)
        return Shared(
            name,
            here.total + here.deleted,
            here.rate,
            here.deleted if here.deleted and here.pools[0] == pool else None,
            _disagreement(name, terms) if len(terms) > 1 else "",
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
        deleted: defaultdict[_Part, Decimal] = defaultdict(Decimal)
        for pool, obj in self._members(*group):
            entry = contribution_of(obj)
            if entry is None:
                continue
            written, part = stored(obj), _part(entry)
            if text(written.get("name")) == group[1]:
                deleted[part] = max(deleted[part], amount(written.get("deleted")) or Decimal(0))
            if group_of(obj) == group[1] and pool not in self._entries:
                self._put(pool, group, entry)
        for part, here in self._groups.get(group, {}).items():
            here.deleted = deleted[part]

    def _put(self, pool: Key, group: _Group, entry: Contribution) -> None:
        known, part = self._entries.get(pool), _part(entry)
        if known is not None and (known[0], _part(known[1])) != (group, part):
            self._take(pool, stays=False)
            known = None
        before = len(self._terms(group))
        here = self._groups.setdefault(group, {}).setdefault(part, _Sum())
        total = here.total
        if known is not None:
            here.remove(pool, known[1])
        here.add(pool, entry)
        self._entries[pool] = (group, entry)
        self._tell_agreement(group, before, pool)
        self._tell(here, total, pool)

    def _take(self, pool: Key, *, stays: bool) -> None:
        known = self._entries.pop(pool, None)
        if known is None:
            return
        group, entry = known
        before, part = len(self._terms(group)), _part(entry)
        here = self._groups[group][part]
        total = here.total
        here.remove(pool, entry)
        if stays:
            here.deleted += entry.accrued
        if not here.pools:
            del self._groups[group][part]
        elif stays:
            self._touch(here.pools[0])  # it stores what stays
        else:
            if here.deleted and pool < here.pools[0]:
                self._touch(here.pools[0])
            self._tell(here, total, pool)
        self._tell_agreement(group, before, pool)
        if not self._groups[group]:
            del self._groups[group]

    def _tell(self, here: _Sum, before: Decimal, pool: Key) -> None:
        for other in here.passed(before + here.deleted, here.total + here.deleted):
            if other != pool:
                self._touch(other)

    def _terms(self, group: _Group) -> set[Terms]:
        """The terms that pools of a group have: one, if they agree."""
        return {terms for terms, _ in self._groups.get(group, ())}

    def _tell_agreement(self, group: _Group, before: int, pool: Key) -> None:
        """Reconcile all other pools of a group that begin or cease to agree."""
        if (before > 1) != (len(self._terms(group)) > 1):
            for other in {one for here in self._groups[group].values() for one in here.pools}:
                if other != pool:
                    self._touch(other)


def _part(entry: Contribution) -> _Part:
    return entry.terms, entry.period_end


def _disagreement(name: str, known: Iterable[Terms]) -> str:
    some = "; ".join(sorted(map(str, known))[:3])
    return (
        f"the pools of budget group {name} do not agree ({some}), and only those that do are added "
        "up: give all of them the same currency, period and timeZone"
    )
