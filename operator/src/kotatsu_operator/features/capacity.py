"""Capacity ahead of a window: placeholders make a node autoscaler add nodes before pods need them.

A placeholder is a pod of a low priority with the requests of the target's pods. The scheduler
evicts it as soon as those pods start. Placeholders are bare pods: a controller would replace an
evicted one, and the replacement would ask for one more node. They mount those images of the target
that the chart's value `capacityAhead.pullImages` permits: the node pulls them and runs none.
"""

import contextlib
import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Self

from kotatsu_operator.controller.feature import After, Feature, Report, Setup, Turn
from kotatsu_operator.controller.target import Tools
from kotatsu_operator.core.budget.prices import pod_requests
from kotatsu_operator.core.pool.decision import Decision
from kotatsu_operator.core.pool.news import Note
from kotatsu_operator.core.pool.spec import BUILT_IN
from kotatsu_operator.core.protocol import API_VERSION, CAPACITY_LABEL, pool_label
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable
from kotatsu_operator.kube.objects import Object, Pod, resource_of
from kotatsu_operator.kube.views import PodView

log = logging.getLogger(__name__)

AT_ONCE = 20
"""Placeholders that one reconcile creates or deletes: the next one, which their events cause, goes
on."""

TRY_AGAIN = timedelta(seconds=30)
"""How soon it is tried again when something cannot be created or deleted."""

_MARGIN = timedelta(hours=1)
"""How long after its time a placeholder ends by itself, if no operator deletes it."""

_FORTH = ("affinity", "imagePullSecrets", "nodeSelector", "schedulerName", "tolerations")
"""The fields of the target's pods that decide on which nodes they may run, and how these pull."""

_NATIVE = ("cpu", "memory", "ephemeral-storage")
"""Resources that may be requested without a limit."""


@dataclass(frozen=True)
class CapacityOptions:
    """The chart's settings for capacity ahead of windows."""

    image: str = ""
    """Image of the placeholders, which only has to wait; empty: no nodes are asked for."""
    priority_class: str = ""
    """PriorityClass of the placeholders, lower than that of every other pod."""
    pull_images: tuple[str, ...] = ()
    """Beginnings of the references of images that placeholders pull."""


def _unavailable(why: str) -> Note:
    return Note("CapacityUnavailable", why, warning=True)


_OFF = _unavailable("spec.capacityAhead has no effect: set the chart's value capacityAhead.enabled")
_OTHER_KIND = _unavailable(
    "spec.capacityAhead has no effect: the target is no Deployment and no StatefulSet"
)


@dataclass(frozen=True)
class Placeholders(Feature):
    """Pools pay for their placeholders, which follow each decision."""

    options: CapacityOptions

    @classmethod
    def of(cls, setup: Setup) -> Self:
        settings = setup.settings
        image, priority = settings.capacity_image, settings.capacity_priority_class
        return cls(CapacityOptions(image, priority, settings.capacity_pull_images))

    def prepare(self, turn: Turn) -> Turn:
        """Add the placeholders: they cost as much as the pods that they stand for."""
        return replace(turn, beside=(*turn.beside, *self._placeholders(turn)))

    async def after(self, tools: Tools, turn: Turn, report: Report) -> After:
        """Compare what a decision wants with what there is, and create or delete the difference.

        Unless the decision grows, nothing is added: pods start, and evicted placeholders must stay
        away. A pool does not wait for it: if it fails, the result has an event (of the first
        failure) and when to try again.
        """
        decision, spec = report.decision, turn.spec
        wanted = decision.memory.capacity
        if not (wanted or self._placeholders(turn)):
            return After()
        is_first = wanted > turn.memory.capacity
        if not self.options.image:
            return After(notes=(_OFF,) if is_first else ())
        notes: tuple[Note, ...] = ()
        if spec.target.kind not in BUILT_IN:
            notes, wanted = ((_OTHER_KIND,) if is_first else ()), 0
        try:
            await self._hold(tools.kube, turn, decision, wanted)
        except (ConflictError, NotFoundError, *Unreachable) as error:
            log.warning("%s/%s: cannot hold capacity ahead of its window: %s", *turn.key, error)
            note = _unavailable(f"cannot request nodes ahead of the window: {error}")
            return After(turn.now + TRY_AGAIN, notes=(note,) if is_first else ())
        return After(notes=notes)

    def _placeholders(self, turn: Turn) -> list[PodView]:
        """The placeholders of a pool, also ending ones."""
        if not self.options.image:
            return []
        labels = {CAPACITY_LABEL: pool_label(turn.key[1])}
        return turn.target.cache.target_pods(turn.key[0], {"matchLabels": labels})

    async def _hold(self, kube: Kube, turn: Turn, decision: Decision, wanted: int) -> None:
        (namespace, pool), target = turn.key, turn.spec.target
        names = [f"{pool}-capacity-{n}" for n in range(wanted)]
        there = {pod.key[1]: pod for pod in self._placeholders(turn)}
        surplus = [n for n, pod in there.items() if n not in names and not pod.terminating]
        for name in surplus[:AT_ONCE]:
            await kube.delete(Pod, namespace, name)
        missing = [name for name in names if name not in there] if decision.grows else []
        if not missing:
            return
        log.info("%s/%s: asking for nodes for %d pods", *turn.key, wanted)
        workload = await kube.get(resource_of(BUILT_IN[target.kind]), namespace, target.name)
        template = dict(workload["spec"]["template"])
        last = decision.memory.lead + (turn.spec.capacity_ahead or timedelta())
        for name in missing[:AT_ONCE]:
            made = placeholder(turn.pool, name, template, self.options, last + _MARGIN)
            with contextlib.suppress(ConflictError):  # the watch lags
                await kube.create(Pod, namespace, made)


def placeholder(
    pool: Object, name: str, template: Object, options: CapacityOptions, last: timedelta
) -> Object:
    """A pod that needs as much room as a pod of the template, on the same nodes."""
    meta, spec = pool["metadata"], template["spec"]
    owner = {
        "apiVersion": pool.get("apiVersion", API_VERSION),
        "kind": "WarmPool",
        "name": meta["name"],
        "uid": meta["uid"],
    }
    requests = {what: f"{amount:f}" for what, amount in pod_requests(spec).items()}
    limits = {what: amount for what, amount in requests.items() if what not in _NATIVE}
    images = _images(spec, options.pull_images)
    container = {
        "name": "placeholder",
        "image": options.image,
        "resources": {"requests": requests, "limits": limits},
        "volumeMounts": [{"name": v["name"], "mountPath": f"/{v['name']}"} for v in images],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {CAPACITY_LABEL: pool_label(meta["name"])},
            "ownerReferences": [owner],
        },
        "spec": {
            **{name: spec[name] for name in _FORTH if name in spec},
            "containers": [container],
            "volumes": images,
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


def _images(spec: Object, beginnings: tuple[str, ...]) -> list[Object]:
    """Volumes of the images of a pod whose references begin so.

    A cluster without image volumes leaves them out.
    """
    containers = [*spec.get("initContainers", ()), *spec["containers"]]
    found = {one["image"]: one.get("imagePullPolicy") for one in containers if "image" in one}
    permitted = [item for item in found.items() if item[0].startswith(beginnings)]
    return [
        {"name": f"image-{n}", "image": {"reference": reference, "pullPolicy": policy}}
        for n, (reference, policy) in enumerate(permitted)
    ]
