"""One reconcile of one pool: observe, decide, act, report."""

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from kotatsu_operator.controller.accounts import settle
from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.feature import (
    NOTHING_LEARNED,
    Feature,
    Learned,
    Report,
    Turn,
    kinds_of,
)
from kotatsu_operator.controller.pacer import Pacer
from kotatsu_operator.controller.report import Reporter
from kotatsu_operator.controller.restore import Former
from kotatsu_operator.controller.scaled import Awaits, nothing_awaited
from kotatsu_operator.controller.target import (
    RETRY,
    Kinds,
    Refused,
    Target,
    Tools,
    Writes,
    accept,
    refused_conditions,
)
from kotatsu_operator.controller.unserved import Unserved
from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.calendar.schedule import dropped
from kotatsu_operator.core.decide.decide import LOOK_AGAIN, books_only, decide
from kotatsu_operator.core.decide.phases import is_overdue
from kotatsu_operator.core.formats import (
    choice,
    conditions_of,
    count,
    instant,
    internal,
    is_false,
    table,
)
from kotatsu_operator.core.objects import activators_of, is_retargeted, target_of
from kotatsu_operator.core.plan.plan import with_least
from kotatsu_operator.core.pool.decision import NOTHING_STARTS, Decision, Demand, Observation
from kotatsu_operator.core.pool.memory import FIRST_START, Memory, Phase, changed
from kotatsu_operator.core.pool.news import Note
from kotatsu_operator.core.pool.spec import PLATFORM, Platform, PoolSpec
from kotatsu_operator.core.report.conditions import (
    keeps_one,
    lowered,
    pool_conditions,
    target_conditions,
    transitions,
)
from kotatsu_operator.core.report.status import (
    Status,
    books_status,
    cost_status,
    decided_status,
    is_written,
    kept_cost,
    read_memory,
    wake_status,
)
from kotatsu_operator.core.schema import joined
from kotatsu_operator.kube.errors import ConflictError, NotFoundError
from kotatsu_operator.kube.objects import Key, Object, WarmPool, key_of, ref
from kotatsu_operator.kube.views import starting_pods

log = logging.getLogger(__name__)

_EPOCH = datetime.fromtimestamp(0, UTC)

BEAT = timedelta(seconds=2)
"""How often the pods of an awake pool are asked for their demand."""

BEATS_PER_SECOND = 50
"""Awake pools that are asked per second at most: asking more of them would take a CPU core. With
more awake pools, each is asked less often. Events (pods, edits, announcements) are still handled at
once."""

WAKE_GOES_FIRST = timedelta(milliseconds=500)
"""How long the operator leaves a pool alone that a request has woken. The activator starts the pod;
until it answers, the CPU of API server and node is spent on that. A pool is left alone once for
each wake, whatever else is announced."""


MOST_UNANSWERED = 10
"""Writes of one pool at most that got no answer and may still be done."""


