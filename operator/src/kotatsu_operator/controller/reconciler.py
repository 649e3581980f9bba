"""One reconcile of one pool: observe, decide, act, write the status."""

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from kotatsu_operator.controller.accept.acceptance import Accepted, Refused, accept
from kotatsu_operator.controller.accept.conditions import refused_conditions
from kotatsu_operator.controller.accounts import Account, Accounts
from kotatsu_operator.controller.act import knative
from kotatsu_operator.controller.act.hpa import set_minimum
from kotatsu_operator.controller.act.scale_down import (
    Hook,
    Remember,
    no_hook,
    no_record,
    scale_down,
)
from kotatsu_operator.controller.cache.store import Cache
from kotatsu_operator.controller.observe.observer import Observer
from kotatsu_operator.controller.pacer import Pacer
from kotatsu_operator.controller.report.events import Events
from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.budget.limit import Ends
from kotatsu_operator.core.calendar.clock_changes import dropped
from kotatsu_operator.core.decide.decide import LOOK_AGAIN, books_only, decide
from kotatsu_operator.core.decide.phases import is_overdue
from kotatsu_operator.core.formats import instant
from kotatsu_operator.core.pool.decision import Decision, Note
from kotatsu_operator.core.pool.memory import Memory
from kotatsu_operator.core.pool.observation import Demand, Observation
from kotatsu_operator.core.pool.spec import PoolSpec
from kotatsu_operator.core.report.conditions import (
    date_conditions,
    pool_conditions,
    target_conditions,
    transitions,
)
from kotatsu_operator.core.report.record import found_replicas
from kotatsu_operator.core.report.status_reader import read_memory
from kotatsu_operator.core.report.status_writer import (
    Status,
    books_status,
    decided_status,
    without_unread_cost,
    worth_writing,
)
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError
from kotatsu_operator.kube.knative import kept_status
from kotatsu_operator.kube.objects import Key
from kotatsu_operator.kube.pod import PodView
from kotatsu_operator.kube.resources import Object, WarmPool

log = logging.getLogger(__name__)

BEAT = timedelta(seconds=2)
"""How often the pods of an awake pool are asked for their demand."""

BEATS_PER_SECOND = 50
"""Awake pools that are asked per second at most: asking more of them would take a CPU core. With
more awake pools, each is asked less often. Events (pods, edits, announcements) are still handled at
once."""

RETRY = timedelta(milliseconds=200)
"""How soon a reconcile is repeated after a conflict, after a request in flight while draining, or
after a patch of a Knative Revision (also a rejected one)."""

WRITE_QUIET = timedelta(seconds=60)
"""How often values that change all the time (cost, last activity) are written to the status."""


class Display(Protocol):
    """Shows decisions: the metrics and the console."""

    def show(self, key: Key, seen: Observation, decision: Decision, ledger: Ledger) -> None:
        """Show a decision."""

    def refuse(self, key: Key, seen: Observation, decision: Decision, ledger: Ledger) -> None:
        """Show a rejected pool: nothing starts, but what runs may end."""

    def forget(self, key: Key) -> None:
        """Remove a deleted pool."""

    def rest(self, key: Key) -> None:
        """Stop showing a pool: another operator may lead."""


