"""Keep a pool's history: what each reconcile adds to it.

An episode begins and ends with changes that the status reports anyway (phase, reason, window), so
the status needs no write for it. Its cost is what the ledger has charged meanwhile.

The status is the outbox: a finished episode is in `internal.history` until the WarmPoolHistory has
it. It gets all of them while the pool sleeps: no wake waits for it.

When the pool was in use is in the WarmPoolHistory alone (decision 83): of a pool that does not
sleep, it is written once an hour, and an operator that ends forgets what was not.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Self

from kotatsu_operator.controller.feature import After, Feature, Report, Setup, Turn
from kotatsu_operator.controller.target import Tools
from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.formats import instant, money_of, table
from kotatsu_operator.core.pool.decision import Decision
from kotatsu_operator.core.pool.memory import Outcome, Phase, Reason
from kotatsu_operator.core.pool.spec import Override
from kotatsu_operator.core.protocol import API_VERSION
from kotatsu_operator.core.report.episodes import (
    KEPT,
    LONGEST_NAME,
    NO_PERIOD,
    Cause,
    Counts,
    Episode,
    LedgerPeriod,
    StoredHistory,
    Why,
    completed,
    outbox_status,
    read_outbox,
    read_record,
    record_field,
)
from kotatsu_operator.core.report.status import Status
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

    outbox: StoredHistory
    pods: int = 0
    """Pods at the last reconcile."""

    @property
    def running(self) -> Episode | None:
        return self.outbox.running

    def having(self, **values: Any) -> "History":
        """The history with these values of the outbox."""
        return replace(self, outbox=replace(self.outbox, **values))


@dataclass(frozen=True, slots=True)
class Seen:
    """What one reconcile has found."""

    now: datetime
    pods: int
    """Pods from scheduled until gone."""
    before: Ledger
    """At the last entry."""
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


def recalled(
    status: Status, ledger: Ledger, pods: int, now: datetime
) -> tuple[History, timedelta | None]:
    """The history as another process has left it in the status, and the time since."""
    woken = instant(table(status.get("lastWake")).get("at"))
    outbox = read_outbox(status) or StoredHistory(since=now, woken=woken)
    # As in the ledger: pods that still exist have been there since the last entry.
    elapsed = None if ledger.at is None else max(now - ledger.at, timedelta())
    return History(outbox, pods), elapsed


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
    """The history with what the ledger has charged since the last reconcile.

    If the clock was set back to an earlier period, that period pays what is charged from now on.
    """
    known, ledger = seen.before, seen.ledger
    for spent in (*ledger.ended, *ledger.totals[-1:]):
        begin, amount = spent.period_start, money_of(spent.accrued)
        if (spent.currency, begin) == (known.currency, known.period_start):
            amount -= money_of(known.accrued)
        elif known.period_start is not None and begin <= known.period_start:
            amount = Decimal(0)
        period = LedgerPeriod(spent.currency, begin)
        history = _owing(history, period, amount, begin if spent in ledger.ended else seen.now)
    return history


def _owing(history: History, period: LedgerPeriod, amount: Decimal, at: datetime) -> History:
    """The history with an amount of a period: the running episode has it, or a new one."""
    running = history.running
    if running is None:
        # A pod came and went between two reconciles.
        history = _begun(history, Cause(), period, at) if amount else history
    elif running.period != period:
        at = period.start if period.start and running.begin < period.start else at
        history = _begun(_finished(history, at), running.cause, period, at)
    if not amount or (running := history.running) is None:
        return history
    return history.having(running=replace(running, cost=(running.cost or 0) + amount))


# --- episodes ---


def _begun(history: History, cause: Cause, period: LedgerPeriod, at: datetime) -> History:
    cost = Decimal(0) if period.currency else None
    return history.having(running=Episode(at, cause, period, None, history.pods, cost=cost))


def _finished(history: History, at: datetime) -> History:
    running = history.running
    if running is None:
        return history
    over = replace(running, end=max(at, running.begin))
    # Of a cluster without WarmPoolHistories, the newest stay.
    return history.having(running=None, finished=(*history.outbox.finished, over)[-KEPT:])


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
    more = Counts(
        wakes=int(is_new),
        opened=decision.outcomes.count(Outcome.READY),
        cold=decision.outcomes.count(Outcome.COLD),
    )
    replicas, counts = max(running.replicas, seen.pods), running.counts.plus(more)
    return history.having(running=replace(running, replicas=replicas, counts=counts))


# --- the WarmPoolHistory ---


def history_of(
    pool: Object, known: Object | None, outbox: StoredHistory, usage: Usage = NOTHING
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


async def append(kube: Kube, pool: Object, outbox: StoredHistory, usage: Usage) -> Object:
    """Write what waits to the WarmPoolHistory, and return it.

    Raises ConflictError, NotFoundError (there is no such kind), or one of `Unreachable`.
    """
    namespace, name = key_of(pool)
    try:
        known = await kube.get(WarmPoolHistory, namespace, name)
    except NotFoundError:
        return await kube.create(WarmPoolHistory, namespace, history_of(pool, None, outbox, usage))
    made = history_of(pool, known, outbox, usage)
    if made["record"] == known.get("record") and outbox.finished and not usage.used:
        return known  # another process has written it, and ended before the status said so
    return await kube.replace(WarmPoolHistory, namespace, made)


class Histories(Feature):
    """The history of each pool."""

    def __init__(self, *, is_shown: bool = False) -> None:
        """With `is_shown` it reads the record of each pool once, for the features that show it."""
        self._is_shown = is_shown
        self._shown: set[Key] = set()
        self._failed: set[Key] = set()

    @classmethod
    def of(cls, setup: Setup) -> Self:
        return cls(is_shown=bool(setup.settings.console_port))

    def status(self, turn: Turn, report: Report) -> Report:
        """Enter one reconcile; add the outbox."""
        now, account, status = turn.now, turn.account, turn.status
        there = sum(p.billed is not None and p.billed.gone_at is None for p in turn.pods)
        known, elapsed = turn.known.of(History), turn.elapsed
        if known is None or elapsed is None:
            known, elapsed = recalled(status, account.before, there, now)
        seen = Seen(now, there, account.before, account.ledger, status, elapsed)
        history = entered(known, seen, report.decision, turn.spec.override)
        learned = report.learned.having(history, _looked(turn, report))
        status = joined(report.status, outbox_status(history.outbox))
        return replace(report, status=status, learned=learned)

    async def after(self, tools: Tools, turn: Turn, report: Report) -> After | None:
        """Write what waits to the WarmPoolHistory; the next status has it no more.

        While the pool sleeps, or if more waits; and each hour in which it was used or observed
        awake. A wake makes no write for it.
        """
        is_warming = report.decision.memory.phase is Phase.WARMING
        read = None if is_warming else await self._read(tools.kube, turn.key)
        shown = None if read is None else After(history=read)
        history, watched = report.learned.of(History), report.learned.of(Watched)
        if history is None or watched is None:
            return shown
        outbox = history.outbox
        running, waiting = outbox.running, len(outbox.finished)
        is_woken = running is not None and running.cause.why is Why.REQUEST
        is_due = waiting and (running is None or (waiting >= BATCH and not is_woken))
        if not (is_due or watched.is_due(report.decision.memory, turn.now)):
            return shown
        try:
            written = await append(tools.kube, turn.pool, outbox, watched.usage)
        except (ConflictError, NotFoundError, *Unreachable) as error:
            if turn.key not in self._failed:
                log.warning("%s/%s: its WarmPoolHistory is written later: %s", *turn.key, error)
            self._failed.add(turn.key)
            return After(turn.now + AGAIN, history=read)
        self._failed.discard(turn.key)
        learned = history.having(finished=()), watched.written(turn.now)
        return After(history=written, learned=learned)

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
        self._failed.discard(key)
        self._shown.discard(key)

    def reset(self) -> None:
        """Read all records again: another operator has led and has written to them."""
        self._shown.clear()


def _looked(turn: Turn, report: Report) -> Watched:
    """The use with one more look. The requests of a Knative Service are not seen."""
    now, spec, seen = turn.now, turn.spec, report.seen
    watched = turn.known.of(Watched) or Watched.begun(turn.pool["metadata"]["uid"], now)
    if spec.suspend or spec.target.scales_itself:
        return watched.unseen(now)
    return watched.looked(turn.memory, seen.demand, now, woken=seen.woken)
