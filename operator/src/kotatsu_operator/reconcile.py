"""One look at one pool: observe, decide, act, write down."""

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from .acceptance import Accepted, Refusal, accept
from .accounts import Account, Accounts
from .autoscaling import set_minimum
from .conditions import condition, date_conditions, pool_conditions, target_conditions, transitions
from .core.clock_changes import dropped
from .core.decide import LOOK_AGAIN, decide
from .core.ledger import Ledger
from .core.phases import is_overdue
from .core.spec import PoolSpec
from .core.state import Decision, Demand, Memory, Note, Observation
from .events import Events
from .knative import floor as knative
from .knative.view import kept_status
from .kube import ConflictError, Kube, NotFoundError, Object, WarmPool
from .observe import Observer
from .pacer import Pacer
from .sleep import Hook, Remember, no_hook, no_record, try_sleep
from .status import Status, decided_status, read_memory, worth_writing
from .views import Key
from .world import World

log = logging.getLogger(__name__)

BEAT = timedelta(seconds=2)
"""How often an awake pool's pods are asked what they are doing."""

BEATS_PER_SECOND = 50
"""Awake pools are asked less often where there are so many that asking would take a core: whatever
happens to them by itself (pods, edits, announcements) is seen at once all the same."""

RETRY = timedelta(milliseconds=200)
"""How soon a look is repeated that lost a race, found a request in flight while draining, or has
patched a Knative Revision."""

WRITE_QUIET = timedelta(seconds=60)
"""How often what changes all the time (cost, last activity) is written to the status."""


class Display(Protocol):
    """Somebody who shows decisions: metrics, the console."""

    def show(self, key: Key, seen: Observation, decision: Decision, ledger: Ledger) -> None:
        """Show one decision."""

    def refuse(self, key: Key) -> None:
        """Nothing is decided on this pool: it is not in force."""

    def forget(self, key: Key) -> None:
        """Forget a pool that is gone."""

    def rest(self, key: Key) -> None:
        """Nothing is decided on this pool here any more: another operator may lead."""


