"""Keep a pool's history: what each reconcile adds to it.

An episode begins and ends with changes that the status reports anyway (phase, reason, window), so
the status needs no write for it. Its cost is what the ledger has written, minus what finished
episodes of the period have cost: the two can not differ.

The status is the outbox: a finished episode is in `internal.history` until the WarmPoolHistory has
it. It gets all of them while the pool sleeps: no wake waits for it.

When the pool was in use is in the WarmPoolHistory alone (decision 83): of a pool that does not
sleep, it is written once an hour, and an operator that ends forgets what was not.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Self

from kotatsu_operator.controller.accounts import Book
from kotatsu_operator.controller.feature import After, Feature, Report, Setup, Turn
from kotatsu_operator.controller.target import Tools
from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.formats import instant, table
from kotatsu_operator.core.pool.decision import Decision
from kotatsu_operator.core.pool.memory import Outcome, Phase, Reason
from kotatsu_operator.core.pool.spec import Override
from kotatsu_operator.core.protocol import API_VERSION
from kotatsu_operator.core.report.episodes import (
    EMPTY,
    KEPT,
    LONGEST_NAME,
    NO_PERIOD,
    Cause,
    Counts,
    Earlier,
    Episode,
    LedgerPeriod,
    Move,
    Outbox,
    Why,
    completed,
    money_of,
    moved,
    outbox_status,
    read_outbox,
    read_record,
    record_field,
)
from kotatsu_operator.core.report.status import Status, read_ledger
from kotatsu_operator.core.report.usage import NOTHING, Usage, Watched, read_usage, usage_field
from kotatsu_operator.core.schema import joined
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable
from kotatsu_operator.kube.objects import Key, Object, WarmPoolHistory, key_of

log = logging.getLogger(__name__)


BATCH = 2
"""So many finished episodes of a pool that does not sleep are written to its WarmPoolHistory."""

AGAIN = timedelta(minutes=1)
"""When a write to a WarmPoolHistory that has failed is tried again, while the pool sleeps."""


@dataclass(frozen=True, slots=True)
class History:
    """What the operator remembers of a history between two reconciles."""

    outbox: Outbox = EMPTY
    period: LedgerPeriod = NO_PERIOD
    """The period that `settled` of the outbox is about."""
    ended: LedgerPeriod = NO_PERIOD
    """The period before it."""
    pods: int = 0
    """Pods at the last reconcile."""

    @property
    def running(self) -> Episode | None:
        return self.outbox.running

    @property
    def settled(self) -> Decimal:
        return self.outbox.settled

    def having(self, **values: Any) -> "History":
        """The history with these values of the outbox."""
        return replace(self, outbox=replace(self.outbox, **values))


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
    period, outbox = _period(ledger), read_outbox(status)
    ended = ledger.previous
    before = NO_PERIOD if ended is None else LedgerPeriod(ended.currency, ended.period_start)
    if outbox is None:
        woken = instant(table(status.get("lastWake")).get("at"))
        outbox = Outbox(since=now, woken=woken)
        if ledger.accrued and ledger.period_start and ledger.at:
            begin, paid = min(ledger.period_start, ledger.at), money_of(ledger.accrued)
            earlier = Earlier(begin, ledger.at, period, cost=paid)
            outbox = replace(outbox, earlier=(earlier,), settled=paid)
    return History(outbox, period, before)


def entered(history: History, seen: Seen, decision: Decision, override: Override | None) -> History:
    """The history with one more reconcile."""
    history = _charged(_counted(history, seen), seen)
    is_over = decision.memory.phase is Phase.ASLEEP and seen.pods == 0
    before = None if history.running is None else history.running.cause
    cause = None if is_over else cause_of(decision, override, before)
    running = history.running
    if running is not None and running.cause != cause:
        if cause is not None and running.begin == seen.now:
            # What a pod has cost before the first look belongs to the reason that it came for.
            history = history.having(running=replace(running, cause=cause))
        else:
            history = _finished(history, seen.now)
    if history.running is None and cause is not None:
        history = _begun(history, cause, _period(seen.ledger), seen.now)
    return _tallied(history, seen, decision)


# --- the ledger ---


def _period(ledger: Ledger) -> LedgerPeriod:
    return LedgerPeriod(ledger.currency, ledger.period_start) if ledger.currency else NO_PERIOD


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
    return history.having(running=replace(running, cost=owed))


def _turned(history: History, seen: Seen, period: LedgerPeriod) -> History:
    """The history at the beginning of another period, or with another currency."""
    old, ended = history.period, seen.ledger.previous
    if old.currency == period.currency and old.start and period.start and period.start < old.start:
        return _turned_back(history, seen, period)
    if ended is not None and old.currency:
        paid = LedgerPeriod(ended.currency, ended.period_start)
        if paid != old:
            # The operator was away for more than a period.
            history = _renewed(history, paid, ended.period_start)
        history = _owing(history, money_of(ended.accrued), ended.period_start)
    return _renewed(history, period, min(period.start or seen.now, seen.now))


def _turned_back(history: History, seen: Seen, period: LedgerPeriod) -> History:
    """The clock was set back: an earlier period continues, with what the later one has cost."""
    outbox, settled = history.outbox, history.settled
    if history.ended == period:
        settled += outbox.previous or Decimal(0)
    excess = max(settled - money_of(seen.ledger.accrued), Decimal(0))
    move = Move(history.period, period, excess)
    finished, left = moved(outbox.finished, move)
    earlier, left = moved(outbox.earlier, replace(move, excess=left))
    running = outbox.running
    outbox = replace(
        outbox,
        running=None if running is None else replace(running, period=period),
        finished=finished,
        earlier=earlier,
        moves=(*outbox.moves, replace(move, excess=left)),
        settled=settled - excess,
        previous=None,
    )
    return replace(history, outbox=outbox, period=period, ended=NO_PERIOD)


def _renewed(history: History, period: LedgerPeriod, at: datetime) -> History:
    """The history from the beginning of a period on: the running episode goes on in a new one."""
    running, ended = history.running, history.period
    history = _finished(history, at)
    history = history.having(settled=Decimal(0), previous=history.settled)
    history = replace(history, period=period, ended=ended)
    if running is None:
        return history
    begun = Episode(at, running.cause, period, replicas=running.replicas, cost=Decimal(0))
    return history.having(running=begun)


# --- episodes ---


def _begun(history: History, cause: Cause, period: LedgerPeriod, at: datetime) -> History:
    cost = Decimal(0) if period.currency else None
    return history.having(running=Episode(at, cause, period, None, history.pods, cost=cost))


def _finished(history: History, at: datetime) -> History:
    running = history.running
    if running is None:
        return history
    over = replace(running, end=max(at, running.begin))
    paid = running.cost if running.cost and running.period == history.period else Decimal(0)
    return history.having(
        running=None,
        # Of a cluster without WarmPoolHistories, the newest stay.
        finished=(*history.outbox.finished, over)[-KEPT:],
        settled=history.settled + paid,
    )


def _counted(history: History, seen: Seen) -> History:
    """The pod time since the last reconcile, and the pods of this one."""
    running, elapsed = history.running, seen.elapsed
    if running is not None and history.pods and elapsed:
        spent = Decimal(history.pods * (elapsed // timedelta(microseconds=1))) / 1_000_000
        counts = running.counts.plus(Counts(spent))
        history = history.having(running=replace(running, counts=counts))
    return history if history.pods == seen.pods else replace(history, pods=seen.pods)


def _tallied(history: History, seen: Seen, decision: Decision) -> History:
    """The running episode with its most pods, its wakes and its openings."""
    running, woken = history.running, instant(table(seen.status.get("lastWake")).get("at"))
    is_new = woken is not None and woken != history.outbox.woken
    if is_new:
        history = history.having(woken=woken)
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
    return history.having(running=replace(running, replicas=replicas, counts=counts))


# --- the WarmPoolHistory ---


def history_of(
    pool: Object, known: Object | None, outbox: Outbox, usage: Usage = NOTHING
) -> Object:
    """The WarmPoolHistory of a pool with what waits. That of a deleted pool is replaced."""
    meta = pool["metadata"]
    owners = [] if known is None else known["metadata"].get("ownerReferences") or []
    is_ours = any(owner.get("uid") == meta["uid"] for owner in owners)
    known = known if is_ours or known is None else {"metadata": known["metadata"]}
    record, used = read_record(known), read_usage(known)
    used = used.plus(usage) if usage.known else used
    owner = {
        "apiVersion": API_VERSION,
        "kind": "WarmPool",
        "name": meta["name"],
        "uid": meta["uid"],
    }
    place = {"name": meta["name"], "namespace": meta["namespace"]}
    place = (place if known is None else known["metadata"]) | {"ownerReferences": [owner]}
    return {
        "apiVersion": API_VERSION,
        "kind": "WarmPoolHistory",
        "metadata": place,
        "record": record_field(completed(record, outbox)),
        **({"usage": usage_field(used)} if used.known else {}),
    }


def taken(history: History) -> History:
    """The history once the WarmPoolHistory has what waited."""
    return history.having(since=None, finished=(), earlier=(), moves=())


async def append(kube: Kube, pool: Object, outbox: Outbox, usage: Usage) -> Object:
    """Write what waits to the WarmPoolHistory, and return it.

    Raises ConflictError, NotFoundError (there is no such kind), or one of `Unreachable`.
    """
    namespace, name = key_of(pool)
    try:
        known = await kube.get(WarmPoolHistory, namespace, name)
    except NotFoundError:
        return await kube.create(WarmPoolHistory, namespace, history_of(pool, None, outbox, usage))
    made = history_of(pool, known, outbox, usage)
    if made["record"] == known.get("record") and outbox.is_waiting and not usage.used:
        return known  # another process has written it, and ended before the status said so
    return await kube.replace(WarmPoolHistory, namespace, made)


class Histories(Feature):
    """The histories between reconciles."""

    def __init__(
        self,
        monotonic: Callable[[], float] | None = None,
        *,
        is_shown: bool = False,
    ) -> None:
        """`monotonic` measures time in seconds (by default, `now`).

        With `is_shown` it reads the record of each pool once, for the features that show it.
        """
        self._book = Book[History](monotonic)
        self._is_shown = is_shown
        self._shown: set[Key] = set()
        self._failed: set[Key] = set()
        self._watched = Book[Watched]()

    @classmethod
    def of(cls, setup: Setup) -> Self:
        return cls(time.monotonic, is_shown=bool(setup.settings.console_port))

    def status(self, turn: Turn, report: Report) -> Report:
        """Enter one reconcile; add the outbox."""
        now, ledger, status = turn.now, turn.account.ledger, turn.status
        there = sum(p.billed is not None and p.billed.gone_at is None for p in turn.pods)
        history, elapsed = self._book.last(turn.pool, now) or _resumed(status, there, now)
        seen = Seen(now, there, ledger, status, elapsed)
        history = entered(history, seen, report.decision, turn.spec.override)
        self._book.enter(turn.pool, history, now)
        self._look(turn, report)
        return replace(report, status=joined(report.status, outbox_status(history.outbox)))

    def _look(self, turn: Turn, report: Report) -> None:
        """Note whether there were requests. Those of a Knative Service are not seen."""
        pool, now, spec = turn.pool, turn.now, turn.spec
        last = self._watched.last(pool, now)
        watched = last[0] if last else Watched.begun(pool["metadata"]["uid"], now)
        if spec.suspend or spec.target.scales_itself:
            watched = watched.unseen(now)
        else:
            seen = report.seen
            watched = watched.looked(turn.memory, seen.demand, now, woken=seen.woken)
        self._watched.enter(pool, watched, now)

    async def after(self, tools: Tools, turn: Turn, report: Report) -> After | None:
        """Write what waits to the WarmPoolHistory; the next status has it no more.

        While the pool sleeps, or if more waits; and each hour in which it was used or observed
        awake. A wake makes no write for it.
        """
        is_warming = report.decision.memory.phase is Phase.WARMING
        read = None if is_warming else await self._read(tools.kube, turn.key)
        shown = None if read is None else After(history=read)
        last = self._book.last(turn.pool, turn.now)
        outbox = EMPTY if last is None else last[0].outbox
        running = outbox.running
        is_woken = running is not None and running.cause.why is Why.REQUEST
        is_due = running is None or (len(outbox.finished) >= BATCH and not is_woken)
        use = self._watched.last(turn.pool, turn.now)
        if last is None or use is None:
            return shown
        watched = use[0]
        is_told = watched.is_due(report.decision.memory, turn.now)
        if not ((outbox.is_waiting and is_due) or is_told):
            return shown
        try:
            written = await append(tools.kube, turn.pool, outbox, watched.usage)
        except (ConflictError, NotFoundError, *Unreachable) as error:
            if turn.key not in self._failed:
                log.warning("%s/%s: its WarmPoolHistory is written later: %s", *turn.key, error)
            self._failed.add(turn.key)
            return After(turn.now + AGAIN, history=read)
        self._failed.discard(turn.key)
        self._book.correct(turn.pool, taken(last[0]))
        self._watched.correct(turn.pool, watched.written(turn.now))
        return After(history=written)

    async def _read(self, kube: Kube, key: Key) -> Object | None:
        """What an earlier operator has written; once for each pool."""
        if not self._is_shown or key in self._shown:
            return None
        found = None
        try:
            found = await kube.get(WarmPoolHistory, *key)
        except Unreachable:
            return None  # again with the next decision
        except NotFoundError:
            pass
        self._shown.add(key)
        return found

    def forget(self, key: Key) -> None:
        self._book.forget(key)
        self._failed.discard(key)
        self._shown.discard(key)
        self._watched.forget(key)

    def reset(self) -> None:
        """Drop all histories: another operator has led and has written to the status."""
        self._book.reset()
        self._shown.clear()
        self._watched.reset()


def _resumed(status: Status, pods: int, now: datetime) -> tuple[History, timedelta | None]:
    """The history as another process has left it, and the time since."""
    last = read_ledger(status)
    # As in the ledger: pods that still exist have been there since the last entry.
    elapsed = None if last.at is None else max(now - last.at, timedelta())
    return replace(recalled(status, last, now), pods=pods), elapsed
