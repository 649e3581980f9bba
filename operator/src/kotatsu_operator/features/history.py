"""Keep a pool's history: what each reconcile adds to status.history.

An episode begins and ends with changes that the status reports anyway (phase, reason, window), so
the history needs no write of its own. Its cost is what the ledger has written, minus what finished
episodes of the period have cost: the two can not differ.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from kotatsu_operator.controller.accounts import Book
from kotatsu_operator.controller.feature import Feature, Report, Turn
from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.formats import instant, table
from kotatsu_operator.core.pool.decision import Decision
from kotatsu_operator.core.pool.memory import Outcome, Phase, Reason
from kotatsu_operator.core.pool.spec import Override
from kotatsu_operator.core.report.episodes import (
    LONGEST_NAME,
    NO_PERIOD,
    Cause,
    Counts,
    Earlier,
    Episode,
    LedgerPeriod,
    OnePaid,
    StoredHistory,
    Why,
    folded,
    money_of,
    read_stored,
    stored_status,
)
from kotatsu_operator.core.report.status import Status, read_ledger
from kotatsu_operator.core.schema import joined
from kotatsu_operator.kube.objects import Key


@dataclass(frozen=True, slots=True)
class Move:
    """A period that became part of an earlier one, because the clock was set back."""

    old: LedgerPeriod
    new: LedgerPeriod
    excess: Decimal = Decimal(0)
    """How much two rounded amounts are more than their rounded sum."""


@dataclass(frozen=True, slots=True)
class History:
    """What the operator remembers of a history between two reconciles."""

    since: datetime | None = None
    running: Episode | None = None
    unwritten: tuple[Episode, ...] = ()
    """Finished episodes that the status does not have yet."""
    before: tuple[Earlier, ...] = ()
    """What the ledger had charged before the record began; not in the status yet."""
    moves: tuple[Move, ...] = ()
    """What the status does not have yet."""
    period: LedgerPeriod = NO_PERIOD
    """The period that `settled` is about."""
    settled: Decimal = Decimal(0)
    """What the finished episodes of that period have cost."""
    pods: int = 0
    """Pods at the last reconcile."""
    woken: datetime | None = None
    """The newest wake that is counted."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one reconcile has found."""

    now: datetime
    pods: int
    """Pods from scheduled until gone."""
    ledger: Ledger
    status: Mapping[str, Any]
    """The status as it was read."""
    elapsed: timedelta | None = None
    """The measured time since the last reconcile; None if another process made it."""


def cause_of(decision: Decision, override: Override | None, before: Cause | None) -> Cause:
    """Why the pool has pods after a decision. On the way down, it is what was before."""
    memory = decision.memory
    if memory.reason is Reason.SUSPENDED:
        return Cause(Why.SUSPENDED)
    if memory.phase is Phase.PARKED:
        return Cause(Why.PARKED, decision.window[:LONGEST_NAME])
    if memory.phase.is_awake:
        match memory.reason:
            case Reason.WINDOW:
                return Cause(Why.WINDOW, decision.window[:LONGEST_NAME])
            case Reason.OVERRIDE:
                return Cause(Why.OVERRIDE, override.reason[:LONGEST_NAME] if override else "")
            case Reason.REQUEST | Reason.DEMAND:
                return Cause(Why.REQUEST)
    return before or Cause(Why.OTHER)


def recalled(status: Mapping[str, Any], ledger: Ledger, now: datetime) -> History:
    """The history as a new process finds it in the status; `ledger` is that of the status.

    What the ledger has charged before the record began is a sum without episodes.
    """
    record, period = read_stored(status), _period(ledger)
    running = record.running
    woken = instant(table(status.get("lastWake")).get("at"))
    last = running or next(reversed(record.finished), None)
    mark = None if last is None else last.end or last.begin
    if woken and mark and woken >= mark and not (running and running.counts.wakes):
        woken = None  # it came after the last entry
    history = History(record.since or now, running, period=period, woken=woken)
    if record.since is None and ledger.accrued and ledger.period_start and ledger.at:
        begin, paid = min(ledger.period_start, ledger.at), money_of(ledger.accrued)
        history = replace(history, before=(Earlier(begin, ledger.at, period, cost=paid),))
    return replace(history, settled=_settled(history, record))


