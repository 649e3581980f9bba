"""A Deployment as a target: the pool sets its scale, and minReplicas of its autoscaler."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar

from kotatsu_operator.controller.act.hpa import give_back, let_go, set_minimum
from kotatsu_operator.controller.act.scale_down import ScaleDown
from kotatsu_operator.controller.targets.checks import (
    check_autoscalers,
    check_claim,
    check_exists,
    check_service,
)
from kotatsu_operator.controller.targets.target import (
    NO_POD,
    RETRY,
    Finished,
    Objection,
    Refusal,
    Restore,
    Target,
    Tools,
    Writes,
    nothing_left,
)
from kotatsu_operator.core.budget.limit import Ends
from kotatsu_operator.core.formats import instant
from kotatsu_operator.core.pool.decision import Decision, Note
from kotatsu_operator.core.pool.memory import Memory
from kotatsu_operator.core.pool.observation import Demand, Observation
from kotatsu_operator.core.protocol import ACTIVATOR, NAME_LABEL, OPERATOR, PROGRAM
from kotatsu_operator.core.report.record import Entry, found_replicas
from kotatsu_operator.core.report.status import read_original
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.deployment import DeploymentView, read_autoscaler
from kotatsu_operator.kube.objects import Object
from kotatsu_operator.kube.pod import PodView

log = logging.getLogger(__name__)


async def restore_replicas(kube: Kube, namespace: str, entry: Entry) -> str:
    """Restore a Deployment's replicas if it is at 0; a running Deployment stays as it is."""
    if entry.kind != "Deployment":
        return ""
    scale = await kube.get_scale(namespace, entry.target)
    if scale.replicas > 0:
        return f"Deployment {entry.target} runs ({scale.replicas} replicas) and stays as it is"
    replicas = int(entry.owed["restoreReplicas"])
    if replicas == 0:
        return f"Deployment {entry.target} stays at 0 replicas, as the pool found it"
    await kube.put_scale(namespace, entry.target, replicas, scale.version)
    return f"Deployment {entry.target} has {replicas} replicas again"


async def _restore_minimum(kube: Kube, namespace: str, entry: Entry) -> str:
    known = read_original(entry.owed)
    return "" if known is None else await give_back(kube, namespace, known)


