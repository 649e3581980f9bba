"""One look at one pool: observe, decide, act, write down."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from .acceptance import Refusal, accept
from .core.clock_changes import dropped
from .core.cost import Ledger, accrue
from .core.decide import LOOK_AGAIN, decide
from .core.spec import PoolSpec
from .core.state import Decision, Demand, Memory, Note, Observation, Phase
from .events import Events
from .kube import ConflictError, Kube, NotFoundError, Object
from .metrics import PoolMetrics
from .pacer import Pacer
from .scrape import Scraper
from .sleep import Hook, no_hook, try_sleep
from .status import (
    Status,
    condition,
    date_conditions,
    decided_status,
    pool_conditions,
    read_ledger,
    read_memory,
    worth_writing,
)
from .views import Key, PodView, moment
from .world import World

log = logging.getLogger(__name__)

BEAT = timedelta(seconds=2)
"""How often an awake pool's pods are asked what they are doing."""

BEATS_PER_SECOND = 100
"""Awake pools are asked less often where there are so many that asking would take a core: whatever
happens to them by itself (pods, edits, announcements) is seen at once all the same."""

RETRY = timedelta(milliseconds=200)
"""How soon a look that lost a race, or found a request in flight while draining, is repeated."""

WRITE_QUIET = timedelta(seconds=60)
"""How often what changes all the time (cost, last activity) is written to the status."""


