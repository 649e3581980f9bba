"""The recent history of a pool, since this process started. Pure."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from kotatsu_operator.core.formats import choice, count, table, tables, text
from kotatsu_operator.core.pool.memory import Phase

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
class History:
    """The history of one pool. Call `see` with each new status."""

    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    wakes: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=WAKES))
    openings: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=WAKES))
    notices: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=NOTICES))
    """Notifications that the status had: it has them until each receiver is done."""

    def see(self, status: Mapping[str, Any], now: datetime) -> None:
        """Add what has changed.

        Samples older than `KEPT` are dropped, except the newest of them: it was valid when the
        period began.
        """
        sample = Sample(
            now,
            count(status.get("readyReplicas")),
            count(status.get("desiredReplicas")),
            str(choice(Phase, status.get("phase"), "")),
        )
        last = self.samples[-1] if self.samples else None
        if last is None or _said(last) != _said(sample):
            self.samples.append(sample)
        while len(self.samples) > 1 and self.samples[1].at < now - KEPT:
            self.samples.popleft()
        _note(self.wakes, table(status.get("lastWake")), "at")
        _note(self.openings, table(status.get("lastOpening")), "at")
        known = {text(n.get("id")) for n in self.notices}
        for notice in list(tables(status.get("notices")))[-NOTICES:]:
            if text(notice.get("id")) not in known:
                self.notices.append(notice)


def _said(sample: Sample) -> tuple[int, int, str]:
    return sample.ready, sample.desired, sample.phase


def _note(seen: deque[Mapping[str, Any]], what: Mapping[str, Any], key: str) -> None:
    """Add an entry, or replace the last one if it has the same key."""
    if not what:
        return
    if seen and seen[-1].get(key) == what.get(key):
        seen[-1] = what
    else:
        seen.append(what)
