"""A workload with a scale as a target: the pool sets it, and minReplicas of its autoscaler."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from kotatsu_operator.controller import target
from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.scale_down import ScaleDown
from kotatsu_operator.controller.target import Kinds, Target, Tools
from kotatsu_operator.core.budget.limit import Ends
from kotatsu_operator.core.decide import refusal
from kotatsu_operator.core.decide.isolation import check_isolation
from kotatsu_operator.core.formats import instant, internal, table
from kotatsu_operator.core.give_back import minimum_back
from kotatsu_operator.core.objects import read_autoscaler, selects
from kotatsu_operator.core.pool.decision import Decision, Demand, Observation
from kotatsu_operator.core.pool.lowering import Removal
from kotatsu_operator.core.pool.memory import Memory, Route
from kotatsu_operator.core.pool.news import Note
from kotatsu_operator.core.pool.spec import PoolSpec, RouteMode
from kotatsu_operator.core.protocol import COST, MARK, ROUTE_LABEL, ROUTE_TAKEN
from kotatsu_operator.core.report import record
from kotatsu_operator.core.report.conditions import of_contest, said_of_silence, same_clients
from kotatsu_operator.core.report.status import (
    Status,
    is_new_wake,
    original_status,
    read_original,
    target_status,
)
from kotatsu_operator.core.schema import joined
from kotatsu_operator.kube import objects
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable
from kotatsu_operator.kube.objects import Key, Object, key_of
from kotatsu_operator.kube.views import PodView, WorkloadView, pod_view, removal_of

log = logging.getLogger(__name__)


MARKED_AT_ONCE = 64
"""Pods that one decision marks."""

Awaits = Callable[[str, str], bool]
"""Whether a kind (the second argument) is not listed yet in a namespace: an object that is missing
says nothing until then. A kind whose list is rejected is not awaited."""


def nothing_awaited(_namespace: str, _kind: str) -> bool:
    """All kinds are known."""
    return False


@dataclass(frozen=True)
class ScaledTarget(Target):
    """The Deployment of one pool, or another workload with a scale."""

    awaits: Awaits

    # --- read ---

    @property
    def is_unknown(self) -> bool:
        kinds = [self.spec.target.kind]
        if self.cache.served.shared(self.key[0]) is not None:
            kinds.append(objects.NetworkPolicy.__name__)
        return any(self.awaits(self.key[0], kind) for kind in kinds)

    @property
    def place(self) -> Key:
        """The namespace and the `ref` of the workload."""
        return self.key[0], objects.ref(self.spec.target.kind, self.spec.target.name)

    @property
    def workload(self) -> WorkloadView | None:
        """The workload; None if it does not exist."""
        return self.cache.workloads.get(self.place)

    @property
    def autoscalers(self) -> list[Object]:
        return self.cache.autoscalers_of(self.place)

    @property
    def selector(self) -> Mapping[str, Any]:
        """The label selector of its pods; after its deletion, as long as it has pods."""
        return self.cache.selector_of(self.place) or target.NO_POD

    @property
    def requests(self) -> Mapping[str, Decimal]:
        return {} if self.workload is None else self.workload.requests

    @property
    def template(self) -> Mapping[str, Any]:
        return {} if self.workload is None else self.workload.pod

    @property
    def replicas(self) -> int:
        return 0 if self.workload is None else self.workload.replicas

    @property
    def rejected(self) -> str:
        return "" if self.workload is None else self.workload.rejected

    @property
    def other_writer(self) -> str:
        write = None if self.workload is None else self.workload.write
        return "" if write is None else write.by

    def held(self) -> PoolSpec:
        """The spec with what the disk of the pods permits. An autoscaler says the most itself."""
        workload = self.workload
        if workload is None or workload.disk is None or self.autoscalers:
            return self.spec
        status = table(self.cache.pools.get(self.key, {}).get("status"))
        running = max(workload.replicas, record.found_replicas(status))
        return self.spec.holding(workload.disk, running)

    # --- accept ---

    def objections(self) -> Iterator[target.Objection]:
        """Check the kind, the names, the Service and the autoscaler."""
        spec, workload = self.spec, self.workload
        labels = {} if workload is None else workload.labels
        yield refusal.check_kind(spec, self.cache.scaled), Ends.NOTHING
        if workload is not None:
            yield refusal.check_selector(spec, workload.selector), Ends.NOTHING
            yield refusal.check_volume_claims(spec, deletes=workload.deletes_claims), Ends.NOTHING
        yield refusal.check_is_not_kotatsu(spec, labels), Ends.NOTHING
        yield self.check_only_pool(), Ends.NOTHING
        exists = workload is not None
        yield refusal.check_exists(spec, self.key[0], spec.target.kind, exists=exists), Ends.NOTHING
        yield self._check_service(labels), Ends.LOWER
        yield self._check_left(), Ends.LOWER
        yield self._check_isolation(labels), Ends.LOWER
        yield refusal.check_autoscalers(self.spec, self.key[0], self.autoscalers), Ends.NOTHING

    def _check_service(self, labels: Mapping[str, str]) -> refusal.Refusal | None:
        """Check the Service of pods with these labels."""
        return refusal.check_service(self.spec, self._service(labels))

    def _service(self, labels: Mapping[str, str]) -> refusal.ServiceFacts:
        cache, key = self.cache, (self.key[0], self.spec.service)
        slices = cache.foreign_slices
        return refusal.ServiceFacts(
            namespace=key[0],
            labels=labels,
            service=cache.services.get(key),
            older=self.older_pool(cache.pools_of_service(key)),
            foreign=[(of[1], slices[of].manager) for of in slices.having(key)],
        )

    @property
    def contest(self) -> refusal.Refusal | None:
        """Why a pool cannot lead its Service to the activators that has not done so until now."""
        labels = {} if self.workload is None else self.workload.labels
        alone = replace(self.spec, beside=False)
        return refusal.check_service(alone, self._service(labels)) if self.spec.beside else None

    def _check_left(self) -> refusal.Refusal | None:
        """Check whether the Service that the pool leaves, if any, can have its selector back."""
        left = self._left(table(self.cache.pools.get(self.key, {}).get("status"))) or ""
        service = self.cache.services.get((self.key[0], left), {"spec": {}})
        is_led = ROUTE_LABEL in table(service["spec"].get("selector"))
        return refusal.check_left(self.spec, left if is_led else "")

    def _check_isolation(self, labels: Mapping[str, str]) -> refusal.Refusal | None:
        """Check whether pods with these labels may have clients through shared activators."""
        shared = self.cache.served.shared(self.key[0])
        if shared is None:
            return None
        service = self.cache.services.get((self.key[0], self.spec.service))
        policies = self.cache.limits(self.key[0], labels)
        ports = {} if self.workload is None else self.workload.ports
        return check_isolation(self.spec, policies, service, ports, shared)

    # --- observe ---

    async def observe(
        self,
        tools: Tools,
        pool: Object,
        memory: Memory,
        pods: list[PodView],
        *,
        ask: bool,
    ) -> Observation:
        """What a decision depends on. Raises NotFoundError if it was just deleted."""
        workload, autoscaler = self.workload, next(iter(self.autoscalers), None)
        assert workload is not None  # noqa: S101  (a pool without it is rejected)
        replicas = workload.replicas
        if replicas > 0 and memory.phase.is_asleep:
            # The watch may lag behind the operator's own write of 0.
            replicas = (await tools.kube.get_scale(*self.place)).replicas
        demand = Demand()
        if memory.phase.is_asleep:
            if replicas > 0:
                demand = await tools.observer.raised(self.key)
        elif ask:
            demand = await tools.observer.demand(self.key, self.spec, pods, memory.template)
        status = pool.get("status") or {}
        announced = status.get("demand") or {}
        ready = sum(p.ready and not p.terminating for p in pods)
        return Observation(
            replicas=replicas,
            ready=ready,
            pods=sum(p.scheduled_at is not None for p in pods),
            acknowledged=self.cache.acknowledged(self.key),
            demand=replace(demand, ticket=instant(announced.get("at"))),
            template=workload.template,
            updated=ready if workload.updated is None else workload.updated,
            autoscaler=None if autoscaler is None else read_autoscaler(autoscaler),
            write=workload.write,
            woken=is_new_wake(demand.last_wake, status),
            catching_up=timedelta(seconds=tools.observer.catching_up()),
            removal=self._removal(pods),
        )

    def _removal(self, pods: Iterable[PodView]) -> Removal:
        workload = self.workload
        is_settled = workload is not None and bool(workload.updated)
        return removal_of(pods, self.spec.target.kind, is_settled=is_settled)

    # --- act ---

    async def act(
        self,
        tools: Tools,
        pool: Object,
        seen: Observation,
        decision: Decision,
        now: datetime,
    ) -> target.Writes:
        """Set the autoscaler's minReplicas and the scale; the way down follows the status."""
        kube, wanted, only_down = tools.kube, decision.replicas, decision.only_down
        writes = wanted not in (None, seen.replicas) or decision.minimum is not None
        found, status = {"foundReplicas": decision.memory.found}, Status()
        if writes and not found.keys() & record.remembered(pool.get("status") or {}).keys():
            # Before any write to the target, so that a crash in between loses nothing.
            version = pool["metadata"]["resourceVersion"]
            of = joined(found, target_status(self.spec))
            pool = await kube.patch_status(*self.key, of, version)
            self.cache.keep_pool(pool)
        pool = await _set_minimum(kube, self.cache, pool, seen, decision)
        if wanted is not None and wanted != seen.replicas:
            await self._scale(tools, decision, wanted)
        await self._mark(tools, decision)
        sleep = partial(self._sleep, tools, seen, decision, now)
        finish = sleep if decision.sleep else target.nothing_left
        if not only_down and not self.spec.suspend:
            known = pool.get("status") or {}
            status = joined(status, await self._leave_service(tools, known))
            if self._takes_service(known):
                status = joined(status, record.owed_status({"takenService": self.spec.service}))
                finish = partial(self._take_service, tools)
        return target.Writes(pool, status, explain=self._explain, finish=finish)

    async def _leave_service(self, tools: Tools, status: Status) -> Status:
        """Give back the selector of a Service that the pool no longer leads to the activators."""
        left = self._left(status)
        if left is None:
            return {}
        # Without the permission the pool is refused until the selector has been edited by hand.
        if self.spec.platform.patches_services:
            with contextlib.suppress(NotFoundError):
                selector = {"selector": {ROUTE_LABEL: None}}
                await tools.kube.merge(objects.Service, self.key[0], left, {"spec": selector})
        return record.owed_status({"takenService": None})

    def _left(self, status: Mapping[str, Any]) -> str | None:
        """The Service that the pool has taken, and no longer leads to the activators."""
        known = record.taken_service(status)
        is_kept = self.spec.route is RouteMode.ACTIVATOR and known == self.spec.service
        return None if is_kept else known

    def _takes_service(self, status: Status) -> bool:
        """Whether the selector of the Service is to be taken over, so that all connections pass.

        Only once all activators are endpoints of the Service (R1).
        """
        service = self.cache.services.get((self.key[0], self.spec.service), {"spec": {}})
        selector, route = service["spec"].get("selector"), table(status.get("route"))
        all_pass = self.spec.route is RouteMode.ACTIVATOR and not self.spec.beside
        if not all_pass or not selector or ROUTE_LABEL in selector:
            return False
        in_front = route.get("target") == Route.ACTIVATOR
        return in_front and (self.cache.published(self.key) or 0) >= int(route.get("epoch", 0))

    async def _take_service(self, tools: Tools, _pool: Object) -> target.Finished:
        """Take the selector over, after status and record have named the Service."""
        name = self.spec.service
        selector = {"selector": {ROUTE_LABEL: ROUTE_TAKEN}}
        await tools.kube.merge(objects.Service, self.key[0], name, {"spec": selector})
        log.info("%s/%s: Service %s leads to the activators", *self.key, name)
        return target.Finished()

    def _explain(self, known: list[Status]) -> list[Status]:
        known = said_of_silence(
            known, self.cache.services.get((self.key[0], self.spec.service), {})
        )
        if (why := self.contest) is not None:
            known = [of_contest(c, why.reason, why.message) for c in known]
        labels = {} if self.workload is None else self.workload.labels
        policy = ""
        # With shared activators such a pool is rejected, or the owner of the namespace accepts it.
        if self.cache.served.shared(self.key[0]) is None:
            policy = self.cache.bypassed_policy(self.key[0], labels)
        return [*known, same_clients(policy)]

    async def _scale(self, tools: Tools, decision: Decision, replicas: int) -> None:
        """Set the replicas at the version read; only `ScaleDown` sets 0.

        Raises ConflictError if a step down would end other pods now than it may.
        """
        scale = await tools.kube.get_scale(*self.place)
        if scale.replicas == replicas or (scale.replicas < replicas and decision.only_down):
            return
        ends = None if decision.lowering is None else decision.lowering.ends
        if scale.replicas > replicas and ends is not None:
            pods = await tools.kube.find(objects.Pod, self.key[0], self._labels, pod_view)
            removal = self._removal(p for p in pods if selects(self.selector, p.labels))
            if not removal.may_end(scale.replicas, replicas) <= ends:
                raise ConflictError(f"{self.place[1]} has other pods")
        await tools.kube.put_scale(*self.place, replicas, scale.version)
        log.info("%s/%s: replicas %d → %d", *self.key, scale.replicas, replicas)

    @property
    def _labels(self) -> Mapping[str, str]:
        return table(self.selector.get("matchLabels"))

    async def _mark(self, tools: Tools, decision: Decision) -> None:
        """Mark the pods that go with the next step down, and no others.

        What fails is tried again with the next decision.
        """
        if (low := decision.lowering) is None or not self.spec.platform.marks_pods:
            return
        pods = self.cache.target_pods(self.key[0], self.selector)
        odd = [p for p in pods if p.is_replica and p.is_marked != (p.key[1] in low.marks)]
        for pod in odd[:MARKED_AT_ONCE]:
            mark = None if pod.is_marked else MARK
            patch = {"metadata": {"uid": pod.uid, "annotations": {COST: mark}}}
            try:
                await tools.kube.merge(objects.Pod, *pod.key, patch)
            except (ConflictError, NotFoundError, *Unreachable) as error:
                log.warning("%s/%s: pod %s is not marked: %s", *self.key, pod.key[1], error)
                return

    async def _sleep(
        self,
        tools: Tools,
        seen: Observation,
        decision: Decision,
        now: datetime,
        pool: Object,
    ) -> target.Finished:
        async def look() -> Demand:
            if decision.force:
                return Demand()  # overdue (see is_overdue)
            pods = self.cache.target_pods(self.key[0], self.selector)
            template = decision.memory.template
            return await tools.observer.demand(self.key, self.spec, pods, template, looks=True)

        steps = ScaleDown(tools.kube, self.key, self.spec, tools.clock, tools.hook, tools.remember)
        attempt = await steps.attempt(
            decision.memory, pool["metadata"]["generation"], look, force=decision.force
        )
        if attempt.pool is not None:
            self.cache.keep_pool(attempt.pool)
        notes: tuple[Note, ...] = ()
        if attempt.asleep:
            log.info("%s/%s: asleep", *self.key)
            text = f"from {seen.replicas} to 0 replicas; the last pods finish their requests"
            notes = (Note("Sleeping", text),)
        else:
            log.info("%s/%s: not asleep yet: %s", *self.key, attempt.why)
        return target.Finished(now + target.RETRY, attempt.memory, notes)


