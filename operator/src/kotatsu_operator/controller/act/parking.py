"""Lowers and restores the requests of a pool's pods (docs/protocol.md, "Parked pods").

One pod that vanishes, changes or cannot be resized never stops the reconcile or the other pods.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.core.objects import selects
from kotatsu_operator.core.pool.decision import NOT_PARKED, Parking
from kotatsu_operator.core.pool.memory import Memory, Phase
from kotatsu_operator.core.pool.resize import (
    INFEASIBLE,
    NOT_ENABLED,
    NOT_SERVED,
    Obstacle,
    PodSize,
    Quantities,
    to_reduce,
    to_restore,
    unparkable,
)
from kotatsu_operator.core.pool.spec import Parked, PoolSpec
from kotatsu_operator.core.report.record import Entry
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable, is_refusal
from kotatsu_operator.kube.objects import Key, Object, Pod, resource_of
from kotatsu_operator.kube.views import PodView, pod_view, workload_view

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

_Change = tuple[PodView, Quantities]


@dataclass(frozen=True)
class Workload:
    """What parking needs of a target."""

    key: Key
    """The namespace and name of the pool."""
    spec: PoolSpec
    template: PodSize | None
    autoscalers: Sequence[Object]


@dataclass(frozen=True)
class _Rejection:
    """Why a pod could not be parked, and what would have to change."""

    of: tuple[PodSize | None, Parked | None]
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


@dataclass
class Parker:
    """Parks and restores the pods of all pools."""

    kube: Kube
    cache: Cache
    is_enabled: bool = False
    """Whether the chart gives the permission."""
    _known: dict[Key, _Known] = field(default_factory=lambda: defaultdict(_Known))

    def forget(self, key: Key) -> None:
        self._known.pop(key, None)

    def reset(self) -> None:
        """Remove all state, which gets outdated while another operator leads."""
        self._known.clear()

    def observe(
        self, of: Workload, memory: Memory, pods: Iterable[PodView], now: datetime
    ) -> Parking:
        """The requests of the pods, compared with those of the template."""
        if of.spec.parked is None and not memory.reduced:
            return NOT_PARKED
        known, is_parked = self._known[of.key], memory.phase is Phase.PARKED
        there = [pod for pod in pods if pod.running and not pod.terminating]
        if there:
            known.is_served = all(pod.is_resizable for pod in there)
        # A kubelet may reject the smaller request, too.
        reasons = [p.resize_pending for p in there if p.resize_pending.startswith(INFEASIBLE)]
        if is_parked and reasons:
            known.rejection = _Rejection((of.template, of.spec.parked), now, reasons[0])
        why = self._why_not(of, now)
        short = self._short(of, there) if memory.reduced else {}
        troubles = [] if is_parked else [trouble for trouble in short.values() if trouble]
        return Parking(
            reason="" if why is None else why.reason,
            message="" if why is None else why.message,
            reduced=len(short),
            refused=len(troubles),
            trouble=next(iter(troubles), ""),
        )

    def _why_not(self, of: Workload, now: datetime) -> Obstacle | None:
        spec, known = of.spec, self._known[of.key]
        if spec.parked is None:
            return None
        why = unparkable(spec.target, of.template, spec.parked.cpu, of.autoscalers)
        if why is not None:
            return why
        if not self.is_enabled:
            return NOT_ENABLED
        if not known.is_served:
            return NOT_SERVED
        rejection = known.rejection
        if rejection is None:
            return None
        is_over = abs(now - rejection.at) >= PARK_AGAIN
        if is_over or rejection.of != (of.template, spec.parked):
            known.rejection = None
            return None
        return Obstacle(
            "ParkingRejected",
            f"a pod cannot be parked ({rejection.why}): correct this; it is tried again within an "
            "hour, or when the pod template changes",
        )

    def _short(self, of: Workload, pods: Iterable[PodView]) -> dict[str, str]:
        """The pods without their full requests, and why they do not get them; by uid."""
        if of.template is None:
            return {}
        rejected = self._known[of.key].unrestored
        return {
            pod.uid: pod.resize_pending or rejected.get(pod.uid, (None, ""))[1]
            for pod in pods
            if pod.resize_pending or to_restore(of.template, pod.size)
        }

    async def reduce(self, of: Workload, pods: Iterable[PodView], now: datetime) -> None:
        """Lower the requests of the Ready pods, where they are not lowered yet."""
        if of.template is None or of.spec.parked is None:
            return
        cpu = of.spec.parked.cpu
        ready = (pod for pod in pods if pod.ready and not pod.terminating)
        changes = [(pod, to_reduce(of.template, pod.size, cpu)) for pod in ready]
        errors = await resize_pods(self.kube, changes, self.cache.keep_pod)
        rejected = [str(error) for error in errors.values() if is_refusal(error)]
        if rejected:
            log.warning("%s/%s: a pod cannot be parked: %s", *of.key, rejected[0])
            why, size = rejected[0][:_SHOWN], (of.template, of.spec.parked)
            self._known[of.key].rejection = _Rejection(size, now, why)

    async def restore(self, of: Workload, pods: Iterable[PodView], now: datetime) -> bool:
        """Give all pods the requests of the template; return whether none was left to do."""
        if of.template is None:
            return True
        known = self._known[of.key]
        recent = {
            uid: (at, why)
            for uid, (at, why) in known.unrestored.items()
            if abs(now - at) < RESTORE_AGAIN
        }
        there = [pod for pod in pods if not pod.terminating]
        changes = [(pod, to_restore(of.template, pod.size)) for pod in there]
        due = [(pod, change) for pod, change in changes if pod.uid not in recent]
        errors = await resize_pods(self.kube, due, self.cache.keep_pod)
        rejected = {
            uid: (now, f"the API server rejects it: {error}"[:_SHOWN])
            for uid, error in errors.items()
            if is_refusal(error)
        }
        kept = {pod.uid: recent[pod.uid] for pod in there if pod.uid in recent}
        known.unrestored = kept | rejected
        return not any(change for _, change in changes)


async def resize_pods(
    kube: Kube, changes: Iterable[_Change], keep: Callable[[Object], object]
) -> Mapping[str, Exception]:
    """Resize pods, several at once; return why not, by uid. A deleted or replaced pod is done.

    `keep` gets each pod as written.
    """
    gate = asyncio.Semaphore(AT_ONCE)
    errors: dict[str, Exception] = {}

    async def resize(pod: PodView, wanted: Quantities) -> None:
        try:
            async with gate:
                keep(await kube.resize(pod.key, pod.uid, wanted, pod.size.sidecars))
        except (ConflictError, NotFoundError) as error:
            log.debug("pod %s/%s is not resized: %s", *pod.key, error)
        except Unreachable as error:
            errors[pod.uid] = error
        else:
            log.info("pod %s/%s: requests → %s", *pod.key, dict(wanted))

    await asyncio.gather(*(resize(pod, wanted) for pod, wanted in changes if wanted))
    return errors


async def restore_requests(kube: Kube, namespace: str, entry: Entry) -> str:
    """Restore the requests of the pods of a deleted pool; return what was done, for people.

    Raises an error of `Unreachable` other than a rejection, and NotFoundError.
    """
    known = kube.scaled.get(entry.kind)
    if known is None:
        return ""
    of = f"{entry.kind} {entry.target}"
    try:
        view = workload_view(await kube.get(resource_of(known), namespace, entry.target))
        if view.size is None or not view.selector:
            return ""
        found = [pod_view(obj) for obj in await kube.find(Pod, namespace)]
    except Unreachable as error:
        if not is_refusal(error):
            raise
        return f"the pods of {of} keep their smaller requests: {error}"
    changes = [
        (pod, to_restore(view.size, pod.size))
        for pod in found
        if selects(view.selector, pod.labels) and not pod.terminating
    ]
    short = sum(bool(change) for _, change in changes)
    errors = await resize_pods(kube, changes, lambda _: None)
    for trouble in errors.values():
        if not is_refusal(trouble):
            raise trouble
    if errors:
        why = next(iter(errors.values()))
        return f"pods of {of} keep their smaller requests: {len(errors)} ({why})"
    return f"pods of {of} have their full requests again: {short}" if short else ""
