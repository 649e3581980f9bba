"""Lowers and restores the requests of a pool's pods (docs/protocol.md, "Parked pods").

One pod that vanishes, changes or cannot be resized never stops the reconcile or the other pods.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self

from kotatsu_operator.controller.feature import After, Feature, Report, Setup, Turn
from kotatsu_operator.controller.target import Target, Tools
from kotatsu_operator.core.budget.prices import pod_requests
from kotatsu_operator.core.objects import INFEASIBLE, is_retargeted
from kotatsu_operator.core.parked import (
    NOT_ENABLED,
    NOT_SERVED,
    Obstacle,
    PodSize,
    Quantities,
    parked_spec,
    pod_size,
    resize_patch,
    to_reduce,
    to_restore,
    unparkable,
)
from kotatsu_operator.core.pool.decision import Decision, Observation, Parking
from kotatsu_operator.core.pool.memory import Phase, changed
from kotatsu_operator.core.pool.spec import Parked
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable, is_refusal
from kotatsu_operator.kube.objects import Key, Object
from kotatsu_operator.kube.views import PodView

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Pods that are resized at the same time."""

RESTORE_AGAIN = timedelta(seconds=30)
"""How long after a rejected restore a pod is tried again, at a reconcile that is due anyway."""

PARK_AGAIN = timedelta(hours=1)
"""How long a pool does without parked pods after a pod could not be parked, unless its template or
the pool changes."""

_SHOWN = 300
"""Characters of an error that a condition quotes."""


@dataclass(frozen=True)
class _Rejection:
    """Why a pod could not be parked, and what would have to change."""

    of: tuple[Mapping[str, Any], Parked | None]
    """The pod template, and the part of the spec."""
    at: datetime
    why: str


@dataclass
class _Known:
    """What is known of one pool between two reconciles."""

    rejection: _Rejection | None = None
    unrestored: Mapping[str, tuple[datetime, str]] = field(default_factory=dict)
    """When and why the restore of a pod was rejected, by the pod's uid."""
    is_served: bool = True
    """Whether its nodes can resize pods, also of a pool that sleeps now."""


async def resize_pods(
    kube: Kube, changes: Mapping[str, tuple[PodView, Quantities]], keep: Callable[[Object], object]
) -> Mapping[str, Exception]:
    """Resize pods, several at once; return why not, by uid. A deleted or replaced pod is done.

    `keep` gets each pod as written.
    """
    gate = asyncio.Semaphore(AT_ONCE)
    errors: dict[str, Exception] = {}

    async def resize(pod: PodView, wanted: Quantities) -> None:
        patch = resize_patch(pod.uid, wanted, pod_size(pod.spec).sidecars)
        try:
            async with gate:
                keep(await kube.resize(pod.key, patch))
        except (ConflictError, NotFoundError) as error:
            log.debug("pod %s/%s is not resized: %s", *pod.key, error)
        except Unreachable as error:
            errors[pod.uid] = error
        else:
            log.info("pod %s/%s: requests → %s", *pod.key, dict(wanted))

    await asyncio.gather(*(resize(*change) for change in changes.values()))
    return errors


def _changes(
    pods: Iterable[PodView], wanted: Callable[[PodSize], Quantities]
) -> dict[str, tuple[PodView, Quantities]]:
    """The pods of which something is `wanted`, and what, by uid."""
    found = {pod.uid: (pod, wanted(pod_size(pod.spec))) for pod in pods}
    return {uid: change for uid, change in found.items() if change[1]}


def _short(full: PodSize | None, pods: Iterable[PodView]) -> dict[str, tuple[PodView, Quantities]]:
    """The pods without their full requests, and what to raise, by uid."""
    return {} if full is None else _changes(pods, partial(to_restore, full))