@dataclass
class Reconciler:
    """Carries out decisions. Stores per pool only what the status does not have."""

    tools: Tools
    cache: Cache
    reporter: Reporter
    features: Sequence[Feature] = ()
    """Their hooks are called in this order."""
    pacer: Pacer = field(default_factory=Pacer)
    monotonic: Callable[[], float] | None = None
    """Measures time in seconds; by default, the clock does."""
    first_start: timedelta = FIRST_START
    """The time to Ready that is assumed for a pool that has never started."""
    platform: Platform = PLATFORM
    shows: Sequence[Callable[[str], bool]] = ()
    """Whether a namespace has been listed completely; if not, its pools stay as they are."""
    awaits: Awaits = nothing_awaited
    _kinds: Kinds = field(init=False)
    _former: Former = field(init=False)
    _unserved: Unserved = field(init=False)
    _known: dict[Key, Learned] = field(default_factory=dict)
    """What the last reconcile of each pool has learned whose status was written."""
    _doubtful: dict[Key, list[tuple[str, Report]]] = field(default_factory=dict)
    """Pools that may have changed unseen: the writes that got no answer, by their version."""
    _awake: set[Key] = field(default_factory=set)
    _waking: dict[Key, datetime] = field(default_factory=dict)
    """Until when the wake of a pool goes first."""

    def __post_init__(self) -> None:
        self._kinds = kinds_of(self.features, self.awaits)
        self._former = Former(self.tools, self.cache, self._kinds)
        settle, served = self.platform.route_settle, self.cache.served
        self._unserved = Unserved(
            self.tools, served, self._former, settle, self._shows, self.cache.why_full
        )

    def _shows(self, namespace: str) -> bool:
        return all(shows(namespace) for shows in self.shows)

    def forget(self, key: Key) -> None:
        for known in (self._known, self._doubtful, self._waking):
            known.pop(key, None)
        self._former.forget(key)
        self.reporter.forget(key)
        self._awake.discard(key)
        self.pacer.claim(key, None)
        for feature in self.features:
            feature.forget(key)

    def reset(self) -> None:
        """Remove all state, which gets outdated while another operator leads."""
        for feature in self.features:
            feature.reset()
        for known in (self._known, self._doubtful, self._waking):
            known.clear()
        self.reporter.reset()
        self._awake.clear()
        self.pacer.reset()
        self._former.reset()

    async def reconcile(self, key: Key) -> datetime | None:
        """Reconcile one pool; return when to reconcile it again.

        None if it is deleted, or nothing is to be done where it is.
        """
        if key in self._doubtful:
            await self._make_sure(key)
        pool = self.cache.pools.get(key)
        if pool is None:
            self.forget(key)
            return None
        now = self.tools.clock()
        is_mine = self.cache.served.is_mine(pool)
        is_left = not is_mine or key[0] in self.cache.retained.full
        if not is_left and not self._shows(key[0]):
            return now + BEAT
        if not is_left and (until := self._wake_goes_first(key, pool, now)) is not None:
            return until
        try:
            if is_left:
                return await self._leave(pool, now)
            last = self._last(pool).of(PoolSpec)
            target, refused = accept(key, pool, self.cache, self._kinds, last, self.platform)
            if target.is_unknown:
                return now + RETRY
            if is_retargeted(pool) or _is_shut_out(pool, refused):
                left = await self._former.leave(pool, target.spec.platform.route_settle, now)
                if isinstance(left, datetime):
                    self._learn(key, Memory())
                    return left
                refused = left
            return await self._decide(self._turn(pool, target, refused, now))
        except ConflictError:
            log.debug("%s/%s has changed during a reconcile: reconciling it again", *key)
            self._doubtful.setdefault(key, [])
            return now + RETRY
        except NotFoundError:
            return now + LOOK_AGAIN

    async def _leave(self, pool: Object, now: datetime) -> datetime | None:
        """Leave a pool that is not this install's (any more), or not yet, or not for now."""
        key = key_of(pool)
        self._learn(key, Memory())
        self._awake.discard(key)
        self.pacer.claim(key, None)
        again = await self._unserved.look(pool, now)
        if again is None:
            self.forget(key)
        return again

    def _wake_goes_first(self, key: Key, pool: Object, now: datetime) -> datetime | None:
        """Until when to leave a pool to the activator that wakes it; None if it is time."""
        status = table(pool.get("status"))
        # The watches show what an activator announces and what it raises in any order.
        if status.get("phase") != Phase.ASLEEP or not (_has_news(status) or self._runs(key, pool)):
            self._waking.pop(key, None)
            return None
        until = self._waking.setdefault(key, now + WAKE_GOES_FIRST)
        return until if now < until <= now + WAKE_GOES_FIRST else None

    def _runs(self, key: Key, pool: Object) -> bool:
        """Whether the watch shows replicas of a pool's target."""
        target = self.cache.workloads.get((key[0], ref(*target_of(pool))))
        return target is not None and target.replicas > 0

    def _last(self, pool: Object) -> Learned:
        """What this process knows of a pool."""
        known = self._known.get(key_of(pool), NOTHING_LEARNED)
        return known if known.uid == pool["metadata"]["uid"] else NOTHING_LEARNED

    def _learn(self, key: Key, *values: object) -> None:
        """Remember what was learned after the write of a status."""
        if (known := self._known.get(key)) is not None:
            self._known[key] = known.having(*values)

    def _turn(self, pool: Object, target: Target, refused: Refused | None, now: datetime) -> Turn:
        key, status, known = target.key, pool.get("status") or {}, self._last(pool)
        memory = read_memory(status, known.of(Memory) or Memory())
        memory = changed(memory, first_start=self.first_start)
        pods, departed = self.cache.target_pods(key[0], target.selector), []
        bills = self.cache.departed(key)
        learned = Learned(pool["metadata"]["uid"], self._measured(now), known.values, bills)
        if refused is None:
            learned = learned.having(target.spec)
        target = replace(target, spec=with_least(target.spec, memory))
        if refused is None or refused.counts:
            departed = bills
        else:
            pods = []  # another pool accounts for them
        conditions = conditions_of(status)
        turn = Turn(
            pool, target, refused, memory, pods, conditions, now, known=known, learned=learned
        )
        for feature in self.features:
            turn = feature.prepare(turn)
        billed = [*turn.pods, *turn.beside]
        before, elapsed = known.of(Ledger), turn.elapsed
        last = None if before is None or elapsed is None else (before, elapsed)
        account = settle(pool, turn.spec, billed, departed, last, now)
        turn = replace(turn, account=account, learned=turn.learned.having(account.ledger))
        if refused is None:
            return turn
        since = now
        if is_false(turn.accepted):
            since = instant(turn.accepted.get("lastTransitionTime")) or now
        allowed = account.allowed.refused(since, refused.ends)
        return replace(turn, account=replace(account, allowed=allowed))

    def _measured(self, now: datetime) -> timedelta:
        return now - _EPOCH if self.monotonic is None else timedelta(seconds=self.monotonic())

    async def _decide(self, turn: Turn) -> datetime:
        spec, memory, allowed, now = turn.spec, turn.memory, turn.account.allowed, turn.now
        if turn.refused is not None and not turn.is_decided:
            return await self._keep_books(turn, turn.refused)
        called = _is_called(turn)
        seen = await self._observe(turn, called=called)
        decision = decide(spec, seen, memory, now, allowed, turn.target.step)
        self.pacer.claim(turn.key, decision.claim)
        again = await self._act(turn, seen, decision)
        return min(again, now + RETRY) if called else again

    async def _observe(self, turn: Turn, *, called: bool) -> Observation:
        """All that a decision depends on, beside spec, memory and budget."""
        key, memory, allowed = turn.key, turn.memory, turn.account.allowed
        overdue = is_overdue(turn.spec, memory, allowed, self.cache.acknowledged(key), turn.now)
        ask = not (overdue or called)
        found = await turn.target.observe(self.tools, turn.pool, memory, turn.pods, ask=ask)
        is_known = memory.unknown_since is None if called else found.demand.known  # as it was
        awake = memory.phase.is_awake
        generation = turn.status.get("observedGeneration")
        seen = replace(
            found,
            demand=replace(found.demand, known=is_known),
            edited=generation not in (None, turn.pool["metadata"]["generation"]),
            ahead=self.pacer.ahead(key),
            order=self.cache.order_of(key),
            starting=starting_pods(turn.pods, turn.target.rejected) if awake else NOTHING_STARTS,
        )
        for feature in self.features:
            seen = feature.observation(turn, seen)
        return seen

    async def _make_sure(self, key: Key) -> None:
        """Read the pool again: with a silent watch, every write would conflict from now on.

        If it has what a write said that got no answer, that was learned. Else the API server may
        do the write late, while the pool is at its version.
        """
        with contextlib.suppress(NotFoundError):
            self.cache.keep_pool(await self.tools.kube.get(WarmPool, *key))
        unanswered, pool = self._doubtful.pop(key), self.cache.pools.get(key)
        if pool is None:
            return
        for _, report in reversed(unanswered):
            if is_written(report.status, table(pool.get("status"))):
                await self._commit(pool, report)
                return
        if left := [one for one in unanswered if one[0] == pool["metadata"]["resourceVersion"]]:
            self._doubtful[key] = left[-MOST_UNANSWERED:]

    async def _commit(self, pool: Object, report: Report) -> None:
        """Remember what a reconcile has learned, and say it, now that the status has it."""
        key = key_of(pool)
        self._doubtful.pop(key, None)
        self._known[key] = report.learned
        self.cache.settled(key, report.learned.bills)
        await self.reporter.post(pool, report.notes)

    # --- act ---

    async def _act(self, turn: Turn, seen: Observation, decided: Decision) -> datetime:
        """Write the target, then the status, then what has to come after the status."""
        decision = await self._before(turn, decided)
        first = await turn.target.act(self.tools, turn.pool, seen, decision, turn.now)
        if turn.memory.phase.is_asleep:
            # Only its scale says what it had: were the write of the status lost, so were the event.
            await self.reporter.post(first.pool, lowered(turn.spec, seen.replicas, decision))
        plain, conditions = _report(turn, first, seen, decision)
        report = self._added(turn, plain)
        pool = await self._write(turn, first.pool, report, conditions)
        await self.tools.remember(pool)
        again = await self._after(turn, pool, report)
        finished = await first.finish(pool)
        self._learn(turn.key, finished.memory or decision.memory)
        await self.reporter.post(pool, finished.notes)
        return finished.again or self._next(turn, decision, again)

    def _next(self, turn: Turn, decision: Decision, again: datetime) -> datetime:
        """When to look at a pool again: an awake one with the next beat, or before."""
        awake = not decision.memory.phase.is_asleep
        (self._awake.add if awake else self._awake.discard)(turn.key)
        if not awake:
            return again
        soonest = decision.recheck_between_beats or decision.recheck
        return min(again, soonest, turn.now + self._beat)

    async def _before(self, turn: Turn, decision: Decision) -> Decision:
        """Let the features act first; return the decision with what they have changed."""
        for feature in self.features:
            decision = await feature.before(self.tools, turn, decision)
        return decision

    def _added(self, turn: Turn, report: Report) -> Report:
        """A report with what the features add to it."""
        for feature in self.features:
            report = feature.status(turn, report)
        return report

    async def _after(self, turn: Turn, pool: Object, report: Report) -> datetime:
        """Let the features act; return when to reconcile at the latest."""
        again = report.decision.recheck
        for feature in self.features:
            if (after := await feature.after(self.tools, turn, report)) is not None:
                await self.reporter.post(pool, after.notes)
                again = min(again, after.again or again)
                self._learn(turn.key, *after.learned)
                self._show(turn.key, after.history)
        return again

    def _show(self, key: Key, history: Object | None) -> None:
        if history is not None:
            for feature in self.features:
                feature.see_history(key, history)

    @property
    def _beat(self) -> timedelta:
        return max(BEAT, timedelta(seconds=len(self._awake) / BEATS_PER_SECOND))

    # --- report ---

    async def _keep_books(self, turn: Turn, refused: Refused) -> datetime:
        """Do what remains for a rejected pool: count costs, end its override, report what runs."""
        key, ledger = turn.key, turn.account.ledger
        seen = Observation(
            replicas=turn.target.replicas,
            ready=sum(p.ready and not p.terminating for p in turn.pods),
            pods=sum(p.scheduled_at is not None for p in turn.pods),
        )
        decision = books_only(turn.spec, turn.memory, turn.now, turn.account.allowed)
        decision = await self._before(turn, decision)
        self.pacer.claim(key, None)
        self._awake.discard(key)
        conditions = refused_conditions(refused, ledger, seen.pods)
        notes = (*_news(turn, conditions), *turn.account.notes)
        status = books_status(turn.spec, seen, decision.memory, ledger)
        unasked = replace(seen, demand=Demand(known=False))
        made = Report(unasked, decision, ledger, status, notes, turn.learned)
        report = self._added(turn, made)
        pool = await self._write(turn, turn.pool, report, conditions)
        given_up = replace(decision, memory=replace(decision.memory, capacity=0))
        return await self._after(turn, pool, replace(report, decision=given_up))

    async def _write(
        self,
        turn: Turn,
        pool: Object,
        report: Report,
        conditions: Sequence[Status],
    ) -> Object:
        """Write the status of a pool, whose newest version is `pool`; return it as written."""
        status = report.status
        conditions = [*conditions, *turn.account.conditions, *turn.further]
        activators = self.cache.served.scope.set_of(turn.key[0])
        if activators != activators_of(turn.pool):
            # They follow what the status says, and need no operator.
            status = joined(status, {"internal": {"activators": activators or None}})
        status = self.reporter.completed(pool, turn.pool, status, conditions, turn.now)
        report = replace(report, status=status)
        try:
            pool = await self.reporter.write(pool, status, turn.now)
        except ConflictError:
            raise  # it was not done, but one before that got no answer may be by now
        except Exception:
            version = pool["metadata"]["resourceVersion"]
            self._doubtful.setdefault(turn.key, []).append((version, report))
            raise
        await self._commit(pool, report)
        return pool


