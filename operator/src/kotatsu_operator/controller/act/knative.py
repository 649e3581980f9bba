"""Carries out decisions for Knative targets: observes, saves, patches and restores min-scale."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from kotatsu_operator.core.decide.knative import (
    MinScalePlan,
    Patch,
    SavedMinScale,
    course,
    lacks_floor,
    let_go,
    observe,
    refuse,
    rest,
    trouble,
)
from kotatsu_operator.core.pool.decision import Decision
from kotatsu_operator.core.pool.memory import Phase
from kotatsu_operator.core.pool.observation import Observation
from kotatsu_operator.core.pool.spec import PoolSpec
from kotatsu_operator.core.report.conditions import condition
from kotatsu_operator.core.report.status_writer import Status
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import NotFoundError, Unreachable, is_missing, is_refusal
from kotatsu_operator.kube.knative import (
    MIN_SCALE,
    KnativeCache,
    read_kept,
    ready_condition,
    revision_view,
    said_by,
    traffic_of,
)
from kotatsu_operator.kube.objects import Key
from kotatsu_operator.kube.pod import PodView
from kotatsu_operator.kube.resources import KnativeRevision, Object

log = logging.getLogger(__name__)

IGNORED_AFTER = timedelta(seconds=30)
"""Knative follows a changed min-scale within seconds. If it has not by then, it ignores it."""


_IGNORED = (
    "min-scale is set but the pods are not all there yet; if Knative wants no more of them "
    "(status.desiredReplicas of the Revision), it is older than Serving 1.21, which does not "
    "follow a changed Revision"
)


def observe_target(
    cache: KnativeCache, namespace: str, service: Object, pods: Sequence[PodView]
) -> Observation:
    """The observation of a pool with a Knative target."""
    there = sum(p.scheduled_at is not None for p in pods)
    revisions = cache.revisions_in(namespace)
    refused = cache.refused_in(namespace)
    return observe(traffic_of(service), revisions, there, cache.defaults, refused)


async def plan_course(
    kube: Kube,
    cache: KnativeCache,
    key: Key,
    spec: PoolSpec,
    status: Mapping[str, Any],
    floor: int,
    now: datetime,
) -> MinScalePlan | None:
    """What to write to the Revisions; None without a Knative target, or if nothing may be written.

    If the pool has a new target, the Revisions of the old one get their min-scale back.
    """
    kept = read_kept(status)
    if spec.suspend or not cache.synced or not (spec.target.is_knative or kept):
        return None
    namespace = key[0]
    service = cache.services.get((namespace, spec.target.name)) if spec.target.is_knative else None
    traffic = traffic_of(service) if service is not None else {}

    def plan() -> MinScalePlan:
        return course(floor, traffic, cache.revisions_in(namespace), kept, cache.defaults)

    planned = plan()
    doubtful = let_go(kept, planned)
    for name in doubtful:
        await _read(kube, cache, namespace, name)
    if doubtful:
        planned = plan()
    refused = cache.refused_in(namespace)
    planned = rest(planned, refused, now)
    for name in {k.name for k in kept} | traffic.keys():
        if name in refused and name not in planned.refused:
            del cache.refused[namespace, name]
    return planned


async def _read(kube: Kube, cache: KnativeCache, namespace: str, name: str) -> None:
    try:
        cache.keep_revision(await kube.get(KnativeRevision, namespace, name))
    except NotFoundError:
        cache.revisions.pop((namespace, name), None)


def as_shown(seen: Observation, decision: Decision) -> Observation:
    """The observation for people: all Ready pods, and the replicas that the floor asks for."""
    if seen.running is None:
        return seen
    wanted = seen.within(decision.floor)
    return replace(seen, ready=seen.running, replicas=max(seen.replicas, wanted))


def explain(
    conditions: list[Status],
    cache: KnativeCache,
    namespace: str,
    service: Object,
    plan: MinScalePlan | None,
    decision: Decision,
    now: datetime,
) -> list[Status]:
    """The conditions, with the reason if a Knative target is not as the pool asks."""
    plan = plan or MinScalePlan()
    refused = _refused(plan)
    if limited := refused or plan.limited:
        reason = "Refused" if refused else "Limited"
        conditions = [*conditions, condition("FloorLimited", True, reason, limited)]
    told: dict[str, Status] = {}
    why = _trouble(cache, namespace, service)
    memory = decision.memory
    waits = memory.phase is Phase.WARMING and decision.floor > 0 and not plan.patches
    if why:
        told["Ready"] = condition("Ready", False, "TargetNotReady", why)
    elif refused and _lacks_floor(cache, namespace, plan):
        told["Ready"] = condition("Ready", False, "FloorRefused", refused)
        told["Warm"] = condition("Warm", False, "FloorRefused", refused)
    elif waits and memory.since is not None and now - memory.since > IGNORED_AFTER:
        told["Ready"] = condition("Ready", False, "Warming", _IGNORED)
    if cache.why_no_defaults:
        text = f"the spec is in force, but {cache.why_no_defaults}"
        told["Accepted"] = condition("Accepted", True, "DefaultsUnknown", text)
    return [_told(c, told) for c in conditions]


def _told(known: Status, told: Mapping[str, Status]) -> Status:
    # A message about the spec is more important than one about the cluster.
    if known["type"] == "Accepted" and known["reason"] != "Accepted":
        return known
    return told.get(known["type"], known)


def _refused(plan: MinScalePlan) -> str:
    for name, refused in sorted(plan.refused.items()):
        what = f"min-scale {refused.min_scale}"
        if refused.min_scale is None:
            what = "to take min-scale away"
        return f"the API server refuses {what} of Revision {name}: {refused.message}"
    return ""


def _lacks_floor(cache: KnativeCache, namespace: str, plan: MinScalePlan) -> bool:
    there = cache.revisions_in(namespace)
    return any(
        name in there and lacks_floor(there[name], refused, cache.defaults)
        for name, refused in plan.refused.items()
    )


def _trouble(cache: KnativeCache, namespace: str, service: Object) -> str:
    said = ready_condition(service)
    is_ready = {"True": True, "False": False}.get(said.get("status", ""))
    revisions = cache.revisions_in(namespace)
    return trouble(is_ready, said_by(said), traffic_of(service), revisions)


async def apply(
    kube: Kube, cache: KnativeCache, namespace: str, patches: Sequence[Patch], now: datetime
) -> None:
    """Patch Revisions at the versions that the decision used; record rejected patches.

    Raises ConflictError.
    """
    for patch in patches:
        key = (namespace, patch.name)
        try:
            await _patch(kube, cache, namespace, patch)
        except NotFoundError:
            cache.refused.pop(key, None)
        except Unreachable as error:
            if not is_refusal(error):
                raise
            made = refuse(cache.refused.get(key), patch, str(error), now)
            cache.refused[key] = made
            log.warning(
                "%s/%s: min-scale %s is refused, again at %s: %s",
                *(*key, patch.min_scale, made.again, error),
            )
        else:
            cache.refused.pop(key, None)


async def _patch(kube: Kube, cache: KnativeCache, namespace: str, patch: Patch) -> None:
    values = {MIN_SCALE: patch.min_scale}
    obj = await kube.annotate(KnativeRevision, namespace, patch.name, values, patch.version)
    cache.keep_revision(obj)
    log.info("%s/%s: min-scale %s", namespace, patch.name, patch.min_scale or "taken away")


async def give_back(
    kube: Kube, cache: KnativeCache, namespace: str, kept: Sequence[SavedMinScale]
) -> list[str]:
    """Restore the min-scale of each Revision after reading it again. Raises ConflictError.

    Returns the Revisions that stay as they are, because another writer has changed min-scale.
    """
    left = []
    for one in kept:
        try:
            revision = revision_view(await kube.get(KnativeRevision, namespace, one.name))
            if one.holds(revision):
                patch = Patch(one.name, revision.version, one.min_scale)
                await _patch(kube, cache, namespace, patch)
            elif revision.min_scale != one.min_scale:
                left.append(one.name)
        except NotFoundError:
            continue
        except Unreachable as error:
            if not is_missing(error):  # Knative and its Revisions are gone
                raise
    return left
