"""The times in which a pool had pods, as values and as WarmPool.status.history holds them.

An episode belongs to one period of the ledger and one currency. Its cost is a difference between
two amounts that the ledger wrote, so the costs of a period add up to the ledger to the last digit.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from kotatsu_operator.core.formats import amount, internal, text
from kotatsu_operator.core.schema import Form, Schema, several

KEPT = 60
"""Finished episodes in the status; older ones are added up."""

PERIODS = 12
"""Sums of older episodes in the status, one for each period; the oldest are dropped."""

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
    """Windows that opened without."""

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
class StoredHistory:
    """All that status.history holds."""

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


# --- the status ---


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
_STORED = Schema(
    StoredHistory,
    forms={
        "running": _EPISODE,
        "finished": several(_EPISODE, KEPT),
        "earlier": several(Schema(Earlier, forms=_NESTED, **_NAMES), PERIODS),
    },
    finished="episodes",
)


def stored_status(recorded: StoredHistory) -> dict[str, Any]:
    """The history as the status has it."""
    return _STORED.write(recorded)


def read_stored(status: Mapping[str, Any]) -> StoredHistory:
    """The history from a WarmPool's status; unreadable items are left out."""
    read = StoredHistory(**_STORED.values(internal(status).get("history")))
    running = read.running
    return replace(
        read,
        running=None if running is None else replace(_priced(running), end=None),
        finished=tuple(_priced(e) for e in read.finished if e.end is not None),
        earlier=tuple(map(_priced, read.earlier)),
    )


def _priced(paid: OnePaid) -> OnePaid:
    """Without a currency, an amount or a period says nothing."""
    return paid if paid.period.currency else replace(paid, period=NO_PERIOD, cost=None)
