"""A Knative Service as a target: Knative scales it, the pool sets min-scale of its Revisions.

The phases only reflect Knative's own status.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Self

from kotatsu_operator.controller.target import (
    RETRY,
    Finished,
    Objection,
    Target,
    Tools,
    Writes,
)
from kotatsu_operator.core.budget.limit import Ends
from kotatsu_operator.core.budget.prices import pod_requests
from kotatsu_operator.core.decide.phases import Step
from kotatsu_operator.core.decide.refusal import Refusal, check_exists
from kotatsu_operator.core.formats import internal
from kotatsu_operator.core.pool.decision import Decision, Observation
from kotatsu_operator.core.pool.memory import Memory, Phase, Reason, Route, changed
from kotatsu_operator.core.pool.news import Note
from kotatsu_operator.core.report.conditions import condition
from kotatsu_operator.core.report.record import MIN_SCALE, kept_status, owed_status, read_kept
from kotatsu_operator.core.report.status import Status
from kotatsu_operator.features.knative.fields import SERVICE_LABEL
from kotatsu_operator.features.knative.min_scale import (
    MinScalePlan,
    Patch,
    course,
    lacks_floor,
    let_go,
    observe,
    refuse,
    rest,
    trouble,
)
from kotatsu_operator.features.knative.objects import (
    KnativeCache,
    KnativeRevision,
    keep_newer,
    ready_condition,
    said_by,
    traffic_of,
)
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import NotFoundError, Unreachable, is_refusal
from kotatsu_operator.kube.objects import Object
from kotatsu_operator.kube.views import PodView

log = logging.getLogger(__name__)

IGNORED_AFTER = timedelta(seconds=30)
"""Knative follows a changed min-scale within seconds. If it has not by then, it ignores it."""

_IGNORED = (
    "min-scale is set, but not all pods are Ready yet; if Knative requests no more of them "
    "(status.desiredReplicas of the Revision), it is older than Serving 1.21, which does not "
    "follow a changed Revision"
)

SCALE_DOWN = timedelta(minutes=5)
"""The time after the end of a floor in which Knative scales down. Its defaults are a stable window
of 60 s and a grace period of 30 s; pods that remain after this serve requests."""


class KnativeStep(Step):
    """One step of the phases of a Knative target; `Step` is the one for Deployments.

    Asleep ──floor, or pods for a request──▶ Warming ──floor Ready──▶ Warm ──floor gone──▶ Draining
    and from each of them to Sleeping and Asleep when Knative requests no pods any more.
    """

    def taken(self) -> Self:
        """The pool after this step, without replicas: Knative scales, never the pool."""
        # Kotatsu's activator is never in the path to a Knative Service.
        native = self.having(route=changed(self.memory.route, target=Route.NATIVE, epoch=0))
        seen = self.given.seen
        if self.goal.least > 0:
            step = replace(native, goal=replace(self.goal, wanted=0)).hold()
        else:
            running = replace(self.given, seen=replace(seen, ready=seen.running or 0))
            goal = replace(self.goal, wanted=seen.replicas)
            step = replace(native, given=running, goal=goal).let_go()
        return replace(step, replicas=None)

    def hold(self) -> Self:
        return self.wake(self.goal.reason) if self.memory.phase.is_asleep else self.stay()

    def let_go(self) -> Self:
        memory, now = self.memory, self.given.now
        if self.given.seen.replicas == 0:
            return self.rest()
        if memory.phase.is_asleep:
            return self.wake(Reason.DEMAND)
        if memory.phase is Phase.DRAINING:
            is_over = memory.since is None or now >= memory.since + SCALE_DOWN
            return self.stay() if is_over else self
        if memory.reason in (Reason.WINDOW, Reason.OVERRIDE):
            ends = self.having(raised_at=None).enter(Phase.DRAINING, self.why_down())
            text = "the floor has ended; Knative keeps the pods that requests need"
            return ends.says(Note("Draining", text))
        return self.stay()

    def rest(self) -> Self:
        phase = Phase.SLEEPING if self.given.seen.pods > 0 else Phase.ASLEEP
        if phase is self.memory.phase:
            return self
        rests = self.having(raised_at=None)
        if phase is Phase.ASLEEP:
            note = Note("Asleep", "the last pod is gone; Knative starts one on request")
            rests = rests.says(note)
        # Knative wakes it on request even if the budget is spent, so the budget is not the reason.
        by_override = self.goal.asleep_asked and not self.given.allowed.sleeps
        return rests.enter(phase, Reason.OVERRIDE if by_override else Reason.IDLE)


class MinScales:
    """The min-scale of the Revisions in one namespace."""

    def __init__(self, kube: Kube, cache: KnativeCache, namespace: str) -> None:
        self._kube, self._cache, self._namespace = kube, cache, namespace

    async def plan(
        self, floor: int, traffic: Mapping[str, int], status: Mapping[str, Any], now: datetime
    ) -> MinScalePlan:
        """What to write, from the saved values in a pool's `status`."""
        cache, kept = self._cache, read_kept(status)

        def planned() -> MinScalePlan:
            return course(floor, traffic, cache.revisions_in(self._namespace), kept, cache.defaults)

        plan = planned()
        if doubtful := let_go(kept, plan):
            for name in doubtful:
                await self._read(name)
            plan = planned()
        refused = cache.refused_in(self._namespace)
        plan = rest(plan, refused, now)
        for name in ({k.name for k in kept} | traffic.keys()) & refused.keys():
            if name not in plan.refused:
                del cache.refused[self._namespace, name]
        return plan

    async def _read(self, name: str) -> None:
        try:
            obj = await self._kube.get(KnativeRevision, self._namespace, name)
            keep_newer(self._cache.revisions, obj)
        except NotFoundError:
            self._cache.revisions.pop((self._namespace, name), None)

    async def apply(self, patches: Sequence[Patch], now: datetime) -> None:
        """Patch at the versions that the decision used; record rejected patches.

        Raises ConflictError.
        """
        for patch in patches:
            key = (self._namespace, patch.name)
            values = {MIN_SCALE: patch.min_scale}
            written = {"metadata": {"resourceVersion": patch.version, "annotations": values}}
            try:
                obj = await self._kube.merge(KnativeRevision, *key, written)
            except NotFoundError:
                self._cache.refused.pop(key, None)
            except Unreachable as error:
                if not is_refusal(error):
                    raise
                made = refuse(self._cache.refused.get(key), patch, str(error), now)
                self._cache.refused[key] = made
                log.warning(
                    "%s/%s: the API server rejects min-scale %s; next attempt at %s: %s",
                    *(*key, patch.min_scale, made.again, error),
                )
            else:
                self._cache.refused.pop(key, None)
                keep_newer(self._cache.revisions, obj)
                log.info("%s/%s: min-scale %s", *key, patch.min_scale or "removed")