def _report(
    turn: Turn, first: Writes, seen: Observation, decision: Decision
) -> tuple[Report, list[Status]]:
    """What is reported of a decision and the first writes of its target; and the conditions."""
    spec, refused, now = turn.spec, turn.refused, turn.now
    shown = seen.as_shown(decision.floor)
    if refused is None:
        ledger = turn.account.foresee(
            spec, decision.memory, turn.target.requests, seen.parking, now
        )
        cost = cost_status
        known = pool_conditions(spec, shown, decision)
        conditions = first.explain([*known, *target_conditions(spec, shown, decision, now)])
    else:
        # The forecast of a rejected pool is unknown, because its schedule is not in effect.
        ledger, cost = turn.account.ledger, kept_cost
        conditions = refused_conditions(refused, ledger, shown.pods)
    status = joined(decided_status(spec, shown, decision, ledger, cost), first.status)
    status |= wake_status(shown.demand.last_wake, turn.status)
    fewer: list[Note] = []
    if not turn.memory.phase.is_asleep:  # also where the write of a status has failed since
        before = count(turn.status.get("desiredReplicas"), seen.replicas)
        fewer = lowered(spec, before, decision)
    news = _news(turn, [*conditions, *turn.further])
    notes = (*decision.notes, *fewer, *turn.account.notes, *news)
    learned = turn.learned.having(decision.memory)
    return Report(shown, decision, ledger, status, notes, learned), conditions


