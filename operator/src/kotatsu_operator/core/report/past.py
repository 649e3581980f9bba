"""What a pool was warm for in a range of time, from its status and WarmPoolHistory. Pure.

The console and the kubectl plugin show it. Over a whole period of the budget, its costs are the
ledger's to the last digit. An episode that lies only partly in the range counts by its share of
time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from kotatsu_operator.core.budget.ledger import Ledger, Spent
from kotatsu_operator.core.report.episodes import (
    NO_PERIOD,
    Counts,
    Earlier,
    Episode,
    LedgerPeriod,
    Paid,
    StoredHistory,
    Why,
    money_of,
    read_stored,
)
from kotatsu_operator.core.report.status import read_ledger


@dataclass(frozen=True)
class Row:
    """The part of an episode that lies in the range."""

    episode: Episode
    begin: datetime
    end: datetime
    cost: Decimal | None
    pod_seconds: Decimal
    is_part: bool = False
    """Whether the range cuts it: cost and pod time are shares."""
    runs: bool = False
    """Whether it is the running episode; `end` is then how far its cost is known."""

    @property
    def seconds(self) -> Decimal:
        """How long it lasted."""
        return Decimal((self.end - self.begin) // timedelta(microseconds=1)) / 1_000_000


@dataclass(frozen=True)
class Balance:
    """The ledger of one whole period beside the sum of the report."""

    period: LedgerPeriod
    ledger: Decimal
    report: Decimal


@dataclass(frozen=True)
class Past:
    """What one pool was warm for in [begin, end)."""

    begin: datetime
    end: datetime
    rows: tuple[Row, ...]
    sums: tuple[Earlier, ...]
    """Sums of older episodes that lie in the range as a whole."""
    balances: tuple[Balance, ...]
    notes: tuple[str, ...]

    @property
    def costs(self) -> dict[str, Decimal]:
        """The total by currency."""
        return _by_currency(self._paid())

    @property
    def parked(self) -> tuple[Decimal, dict[str, Decimal]]:
        """Pod time in seconds of parked pods, and its cost by currency.

        Sums of older episodes do not have it.
        """
        rows = [row for row in self.rows if row.episode.cause.why is Why.PARKED]
        paid = [(row.episode.period, row.cost) for row in rows if row.cost is not None]
        return sum((row.pod_seconds for row in rows), Decimal(0)), _by_currency(paid)

    @property
    def counts(self) -> Counts:
        """The pods, wakes and openings of the whole range."""
        total = Counts()
        for row in self.rows:
            total = total.plus(replace(row.episode.counts, pod_seconds=row.pod_seconds))
        for earlier in self.sums:
            total = total.plus(earlier.counts)
        return total

    @property
    def peak(self) -> int:
        """The most pods at a time."""
        return max((row.episode.replicas for row in self.rows), default=0)

    def _paid(self) -> Iterable[tuple[LedgerPeriod, Decimal]]:
        for row in self.rows:
            if row.cost is not None:
                yield row.episode.period, row.cost
        for earlier in self.sums:
            if earlier.cost is not None:
                yield earlier.period, earlier.cost

    def paid(self, period: LedgerPeriod) -> Decimal:
        """The total of one period."""
        return sum((cost for of, cost in self._paid() if of == period), Decimal(0))


def _by_currency(paid: Iterable[tuple[LedgerPeriod, Decimal]]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for period, cost in paid:
        found[period.currency] = found.get(period.currency, Decimal(0)) + cost
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
    found = (_row(e, begin, end) for e in every)
    rows = tuple(replace(r, runs=r.episode is running) for r in found if r is not None)
    sums = tuple(e for e in record.earlier if begin <= e.begin and e.end <= end)
    made = Past(begin, end, rows, sums, (), tuple(_notes(record, rows, sums, begin, end)))
    return replace(made, balances=tuple(_balances(made, record, ledger)))


def _row(episode: Episode, begin: datetime, end: datetime) -> Row | None:
    stop = episode.end or episode.begin
    first, last = max(episode.begin, begin), min(stop, end)
    if first > last or (first == last and (first == end or stop != episode.begin)):
        return None
    if (first, last) == (episode.begin, stop):
        seconds = episode.counts.pod_seconds
        return Row(episode, first, last, episode.cost, seconds)
    share = Decimal((last - first) // _TICK) / Decimal((stop - episode.begin) // _TICK)
    cost = None if episode.cost is None else money_of(episode.cost * share)
    return Row(episode, first, last, cost, episode.counts.pod_seconds * share, is_part=True)


_TICK = timedelta(microseconds=1)

_WEEK = timedelta(weeks=1)


def wakes_a_week(record: StoredHistory, begin: datetime, end: datetime) -> float | None:
    """The requests that woke a pool in [begin, end), a week; None if less than a week is recorded.

    A sum of older episodes that lies partly in this time counts by its share of time.
    """
    since = record.known_since
    if since is None or end - (begin := max(begin, since)) < _WEEK:
        return None
    wakes = 0.0
    for one in (*record.over, *([record.running] if record.running else [])):
        stop, share = one.end or one.begin, float(begin <= one.begin < end)
        if isinstance(one, Earlier) and stop > one.begin:
            both = min(stop, end) - max(one.begin, begin)
            share = max(both / (stop - one.begin), 0.0)
        wakes += one.counts.wakes * share
    return wakes / ((end - begin) / _WEEK)


def _notes(
    record: StoredHistory,
    rows: Sequence[Row],
    sums: Sequence[Earlier],
    begin: datetime,
    end: datetime,
) -> Iterable[str]:
    since = record.known_since
    if since is None:
        yield "the operator has recorded no history of this pool yet"
    elif begin < since:
        yield f"the record begins at {_said(since)}: what was before is not in this report"
    cut = [e for e in record.earlier if e not in sums and e.begin < end and e.end > begin]
    for earlier in cut:
        yield (
            f"{_said(earlier.begin)} to {_said(earlier.end)} is kept as one sum and lies only "
            "partly in this range: it is left out"
        )
    if any(earlier.episodes for earlier in sums):
        number = sum(earlier.episodes for earlier in sums)
        yield f"{number} older episodes are kept as a sum"
    if any(not earlier.episodes for earlier in sums):
        yield "part of the cost was spent before the record began: it has no episodes"
    if any(row.is_part for row in rows):
        yield "the range cuts an episode: its cost and pod time are shares by time"


def _said(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _balances(made: Past, record: StoredHistory, ledger: Ledger) -> Iterable[Balance]:
    """Each period of the ledger that the range and the record cover as a whole."""
    if not ledger.currency or ledger.period_start is None or ledger.at is None:
        return
    current = Spent(ledger.currency, ledger.period_start, ledger.accrued)
    for spent, until in ((ledger.previous, ledger.period_start), (current, ledger.at)):
        if spent is None:
            continue
        period = LedgerPeriod(spent.currency, spent.period_start)
        of: list[Paid] = [e for e in record.over if e.period == period]
        begins = min((e.begin for e in of), default=None)
        since = record.known_since
        is_known = since is not None and (
            since <= spent.period_start or (begins is not None and begins <= spent.period_start)
        )
        if is_known and made.begin <= spent.period_start and until <= made.end:
            yield Balance(period, spent.accrued, made.paid(period))
