"""Capacity ahead of a window: placeholders make a node autoscaler add nodes before pods need them.

A placeholder is a pod of a low priority with the requests of the target's pods. The scheduler
evicts it as soon as those pods start. Placeholders are bare pods: a controller would replace an
evicted one, and the replacement would ask for one more node.
"""

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.feature import After, Feature, Report, Turn
from kotatsu_operator.controller.target import Tools
from kotatsu_operator.core.budget.prices import pod_requests
from kotatsu_operator.core.pool.decision import Decision, Note
from kotatsu_operator.core.pool.spec import BUILT_IN, PoolSpec, Target
from kotatsu_operator.core.protocol import CAPACITY_LABEL, pool_label
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable
from kotatsu_operator.kube.objects import Key, Object, Pod, key_of, resource_of
from kotatsu_operator.kube.views import PodView

log = logging.getLogger(__name__)

AT_ONCE = 20
"""Placeholders that one reconcile creates or deletes: the next one, which their events cause, goes
on."""

TRY_AGAIN = timedelta(seconds=30)
"""How soon it is tried again when something cannot be created or deleted."""

_MARGIN = timedelta(hours=1)
"""How long after its time a placeholder ends by itself, if no operator deletes it."""

_FORTH = ("affinity", "nodeSelector", "schedulerName", "tolerations")
"""The fields of the target's pods that decide on which nodes they may run."""

_NATIVE = ("cpu", "memory", "ephemeral-storage")
"""Resources that may be requested without a limit."""


@dataclass(frozen=True)
class CapacityOptions:
    """The chart's settings for capacity ahead of windows."""

    image: str = ""
    """Image of the placeholders, which only has to wait; empty: no nodes are asked for."""
    priority_class: str = ""
    """PriorityClass of the placeholders, lower than that of every other pod."""


NO_CAPACITY_AHEAD = CapacityOptions()


_OFF = Note(
    "CapacityUnavailable",
    "spec.capacityAhead has no effect: set the chart's value capacityAhead.enabled",
    warning=True,
)


_OTHER_KIND = Note(
    "CapacityUnavailable",
    "spec.capacityAhead has no effect: the target is no Deployment and no StatefulSet",
    warning=True,
)


@dataclass(frozen=True)
class CapacityAhead(Feature):
    """Pools pay for their placeholders, which follow each decision."""

    options: CapacityOptions

    def prepare(self, turn: Turn) -> Turn:
        """Add the placeholders: they cost as much as the pods that they stand for."""
        held = placeholders(turn.target.cache, turn.key, self.options)
        return replace(turn, beside=(*turn.beside, *held))

    async def after(self, tools: Tools, turn: Turn, report: Report) -> After:
        """Ask for nodes ahead of a window, or no more."""
        capacity = Capacity(tools.kube, turn.target.cache, self.options)
        before = turn.memory.capacity
        return await capacity.follow(turn.pool, turn.spec, before, report.decision, turn.now)


def placeholders(cache: Cache, key: Key, options: CapacityOptions) -> list[PodView]:
    """The placeholders of a pool, also ending ones."""
    if not options.image:
        return []
    labels = {CAPACITY_LABEL: pool_label(key[1])}
    return cache.target_pods(key[0], {"matchLabels": labels})


@dataclass(frozen=True)
class Capacity:
    """Creates and deletes what asks for capacity."""

    kube: Kube
    cache: Cache
    options: CapacityOptions

    def placeholders(self, key: Key) -> list[PodView]:
        return placeholders(self.cache, key, self.options)

    async def follow(
        self, pool: Object, spec: PoolSpec, before: int, decision: Decision, now: datetime
    ) -> After:
        """Compare what a decision wants with what there is, and create or delete the difference.

        Unless the decision grows, nothing is added: pods start, and evicted placeholders must stay
        away. A pool does not wait for it: if it fails, the result has an event (of the first
        failure; the status had `before` pods) and when to try again.
        """
        key, wanted = key_of(pool), decision.memory.capacity
        if not (wanted or self.placeholders(key)):
            return After()
        is_first = wanted > before
        if not self.options.image:
            return After(notes=(_OFF,) if is_first else ())
        notes: tuple[Note, ...] = ()
        if spec.target.kind not in BUILT_IN:
            notes, wanted = ((_OTHER_KIND,) if is_first else ()), 0
        last = decision.memory.lead + (spec.capacity_ahead or timedelta())
        try:
            await self._hold(pool, spec.target, wanted, grows=decision.grows, last=last)
        except (ConflictError, NotFoundError, *Unreachable) as error:
            log.warning("%s/%s: cannot hold capacity ahead of its window: %s", *key, error)
            text = f"cannot ask for nodes ahead of the window: {error}"
            note = Note("CapacityUnavailable", text, warning=True)
            return After(now + TRY_AGAIN, notes=(note,) if is_first else ())
        return After(notes=notes)

    async def _hold(
        self, pool: Object, target: Target, wanted: int, *, grows: bool, last: timedelta
    ) -> None:
        key = key_of(pool)
        names = [f"{key[1]}-capacity-{n}" for n in range(wanted)]
        there = {pod.key[1]: pod for pod in self.placeholders(key)}
        surplus = [n for n, pod in there.items() if n not in names and not pod.terminating]
        for name in surplus[:AT_ONCE]:
            await self.kube.delete(Pod, key[0], name)
        missing = [name for name in names if name not in there] if grows else []
        if not missing:
            return
        log.info("%s/%s: asking for nodes for %d pods", *key, wanted)
        template = await self._template(key[0], target)
        for name in missing[:AT_ONCE]:
            made = placeholder(pool, name, template, self.options, last + _MARGIN)
            with contextlib.suppress(ConflictError):  # the watch lags
                await self.kube.create(Pod, key[0], made)

    async def _template(self, namespace: str, target: Target) -> Object:
        kind = resource_of(BUILT_IN[target.kind])
        workload = await self.kube.get(kind, namespace, target.name)
        return dict(workload["spec"]["template"])


def _metadata(pool: Object, name: str) -> Object:
    """Metadata of an object that ends with its pool."""
    meta = pool["metadata"]
    owner = {
        "apiVersion": pool.get("apiVersion", "kotatsu.dev/v1beta1"),
        "kind": "WarmPool",
        "name": meta["name"],
        "uid": meta["uid"],
    }
    labels = {CAPACITY_LABEL: pool_label(meta["name"])}
    return {"name": name, "labels": labels, "ownerReferences": [owner]}


def placeholder(
    pool: Object, name: str, template: Object, options: CapacityOptions, last: timedelta
) -> Object:
    """A pod that needs as much room as a pod of the template, on the same nodes."""
    spec = template["spec"]
    requests = {what: f"{amount:f}" for what, amount in pod_requests(spec).items()}
    limits = {what: amount for what, amount in requests.items() if what not in _NATIVE}
    container = {
        "name": "placeholder",
        "image": options.image,
        "resources": {"requests": requests, "limits": limits},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(pool, name),
        "spec": {
            **_placement(spec),
            "containers": [container],
            "priorityClassName": options.priority_class,
            "terminationGracePeriodSeconds": 0,
            # If no operator is left to delete it.
            "activeDeadlineSeconds": int(last.total_seconds()),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        },
    }


def _placement(spec: Mapping[str, Any]) -> Object:
    return {name: spec[name] for name in _FORTH if name in spec}