@dataclass
class Reconciler:
    """Carries out decisions. Stores per pool only what the status does not have."""

    kube: Kube
    cache: Cache
    observer: Observer
    events: Events
    displays: Sequence[Display]
    clock: Callable[[], datetime]
    hook: Hook = no_hook
    pacer: Pacer = field(default_factory=Pacer)
    accounts: Accounts = field(default_factory=Accounts)
    remember: Remember = no_record
    shows: Callable[[str], bool] = lambda _: True
    """Whether a namespace has been listed completely; if not, its pools stay as they are."""
    _memory: dict[Key, Memory] = field(default_factory=dict)
    _written: dict[Key, datetime] = field(default_factory=dict)
    _awake: set[Key] = field(default_factory=set)
    _specs: dict[Key, PoolSpec] = field(default_factory=dict)
    """The last accepted spec of each pool."""

    def forget(self, key: Key) -> None:
        """Remove all state of a deleted pool."""
        self._memory.pop(key, None)
        self.accounts.forget(key)
        self._written.pop(key, None)
        self._specs.pop(key, None)
        self._awake.discard(key)
        self.pacer.claim(key, None)
        for display in self.displays:
            display.forget(key)

    def reset(self) -> None:
        """Remove all state, which gets outdated while another operator leads."""
        for key in self._memory.keys() | self._written.keys():
            for display in self.displays:
                display.rest(key)
        self._memory.clear()
        self._written.clear()
        self._awake.clear()
        self.pacer.reset()
        self.accounts.reset()

    async def look(self, key: Key) -> datetime | None:
        """Reconcile one pool; return when to reconcile it again, None if it is deleted."""
        pool = self.cache.pools.get(key)
        if pool is None:
            self.forget(key)
            return None
        now = self.clock()
        if not self.shows(key[0]):
            return now + LOOK_AGAIN
        if self.cache.knative.is_unknown and key in self.cache.pools_of_kind("Service"):
            return now + RETRY
        judged = accept(key, pool, self.cache, self._specs.get(key))
        refused = judged if isinstance(judged, Refused) else None
        judged = judged.judged if isinstance(judged, Refused) else judged
        spec = judged.spec
        if refused is None:
            self._specs[key] = spec
        status = pool.get("status") or {}
        memory = read_memory(status, self._memory.get(key, Memory()))
        pods = self.cache.target_pods(key[0], judged.selector)
        departed = self.cache.take_departed(key)
        if refused is not None and not refused.counts:
            pods, departed = [], []  # another pool accounts for them
        account = self.accounts.settle(key, pool, spec, pods, departed, now)
        if refused is not None:
            since = _refused_since(pool) or now
            account = replace(account, allowed=account.allowed.refused(since, refused.ends))
        try:
            if refused is not None and (refused.ends is Ends.NOTHING or memory.since is None):
                return await self._keep_books(key, pool, refused, account, memory, pods, now)
            acknowledged = self.cache.acknowledged(key)
            overdue = is_overdue(spec, memory, account.allowed, acknowledged, now)
            seen = await self.observer.observe(key, judged, status, memory, pods, ask=not overdue)
            known = status.get("observedGeneration")
            edited = known is not None and known != pool["metadata"]["generation"]
            seen = replace(seen, edited=edited, ahead=self.pacer.ahead(key))
            decision = decide(spec, seen, memory, now, account.allowed)
            self.pacer.claim(key, decision.claim)
            return await self._act(key, pool, judged, seen, decision, account, now, refused)
        except ConflictError:
            log.debug("%s/%s changed while being looked at; again", *key)
            await self._reread(key)
            return now + RETRY
        except NotFoundError:
            return now + LOOK_AGAIN

    async def _reread(self, key: Key) -> None:
        """Read the pool again: with a silent watch, every write would conflict from now on."""
        with contextlib.suppress(NotFoundError):
            self.cache.keep_pool(await self.kube.get(WarmPool, *key))

    # --- act ---

    async def _act(
        self,
        key: Key,
        pool: Object,
        judged: Accepted,
        seen: Observation,
        decision: Decision,
        account: Account,
        now: datetime,
        refused: Refused | None = None,
    ) -> datetime:
        spec = judged.spec
        found = None
        if refused is None and not spec.target.is_knative:
            found = found_replicas(pool.get("status") or {}, seen.replicas)
        writes = decision.replicas not in (None, seen.replicas) or decision.minimum is not None
        if found is not None and writes:
            # Before any write to the target, so that a crash in between loses nothing.
            version = pool["metadata"]["resourceVersion"]
            pool = await self.kube.patch_status(*key, {"foundReplicas": found}, version)
            self.cache.keep_pool(pool)
        pool = await set_minimum(self.kube, self.cache, pool, seen, decision)
        if decision.replicas is not None and decision.replicas != seen.replicas:
            await self._scale(key, spec, decision.replicas, only_down=refused is not None)
        # The forecast of a rejected pool is unknown, because its schedule is not in effect.
        ledger = account.ledger
        if refused is None:
            ledger = account.foresee(spec, decision.memory, judged.requests, now)
        seen = knative.as_shown(seen, decision)
        status = decided_status(spec, seen, decision, ledger)
        if found is not None:
            status["foundReplicas"] = found
        conditions = pool_conditions(spec, seen, decision)
        conditions += target_conditions(spec, seen, decision, now)
        there = self.cache.knative
        course = await knative.plan_course(
            self.kube, there, key, spec, pool.get("status") or {}, decision.floor, now
        )
        if course is not None:
            # Written before any Revision is patched, so that a crash in between loses nothing.
            status["knative"] = kept_status(course.kept)
        if spec.target.is_knative:
            service = judged.knative_service
            conditions = knative.explain(conditions, there, key[0], service, course, decision, now)
        if refused is not None:
            status = without_unread_cost(status)
            conditions = refused_conditions(refused, ledger, seen.pods)
        conditions += account.conditions
        told: tuple[Note, ...] = (*decision.notes, *account.notes)
        if refused is None:
            told += (*transitions(_conditions(pool), conditions), *self._never_opens(pool, spec))
        else:
            told += _refusal_note(pool, refused)
        pool = await self._put_status(key, pool, status, conditions, now)
        self._memory[key] = decision.memory
        await self._tell(key, pool, told)
        for display in self.displays:
            (display.show if refused is None else display.refuse)(key, seen, decision, ledger)
        await self.remember(pool, None)
        if course is not None:
            await knative.apply(self.kube, there, key[0], course.patches, now)
            if course.patches:
                # The cache already has the operator's own patch, so the watch will not trigger a
                # reconcile. The saved min-scale of the Revision may not be needed any more.
                return now + RETRY
        if spec.target.is_knative:
            tries = [] if course is None else [r.again for r in course.refused.values()]
            return min(decision.recheck, *tries) if tries else decision.recheck
        if decision.sleep:
            return await self._sleep(key, pool, spec, seen, decision, now)
        awake = not decision.memory.phase.is_asleep
        (self._awake.add if awake else self._awake.discard)(key)
        if not awake:
            return decision.recheck
        return min(decision.recheck_between_beats or decision.recheck, now + self._beat)

    @property
    def _beat(self) -> timedelta:
        return max(BEAT, timedelta(seconds=len(self._awake) / BEATS_PER_SECOND))

    def _never_opens(self, pool: Object, spec: PoolSpec) -> tuple[Note, ...]:
        """Windows that a clock change skips, unless the status already names them."""
        if spec.suspend:
            return ()
        told = "".join(c["message"] for c in _conditions(pool) if c["type"] == "Accepted")
        return tuple(
            Note("WindowNeverOpens", d.message, warning=True)
            for d in dropped(spec.windows, spec.zone)
            if d.message not in told
        )

    async def _scale(
        self, key: Key, spec: PoolSpec, replicas: int, *, only_down: bool = False
    ) -> None:
        """Set the target's replicas at the version read; only `scale_down` sets 0."""
        scale = await self.kube.get_scale(key[0], spec.target.name)
        if scale.replicas > replicas or (scale.replicas < replicas and not only_down):
            await self.kube.put_scale(key[0], spec.target.name, replicas, scale.version)
            log.info("%s/%s: replicas %d → %d", *key, scale.replicas, replicas)

    async def _sleep(
        self,
        key: Key,
        pool: Object,
        spec: PoolSpec,
        seen: Observation,
        decision: Decision,
        now: datetime,
    ) -> datetime:
        async def look() -> Demand:
            if decision.force and seen.demand.known:
                return Demand()  # overdue (see is_overdue): ask only if demand is unknown
            deployment = self.cache.deployments.get((key[0], spec.target.name))
            selector = deployment.selector if deployment else {"matchLabels": {"": ""}}
            pods = self.cache.target_pods(key[0], selector)
            return await self.observer.demand(key, spec, pods, looks=True)

        attempt = await scale_down(
            self.kube,
            key,
            spec,
            decision.memory,
            pool["metadata"]["generation"],
            look,
            self.clock,
            force=decision.force,
            hook=self.hook,
            remember=self.remember,
        )
        if attempt.pool is not None:
            self.cache.keep_pool(attempt.pool)
        if attempt.memory is not None:
            self._memory[key] = attempt.memory
        if attempt.asleep:
            log.info("%s/%s: asleep", *key)
            note = Note("Sleeping", "replicas are 0; the last pods finish what they serve")
            await self._tell(key, pool, (note,))
        else:
            log.info("%s/%s: not asleep yet: %s", *key, attempt.why)
        return now + RETRY

    # --- report ---

    async def _keep_books(
        self,
        key: Key,
        pool: Object,
        refused: Refused,
        account: Account,
        memory: Memory,
        pods: list[PodView],
        now: datetime,
    ) -> datetime:
        """Do what remains for a rejected pool: count costs, end its override, report what runs."""
        spec, deployment, ledger = refused.judged.spec, refused.judged.deployment, account.ledger
        seen = Observation(
            replicas=0 if deployment is None else deployment.replicas,
            ready=sum(p.ready and not p.terminating for p in pods),
            pods=sum(p.scheduled_at is not None for p in pods),
        )
        decision = books_only(spec, memory, now, account.allowed)
        for display in self.displays:
            display.refuse(key, seen, decision, ledger)
        self.pacer.claim(key, None)
        self._awake.discard(key)
        status = books_status(spec, seen, decision.memory, ledger)
        conditions = [*refused_conditions(refused, ledger, seen.pods), *account.conditions]
        told = (*_refusal_note(pool, refused), *account.notes)
        pool = await self._put_status(key, pool, status, conditions, now)
        await self._tell(key, pool, told)
        return decision.recheck

    async def _put_status(
        self, key: Key, pool: Object, status: Status, conditions: list[Status], now: datetime
    ) -> Object:
        """Write the status if it has changed, at the version that the decision used."""
        generation = pool["metadata"]["generation"]
        status["observedGeneration"] = generation
        status["conditions"] = date_conditions(conditions, _conditions(pool), generation, now)
        written = self._written.get(key)
        # abs(): after the clock is set back, these writes would stop until it catches up.
        quiet_too = written is None or abs(now - written) >= WRITE_QUIET
        if not worth_writing(status, pool.get("status") or {}, quiet_too=quiet_too):
            return pool
        pool = await self.kube.patch_status(
            key[0], key[1], status, pool["metadata"]["resourceVersion"]
        )
        self._written[key] = now
        self.cache.keep_pool(pool)
        return pool

    async def _tell(self, key: Key, pool: Object, notes: tuple[Note, ...]) -> None:
        for note in notes:
            log.info("%s/%s: %s: %s", *key, note.reason, note.message)
            await self.events.post(pool, note, self.clock())


def _refused_since(pool: Object) -> datetime | None:
    """The time since which the status reports the pool as rejected."""
    for c in _conditions(pool):
        if c["type"] == "Accepted" and c["status"] == "False":
            return instant(c.get("lastTransitionTime"))
    return None


def _refusal_note(pool: Object, refused: Refused) -> tuple[Note, ...]:
    """The event of a rejection, unless the status already has its message."""
    told = "".join(c["message"] for c in _conditions(pool) if c["type"] == "Accepted")
    if told.startswith(refused.message):
        return ()
    return (Note("NotAccepted", refused.message, warning=True),)


def _conditions(pool: Object) -> list[Status]:
    return (pool.get("status") or {}).get("conditions") or []
