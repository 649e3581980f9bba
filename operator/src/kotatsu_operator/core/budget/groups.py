"""Budget groups: pools of one namespace whose limits apply to what they cost together.

Each pool keeps its own ledger; a group only adds them up, so money is never counted twice. A pool
that changes its group takes its spending of this period along. What a deleted pool has spent stays
with the group for the rest of the period, as long as the group has another pool and an operator saw
the deletion.

The sum of a group changes with each entry of one of its pools, at a cost that does not depend on
the number of pools. If the sum passes the limit of another pool, or 80 % of it, that pool is
reconciled.
"""

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from kotatsu_operator.core.formats import amount, choice, instant, table, text
from kotatsu_operator.core.pool.spec import Period

NEAR = Decimal("0.8")
"""The part of a limit at which an event warns."""

Pool = tuple[str, str]
"""Namespace and name."""


class Terms(NamedTuple):
    """What the pools of a group must have in common, so that their costs can be added."""

    currency: str
    period: Period
    zone: str

    def __str__(self) -> str:
        return f"{self.currency} a {self.period.lower()} in {self.zone}"


@dataclass(frozen=True)
class Entry:
    """What one pool adds to its group."""

    terms: Terms
    period_end: datetime | None
    accrued: Decimal
    rate: Decimal = Decimal(0)
    limit: Decimal | None = None


@dataclass(frozen=True)
class Shared:
    """A group as one of its pools sees it."""

    name: str
    total: Decimal
    """Spent by all pools of the group in this period."""
    rate: Decimal = Decimal(0)
    """Cost per hour of the current pods of all pools."""
    deleted: Decimal | None = None
    """What deleted pools have spent, for the one pool whose status stores it."""
    disagreement: str = ""
    """Why not all pools of the group are added up; empty if they are."""


@dataclass
class _Sum:
    """The pools that are added up: those of one group with the same terms and period."""

    total: Decimal = Decimal(0)
    rate: Decimal = Decimal(0)
    deleted: Decimal = Decimal(0)
    pools: list[Pool] = field(default_factory=list)
    """Sorted; the first one stores `deleted`."""
    marks: list[tuple[Decimal, Pool]] = field(default_factory=list)
    """The limit of each pool, and 80 % of it; sorted."""

    def add(self, pool: Pool, entry: Entry) -> None:
        insort(self.pools, pool)
        self._count(entry, 1)
        for mark in _marks(entry, pool):
            insort(self.marks, mark)

    def remove(self, pool: Pool, entry: Entry) -> None:
        del self.pools[bisect_left(self.pools, pool)]
        self._count(entry, -1)
        for mark in _marks(entry, pool):
            del self.marks[bisect_left(self.marks, mark)]

    def replace(self, pool: Pool, before: Entry, entry: Entry) -> None:
        self._count(before, -1)
        self._count(entry, 1)
        if before.limit != entry.limit:
            for mark in _marks(before, pool):
                del self.marks[bisect_left(self.marks, mark)]
            for mark in _marks(entry, pool):
                insort(self.marks, mark)

    def _count(self, entry: Entry, sign: int) -> None:
        self.total += sign * entry.accrued
        self.rate += sign * entry.rate

    def passed(self, one: Decimal, other: Decimal) -> list[Pool]:
        """The pools with a mark above the lower and up to the higher of two totals."""
        low, high = min(one, other), max(one, other)
        begin = bisect_right(self.marks, low, key=lambda mark: mark[0])
        end = bisect_right(self.marks, high, key=lambda mark: mark[0])
        return [pool for _, pool in self.marks[begin:end]]


def _marks(entry: Entry, pool: Pool) -> list[tuple[Decimal, Pool]]:
    return [] if entry.limit is None else [(entry.limit, pool), (NEAR * entry.limit, pool)]


_Group = tuple[str, str]
"""Namespace, and name of the group."""

Members = Callable[[str, str], Iterable[tuple[Pool, Mapping[str, Any]]]]
"""By namespace and group: the pools that have the group in the spec or in the status."""


