"""The times in which a pool had pods: as values, and as they are stored.

The WarmPoolHistory of a pool holds the finished ones. A WarmPool's `internal.history` holds the
running one, and what the WarmPoolHistory does not have yet (decision 71).

An episode belongs to one period of the ledger and one currency. Its cost is a sum of differences
between amounts that the ledger wrote, so the costs of a period add up to the ledger to the last
digit, unless the clock was set back to an earlier period.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from kotatsu_operator.core.formats import amount, internal, table, text
from kotatsu_operator.core.schema import Form, Schema, several

KEPT = 60
"""Finished episodes of a history; older ones are added up."""

PERIODS = 12
"""Sums of older episodes, one for each period; the oldest are dropped."""

LONGEST_NAME = 63
"""Characters of an episode's name: an override's reason may be longer."""


class Why(StrEnum):
    """Why the pool had pods."""

    WINDOW = "Window"
    OVERRIDE = "Override"
    REQUEST = "Request"
    PARKED = "Parked"
    """No request: the pods were Ready and requested less."""
    SUSPENDED = "Suspended"
    OTHER = "Other"
    """Pods that no window, override or request asked for."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why the pool has pods: an episode ends when this changes."""

    why: Why = Why.OTHER
    name: str = ""
    """The window, or the reason that an override gives."""


@dataclass(frozen=True, slots=True)
class LedgerPeriod:
    """The period of the ledger that pays: its currency and beginning. Empty without prices."""

    currency: str = ""
    start: datetime | None = None


NO_PERIOD = LedgerPeriod()


@dataclass(frozen=True, slots=True)
class Counts:
    """What happened in some time."""

    pod_seconds: Decimal = Decimal(0)
    """Pods times seconds, from scheduled until gone."""
    wakes: int = 0
    opened: int = 0
    """Windows that opened with all replicas Ready."""
    cold: int = 0
    """Windows that opened before all replicas were Ready."""

    def plus(self, other: "Counts") -> "Counts":
        return Counts(
            self.pod_seconds + other.pod_seconds,
            self.wakes + other.wakes,
            self.opened + other.opened,
            self.cold + other.cold,
        )


@dataclass(frozen=True, slots=True)
class Episode:
    """A time in which the pool had pods for one reason."""

    begin: datetime
    cause: Cause
    period: LedgerPeriod = NO_PERIOD
    end: datetime | None = None
    """None while it runs."""
    replicas: int = 0
    """The most pods at a time."""
    counts: Counts = Counts()
    cost: Decimal | None = None
    """None without prices."""

    @property
    def until(self) -> datetime:
        """When it ended; its beginning if that is not known."""
        return self.end or self.begin


@dataclass(frozen=True, slots=True)
class Earlier:
    """The sum of a period's episodes that are not kept one by one."""

    begin: datetime
    end: datetime
    period: LedgerPeriod = NO_PERIOD
    episodes: int = 0
    counts: Counts = Counts()
    cost: Decimal | None = None


@dataclass(frozen=True, slots=True)
class StoredHistory:
    """What is stored of a pool's past: in its WarmPoolHistory, in its status, or in both."""

    since: datetime | None = None
    """When the record begins."""
    running: Episode | None = None
    finished: tuple[Episode, ...] = ()
    """Oldest first. A status has those that the WarmPoolHistory lacks."""
    earlier: tuple[Earlier, ...] = ()
    """Oldest first."""
    woken: datetime | None = None
    """The newest wake that is counted."""

    @property
    def known_since(self) -> datetime | None:
        """When the record begins, without the sums that are not kept any more."""
        is_full = len(self.earlier) == PERIODS
        return self.earlier[0].begin if is_full else self.since


def completed(record: StoredHistory, outbox: StoredHistory) -> StoredHistory:
    """A record with what a status holds. What the record has already is not added again.

    The newest episodes stay one by one; the others are added to the sums of their periods.
    """
    known = {(e.begin, e.end, e.cause) for e in record.finished}
    new = (e for e in outbox.finished if (e.begin, e.end, e.cause) not in known)
    finished, sums = (*record.finished, *new), {e.period: e for e in record.earlier}
    for episode in finished[:-KEPT]:
        begin, period = episode.begin, episode.period
        before = sums.get(period) or Earlier(begin, begin, period)
        sums[period] = replace(
            before,
            begin=min(before.begin, begin),
            end=max(before.end, episode.until),
            episodes=before.episodes + 1,
            counts=before.counts.plus(episode.counts),
            cost=_sum(before.cost, episode.cost),
        )
    return StoredHistory(
        record.since or outbox.since,
        outbox.running,
        finished[-KEPT:],
        tuple(sums.values())[-PERIODS:],
    )


def _sum(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return other if one is None else one + (other or 0)


# --- as it is stored ---


def _pod_seconds(given: Any) -> Decimal | None:
    # str(): the shortest digits of a float, not its binary expansion.
    return amount(str(given) if isinstance(given, float) else given)


_NESTED = {
    "cause": Schema(
        Cause,
        brief=("name",),
        forms={"name": Form(lambda given: text(given)[:LONGEST_NAME], str)},
        why="reason",
    ),
    "period": Schema(LedgerPeriod, brief=("currency",), start="periodStart"),
    "counts": Schema(
        Counts,
        brief=("wakes", "opened", "cold"),
        forms={"pod_seconds": Form(_pod_seconds, lambda value: float(round(value, 3)))},
    ),
}
_NAMES = {"begin": "from", "end": "to", "cause": "", "period": "", "counts": ""}
_EPISODE = Schema(Episode, forms=_NESTED, **_NAMES)
_FORMS = {
    "running": _EPISODE,
    "finished": several(_EPISODE, KEPT),
    "earlier": several(Schema(Earlier, forms=_NESTED, **_NAMES), PERIODS),
}
_OUTBOX = Schema(
    StoredHistory, but=("earlier",), brief=("finished",), forms=_FORMS, finished="episodes"
)
_RECORD = Schema(StoredHistory, but=("running", "woken"), forms=_FORMS, finished="episodes")


def outbox_status(outbox: StoredHistory) -> dict[str, Any]:
    """The part of a WarmPool's status with the outbox."""
    return {"internal": {"history": _OUTBOX.write(outbox)}}


def read_outbox(status: Mapping[str, Any]) -> StoredHistory | None:
    """The outbox in a WarmPool's status; unreadable items are left out. None if there is none."""
    given = table(internal(status).get("history"))
    return StoredHistory(**_OUTBOX.values(given)) if given else None


def record_field(recorded: StoredHistory) -> dict[str, Any]:
    """The field `record` of a WarmPoolHistory."""
    written = _RECORD.write(recorded)
    return {name: value for name, value in written.items() if value is not None}


def read_record(history: Mapping[str, Any] | None) -> StoredHistory:
    """The record in a WarmPoolHistory; unreadable items are left out. Empty for none."""
    return StoredHistory(**_RECORD.values(table(history).get("record")))


def read_stored(status: Mapping[str, Any], history: Mapping[str, Any] | None) -> StoredHistory:
    """The past of a pool, from its status and its WarmPoolHistory (None: there is none)."""
    return completed(read_record(history), read_outbox(status) or StoredHistory())