@dataclass
class Reconciler:
    """Carries out decisions. Holds per pool only what the status does not keep."""

    kube: Kube
    world: World
    observer: Observer
    events: Events
    displays: Sequence[Display]
    clock: Callable[[], datetime]
    hook: Hook = no_hook
    pacer: Pacer = field(default_factory=Pacer)
    accounts: Accounts = field(default_factory=Accounts)
    remember: Remember = no_record
    _memory: dict[Key, Memory] = field(default_factory=dict)
    _written: dict[Key, datetime] = field(default_factory=dict)
    _awake: set[Key] = field(default_factory=set)

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a deleted pool."""
        self._memory.pop(key, None)
        self.accounts.forget(key)
        self._written.pop(key, None)
        self._awake.discard(key)
        self.pacer.claim(key, None)
        for display in self.displays:
            display.forget(key)

    def reset(self) -> None:
        """Drop all that is remembered: while another operator leads, it grows old."""
        for key in self._memory.keys() | self._written.keys():
            for display in self.displays:
                display.rest(key)
        self._memory.clear()
        self._written.clear()
        self._awake.clear()
        self.pacer.reset()
        self.accounts.reset()

    async def look(self, key: Key) -> datetime | None:
        """Look at one pool; returns when to look again, None when it is gone."""
        pool = self.world.pools.get(key)
        if pool is None:
            self.forget(key)
            return None
        now = self.clock()
        if self.world.knative.is_unknown and key in self.world.pools_of_kind("Service"):
            return now + RETRY
        judged = accept(key, pool, self.world)
        if isinstance(judged, Refusal):
            await self._refuse(key, pool, judged, now)
            return now + LOOK_AGAIN
        spec = judged.spec
        status = pool.get("status") or {}
        memory = read_memory(status, self._memory.get(key, Memory()))
        pods = self.world.target_pods(key[0], judged.selector)
        departed = self.world.take_departed(key)
        account = self.accounts.settle(key, pool, spec, pods, departed, now)
        try:
            acknowledged = self.world.acknowledged(key)
            overdue = is_overdue(spec, memory, account.allowed, acknowledged, now)
            seen = await self.observer.observe(key, judged, status, memory, pods, ask=not overdue)
            known = status.get("observedGeneration")
            edited = known is not None and known != pool["metadata"]["generation"]
            seen = replace(seen, edited=edited, ahead=self.pacer.ahead(key))
            decision = decide(spec, seen, memory, now, account.allowed)
            self.pacer.claim(key, decision.claim)
            return await self._act(key, pool, judged, seen, decision, account, now)
        except ConflictError:
            log.debug("%s/%s changed while being looked at; again", *key)
            await self._reread(key)
            return now + RETRY
        except NotFoundError:
            return now + LOOK_AGAIN

    async def _reread(self, key: Key) -> None:
        """Read the pool itself: a watch that went silent would lose every race from here on."""
        with contextlib.suppress(NotFoundError):
            self.world.keep_pool(await self.kube.get(WarmPool, *key))

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
    ) -> datetime:
        spec = judged.spec
        pool = await set_minimum(self.kube, self.world, pool, seen, decision)
        if decision.replicas is not None and decision.replicas != seen.replicas:
            await self._scale(key, spec, decision.replicas)
        ledger = account.foresee(spec, decision.memory, judged.requests, now)
        seen = knative.as_shown(seen, decision)
        status = decided_status(spec, seen, decision, ledger)
        conditions = pool_conditions(spec, seen, decision)
        conditions += target_conditions(spec, seen, decision, now)
        course = knative.plan_course(
            self.world.knative, key, spec, pool.get("status") or {}, decision.floor
        )
        if course is not None:
            # Written before any Revision is touched: a crash in between forgets nothing.
            status["knative"] = kept_status(course.kept)
            conditions = knative.explain(conditions, judged.knative_service, course, decision, now)
        conditions += account.conditions
        told = (*decision.notes, *transitions(_conditions(pool), conditions), *account.notes)
        told += self._never_opens(pool, spec)
        pool = await self._put_status(key, pool, status, conditions, now)
        self._memory[key] = decision.memory
        await self._tell(key, pool, told)
        for display in self.displays:
            display.show(key, seen, decision, ledger)
        await self.remember(pool, None)
        if course is not None:
            await knative.apply(self.kube, self.world.knative, key[0], course.patches)
            if course.patches:
                # Our own patch is no news when the watch tells of it, and what the pool remembers
                # of the Revision may be done with now.
                return now + RETRY
        if spec.target.is_knative:
            return decision.recheck
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
        """Windows that a change of clocks swallows, unless the status names them already."""
        if spec.suspend:
            return ()
        told = "".join(c["message"] for c in _conditions(pool) if c["type"] == "Accepted")
        return tuple(
            Note("WindowNeverOpens", d.message, warning=True)
            for d in dropped(spec.windows, spec.zone)
            if d.message not in told
        )

    async def _scale(self, key: Key, spec: PoolSpec, replicas: int) -> None:
        """Set the target's replicas at the version read; never to 0, which is try_sleep's."""
        scale = await self.kube.get_scale(key[0], spec.target.name)
        if scale.replicas != replicas:
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
                return Demand()  # overdue (see is_overdue): only unknown demand is forced too
            deployment = self.world.deployments.get((key[0], spec.target.name))
            selector = deployment.selector if deployment else {"matchLabels": {"": ""}}
            pods = self.world.target_pods(key[0], selector)
            return await self.observer.demand(key, spec, pods, looks=True)

        attempt = await try_sleep(
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
            self.world.keep_pool(attempt.pool)
        if attempt.memory is not None:
            self._memory[key] = attempt.memory
        if attempt.asleep:
            log.info("%s/%s: asleep", *key)
            note = Note("Sleeping", "replicas are 0; the last pods finish what they serve")
            await self._tell(key, pool, (note,))
        else:
            log.info("%s/%s: not asleep yet: %s", *key, attempt.why)
        return now + RETRY

    # --- write down ---

    async def _refuse(self, key: Key, pool: Object, refusal: Refusal, now: datetime) -> None:
        conditions = [
            condition("Accepted", False, refusal.reason, refusal.message),
            condition("Ready", False, refusal.reason, refusal.message),
            condition("Warm", False, refusal.reason, refusal.message),
        ]
        for display in self.displays:
            display.refuse(key)
        try:
            before = [c for c in _conditions(pool) if c["type"] == "Accepted"]
            await self._put_status(key, pool, {}, conditions, now)
        except (ConflictError, NotFoundError):
            return
        if not before or before[0]["message"] != refusal.message:
            note = Note("NotAccepted", refusal.message, warning=True)
            await self._tell(key, pool, (note,))

    async def _put_status(
        self, key: Key, pool: Object, status: Status, conditions: list[Status], now: datetime
    ) -> Object:
        """Write the status if it says something new, at the version the decision was made on."""
        generation = pool["metadata"]["generation"]
        status["observedGeneration"] = generation
        status["conditions"] = date_conditions(conditions, _conditions(pool), generation, now)
        written = self._written.get(key)
        # Either way: a clock that was put back would keep it quiet until it is there again.
        quiet_too = written is None or abs(now - written) >= WRITE_QUIET
        if not worth_writing(status, pool.get("status") or {}, quiet_too=quiet_too):
            return pool
        pool = await self.kube.patch_status(
            key[0], key[1], status, pool["metadata"]["resourceVersion"]
        )
        self._written[key] = now
        self.world.keep_pool(pool)
        return pool

    async def _tell(self, key: Key, pool: Object, notes: tuple[Note, ...]) -> None:
        for note in notes:
            log.info("%s/%s: %s: %s", *key, note.reason, note.message)
            await self.events.post(pool, note, self.clock())


def _conditions(pool: Object) -> list[Status]:
    return (pool.get("status") or {}).get("conditions") or []