@dataclass
class Reconciler:
    """Carries out decisions. Holds per pool only what the status does not keep."""

    kube: Kube
    world: World
    scraper: Scraper
    events: Events
    metrics: PoolMetrics
    clock: Callable[[], datetime]
    pacer: Pacer
    hook: Hook = no_hook
    _memory: dict[Key, Memory] = field(default_factory=dict)
    _ledger: dict[Key, Ledger] = field(default_factory=dict)
    _written: dict[Key, datetime] = field(default_factory=dict)
    _awake: set[Key] = field(default_factory=set)

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a deleted pool."""
        self._memory.pop(key, None)
        self._ledger.pop(key, None)
        self._written.pop(key, None)
        self._awake.discard(key)
        self.pacer.claim(key, None)
        self.metrics.forget(key)

    async def look(self, key: Key) -> datetime | None:
        """Look at one pool; returns when to look again, None when it is gone."""
        pool = self.world.pools.get(key)
        if pool is None:
            self.forget(key)
            return None
        now = self.clock()
        judged = accept(key, pool, self.world)
        if isinstance(judged, Refusal):
            await self._refuse(key, pool, judged, now)
            return now + LOOK_AGAIN
        spec = judged.spec
        status = pool.get("status") or {}
        memory = read_memory(status, self._memory.get(key, Memory()))
        selector = judged.deployment["spec"]["selector"]
        pods = self.world.target_pods(key[0], selector)
        try:
            seen = await self._observe(key, spec, judged.deployment, status, memory, pods)
            known = status.get("observedGeneration")
            edited = known is not None and known != pool["metadata"]["generation"]
            seen = replace(seen, edited=edited, ahead=self.pacer.ahead(key))
            decision = decide(spec, seen, memory, now)
            self.pacer.claim(key, decision.claim)
            return await self._act(key, pool, spec, seen, decision, pods, now)
        except ConflictError:
            log.debug("%s/%s changed while being looked at; again", *key)
            return now + RETRY
        except NotFoundError:
            return now + LOOK_AGAIN

    # --- observe ---

    async def _observe(
        self,
        key: Key,
        spec: PoolSpec,
        deployment: Object,
        status: Status,
        memory: Memory,
        pods: list[PodView],
    ) -> Observation:
        replicas = int(deployment["spec"].get("replicas", 1))
        if replicas > 0 and memory.phase in (Phase.ASLEEP, Phase.SLEEPING):
            # The watch may be a moment behind our own write of 0.
            replicas = (await self.kube.get_scale(key[0], spec.target.name)).replicas
        awake = memory.phase in (Phase.WARMING, Phase.WARM, Phase.DRAINING)
        demand = await self.demand(key, spec, pods) if awake else Demand()
        ticket = moment((status.get("demand") or {}).get("at"))
        return Observation(
            replicas=replicas,
            ready=sum(p.ready and not p.terminating for p in pods),
            pods=sum(p.scheduled_at is not None for p in pods),
            acknowledged=self.world.acknowledged(key),
            demand=replace(demand, ticket=ticket),
        )

    async def demand(self, key: Key, spec: PoolSpec, pods: list[PodView]) -> Demand:
        """Ask every staying pod and every activator; a silent Ready pod makes it unknown."""
        # Held first: a request that leaves the activator meanwhile is then seen in its pod.
        held = await self.scraper.held(self.world.activators(key[0]), key)
        known, in_flight, last = held is not None, 0, None
        metrics = spec.metrics
        if metrics is not None:
            asked = [p for p in pods if p.running and not p.terminating]
            answers = await asyncio.gather(*(self.scraper.pod(p, metrics) for p in asked))
            for pod, answer in zip(asked, answers, strict=True):
                if answer is None:
                    known = known and not pod.ready
                    continue
                in_flight += answer.in_flight
                if answer.last_request is not None:
                    last = max(last or answer.last_request, answer.last_request)
        return Demand(in_flight, held or 0, last, known=known)

    # --- act ---

    async def _act(
        self,
        key: Key,
        pool: Object,
        spec: PoolSpec,
        seen: Observation,
        decision: Decision,
        pods: list[PodView],
        now: datetime,
    ) -> datetime:
        if decision.replicas is not None and decision.replicas != seen.replicas:
            await self._scale(key, spec, decision.replicas)
        ledger = self._accrue(key, pool, spec, pods, now)
        status = decided_status(spec, seen, decision, ledger)
        conditions = pool_conditions(spec, seen, decision)
        never = self._never_opens(pool, spec)
        pool = await self._put_status(key, pool, status, conditions, now)
        self._memory[key] = decision.memory
        await self._tell(key, pool, (*decision.notes, *never))
        self.metrics.show(key, seen, decision, ledger)
        if decision.sleep:
            return await self._sleep(key, pool, spec, decision, now)
        awake = decision.memory.phase in (Phase.WARMING, Phase.WARM, Phase.DRAINING)
        (self._awake.add if awake else self._awake.discard)(key)
        return min(decision.recheck, now + self._beat) if awake else decision.recheck

    @property
    def _beat(self) -> timedelta:
        return max(BEAT, timedelta(seconds=len(self._awake) / BEATS_PER_SECOND))

    def _never_opens(self, pool: Object, spec: PoolSpec) -> list[Note]:
        """Windows that a change of clocks swallows, unless the status names them already."""
        if spec.suspend:
            return []
        told = "".join(c["message"] for c in _conditions(pool) if c["type"] == "Accepted")
        return [
            Note("WindowNeverOpens", d.message, warning=True)
            for d in dropped(spec.windows, spec.zone)
            if d.message not in told
        ]

    async def _scale(self, key: Key, spec: PoolSpec, replicas: int) -> None:
        """Set the target's replicas at the version read; never to 0, which is try_sleep's."""
        scale = await self.kube.get_scale(key[0], spec.target.name)
        if scale.replicas != replicas:
            await self.kube.put_scale(key[0], spec.target.name, replicas, scale.version)
            log.info("%s/%s: replicas %d → %d", *key, scale.replicas, replicas)

    async def _sleep(
        self, key: Key, pool: Object, spec: PoolSpec, decision: Decision, now: datetime
    ) -> datetime:
        async def look() -> Demand:
            deployment = self.world.deployments.get((key[0], spec.target.name))
            selector = deployment["spec"]["selector"] if deployment else {"matchLabels": {"": ""}}
            return await self.demand(key, spec, self.world.target_pods(key[0], selector))

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

    def _accrue(
        self, key: Key, pool: Object, spec: PoolSpec, pods: list[PodView], now: datetime
    ) -> Ledger:
        ledger = self._ledger.get(key) or read_ledger(pool.get("status") or {})
        billed = [p.billed for p in pods if p.billed is not None]
        ledger = accrue(ledger, billed, spec.budget, now) if spec.budget.currency else Ledger()
        self._ledger[key] = ledger
        return ledger

    async def _refuse(self, key: Key, pool: Object, refusal: Refusal, now: datetime) -> None:
        conditions = [
            condition("Accepted", False, refusal.reason, refusal.message),
            condition("Ready", False, refusal.reason, refusal.message),
            condition("Warm", False, refusal.reason, refusal.message),
        ]
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
        quiet_too = written is None or now - written >= WRITE_QUIET
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