def entered(history: History, seen: Seen, decision: Decision, override: Override | None) -> History:
    """The history with one more reconcile."""
    history = _charged(_counted(_acknowledged(history, seen.status), seen), seen)
    is_over = decision.memory.phase is Phase.ASLEEP and seen.pods == 0
    before = None if history.running is None else history.running.cause
    cause = None if is_over else cause_of(decision, override, before)
    running = history.running
    if running is not None and running.cause != cause:
        if cause is not None and running.begin == seen.now:
            # What a pod has cost before the first look belongs to the reason that it came for.
            history = replace(history, running=replace(running, cause=cause))
        else:
            history = _finished(history, seen.now)
    if history.running is None and cause is not None:
        history = _begun(history, cause, _period(seen.ledger), seen.now)
    return _tallied(history, seen, decision)


def history_status(history: History, status: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of status.history that a write has to name.

    The lists are named only if they change: they may have many entries.
    """
    known = new = StoredHistory()
    if history.unwritten or history.before or history.moves:
        known = read_stored(status)
        new = _complete(history, known)
    written = stored_status(replace(new, since=history.since, running=history.running))
    if new.finished == known.finished:
        del written["episodes"]
    if new.earlier == known.earlier:
        del written["earlier"]
    return written


def _acknowledged(history: History, status: Mapping[str, Any]) -> History:
    """The history without what the status has by now."""
    if not (history.unwritten or history.before or history.moves):
        return history
    record = read_stored(status)
    known = {(e.begin, e.end, e.cause) for e in record.finished}
    left = tuple(e for e in history.unwritten if (e.begin, e.end, e.cause) not in known)
    periods = {e.period for e in record.over}
    return replace(
        history,
        unwritten=left,
        before=() if record.since is not None else history.before,
        moves=tuple(m for m in history.moves if m.old in periods),
    )


def _complete(history: History, record: StoredHistory) -> StoredHistory:
    """The record of the status with what is not written yet."""
    finished = (*record.finished, *history.unwritten)
    earlier = (*record.earlier, *history.before)
    for move in history.moves:
        finished, earlier = _moved(finished, move), _moved(earlier, move)
    return folded(finished, earlier)


def _moved(items: tuple[OnePaid, ...], move: Move) -> tuple[OnePaid, ...]:
    """Episodes or sums with another period. The newest moved one pays what is too much."""
    excess, done = move.excess, list[OnePaid]()
    for item in reversed(items):
        if item.period != move.old:
            done.append(item)
            continue
        paid = item.cost if item.cost is None else max(item.cost - excess, Decimal(0))
        done.append(replace(item, period=move.new, cost=paid))
        excess -= (item.cost or Decimal(0)) - (paid or Decimal(0))
    return tuple(reversed(done))


# --- the ledger ---


def _period(ledger: Ledger) -> LedgerPeriod:
    return LedgerPeriod(ledger.currency, ledger.period_start) if ledger.currency else NO_PERIOD


def _settled(history: History, record: StoredHistory) -> Decimal:
    """What the finished episodes of the history's period have cost."""
    costs = (e.cost for e in _complete(history, record).over if e.period == history.period)
    return sum((cost for cost in costs if cost is not None), Decimal(0))


def _charged(history: History, seen: Seen) -> History:
    """The running episode with its cost up to now. A period that has ended is closed first."""
    period = _period(seen.ledger)
    if not period.currency:
        # No prices, or an invalid budget, which removes no ledger.
        return history
    if period != history.period:
        history = _turned(history, seen, period)
    return _owing(history, money_of(seen.ledger.accrued), seen.now)


def _owing(history: History, accrued: Decimal, now: datetime) -> History:
    """The cost of the running episode: what the ledger has, and no finished episode has paid."""
    owed = max(accrued - history.settled, Decimal(0))
    running, period = history.running, history.period
    if running is not None and running.period != period:
        history, running = _begun(_finished(history, now), running.cause, period, now), None
    if history.running is None:
        if not owed:
            return history
        # A pod came and went between two reconciles.
        history = _begun(history, Cause(Why.OTHER), period, now)
    running = history.running
    if running is None or running.cost == owed:
        return history
    return replace(history, running=replace(running, cost=owed))


def _turned(history: History, seen: Seen, period: LedgerPeriod) -> History:
    """The history at the beginning of another period, or with another currency."""
    old, ended = history.period, seen.ledger.previous
    if old.currency == period.currency and old.start and period.start and period.start < old.start:
        # The clock was set back: an earlier period continues, with what the later one has cost.
        running = history.running
        history = replace(
            history,
            period=period,
            running=None if running is None else replace(running, period=period),
        )
        record, moves = read_stored(seen.status), history.moves
        history = replace(history, moves=(*moves, Move(old, period)))
        excess = max(_settled(history, record) - money_of(seen.ledger.accrued), Decimal(0))
        history = replace(history, moves=(*moves, Move(old, period, excess)))
        return replace(history, settled=_settled(history, record))
    if ended is not None and old.currency:
        paid = LedgerPeriod(ended.currency, ended.period_start)
        if paid != old:
            # The operator was away for more than a period.
            history = _renewed(history, paid, ended.period_start)
        history = _owing(history, money_of(ended.accrued), ended.period_start)
    return _renewed(history, period, min(period.start or seen.now, seen.now))


def _renewed(history: History, period: LedgerPeriod, at: datetime) -> History:
    """The history from the beginning of a period on: the running episode goes on in a new one."""
    running = history.running
    history = replace(_finished(history, at), period=period, settled=Decimal(0))
    if running is None:
        return history
    begun = Episode(at, running.cause, period, replicas=running.replicas, cost=Decimal(0))
    return replace(history, running=begun)


# --- episodes ---


def _begun(history: History, cause: Cause, period: LedgerPeriod, at: datetime) -> History:
    cost = Decimal(0) if period.currency else None
    return replace(history, running=Episode(at, cause, period, None, history.pods, cost=cost))


def _finished(history: History, at: datetime) -> History:
    running = history.running
    if running is None:
        return history
    over = replace(running, end=max(at, running.begin))
    paid = running.cost if running.cost and running.period == history.period else Decimal(0)
    return replace(
        history,
        running=None,
        unwritten=(*history.unwritten, over),
        settled=history.settled + paid,
    )


def _counted(history: History, seen: Seen) -> History:
    """The pod time since the last reconcile, and the pods of this one."""
    running, elapsed = history.running, seen.elapsed
    if running is not None and history.pods and elapsed:
        spent = Decimal(history.pods * (elapsed // timedelta(microseconds=1))) / 1_000_000
        counts = running.counts.plus(Counts(spent))
        history = replace(history, running=replace(running, counts=counts))
    return history if history.pods == seen.pods else replace(history, pods=seen.pods)


def _tallied(history: History, seen: Seen, decision: Decision) -> History:
    """The running episode with its most pods, its wakes and its openings."""
    running, woken = history.running, instant(table(seen.status.get("lastWake")).get("at"))
    is_new = woken is not None and woken != history.woken
    if is_new:
        history = replace(history, woken=woken)
    if running is None:
        return history
    outcomes: Sequence[Outcome] = decision.outcomes
    more = Counts(
        wakes=int(is_new),
        opened=sum(o is Outcome.READY for o in outcomes),
        cold=sum(o is Outcome.COLD for o in outcomes),
    )
    replicas = max(running.replicas, seen.pods)
    if more == Counts() and replicas == running.replicas:
        return history
    counts = running.counts.plus(more)
    return replace(history, running=replace(running, replicas=replicas, counts=counts))


class Histories(Feature):
    """The histories between reconciles. `monotonic` measures time in seconds; by default, `now`."""

    def __init__(self, monotonic: Callable[[], float] | None = None) -> None:
        self._book = Book[History](monotonic)

    def status(self, turn: Turn, report: Report) -> Report:
        """Enter one reconcile; add the field `history`."""
        now, ledger, status = turn.now, turn.account.ledger, turn.status
        there = sum(p.billed is not None and p.billed.gone_at is None for p in turn.pods)
        history, elapsed = self._book.last(turn.pool, now) or _resumed(status, there, now)
        seen = Seen(now, there, ledger, status, elapsed)
        history = entered(history, seen, report.decision, turn.spec.override)
        self._book.enter(turn.pool, history, now)
        added = {"internal": {"history": history_status(history, status)}}
        return replace(report, status=joined(report.status, added))

    def forget(self, key: Key) -> None:
        self._book.forget(key)

    def reset(self) -> None:
        """Drop all histories: another operator has led and has written to the status."""
        self._book.reset()


def _resumed(status: Status, pods: int, now: datetime) -> tuple[History, timedelta | None]:
    """The history as another process has left it, and the time since."""
    last = read_ledger(status)
    # As in the ledger: pods that still exist have been there since the last entry.
    elapsed = None if last.at is None else max(now - last.at, timedelta())
    return replace(recalled(status, last, now), pods=pods), elapsed
