"""The state that the operator's thread shares with the console: each pool and its history."""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any

from kotatsu_operator.controller.feature import Feature, Report, Turn
from kotatsu_operator.controller.target import Tools
from kotatsu_operator.core.formats import choice, count, internal, table, tables, text
from kotatsu_operator.core.pool.decision import Demand
from kotatsu_operator.core.pool.memory import Phase
from kotatsu_operator.kube.objects import Key, Object, key_of

KEPT = timedelta(hours=24)
"""How long samples are kept."""

SAMPLES = 2000
"""Samples per pool at most: a pool that changes all day must not fill the memory."""

WAKES = 10

NOTICES = 20


@dataclass(frozen=True)
class Sample:
    """The state from `at` until the next sample."""

    at: datetime
    ready: int
    desired: int
    phase: str


@dataclass
class Recent:
    """The history of one pool. Call `see` with each new status."""

    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    wakes: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=WAKES))
    openings: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=WAKES))
    notices: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=NOTICES))
    """Notifications that the status had: it has them until each receiver is done."""

    def see(self, status: Mapping[str, Any], now: datetime) -> None:
        """Add what has changed; of the samples older than `KEPT`, only the newest stays."""
        sample = Sample(
            now,
            count(status.get("readyReplicas")),
            count(status.get("desiredReplicas")),
            str(choice(Phase, status.get("phase"), "")),
        )
        last = self.samples[-1] if self.samples else None
        if last is None or replace(last, at=now) != sample:
            self.samples.append(sample)
        while len(self.samples) > 1 and self.samples[1].at < now - KEPT:
            self.samples.popleft()
        _note(self.wakes, table(status.get("lastWake")))
        _note(self.openings, table(status.get("lastOpening")))
        known = {text(n.get("id")) for n in self.notices}
        for notice in list(tables(internal(status).get("notices")))[-NOTICES:]:
            if text(notice.get("id")) not in known:
                self.notices.append(notice)

    def copied(self) -> "Recent":
        """A copy that a reader can keep."""
        return Recent(*(getattr(self, one.name).copy() for one in fields(self)))


def _note(seen: deque[Mapping[str, Any]], what: Mapping[str, Any]) -> None:
    """Add an entry, or replace the last one if it is of the same time."""
    if what and seen and seen[-1].get("at") == what.get("at"):
        seen[-1] = what
    elif what:
        seen.append(what)


@dataclass
class Entry:
    """The state of one pool."""

    pool: Object
    version: int
    history: Recent = field(default_factory=Recent)
    demand: Demand | None = None
    """Requests in flight and held at the last reconcile; None while another operator leads."""
    past: Object | None = None
    """The WarmPoolHistory, as last read."""


class Board(Feature):
    """The operator writes and the console reads; both hold the lock only briefly."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[Key, Entry] = {}
        self._version = 0
        self.since = clock()
        """When the history begins."""

    @property
    def version(self) -> int:
        """Increases with each change."""
        return self._version

    # --- the hooks ---

    def observe(self, key: Key, pool: Object | None) -> None:
        """Store a pool that the API server has sent, or remove it."""
        if pool is not None:
            self.see(pool)
            return
        with self._lock:
            if self._entries.pop(key, None) is not None:
                self._version += 1

    async def after(self, _tools: Tools, turn: Turn, report: Report) -> None:
        """Show the demand; that of a rejected pool is not known."""
        self.show(turn.key, report.seen.demand if turn.refused is None else None)

    def reset(self) -> None:
        """Remove all demand: another operator leads and measures it."""
        for key in list(self._entries):
            self.show(key, None)

    # --- the state ---

    def see(self, pool: Object) -> None:
        """Store a pool that the API server has sent."""
        with self._lock:
            entry = self._entries.get(key_of(pool))
            self._version += 1
            if entry is None or entry.pool["metadata"]["uid"] != pool["metadata"]["uid"]:
                entry = self._entries[key_of(pool)] = Entry(pool, self._version)
            entry.pool, entry.version = pool, self._version
            entry.history.see(table(pool.get("status")), self._clock())

    def show(self, key: Key, demand: Demand | None) -> None:
        """Store the demand of the last reconcile; None if it is not known."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry.demand == demand:
                return
            before, entry.demand = entry.demand, demand
            if before is None or demand is None or _counts(before) != _counts(demand):
                self._version += 1
                entry.version = self._version

    def see_history(self, key: Key, history: Object) -> None:
        """Store it, without the slots of use, which no page shows."""
        history = {name: part for name, part in history.items() if name != "usage"}
        with self._lock:
            if (entry := self._entries.get(key)) is not None:
                self._version += 1
                entry.past, entry.version = history, self._version

    def read(self, after: int = 0) -> tuple[int, list[Key], list[Entry]]:
        """The newest version, every pool's key, and the entries that changed after `after`."""
        with self._lock:
            changed = [
                replace(e, history=e.history.copied())
                for e in self._entries.values()
                if e.version > after
            ]
            return self._version, sorted(self._entries), changed


def _counts(demand: Demand) -> tuple[int, int, bool]:
    return demand.in_flight, demand.held, demand.known
