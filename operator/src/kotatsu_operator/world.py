"""What the operator has seen of the cluster, indexed by what it asks for."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .indexed import Indexed
from .kube import Object, version_of
from .views import (
    ACTIVATOR_LABELS,
    Key,
    PodView,
    SliceView,
    is_ours,
    key_of,
    pod_view,
    selects,
    slice_view,
)


@dataclass
class World:
    """The latest version of every object of interest; fed by watches, read by the planner.

    Nothing here goes through all of a kind: with a thousand pools each event and each look would.
    """

    pools: Indexed[Key, Object] = field(default_factory=lambda: Indexed(_target))
    deployments: Indexed[Key, Object] = field(default_factory=lambda: Indexed(_handle))
    pods: dict[str, Indexed[str, PodView]] = field(
        default_factory=lambda: defaultdict(lambda: Indexed(lambda pod: pod.labels.items()))
    )
    slices: Indexed[Key, SliceView] = field(
        default_factory=lambda: Indexed(lambda view: [(view.key[0], view.pool)])
    )

    def keep_pool(self, pool: Object) -> bool:
        """Remember a WarmPool unless a newer version is known already."""
        key = key_of(pool)
        known = self.pools.get(key)
        if (
            known is not None
            and known["metadata"]["uid"] == pool["metadata"]["uid"]
            and version_of(known) >= version_of(pool)
        ):
            return False
        self.pools[key] = pool
        return True

    def keep_deployment(self, deployment: Object) -> None:
        """Remember a Deployment."""
        self.deployments[key_of(deployment)] = deployment

    def keep_pod(self, pod: Object) -> PodView:
        """Remember a Pod."""
        view = pod_view(pod)
        self.pods[view.key[0]][view.key[1]] = view
        return view

    def forget_pod(self, key: Key) -> None:
        """Forget a Pod that is gone."""
        self.pods[key[0]].pop(key[1], None)

    def keep_slice(self, obj: Object) -> SliceView | None:
        """Remember an activator's slice; None when the slice is somebody else's."""
        if not is_ours(obj):
            return None
        view = slice_view(obj)
        self.slices[view.key] = view
        return view

    def pools_of_deployment(self, key: Key) -> list[Key]:
        """The pools whose target is this Deployment, oldest first (then by name)."""
        pools = [
            (self.pools[pool]["metadata"].get("creationTimestamp", ""), pool)
            for pool in self.pools.having(key)
        ]
        return [pool for _, pool in sorted(pools)]

    def target_pods(self, namespace: str, selector: Mapping[str, Any]) -> list[PodView]:
        """The pods that a Deployment's selector picks."""
        pods = self.pods[namespace]
        labels = list((selector.get("matchLabels") or {}).items())
        # The rarest of its labels leads to few pods; without any there are only expressions.
        names = pods.having(min(labels, key=pods.count)) if labels else list(pods)
        return [pods[name] for name in names if selects(selector, pods[name].labels)]

    def pools_of_pod(self, namespace: str, labels: Mapping[str, str]) -> list[Key]:
        """The pools whose target selects a pod with these labels."""
        terms = [(namespace, *label) for label in labels.items()]
        found: dict[Key, None] = {}
        for term in [*terms, (namespace, "", "")]:
            for key in self.deployments.having(term):
                if selects(self.deployments[key]["spec"]["selector"], labels):
                    found |= dict.fromkeys(self.pools.having(key))
        return list(found)

    def activators(self, namespace: str) -> list[PodView]:
        """The activator pods of a namespace that are Ready and staying."""
        wanted = {"matchLabels": ACTIVATOR_LABELS}
        return [p for p in self.target_pods(namespace, wanted) if p.ready and not p.terminating]

    def acknowledged(self, key: Key) -> int | None:
        """The lowest epoch that all Ready activators have published; None without any."""
        activators = self.activators(key[0])
        if not activators:
            return None
        epochs = {
            s.pod_uid: s.epoch
            for s in map(self.slices.__getitem__, self.slices.having(key))
            if s.ready
        }
        return min(epochs.get(pod.uid, 0) for pod in activators)

    def orphans(self, namespaces: Iterable[str]) -> list[SliceView]:
        """Activator slices whose pod is gone: they must not outlive it.

        A namespace in which not one pod has been seen tells nothing: its watch may not have begun.
        """
        watched = {namespace for namespace in namespaces if self.pods[namespace]}
        uids = {p.uid for namespace in watched for p in self.pods[namespace].values()}
        return [s for s in self.slices.values() if s.key[0] in watched and s.pod_uid not in uids]


def _target(pool: Object) -> list[Key]:
    return [(key_of(pool)[0], pool["spec"]["targetRef"]["name"])]


def _handle(deployment: Object) -> list[tuple[str, str, str]]:
    """One label that every pod of a Deployment has; empty when there is none to name."""
    labels = sorted((deployment["spec"]["selector"].get("matchLabels") or {}).items())
    namespace = key_of(deployment)[0]
    return [(namespace, *label) for label in labels[:1]] or [(namespace, "", "")]