def scaled(awaits: Awaits = nothing_awaited) -> Kinds:
    """All kinds with a scale."""

    def make(key: Key, spec: PoolSpec, cache: Cache) -> ScaledTarget:
        made = ScaledTarget(key, spec, cache, awaits)
        spec = replace(made.held(), beside=made.contest is not None)
        return replace(made, spec=spec)

    return {"": target.Kind(make)}


# --- the autoscaler ---
#
# Its original minReplicas is written to the status before minReplicas is changed. After a crash,
# the next operator finds it there.


async def _set_minimum(
    kube: Kube, cache: Cache, pool: Object, seen: Observation, decision: Decision
) -> Object:
    """Set minReplicas as decided; return the pool at its newest version.

    The caller runs this before it raises the scale and after it was lowered to 0. Raises
    ConflictError, NotFoundError.
    """
    key, known = key_of(pool), read_original(internal(pool.get("status")))
    kind = objects.HorizontalPodAutoscaler
    autoscaler, original = seen.autoscaler, decision.memory.original
    if known is not None and (autoscaler is None or autoscaler.name != known.name):
        left = cache.autoscalers.get((key[0], known.name))
        # It does not scale the target any more.
        if left is not None and (least := minimum_back(known, left)) is not None:
            version = {"resourceVersion": left["metadata"]["resourceVersion"]}
            patch = {"metadata": version, "spec": {"minReplicas": least}}
            await kube.merge(kind, key[0], known.name, patch)
    if autoscaler is None or decision.minimum in (None, autoscaler.min_replicas):
        return pool
    if known != original:
        pool = await kube.patch_status(
            *key, original_status(original), pool["metadata"]["resourceVersion"]
        )
        cache.keep_pool(pool)
    version = {"resourceVersion": autoscaler.version}
    patch = {"metadata": version, "spec": {"minReplicas": decision.minimum}}
    await kube.merge(kind, key[0], autoscaler.name, patch)
    log.info(
        "%s/%s: minReplicas of HorizontalPodAutoscaler %s %d → %d",
        *(*key, autoscaler.name, autoscaler.min_replicas, decision.minimum),
    )
    return pool
