"""The histories of all pools between reconciles: what each pool was warm for, and its cost."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.pool.decision import Decision
from kotatsu_operator.core.pool.spec import Override
from kotatsu_operator.core.report.history import (
    History,
    Seen,
    entered,
    history_status,
    recalled,
)
from kotatsu_operator.core.report.status import Status, read_ledger
from kotatsu_operator.kube.objects import Key, Object
from kotatsu_operator.kube.pod import PodView

log = logging.getLogger(__name__)


@dataclass
class Histories:
    """`monotonic` measures time in seconds; by default, `now`."""

    monotonic: Callable[[], float] | None = None
    is_stored: bool = True
    """False if the CRD is older than this operator: the API server drops the field."""
    _kept: dict[Key, tuple[str, History, float]] = field(default_factory=dict)
    """The pool's uid, its history, and the time of its last entry."""

    def forget(self, key: Key) -> None:
        """Drop the history of a deleted pool."""
        self._kept.pop(key, None)

    def reset(self) -> None:
        """Drop all histories: another operator has led and has written to the status."""
        self._kept.clear()
        self.is_stored = True

    def check(self, pool: Object) -> None:
        """Stop if a written pool has no history: each reconcile would write it again."""
        if self.is_stored and "history" not in (pool.get("status") or {}):
            self.is_stored = False
            log.warning(
                "the CRD of WarmPools is older than this operator, so reports have no data: "
                "upgrade the CRD, and restart the operator"
            )

    def enter(
        self,
        pool: Object,
        pods: list[PodView],
        ledger: Ledger,
        decision: Decision,
        override: Override | None,
        now: datetime,
    ) -> Status:
        """Enter one reconcile; return the field `history`. `pool` is as it was read."""
        if not self.is_stored:
            return {}
        meta, status = pool["metadata"], pool.get("status") or {}
        key = (meta["namespace"], meta["name"])
        ticks = self.monotonic() if self.monotonic else now.timestamp()
        there = sum(p.billed is not None and p.billed.gone_at is None for p in pods)
        uid, history, before = self._kept.get(key, ("", History(), ticks))
        elapsed: timedelta | None = timedelta(seconds=max(0.0, ticks - before))
        if uid != meta["uid"]:
            last = read_ledger(status)
            # As in the ledger: pods that still exist have been there since the last entry.
            elapsed = None if last.at is None else max(now - last.at, timedelta())
            history = replace(recalled(status, last, now), pods=there)
        seen = Seen(now, there, ledger, status, elapsed)
        history = entered(history, seen, decision, override)
        self._kept[key] = (meta["uid"], history, ticks)
        return {"history": history_status(history, status)}