def _is_shut_out(pool: Object, refused: Refused | None) -> bool:
    """Whether the clients of a sleeping pool are limited now: only its own pods may answer them."""
    phase = choice(Phase, table(pool.get("status")).get("phase"), None)
    return refused is not None and refused.reason == "Isolated" and bool(phase and phase.is_asleep)


def _has_news(status: Mapping[str, Any]) -> bool:
    """Whether an activator has announced a request that no decision has processed."""
    demand = table(status.get("demand"))
    return demand.get("at") not in (None, demand.get("seen"))


def _is_called(turn: Turn) -> bool:
    """Whether an activator has announced a request to parked pods: nothing else decides then."""
    return turn.memory.phase is Phase.PARKED and _has_news(turn.status)


def _news(turn: Turn, conditions: Sequence[Status]) -> list[Note]:
    """The events of what the status does not have yet: a rejection, or changed conditions."""
    known, refused, spec = turn.accepted.get("message", ""), turn.refused, turn.spec
    if refused is not None:
        is_known = known.startswith(refused.message)
        return [] if is_known else [Note("NotAccepted", refused.message, warning=True)]
    never = [] if spec.suspend else dropped(spec.windows, spec.zone)
    is_older = turn.memory.keeps_one and not internal(turn.status).get("keepsOne")
    has_least = spec.min_replicas or spec.target.scales_itself or turn.memory.original is not None
    return [
        *([keeps_one(spec, turn.memory)] if is_older and not has_least else ()),
        *transitions(turn.conditions, conditions),
        *(
            Note("WindowNeverOpens", d.message, warning=True)
            for d in never
            if d.message not in known
        ),
    ]