class Groups:
    """All groups between reconciles. `touch` reconciles another pool of a group."""

    def __init__(
        self,
        members: Members = lambda _namespace, _group: (),
        touch: Callable[[Pool], None] = lambda _: None,
    ) -> None:
        self._members, self._touch = members, touch
        self._sums: defaultdict[Hashable, _Sum] = defaultdict(_Sum)
        self._entries: dict[Pool, tuple[_Group, Entry]] = {}
        self._terms: dict[_Group, dict[Terms, set[Pool]]] = {}
        """The pools of each known group, by their terms."""

    def reset(self) -> None:
        """Forget everything: another operator has led. The statuses have it."""
        self._sums.clear()
        self._entries.clear()
        self._terms.clear()

    def enter(self, pool: Pool, name: str, entry: Entry) -> Shared:
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

    def leave(self, pool: Pool) -> None:
        """Take a pool out of its group; what it has spent goes with it."""
        self._take(pool, stays=False)

    def delete(self, pool: Pool) -> None:
        """Take a deleted pool out of its group; what it has spent stays."""
        self._take(pool, stays=True)

    # --- inside ---

    def _load(self, group: _Group) -> None:
        """Read a group from the statuses of its pools, for the first entry of this process."""
        self._terms[group] = {}
        deleted: defaultdict[Hashable, Decimal] = defaultdict(Decimal)
        for pool, obj in self._members(*group):
            entry = read_entry(obj)
            if entry is None:
                continue
            written = _stored(obj)
            if text(written.get("name")) == group[1]:
                key = _key(group, entry)
                deleted[key] = max(deleted[key], amount(written.get("deleted")) or Decimal(0))
            if group_of(obj) == group[1] and pool not in self._entries:
                self._put(pool, group, entry)
        for key in deleted.keys() & self._sums.keys():
            self._sums[key].deleted = deleted[key]

    def _put(self, pool: Pool, group: _Group, entry: Entry) -> None:
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

    def _take(self, pool: Pool, *, stays: bool) -> None:
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

    def _tell(self, here: _Sum, before: Decimal, pool: Pool) -> None:
        for other in here.passed(before + here.deleted, here.total + here.deleted):
            if other != pool:
                self._touch(other)

    def _agree(self, group: _Group, pool: Pool, terms: Terms | None) -> None:
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


def _key(group: _Group, entry: Entry) -> Hashable:
    return group, entry.terms, entry.period_end


def _disagreement(name: str, known: Mapping[Terms, object]) -> str:
    some = "; ".join(sorted(map(str, known))[:3])
    return (
        f"the pools of budget group {name} do not agree ({some}), and only those that do are added "
        "up: give all of them the same currency, period and timeZone"
    )


def group_of(pool: Mapping[str, Any]) -> str:
    """The budget group in a pool's spec; empty without one."""
    return text(table(table(pool.get("spec")).get("budget")).get("group"))


def stored_group(pool: Mapping[str, Any]) -> str:
    """The budget group in a pool's status; empty without one."""
    return text(_stored(pool).get("name"))


def _stored(pool: Mapping[str, Any]) -> Mapping[str, Any]:
    return table(table(table(pool.get("status")).get("cost")).get("group"))


def read_entry(pool: Mapping[str, Any]) -> Entry | None:
    """What a pool's status adds to its group; None if it has no cost."""
    cost, spec = table(table(pool.get("status")).get("cost")), table(pool.get("spec"))
    currency, end = text(cost.get("currency")), instant(cost.get("periodEnd"))
    if not currency or end is None:
        return None
    accrued = amount(cost.get("accrued")) or Decimal(0)
    period = choice(Period, cost.get("period"), Period.MONTH)
    terms = Terms(currency, period, text(spec.get("timeZone")) or "UTC")
    rate, limit = amount(cost.get("ratePerHour")), amount(cost.get("limit"))
    return Entry(terms, end, accrued, rate or Decimal(0), limit)
