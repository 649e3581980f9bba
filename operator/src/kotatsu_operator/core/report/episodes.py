"""The times in which a pool had pods, as values and as WarmPool.status.history holds them.

An episode belongs to one period of the ledger and one currency. Its cost is a difference between
two amounts that the ledger wrote, so the costs of a period add up to the ledger to the last digit.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from kotatsu_operator.core.formats import amount, choice, count, instant, stamp, table, text

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
    SUSPENDED = "Suspended"
    OTHER = "Other"
    """Pods that no window, override or request asked for."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why the pool has pods: an episode ends when this changes."""

    why: Why
    name: str = ""
    """The window, or the reason that an override gives."""


@dataclass(frozen=True, slots=True)
class Purse:
    """The period of the ledger that pays: its currency and beginning. Empty without prices."""

    currency: str = ""
    period: datetime | None = None


NO_PURSE = Purse()


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
        """Both together."""
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
    purse: Purse = NO_PURSE
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
    purse: Purse = NO_PURSE
    episodes: int = 0
    counts: Counts = Counts()
    cost: Decimal | None = None


Paid = Episode | Earlier
"""What has a cost."""


@dataclass(frozen=True, slots=True)
class Recorded:
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


def folded(finished: Iterable[Episode], earlier: Iterable[Earlier]) -> Recorded:
    """The newest episodes one by one, and the others added to the sums of their periods."""
    kept, sums = [*finished], [*earlier]
    for episode in kept[:-KEPT]:
        at = next((i for i, s in enumerate(sums) if s.purse == episode.purse), None)
        if at is None:
            sums.append(Earlier(episode.begin, episode.begin, episode.purse))
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
    return Recorded(finished=tuple(kept[-KEPT:]), earlier=tuple(sums[-PERIODS:]))


# --- the status ---


def _told(
    begin: datetime, end: datetime | None, purse: Purse, cost: Decimal | None
) -> dict[str, Any]:
    return {
        "from": stamp(begin),
        "to": stamp(end),
        "currency": purse.currency or None,
        "periodStart": stamp(purse.period),
        "cost": None if cost is None else f"{cost:.6f}",
    }


def _counted(counts: Counts) -> dict[str, Any]:
    return {
        "podSeconds": float(round(counts.pod_seconds, 3)),
        "wakes": counts.wakes or None,
        "opened": counts.opened or None,
        "cold": counts.cold or None,
    }


def episode_status(e: Episode) -> dict[str, Any]:
    """An episode as the status has it."""
    return {
        **_told(e.begin, e.end, e.purse, e.cost),
        "reason": e.cause.why.value,
        "name": e.cause.name or None,
        "replicas": e.replicas,
        **_counted(e.counts),
    }


def earlier_status(e: Earlier) -> dict[str, Any]:
    """A sum of episodes as the status has it."""
    told = _told(e.begin, e.end, e.purse, e.cost) | _counted(e.counts)
    return told | {"episodes": e.episodes}


def compact(written: Mapping[str, Any]) -> dict[str, Any]:
    """An item of a list without its empty fields: a merge patch replaces lists as they are."""
    return {name: value for name, value in written.items() if value is not None}


def read_recorded(status: Mapping[str, Any]) -> Recorded:
    """The history from a WarmPool's status; unreadable items are left out."""
    history = table(status.get("history"))
    episodes = (read_episode(e) for e in _newest(history.get("episodes"), KEPT))
    sums = (_read_earlier(e) for e in _newest(history.get("earlier"), PERIODS))
    running = read_episode(table(history.get("running")))
    return Recorded(
        since=instant(history.get("since")),
        running=None if running is None else replace(running, end=None),
        finished=tuple(e for e in episodes if e is not None and e.end is not None),
        earlier=tuple(e for e in sums if e is not None),
    )


def _newest(given: Any, most: int) -> list[Mapping[str, Any]]:
    return [table(item) for item in given[-most:]] if isinstance(given, list) else []


def read_episode(written: Mapping[str, Any]) -> Episode | None:
    """An episode from the status; None if it has no beginning."""
    begin = instant(written.get("from"))
    if begin is None:
        return None
    return Episode(
        begin,
        Cause(
            choice(Why, written.get("reason"), Why.OTHER), text(written.get("name"))[:LONGEST_NAME]
        ),
        _read_purse(written),
        instant(written.get("to")),
        count(written.get("replicas")),
        _read_counts(written),
        _read_cost(written),
    )


def _read_earlier(written: Mapping[str, Any]) -> Earlier | None:
    begin, end = instant(written.get("from")), instant(written.get("to"))
    if begin is None or end is None:
        return None
    return Earlier(
        begin,
        end,
        _read_purse(written),
        count(written.get("episodes")),
        _read_counts(written),
        _read_cost(written),
    )


def _read_purse(written: Mapping[str, Any]) -> Purse:
    currency, period = text(written.get("currency")), instant(written.get("periodStart"))
    return Purse(currency, period) if currency else NO_PURSE


def _read_counts(written: Mapping[str, Any]) -> Counts:
    numbers = {name: count(written.get(name)) for name in ("wakes", "opened", "cold")}
    seconds = written.get("podSeconds")
    # str(): the shortest digits of a float, not its binary expansion.
    return Counts(
        amount(str(seconds) if isinstance(seconds, float) else seconds) or Decimal(0), **numbers
    )


def _read_cost(written: Mapping[str, Any]) -> Decimal | None:
    return amount(written.get("cost")) if text(written.get("currency")) else None
