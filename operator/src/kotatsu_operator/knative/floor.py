"""Carrying out what was decided for a Knative target: observe, remember, patch, give back."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from kotatsu_operator.conditions import condition
from kotatsu_operator.core.knative import Course, Kept, Patch, course, observe
from kotatsu_operator.core.spec import PoolSpec
from kotatsu_operator.core.state import Decision, Observation, Phase
from kotatsu_operator.kube import KnativeRevision, Kube, NotFoundError, Object
from kotatsu_operator.status import Status
from kotatsu_operator.views import Key, PodView

from .view import (
    MIN_SCALE,
    KnativeWorld,
    read_kept,
    ready_condition,
    revision_view,
    traffic_of,
)

log = logging.getLogger(__name__)

IGNORED_AFTER = timedelta(seconds=30)
"""Knative follows a changed min-scale within seconds; one that has not by now does not at all."""


_IGNORED = (
    "min-scale is set but the pods are not all there yet; if Knative wants no more of them "
    "(status.desiredReplicas of the Revision), it is older than Serving 1.21, which does not "
    "follow a changed Revision"
)


def observe_target(
    world: KnativeWorld, namespace: str, service: Object, pods: Sequence[PodView]
) -> Observation:
    """What the cluster shows of a pool with a Knative target."""
    there = sum(p.scheduled_at is not None for p in pods)
    return observe(traffic_of(service), world.revisions_in(namespace), there)


def plan_course(
    world: KnativeWorld, key: Key, spec: PoolSpec, status: Mapping[str, Any], floor: int
) -> Course | None:
    """What to write of a pool's Knative target; None when it has none, or is to be left alone.

    A pool that was given another target gives the Revisions of the old one their min-scale back.
    """
    kept = read_kept(status)
    if spec.suspend or not world.synced or not (spec.target.is_knative or kept):
        return None
    service = world.services.get((key[0], spec.target.name)) if spec.target.is_knative else None
    traffic = traffic_of(service) if service is not None else {}
    return course(floor, traffic, world.revisions_in(key[0]), kept)


def as_shown(seen: Observation, decision: Decision) -> Observation:
    """The observation as people read it: all Ready pods, and those that the floor asks for."""
    if seen.running is None:
        return seen
    return replace(seen, ready=seen.running, replicas=max(seen.replicas, decision.floor))


def explain(
    conditions: list[Status], service: Object, plan: Course, decision: Decision, now: datetime
) -> list[Status]:
    """The conditions, with the reason why a Knative target is not what was asked for."""
    said = ready_condition(service)
    if plan.limited:
        conditions = [*conditions, condition("FloorLimited", True, "MaxScale", plan.limited)]
    memory = decision.memory
    waits = memory.phase is Phase.WARMING and decision.floor > 0 and not plan.patches
    if said.get("status") == "False":
        why = f"{said.get('reason', '')}: {said.get('message', '')}".strip(": ")
        reason, text = "TargetNotReady", f"Knative says that the Service is not Ready: {why}"
    elif waits and memory.since is not None and now - memory.since > IGNORED_AFTER:
        reason, text = "Warming", _IGNORED
    else:
        return conditions
    ready = condition("Ready", False, reason, text)
    return [ready if c["type"] == "Ready" else c for c in conditions]


async def apply(kube: Kube, world: KnativeWorld, namespace: str, patches: Sequence[Patch]) -> None:
    """Patch Revisions at the versions that were decided on. Raises ConflictError."""
    for patch in patches:
        try:
            obj = await kube.annotate(
                KnativeRevision, namespace, patch.name, {MIN_SCALE: patch.min_scale}, patch.version
            )
        except NotFoundError:
            continue
        world.keep_revision(obj)
        log.info("%s/%s: min-scale %s", namespace, patch.name, patch.min_scale or "taken away")


async def give_back(kube: Kube, world: KnativeWorld, namespace: str, kept: Sequence[Kept]) -> None:
    """Put the min-scale of each Revision back, reading each afresh. Raises ConflictError."""
    for one in kept:
        try:
            revision = revision_view(await kube.get(KnativeRevision, namespace, one.name))
        except NotFoundError:
            continue
        if revision.min_scale != one.min_scale:
            await apply(kube, world, namespace, [Patch(one.name, revision.version, one.min_scale)])
