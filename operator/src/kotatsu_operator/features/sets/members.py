"""The pools of sets, and the budgets that they share: all that is left of sets without the sets.

A pool's status has the budget of its set, as it was accepted last. So a pool whose set is not known
starts nothing that this forbids: because the set is not listed or not accepted, or because sets are
switched off.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.feature import Feature, Report, Turn
from kotatsu_operator.controller.namespaces import Namespaces
from kotatsu_operator.core.formats import internal, table
from kotatsu_operator.core.objects import poolset_of
from kotatsu_operator.core.pool.spec import Budget
from kotatsu_operator.core.report.status import read_ledger, read_shared, shared_status
from kotatsu_operator.core.schema import joined
from kotatsu_operator.features.sets.purse import NOTHING, Purse
from kotatsu_operator.features.sets.status import Member, member_of
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.objects import Key, Object


class Members(Feature):
    """The pools of sets."""

    _cache: Cache
    _touch: Callable[[Key], None]

    def __init__(self, clock: Callable[[], datetime], currency: str) -> None:
        self._clock, self._currency = clock, currency
        self._members: dict[Key, Member] = {}
        self._purses: dict[str, Purse] = {}
        """By the name of the set; only while this operator leads."""

    async def watch(
        self, kube: Kube, namespaces: Namespaces, cache: Cache, touch: Callable[[Key], None]
    ) -> None:
        self._cache, self._touch = cache, touch
        await super().watch(kube, namespaces, cache, touch)

    def observe(self, key: Key, pool: Object | None) -> None:
        before = self._members.pop(key, None)
        member = member_of(pool) if pool is not None and poolset_of(pool) else None
        if member is not None:
            self._members[key] = member
        for one in (before, member):
            if one is not None and (purse := self._purses.get(one.of)) is not None:
                if one is member and pool is not None:
                    self._enter(purse, pool)
                elif member is None or member.uid != one.uid:
                    purse.leave(one.uid)

    def prepare(self, turn: Turn) -> Turn:
        """Add the budget of the set, and what its other pools have spent."""
        if (shared := self._shared(turn)) is None:
            return turn
        spec = turn.spec
        budget = shared.beside_own(spec.budget.limit)
        return replace(turn, target=replace(turn.target, spec=replace(spec, budget=budget)))

    def status(self, turn: Turn, report: Report) -> Report:
        """Add the cost of a pool to that of its set; at the limit, all its pools follow."""
        shared, of = self._shared(turn), poolset_of(turn.pool)
        if shared is not None:
            purse, limit = self._purses[of], shared.limit or NOTHING
            uid, before = turn.pool["metadata"]["uid"], purse.total
            # Also if the write fails: it was spent, and the next look replaces it.
            purse.enter(uid, report.ledger, turn.now)
            purse.own.add(uid)
            if (before < limit) != (purse.total < limit):
                for key in self._keys_of(of):
                    self._touch(key)
            shared = replace(shared, beside=purse.left)
        elif not internal(turn.status).get("set"):
            return report
        return replace(report, status=joined(report.status, shared_status(shared)))

    def reset(self) -> None:
        self._purses.clear()

    # --- the budget of a set ---

    def _shared(self, turn: Turn) -> Budget | None:
        """The budget that a pool shares, and what others have spent of it; None without one."""
        of = poolset_of(turn.pool)
        budget = self._budget(of, turn) if of else None
        if budget is None or budget.limit is None:
            return None
        beside = self._purse(of, budget, turn.now).beside(turn.pool["metadata"]["uid"])
        return replace(budget, beside=beside)

    def _budget(self, of: str, turn: Turn) -> Budget | None:
        """The budget of a set."""
        return self._last(of, turn, ", which is not known now,")

    def _last(self, of: str, turn: Turn, why: str) -> Budget | None:
        """The budget of a set as the status of a pool has it; `why` the set does not say it."""
        found = read_shared(turn.status)
        if "observedGeneration" not in turn.status:  # a new pool: as the others have it
            others = (read_shared(table(pool.get("status"))) for pool in self._pools_of(of))
            found = next(filter(None, others), None)
        return found and replace(found, shared=f"WarmPoolSet {of}{why}")

    def _purse(self, of: str, budget: Budget, now: datetime) -> Purse:
        """What is spent of a set's budget."""
        is_opened = of not in self._purses
        purse = self._purses.setdefault(of, Purse(self._currency))
        if purse.turn(budget, now):
            for pool in self._pools_of(of):
                self._enter(purse, pool)
        if is_opened:
            self._recall(of, purse, now)
        return purse

    def _recall(self, of: str, purse: Purse, now: datetime) -> None:
        """Add what deleted pools had spent, as the statuses of the others have it."""
        for pool in self._pools_of(of):
            status = table(pool.get("status"))
            shared = read_shared(status)
            if shared is not None and purse.counts(read_ledger(status), now):
                purse.total += max(shared.beside - purse.left, NOTHING)
                purse.left = max(shared.beside, purse.left)

    def _enter(self, purse: Purse, pool: Object) -> None:
        """Enter what the status of a pool has, unless this operator knows it better."""
        uid = pool["metadata"]["uid"]
        purse.join(uid)
        if uid not in purse.own:
            purse.enter(uid, read_ledger(table(pool.get("status"))), self._clock())

    def _pools_of(self, of: str) -> Iterator[Object]:
        return map(self._cache.pools.__getitem__, self._keys_of(of))

    def _keys_of(self, of: str) -> list[Key]:
        """The pools of a set."""
        return [key for key, member in self._members.items() if member.of == of]
