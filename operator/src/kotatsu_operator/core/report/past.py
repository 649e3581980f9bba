"""What a pool was warm for in a range of time, from its status and WarmPoolHistory. Pure.

The console and the kubectl plugin show it. Over a whole period of the budget, its costs are the
ledger's to the last digit, unless the clock was set back. An episode that lies only partly in the
range counts by its share of time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import reduce
from typing import Any

from kotatsu_operator.core.budget.ledger import Ledger, Spent
from kotatsu_operator.core.formats import money_of
from kotatsu_operator.core.report.episodes import (
    NO_PERIOD,
    Counts,
    Earlier,
    Episode,
    LedgerPeriod,
    StoredHistory,
    Why,
    read_stored,
)
from kotatsu_operator.core.report.status import read_ledger


@dataclass(frozen=True)
class Row:
    """The part of an episode that lies in the range."""

    episode: Episode
    """With the times, the cost and the pod time of the part; the running one ends where its cost
    is known."""
    is_part: bool = False
    """Whether the range cuts it: cost and pod time are shares."""
    runs: bool = False
    """Whether it is the running episode."""


@dataclass(frozen=True)
class Balance:
    """The ledger of one whole period beside the sum of the report."""

    ledger: Spent
    report: Decimal

    @property
    def is_equal(self) -> bool:
        return self.ledger.accrued == self.report


@dataclass(frozen=True)
class Past:
    """What one pool was warm for in [begin, end)."""

    begin: datetime
    end: datetime
    rows: tuple[Row, ...]
    sums: tuple[Earlier, ...]
    """Sums of older episodes that lie in the range as a whole."""
    balances: tuple[Balance, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def episodes(self) -> Sequence[Episode]:
        return [row.episode for row in self.rows]

    @property
    def every(self) -> Sequence[Episode | Earlier]:
        """Its episodes, and the sums of older ones."""
        return (*self.episodes, *self.sums)

    @property
    def costs(self) -> dict[str, Decimal]:
        """The total by currency."""
        return _by_currency(self.every)

    @property
    def parked(self) -> tuple[Decimal, dict[str, Decimal]]:
        """Pod time in seconds of parked pods, and its cost by currency.

        Sums of older episodes do not have it.
        """
        parked = [e for e in self.episodes if e.cause.why is Why.PARKED]
        return sum((e.counts.pod_seconds for e in parked), Decimal(0)), _by_currency(parked)

    @property
    def counts(self) -> Counts:
        """The pods, wakes and openings of the whole range."""
        return reduce(Counts.plus, (one.counts for one in self.every), Counts())

    @property
    def peak(self) -> int:
        """The most pods at a time."""
        return max((e.replicas for e in self.episodes), default=0)


def _by_currency(paid: Iterable[Episode | Earlier]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for one in paid:
        if one.cost is not None and (currency := one.period.currency):
            found[currency] = found.get(currency, Decimal(0)) + one.cost
    return found


def read_past(
    status: Mapping[str, Any],
    history: Mapping[str, Any] | None,
    begin: datetime,
    end: datetime,
    now: datetime,
) -> Past:
    """What a pool's status and WarmPoolHistory say of [begin, end); see `past_of`."""
    return past_of(read_stored(status, history), read_ledger(status), begin, end, now)


def past_of(
    record: StoredHistory, ledger: Ledger, begin: datetime, end: datetime, now: datetime
) -> Past:
    """What was recorded for [begin, end). The running episode goes up to the ledger's entry."""
    running = record.running
    if running is not None:
        at = ledger.at if ledger.at is not None and running.period != NO_PERIOD else now
        running = replace(running, end=max(at, running.begin))
    every = [*record.finished, *([running] if running is not None else [])]
    found = (_row(e, begin, end, runs=e is running) for e in every)
    rows = tuple(row for row in found if row is not None)
    sums = tuple(e for e in record.earlier if begin <= e.begin and e.end <= end)
    made = Past(begin, end, rows, sums)
    balances, notes = _balances(made, record, ledger), _notes(made, record)
    return replace(made, balances=tuple(balances), notes=tuple(notes))