class ParkedPods(Feature):
    """Parks and restores the pods of all pools.

    `is_enabled`: whether the chart gives the permission to resize pods.
    """

    def __init__(self, *, is_enabled: bool = False) -> None:
        self._is_enabled = is_enabled
        self._known: dict[Key, _Known] = defaultdict(_Known)

    @classmethod
    def of(cls, setup: Setup) -> Self:
        return cls(is_enabled=setup.settings.parked)

    def forget(self, key: Key) -> None:
        self._known.pop(key, None)

    def reset(self) -> None:
        self._known.clear()

    # --- observe ---

    def observation(self, turn: Turn, seen: Observation) -> Observation:
        """Compare the requests of the pods with those of the template."""
        asked, memory = turn.spec.parked, turn.memory
        if asked is None and not memory.reduced:
            return seen
        known, template = self._known[turn.key], turn.target.template
        is_parked = memory.phase is Phase.PARKED
        there = [pod for pod in turn.pods if pod.running and not pod.terminating]
        if there:
            known.is_served = all(pod.is_resizable for pod in there)
        # A kubelet may reject the smaller request, too.
        reasons = [p.resize_pending for p in there if p.resize_pending.startswith(INFEASIBLE)]
        if is_parked and reasons:
            known.rejection = _Rejection((template, asked), turn.now, reasons[0])
        why = self._why_not(turn.target, asked, turn.now)
        short = self._unrestored(turn, there) if memory.reduced else {}
        troubles = [] if is_parked else [trouble for trouble in short.values() if trouble]
        requests = None
        if asked is not None and why is None:
            requests = pod_requests(parked_spec(template, asked.cpu))
        parking = Parking(
            reason="" if why is None else why.reason,
            message="" if why is None else why.message,
            requests=requests,
            reduced=len(short),
            refused=len(troubles),
            trouble=next(iter(troubles), ""),
        )
        return replace(seen, parking=parking)

    def _why_not(self, target: Target, asked: Parked | None, now: datetime) -> Obstacle | None:
        if asked is None:
            return None
        known, size = self._known[target.key], _size(target)
        why = unparkable(target.spec.target, size, asked.cpu, target.autoscalers)
        if why is not None:
            return why
        if not self._is_enabled:
            return NOT_ENABLED
        if not known.is_served:
            return NOT_SERVED
        rejection = known.rejection
        if rejection is None:
            return None
        is_over = abs(now - rejection.at) >= PARK_AGAIN
        if is_over or rejection.of != (target.template, asked):
            known.rejection = None
            return None
        return Obstacle(
            "ParkingRejected",
            f"a pod cannot be parked ({rejection.why}): correct this; it is tried again within an "
            "hour, or when the pod template changes",
        )

    def _unrestored(self, turn: Turn, pods: Sequence[PodView]) -> dict[str, str]:
        """The pods without their full requests, and why they do not get them; by uid."""
        full, rejected = _size(turn.target), self._known[turn.key].unrestored
        if full is None:
            return {}
        short = _short(full, pods)
        return {
            pod.uid: pod.resize_pending or rejected.get(pod.uid, (None, ""))[1]
            for pod in pods
            if pod.resize_pending or pod.uid in short
        }

    # --- act ---

    async def before(self, tools: Tools, turn: Turn, decision: Decision) -> Decision:
        """Restore the requests first of all: clients may wait for the CPU."""
        memory = decision.memory
        if not memory.reduced or turn.spec.suspend:
            return decision
        if turn.is_decided:
            is_refused = turn.refused is not None and not memory.phase.is_asleep
            if is_refused or memory.phase in (Phase.WARMING, Phase.WARM):
                await self._give_back(tools, turn, turn.pods)
            return decision
        if turn.refused is None or is_retargeted(turn.pool):
            return decision
        pods = turn.target.cache.target_pods(turn.key[0], turn.target.selector)
        done = await self._give_back(tools, turn, pods)
        # Another pool has the target now, and may park the same pods.
        is_left = turn.refused.counts and not done
        return replace(decision, memory=changed(memory, reduced=is_left))

    async def _give_back(self, tools: Tools, turn: Turn, pods: Iterable[PodView]) -> bool:
        """Give all pods the requests of the template; return whether none was left to do."""
        known, now = self._known[turn.key], turn.now
        there = {pod.uid: pod for pod in pods if not pod.terminating}
        recent = {
            uid: (at, why)
            for uid, (at, why) in known.unrestored.items()
            if uid in there and abs(now - at) < RESTORE_AGAIN
        }
        short = _short(_size(turn.target), there.values())
        due = {uid: change for uid, change in short.items() if uid not in recent}
        errors = await resize_pods(tools.kube, due, turn.target.cache.keep_pod)
        rejected = {
            uid: (now, f"the API server rejects it: {error}"[:_SHOWN])
            for uid, error in errors.items()
            if is_refusal(error)
        }
        known.unrestored = recent | rejected
        return not short

    async def after(self, tools: Tools, turn: Turn, report: Report) -> After | None:
        """Lower the requests of the Ready pods, where they are not lowered yet."""
        template, asked = _size(turn.target), turn.spec.parked
        if not report.decision.park or template is None or asked is None:
            return None
        ready = (pod for pod in turn.pods if pod.ready and not pod.terminating)
        due = _changes(ready, lambda size: to_reduce(template, size, asked.cpu))
        errors = await resize_pods(tools.kube, due, turn.target.cache.keep_pod)
        rejected = [str(error) for error in errors.values() if is_refusal(error)]
        if rejected:
            log.warning("%s/%s: a pod cannot be parked: %s", *turn.key, rejected[0])
            of = turn.target.template, asked
            self._known[turn.key].rejection = _Rejection(of, turn.now, rejected[0][:_SHOWN])
        return None


def _size(target: Target) -> PodSize | None:
    """What the containers of a target's pod template request; None if it shows none."""
    return pod_size(target.template) if target.template else None
