"""The times in which a pool had pods: as values, and as they are stored.

The WarmPoolHistory of a pool holds the finished ones. A WarmPool's `internal.history` holds the
running one, and what the WarmPoolHistory does not have yet (decision 71).

An episode belongs to one period of the ledger and one currency. Its cost is a difference between
two amounts that the ledger wrote, so the costs of a period add up to the ledger to the last digit.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

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


@dataclass(frozen=True, slots=True)
class Earlier:
    """The sum of a period's episodes that are not kept one by one."""

    begin: datetime
    end: datetime
    period: LedgerPeriod = NO_PERIOD
    episodes: int = 0
    counts: Counts = Counts()
    cost: Decimal | None = None


Paid = Episode | Earlier
"""What has a cost."""

OnePaid = TypeVar("OnePaid", Episode, Earlier)


@dataclass(frozen=True, slots=True)
class Move:
    """A period that became part of an earlier one, because the clock was set back."""

    old: LedgerPeriod
    new: LedgerPeriod
    excess: Decimal = Decimal(0)
    """How much two rounded amounts are more than their rounded sum."""


@dataclass(frozen=True, slots=True)
class Outbox:
    """What `internal.history` holds: what the WarmPoolHistory does not have yet."""

    since: datetime | None = None
    """When the record begins; None once the WarmPoolHistory says it."""
    running: Episode | None = None
    finished: tuple[Episode, ...] = ()
    """Oldest first."""
    earlier: tuple[Earlier, ...] = ()
    """What the ledger had charged before the record began."""
    moves: tuple[Move, ...] = ()
    settled: Decimal = Decimal(0)
    """What all finished episodes of the ledger's period have cost."""
    previous: Decimal | None = None
    """The same of the period before it."""
    woken: datetime | None = None
    """The newest wake that is counted."""

    @property
    def is_waiting(self) -> bool:
        """Whether the WarmPoolHistory lacks an episode."""
        return bool(self.finished or self.moves)


EMPTY = Outbox()


@dataclass(frozen=True, slots=True)
class StoredHistory:
    """All that is known of a pool's past."""

    since: datetime | None = None
    """When the record begins."""
    running: Episode | None = None
    finished: tuple[Episode, ...] = ()
    """Oldest first."""
    earlier: tuple[Earlier, ...] = ()
    """Oldest first."""

    @property
    def over(self) -> tuple[Paid, ...]:
        """All but the running episode."""
        return (*self.earlier, *self.finished)

    @property
    def known_since(self) -> datetime | None:
        """When the record begins, without the sums that are not kept any more."""
        is_full = len(self.earlier) == PERIODS
        return self.earlier[0].begin if is_full else self.since


def money_of(cost: Decimal) -> Decimal:
    """An amount exactly as the status writes it: with six decimals."""
    return Decimal(f"{cost:.6f}")


def folded(finished: Iterable[Episode], earlier: Iterable[Earlier]) -> StoredHistory:
    """The newest episodes one by one, and the others added to the sums of their periods."""
    kept, sums = [*finished], [*earlier]
    for episode in kept[:-KEPT]:
        at = next((i for i, s in enumerate(sums) if s.period == episode.period), None)
        if at is None:
            sums.append(Earlier(episode.begin, episode.begin, episode.period))
            at = len(sums) - 1
        known = sums[at]
        cost = [c for c in (known.cost, episode.cost) if c is not None]
        sums[at] = replace(
            known,
            begin=min(known.begin, episode.begin),
            end=max(known.end, episode.end or episode.begin),
            episodes=known.episodes + 1,
            counts=known.counts.plus(episode.counts),
            cost=sum(cost, Decimal(0)) if cost else None,
        )
    return StoredHistory(finished=tuple(kept[-KEPT:]), earlier=tuple(sums[-PERIODS:]))


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
_LISTS = {
    "finished": several(_EPISODE, KEPT),
    "earlier": several(Schema(Earlier, forms=_NESTED, **_NAMES), PERIODS),
}
_OUTBOX = Schema(
    Outbox,
    brief=("finished", "earlier", "moves"),
    forms=_LISTS | {"running": _EPISODE},
    finished="episodes",
)
_RECORD = Schema(StoredHistory, but=("running",), forms=_LISTS, finished="episodes")


def outbox_status(outbox: Outbox) -> dict[str, Any]:
    """The part of a WarmPool's status with the outbox."""
    return {"internal": {"history": _OUTBOX.write(outbox)}}


def read_outbox(status: Mapping[str, Any]) -> Outbox | None:
    """The outbox in a WarmPool's status; unreadable items are left out. None if there is none."""
    if not (given := table(internal(status).get("history"))):
        return None
    read = Outbox(**_OUTBOX.values(given))
    running = read.running
    return replace(
        read,
        running=None if running is None else replace(_priced(running), end=None),
        finished=_finished(read.finished),
        earlier=tuple(map(_priced, read.earlier)),
    )


def record_field(recorded: StoredHistory) -> dict[str, Any]:
    """The field `record` of a WarmPoolHistory."""
    written = _RECORD.write(recorded)
    return {name: value for name, value in written.items() if value is not None}


def read_record(history: Mapping[str, Any] | None) -> StoredHistory:
    """The record in a WarmPoolHistory; unreadable items are left out. Empty for none."""
    read = StoredHistory(**_RECORD.values(table(history).get("record")))
    finished, earlier = _finished(read.finished), tuple(map(_priced, read.earlier))
    return replace(read, finished=finished, earlier=earlier)


def read_stored(status: Mapping[str, Any], history: Mapping[str, Any] | None) -> StoredHistory:
    """The past of a pool, from its status and its WarmPoolHistory (None: there is none)."""
    return completed(read_record(history), read_outbox(status) or EMPTY)


def completed(record: StoredHistory, outbox: Outbox) -> StoredHistory:
    """A record with what an outbox holds. What the record has already is not added again."""
    finished, earlier = record.finished, record.earlier
    for move in outbox.moves:
        finished, earlier = moved(finished, move)[0], moved(earlier, move)[0]
    known = {(e.begin, e.end, e.cause) for e in finished}
    new = tuple(e for e in outbox.finished if (e.begin, e.end, e.cause) not in known)
    before = () if record.since is not None else outbox.earlier
    begins = (e.begin for e in outbox.finished[:1])  # of a record that was deleted
    since = record.since or outbox.since or next(begins, None)
    done = folded((*finished, *new), (*earlier, *before))
    return replace(done, since=since, running=outbox.running)


def moved(items: tuple[OnePaid, ...], move: Move) -> tuple[tuple[OnePaid, ...], Decimal]:
    """Episodes or sums with another period, and what is left of the excess.

    The newest moved one pays what is too much.
    """
    excess, done = move.excess, list[OnePaid]()
    for item in reversed(items):
        if item.period != move.old:
            done.append(item)
            continue
        paid = item.cost if item.cost is None else max(item.cost - excess, Decimal(0))
        done.append(replace(item, period=move.new, cost=paid))
        excess -= (item.cost or Decimal(0)) - (paid or Decimal(0))
    return tuple(reversed(done)), excess


def _finished(episodes: Iterable[Episode]) -> tuple[Episode, ...]:
    return tuple(_priced(e) for e in episodes if e.end is not None)


def _priced(paid: OnePaid) -> OnePaid:
    """Without a currency, an amount or a period says nothing."""
    return paid if paid.period.currency else replace(paid, period=NO_PERIOD, cost=None)