@dataclass(frozen=True)
class KnativeTarget(Target):
    """The Knative Service of one pool."""

    step = KnativeStep

    knative: KnativeCache

    # --- read ---

    @property
    def is_unknown(self) -> bool:
        """Whether the watches have not shown yet whether Knative and its objects exist."""
        return self.knative.is_unknown

    @property
    def service(self) -> Object:
        """The Knative Service; empty if it does not exist."""
        return self.knative.services.get(self.place, {})

    @property
    def selector(self) -> Mapping[str, Any]:
        return {"matchLabels": {SERVICE_LABEL: self.spec.target.name}}

    @property
    def requests(self) -> Mapping[str, Decimal]:
        template = (self.service.get("spec") or {}).get("template") or {}
        return pod_requests(template.get("spec") or {})

    # --- accept ---

    def objections(self) -> Iterator[Objection]:
        """Check that Knative is installed, the name and the existence."""
        why = self.knative.why_absent
        yield Refusal("KnativeNotFound", why) if why else None, Ends.NOTHING
        yield self.check_only_pool(), Ends.NOTHING
        exists = bool(self.service)
        yield check_exists(self.spec, self.key[0], "Knative Service", exists=exists), Ends.NOTHING

    # --- observe ---

    async def observe(
        self,
        _tools: Tools,
        _pool: Object,
        _memory: Memory,
        pods: list[PodView],
        *,
        ask: bool,  # noqa: ARG002
    ) -> Observation:
        """What a decision depends on. Knative counts requests itself, so no pod is asked."""
        cache, namespace = self.knative, self.key[0]
        there = sum(p.scheduled_at is not None for p in pods)
        revisions, refused = cache.revisions_in(namespace), cache.refused_in(namespace)
        return observe(traffic_of(self.service), revisions, there, cache.defaults, refused)

    # --- act ---

    async def act(
        self, tools: Tools, pool: Object, _seen: Observation, decision: Decision, now: datetime
    ) -> Writes:
        """Plan the Revisions' min-scale. The old values are in the status before any patch."""
        plan = None
        scales = MinScales(tools.kube, self.knative, self.key[0])
        if self.knative.synced and not self.spec.suspend:
            status = pool.get("status") or {}
            plan = await scales.plan(
                decision.floor, traffic_of(self.service), internal(status), now
            )

        async def finish(_pool: Object) -> Finished:
            if plan is not None and plan.patches:
                await scales.apply(plan.patches, now)
                # The cache already has the operator's own patch, so the watch will not trigger a
                # reconcile. The saved min-scale of the Revision may not be needed any more.
                return Finished(now + RETRY)
            tries = [] if plan is None else [r.again for r in plan.refused.values()]
            return Finished(min([decision.recheck, *tries]))

        return Writes(
            pool,
            status={} if plan is None else owed_status({"knative": kept_status(plan.kept)}),
            explain=lambda known: self._explain(known, plan or MinScalePlan(), decision, now),
            finish=finish,
        )

    # --- report ---

    def _explain(
        self, known: list[Status], plan: MinScalePlan, decision: Decision, now: datetime
    ) -> list[Status]:
        """The conditions, with the reason if the target is not as the pool asks."""
        cache, memory, refused = self.knative, decision.memory, _refused(plan)
        ours = {"DemandKnown": condition("DemandKnown", True, "Knative", "Knative counts requests")}
        why = self._trouble()
        waits = memory.phase is Phase.WARMING and decision.floor > 0 and not plan.patches
        if why:
            ours["Ready"] = condition("Ready", False, "TargetNotReady", why)
        elif refused and self._lacks_floor(plan):
            ours["Ready"] = condition("Ready", False, "FloorRefused", refused)
            ours["Warm"] = condition("Warm", False, "FloorRefused", refused)
        elif waits and memory.since is not None and now - memory.since > IGNORED_AFTER:
            ours["Ready"] = condition("Ready", False, "Warming", _IGNORED)
        if cache.why_no_defaults:
            text = f"the spec is in effect, but {cache.why_no_defaults}"
            ours["Accepted"] = condition("Accepted", True, "DefaultsUnknown", text)
        if limited := refused or plan.limited:
            reason = "FloorRefused" if refused else "KnativeMaximum"
            ours["ReplicasKept"] = condition("ReplicasKept", False, reason, limited)
        return [_corrected(c, ours) for c in known]

    def _trouble(self) -> str:
        said = ready_condition(self.service)
        is_ready = {"True": True, "False": False}.get(said.get("status", ""))
        revisions = self.knative.revisions_in(self.key[0])
        return trouble(is_ready, said_by(said), traffic_of(self.service), revisions)

    def _lacks_floor(self, plan: MinScalePlan) -> bool:
        there = self.knative.revisions_in(self.key[0])
        return any(
            name in there and lacks_floor(there[name], refused, self.knative.defaults)
            for name, refused in plan.refused.items()
        )


def _corrected(known: Status, by_type: Mapping[str, Status]) -> Status:
    # A message about the spec is more important than one about the cluster.
    if known["type"] == "Accepted" and known["reason"] != "Accepted":
        return known
    return by_type.get(known["type"], known)


def _refused(plan: MinScalePlan) -> str:
    for name, refused in sorted(plan.refused.items()):
        what = f"min-scale {refused.min_scale}"
        if refused.min_scale is None:
            what = "the removal of min-scale"
        return f"the API server rejects {what} of Revision {name}: {refused.message}"
    return ""
