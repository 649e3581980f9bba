"""Capacity ahead of a window: objects that make a node autoscaler add nodes before pods need them.

A CapacityBuffer asks Cluster Autoscaler for room without running anything. Without that API,
placeholders do: pods of a low priority with the requests of the target's pods. The scheduler evicts
them as soon as those pods start. They are bare pods: a controller would replace an evicted one, and
the replacement would ask for one more node.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from kotatsu_operator.controller.cache.store import Cache
from kotatsu_operator.core.budget.prices import pod_requests
from kotatsu_operator.core.plan.plan import CapacityKind
from kotatsu_operator.core.pool.decision import Decision, Note
from kotatsu_operator.core.pool.spec import BUILT_IN, PoolSpec, Target
from kotatsu_operator.core.protocol import CAPACITY_LABEL, pool_label
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable
from kotatsu_operator.kube.objects import (
    CapacityBuffer,
    Key,
    Object,
    Pod,
    PodTemplate,
    key_of,
    resource_of,
)
from kotatsu_operator.kube.pod import PodView

log = logging.getLogger(__name__)

AT_ONCE = 20
"""Placeholders that one reconcile creates or deletes: the next one, which their events cause, goes
on."""

_MARGIN = timedelta(hours=1)
"""How long after its time a placeholder ends by itself, if no operator deletes it."""

_FORTH = ("affinity", "nodeSelector", "schedulerName", "tolerations")
"""The fields of the target's pods that decide on which nodes they may run."""

_NATIVE = ("cpu", "memory", "ephemeral-storage")
"""Resources that may be requested without a limit."""


@dataclass(frozen=True)
class CapacityOptions:
    """The chart's settings for capacity ahead of windows."""

    kind: CapacityKind = CapacityKind.NONE
    image: str = ""
    """Image of the placeholders: it only has to wait."""
    priority_class: str = ""
    """PriorityClass of the placeholders, lower than that of every other pod."""


NO_CAPACITY_AHEAD = CapacityOptions()

_OFF = Note(
    "CapacityUnavailable",
    "spec.prewarm.capacityAhead has no effect: set the chart's value capacityAhead.enabled",
    warning=True,
)


_OTHER_KIND = Note(
    "CapacityUnavailable",
    "spec.prewarm.capacityAhead has no effect: the target is no Deployment and no StatefulSet",
    warning=True,
)


@dataclass(frozen=True)
class Capacity:
    """Creates and deletes what asks for capacity."""

    kube: Kube
    cache: Cache
    options: CapacityOptions

    def placeholders(self, key: Key) -> list[PodView]:
        """The placeholders of a pool, also ending ones."""
        if self.options.kind is not CapacityKind.PLACEHOLDER:
            return []
        labels = {CAPACITY_LABEL: pool_label(key[1])}
        return self.cache.target_pods(key[0], {"matchLabels": labels})

    async def follow(
        self, pool: Object, spec: PoolSpec, before: int, decision: Decision
    ) -> Note | None:
        """Hold what a decision wants; it was held for `before` pods.

        Unless the decision grows, nothing is added: pods start, and evicted placeholders must stay
        away. Returns an event if it cannot be held: a pool does not wait for it.
        """
        key, wanted = key_of(pool), decision.memory.capacity
        if not (before or wanted or self.placeholders(key)):
            return None
        if self.options.kind is CapacityKind.NONE:
            return _OFF if wanted and not before else None
        if spec.target.kind not in BUILT_IN:
            return _OTHER_KIND if wanted and not before else None
        target, grows = spec.target, decision.grows
        try:
            if self.options.kind is CapacityKind.PLACEHOLDER:
                last = decision.memory.lead + (spec.capacity_ahead or timedelta())
                await self._hold_pods(pool, target, wanted, grows=grows, last=last)
            elif before != wanted:
                await self._hold_buffer(pool, target, wanted, grows=grows)
        except (ConflictError, NotFoundError, *Unreachable) as error:
            log.warning("%s/%s: cannot hold capacity ahead of its window: %s", *key, error)
            if wanted > before:
                text = f"cannot ask for nodes ahead of the window: {error}"
                return Note("CapacityUnavailable", text, warning=True)
        return None

    async def _hold_pods(
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

    async def _hold_buffer(self, pool: Object, target: Target, wanted: int, *, grows: bool) -> None:
        namespace, name = key_of(pool)[0], f"{key_of(pool)[1]}-capacity"
        if wanted and not grows:
            return  # the buffer stays as it is until the pods are Ready
        for kind in (CapacityBuffer, PodTemplate):
            await self.kube.delete(kind, namespace, name)
        if not wanted:
            return
        template = await self._template(namespace, target)
        for kind, made in buffer(pool, name, template, wanted):
            with contextlib.suppress(ConflictError):
                await self.kube.create(kind, namespace, made)

    async def _template(self, namespace: str, target: Target) -> Object:
        kind = resource_of(BUILT_IN[target.kind])
        workload = await self.kube.get(kind, namespace, target.name)
        return dict(workload["spec"]["template"])


def _metadata(pool: Object, name: str) -> Object:
    """Metadata of an object that ends with its pool."""
    meta = pool["metadata"]
    owner = {
        "apiVersion": pool.get("apiVersion", "kotatsu.dev/v1alpha1"),
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


def buffer(
    pool: Object, name: str, template: Object, replicas: int
) -> Iterator[tuple[Any, Object]]:
    """A CapacityBuffer for so many pods, and before it the PodTemplate that it refers to.

    Not `scalableRef`: for that, the controller reads the pods that run, and a sleeping Deployment
    has none.
    """
    yield (
        PodTemplate,
        {
            "apiVersion": "v1",
            "kind": "PodTemplate",
            "metadata": _metadata(pool, name),
            "template": {"metadata": {}, "spec": template["spec"]},
        },
    )
    yield (
        CapacityBuffer,
        {
            "apiVersion": "autoscaling.x-k8s.io/v1beta1",
            "kind": "CapacityBuffer",
            "metadata": _metadata(pool, name),
            "spec": {"podTemplateRef": {"name": name}, "replicas": replicas},
        },
    )