def _row(episode: Episode, begin: datetime, end: datetime, *, runs: bool) -> Row | None:
    stop = episode.until
    first, last = max(episode.begin, begin), min(stop, end)
    if first > last or (first == last and (first == end or stop != episode.begin)):
        return None
    if (first, last) == (episode.begin, stop):
        return Row(episode, runs=runs)
    share = Decimal((last - first) // _TICK) / Decimal((stop - episode.begin) // _TICK)
    cost = None if episode.cost is None else money_of(episode.cost * share)
    counts = replace(episode.counts, pod_seconds=episode.counts.pod_seconds * share)
    part = replace(episode, begin=first, end=last, counts=counts, cost=cost)
    return Row(part, is_part=True, runs=runs)


_TICK = timedelta(microseconds=1)

_WEEK = timedelta(weeks=1)


@dataclass(frozen=True)
class Week:
    """What a week has brought, on average."""

    wakes: float
    """Requests that woke the pool."""
    hours: float
    """Pod hours; those of parked pods count by their share of the price."""


def recorded_week(
    record: StoredHistory,
    begin: datetime,
    end: datetime,
    now: datetime,
    parked: float,
    hourly: Mapping[str, Decimal],
) -> Week | None:
    """What was recorded of [begin, end), a week; None if less than a week is recorded.

    `parked` is the price of a parked pod as a share of a warm one, and `hourly` that of a warm one
    by currency. An episode or a sum that lies partly in this time counts by its share of time. How
    much of a sum was parked, its cost says; without one, it is the part of the episodes.
    """
    since = record.known_since
    if since is None or end - (begin := max(begin, since)) < _WEEK:
        return None
    running = () if record.running is None else (replace(record.running, end=now),)
    kept = (*record.finished, *running)
    seconds = _priced(kept, 1.0)
    part = _priced(kept, parked) / seconds if seconds else 1.0
    wakes = hours = 0.0
    for one in (*record.earlier, *kept):
        stop, begins = one.end or one.begin, float(begin <= one.begin < end)
        share = begins
        if stop > one.begin:
            share = max((min(stop, end) - max(one.begin, begin)) / (stop - one.begin), 0.0)
        if isinstance(one, Episode):
            wakes += one.counts.wakes * begins
            hours += _priced([one], parked) / 3600 * share
            continue
        wakes += one.counts.wakes * share
        price = hourly.get(one.period.currency)
        if price and one.cost is not None:
            hours += float(one.cost / price) * share
        else:
            hours += float(one.counts.pod_seconds) / 3600 * part * share
    weeks = (end - begin) / _WEEK
    return Week(wakes / weeks, hours / weeks)


def pods_awake(record: StoredHistory) -> float:
    """The pods of a pool that is awake for requests, on average: an autoscaler may add some.

    At least 1, also if nothing is recorded.
    """
    found = [e for e in record.finished if e.cause.why is Why.REQUEST]
    lasted = sum((e.until - e.begin).total_seconds() for e in found)
    return max(_priced(found, 1.0) / lasted, 1.0) if lasted > 0 else 1.0


def _priced(episodes: Iterable[Episode], parked: float) -> float:
    """Pod seconds; those of parked pods count by their share of the price."""
    return sum(
        float(e.counts.pod_seconds) * (parked if e.cause.why is Why.PARKED else 1.0)
        for e in episodes
    )


def _notes(made: Past, record: StoredHistory) -> Iterable[str]:
    since, begin, end = record.known_since, made.begin, made.end
    if since is None:
        yield "the operator has recorded no history of this pool yet"
    elif begin < since:
        yield f"the record begins at {_said(since)}: what was before is not in this report"
    cut = [e for e in record.earlier if e not in made.sums and e.begin < end and e.end > begin]
    for earlier in cut:
        yield (
            f"{_said(earlier.begin)} to {_said(earlier.end)} is kept as one sum and lies only "
            "partly in this range: it is left out"
        )
    if number := sum(earlier.episodes for earlier in made.sums):
        yield f"{number} older episodes are kept as a sum"
    if any(row.is_part for row in made.rows):
        yield "the range cuts an episode: its cost and pod time are shares by time"


def _said(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _balances(made: Past, record: StoredHistory, ledger: Ledger) -> Iterable[Balance]:
    """Each period of the ledger that the range and the record cover as a whole."""
    totals, since = ledger.totals, record.known_since
    if not totals or ledger.at is None or since is None:
        return
    ends = (totals[-1].period_start, ledger.at)[-len(totals) :]
    for spent, until in zip(totals, ends, strict=True):
        if max(since, made.begin) <= spent.period_start and until <= made.end:
            period = LedgerPeriod(spent.currency, spent.period_start)
            of = (e.cost for e in made.every if e.period == period)
            yield Balance(spent, sum((cost for cost in of if cost), Decimal(0)))