@dataclass(frozen=True)
class DeploymentTarget(Target):
    """The Deployment of one pool."""

    restores: ClassVar[Mapping[str, Restore]] = {
        # minReplicas first: the autoscaler then lowers the replicas itself as far as it may.
        "hpa": Restore(
            _restore_minimum,
            "set minReplicas of its autoscaler to {minReplicas}",
            ends_with_pods=False,
        ),
        "restoreReplicas": Restore(restore_replicas, "scale its target to {}"),
    }

    # --- read ---

    @property
    def deployment(self) -> DeploymentView | None:
        """The Deployment; None if it does not exist."""
        return self.cache.deployments.get(self.place)

    @property
    def autoscalers(self) -> list[Object]:
        """The HorizontalPodAutoscalers that scale it, by name."""
        return self.cache.autoscalers_of(self.place)

    @property
    def selector(self) -> Mapping[str, Any]:
        """The label selector of its pods; after its deletion, as long as it has pods."""
        return self.cache.selector_of(self.place) or NO_POD

    @property
    def requests(self) -> Mapping[str, Decimal]:
        """The resource requests of one pod (base units)."""
        return {} if self.deployment is None else self.deployment.requests

    @property
    def replicas(self) -> int:
        """spec.replicas; 0 if it does not exist."""
        return 0 if self.deployment is None else self.deployment.replicas

    @property
    def other_writer(self) -> str:
        """The other manager that has set its replicas; empty if there is none."""
        write = None if self.deployment is None else self.deployment.write
        return "" if write is None else write.by

    # --- accept ---

    def objections(self) -> Iterator[Objection]:
        """Check the names, the Service and the autoscaler."""
        labels = {} if self.deployment is None else self.deployment.labels
        yield self._is_kotatsu(labels), Ends.NOTHING
        yield check_claim(self), Ends.NOTHING
        yield check_exists(self, "Deployment", exists=self.deployment is not None), Ends.NOTHING
        yield check_service(self, labels), Ends.LOWER
        yield check_autoscalers(self, self.autoscalers), Ends.NOTHING

    def _is_kotatsu(self, labels: Mapping[str, str]) -> Refusal | None:
        """Reject Kotatsu itself: at 0 it could not wake any pool, nor itself."""
        name = self.spec.target.name
        if name not in (OPERATOR, ACTIVATOR) and labels.get(NAME_LABEL) != PROGRAM:
            return None
        return Refusal(
            "TargetIsKotatsu",
            f"Deployment {name} is Kotatsu itself, which must run while other workloads sleep: "
            "name another Deployment in spec.targetRef.name",
        )

    # --- observe ---

    async def observe(
        self, tools: Tools, pool: Object, memory: Memory, pods: list[PodView], *, ask: bool
    ) -> Observation:
        """What a decision depends on. Raises NotFoundError if the Deployment was just deleted."""
        deployment, autoscaler = self.deployment, next(iter(self.autoscalers), None)
        assert deployment is not None  # noqa: S101  (a pool without it is rejected)
        replicas = deployment.replicas
        if replicas > 0 and memory.phase.is_asleep:
            # The watch may lag behind the operator's own write of 0.
            replicas = (await tools.kube.get_scale(*self.place)).replicas
        ask = ask and not memory.phase.is_asleep
        demand = await tools.observer.demand(self.key, self.spec, pods) if ask else Demand()
        announced = (pool.get("status") or {}).get("demand") or {}
        return Observation(
            replicas=replicas,
            ready=sum(p.ready and not p.terminating for p in pods),
            pods=sum(p.scheduled_at is not None for p in pods),
            acknowledged=self.cache.acknowledged(self.key),
            demand=replace(demand, ticket=instant(announced.get("at"))),
            template=deployment.template,
            updated=deployment.updated,
            autoscaler=None if autoscaler is None else read_autoscaler(autoscaler),
            write=deployment.write,
            catching_up=timedelta(seconds=tools.observer.catching_up()),
        )

    # --- act ---

    async def act(
        self, tools: Tools, pool: Object, seen: Observation, decision: Decision, now: datetime
    ) -> Writes:
        """Set the autoscaler's minReplicas and the scale; the way down follows the status."""
        kube, wanted, only_down = tools.kube, decision.replicas, decision.only_down
        found = None if only_down else found_replicas(pool.get("status") or {}, seen.replicas)
        writes = wanted not in (None, seen.replicas) or decision.minimum is not None
        if found is not None and writes:
            # Before any write to the target, so that a crash in between loses nothing.
            version = pool["metadata"]["resourceVersion"]
            pool = await kube.patch_status(*self.key, {"foundReplicas": found}, version)
            self.cache.keep_pool(pool)
        pool = await set_minimum(kube, self.cache, pool, seen, decision)
        if wanted is not None and wanted != seen.replicas:
            await self._scale(tools, wanted, only_down=only_down)
        sleep = partial(self._sleep, tools, seen, decision, now)
        status = {} if found is None else {"foundReplicas": found}
        return Writes(pool, status, finish=sleep if decision.sleep else nothing_left)

    async def _scale(self, tools: Tools, replicas: int, *, only_down: bool) -> None:
        """Set the replicas at the version read; only `ScaleDown` sets 0."""
        scale = await tools.kube.get_scale(*self.place)
        if scale.replicas > replicas or (scale.replicas < replicas and not only_down):
            await tools.kube.put_scale(*self.place, replicas, scale.version)
            log.info("%s/%s: replicas %d → %d", *self.key, scale.replicas, replicas)

    async def _sleep(
        self, tools: Tools, seen: Observation, decision: Decision, now: datetime, pool: Object
    ) -> Finished:
        async def look() -> Demand:
            if decision.force and seen.demand.known:
                return Demand()  # overdue (see is_overdue): ask only if demand is unknown
            pods = self.cache.target_pods(self.key[0], self.selector)
            return await tools.observer.demand(self.key, self.spec, pods, looks=True)

        steps = ScaleDown(tools.kube, self.key, self.spec, tools.clock, tools.hook, tools.remember)
        attempt = await steps.attempt(
            decision.memory, pool["metadata"]["generation"], look, force=decision.force
        )
        if attempt.pool is not None:
            self.cache.keep_pool(attempt.pool)
        notes: tuple[Note, ...] = ()
        if attempt.asleep:
            log.info("%s/%s: asleep", *self.key)
            notes = (Note("Sleeping", "replicas are 0; the last pods finish their requests"),)
        else:
            log.info("%s/%s: not asleep yet: %s", *self.key, attempt.why)
        return Finished(now + RETRY, attempt.memory, notes)

    @classmethod
    async def release(cls, tools: Tools, target: Target, pool: Object, _now: datetime) -> Writes:
        """Restore the minReplicas of an autoscaler that the pool's former target has."""
        await let_go(tools.kube, target.cache, pool)
        return Writes(pool)
