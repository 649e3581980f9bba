"""A namespace as the activator's watches have shown it."""

from array import array
from collections import ChainMap
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any

from kotatsu_operator.activator.pool import Pool, Port, pool_view, ports_of
from kotatsu_operator.core.objects import service_selector, workload_selector
from kotatsu_operator.core.pool.decision import PodStart
from kotatsu_operator.core.pool.memory import Route
from kotatsu_operator.core.pool.spec import BUILT_IN, Scaled
from kotatsu_operator.core.protocol import SERVICE_LABEL, pool_of_slice
from kotatsu_operator.kube.client import Scale
from kotatsu_operator.kube.informer import Feed, Indexed, Pods, Selectors
from kotatsu_operator.kube.objects import KINDS, Object, parts, ref, resource_of
from kotatsu_operator.kube.retained import Retained
from kotatsu_operator.kube.views import PodView, is_ours, pod_view, slice_view

POOL = 8 * 1024
"""Bytes that an activator needs for a WarmPool, beside its view: slices, listeners, series."""

Mailbox = set[str]
"""Names of changed pools; the reader empties the set."""


@dataclass
class View:
    """The watched objects of the namespace; `changed` is called after each change to a pool.

    A change must not require a pass over a thousand pools: it names the affected ones (see
    `mailbox`).
    """

    changed: Callable[[], None] = lambda: None
    read: Callable[[Object], Pool] = pool_view
    pools: Indexed[str, Pool] = field(default_factory=lambda: Indexed(_terms_of_pool))
    services: dict[str, Object] = field(default_factory=dict)
    pods: Pods = field(default_factory=Pods)
    activators: Pods = field(default_factory=Pods)
    """The activators of the set, by name; they may be in another namespace."""
    slices: Indexed[str, Object] = field(default_factory=lambda: Indexed(_terms_of_slice))
    """The slices of activators."""
    others: Indexed[str, "Endpoints"] = field(
        default_factory=lambda: Indexed(lambda of: [of.service])
    )
    """The slices of other controllers."""
    slice_changes: int = 0
    """Counts the changes of slices: without one, a sweep finds what the last one found."""
    selectors: Selectors[str] = field(default_factory=Selectors)
    """Label selectors of the workloads, by their `ref`."""
    scales: dict[str, Scale] = field(default_factory=dict)
    """Replicas and resourceVersion of the workloads, as the watch last showed them."""
    scaled: Scaled = field(default_factory=lambda: BUILT_IN)
    """The kinds of workloads that pools can scale."""
    synced: set[str] = field(default_factory=set)
    leaving: bool = False
    """Whether this activator is ending."""
    _service_selectors: Selectors[str] = field(default_factory=Selectors)
    _ports: dict[str, list[Port]] = field(default_factory=dict)
    """The ports of each Service: made once, and asked for with every connection."""
    _staying: set[int] = field(default_factory=set)
    """The marks of the pods that are not terminating."""
    namespace: str = ""
    retained: Retained = field(default_factory=Retained)
    """How much is kept of each namespace."""
    _mailboxes: list[Mailbox] = field(default_factory=list)

    def mailbox(self) -> Mailbox:
        """A new set that receives the names of changed pools from now on."""
        made: Mailbox = set()
        self._mailboxes.append(made)
        return made

    def on_change(self, kind: str) -> Callable[[str, Object], None]:
        feed = self._feed(kind)

        def apply(change: str, obj: Object) -> None:
            if self.is_full and kind != "WarmPool":
                return
            # All at once: the publisher must never see half of a list.
            concerned = set(chain.from_iterable(feed.steps("", change, obj)))
            if change == "LIST":
                self.synced.add(kind)
            self._tell(concerned)
            if change == "LIST":
                self.changed()  # may complete the initial lists

        return apply

    def _feed(self, kind: str) -> Feed[str]:
        """How the objects of a kind get into this view: by name, workloads by their `ref`."""
        parts_of: dict[str, tuple[Any, Any, Any]] = {
            "WarmPool": (self._keep_pool, self._forget_pool, self.pools),
            "Service": (self._keep_service, self._forget_service, self.services),
            "Pod": (lambda obj: self._keep_pod(pod_view(obj)), self._forget_pod, self.pods),
            "EndpointSlice": (
                self._keep_slice,
                self._forget_slice,
                ChainMap(self.slices, self.others),
            ),
        }
        if kind in parts_of:
            keep, forget, store = parts_of[kind]
            return Feed(KINDS[kind], keep, forget, lambda _: store, _name, self._weigh)
        return Feed(
            resource_of(self.scaled[kind]),
            partial(self._keep_workload, kind),
            self._forget_workload,
            lambda _: [name for name in self.scales if parts(name)[0] == kind],
            lambda obj: ref(kind, _name(obj)),
            self._weigh,
        )

    def _weigh(self, kind: str, name: str) -> None:
        """Weigh what is kept of an object."""
        kept: list[object]
        match kind:
            case "WarmPool":
                return  # a deleted one stays for a while
            case "Pod":
                kept = [(self.pods[name], self.pods.terms(name))] if name in self.pods else []
            case "Service":
                kept = [self.services.get(name), self._ports.get(name)]
            case "EndpointSlice":
                kept = [self.slices.get(name), self.others.get(name)]
            case _:
                kept = [self.scales.get(name), self.selectors.get(name)]
        is_gone = all(part is None for part in kept)
        self.retained.weigh(self.namespace, kind, name, None if is_gone else kept)

    @property
    def is_full(self) -> bool:
        """Whether the namespace is too large: of it, only a part of each pool is kept."""
        return self.namespace in self.retained.full

    @property
    def is_refused(self) -> bool:
        """Whether it is too large, or was and has not been listed again: it may be so still."""
        return self.is_full or (not self.is_synced and self.retained.was_full(self.namespace))

    def empty(self) -> None:
        """Drop what is kept of a namespace that is too large. It has to be listed again."""
        for kind in (KINDS.keys() | self.scaled) - {"WarmPool"}:
            self._tell(set(chain.from_iterable(self._feed(kind).steps("", "LIST", {"items": []}))))
        self.synced.clear()
        for pool in list(self.pools.values()):
            self.keep_pool(pool)
        self._tell(set(self.pools))

    def _tell(self, concerned: set[str]) -> None:
        for mailbox in self._mailboxes:
            mailbox |= concerned
        if concerned:
            self.changed()

    def note_peer(self, before: PodView | None, now: PodView | None) -> None:
        """An activator has changed: tell the pools whose endpoints others may withdraw."""
        if _withdrawn(before) != _withdrawn(now):
            pod = now or before
            assert pod is not None  # noqa: S101  (there was one, or is)
            self._tell(self._published_by(pod))
        elif now is not None and now.ready and not (before and before.ready):
            # It may withdraw the endpoints of others from now on.
            lost = [pod for pod in self.activators.values() if pod.lost]
            self._tell(set().union(*map(self._published_by, lost)))

    # --- changes by kind; each returns the affected pools ---

    def _keep_pool(self, obj: Object) -> Iterable[str]:
        return self.keep_pool(self.read(obj))

    def keep_pool(self, pool: Pool) -> Iterable[str]:
        """Store a pool; returns its name if it has changed."""
        if self.is_full and not pool.was_accepted:
            pool = replace(pool, health_check_paths=frozenset())
        if self.pools.get(pool.name) == pool:
            return ()
        self.pools[pool.name] = pool
        self.retained.weigh(self.namespace, "WarmPool", pool.name, pool, POOL)
        return (pool.name,)

    def drop_pool(self, name: str) -> None:
        """Remove a deleted pool whose clients need it no more."""
        self.pools.pop(name, None)
        self.retained.weigh(self.namespace, "WarmPool", name, None)

    def _forget_pool(self, name: str) -> Iterable[str]:
        known = self.pools.get(name)
        if known is None or known.deleted:
            return ()
        # On the native route, until its pods answer.
        self.pools[name] = replace(known, deleted=True, route=Route.NATIVE)
        return (name,)

    def _keep_service(self, obj: Object) -> Iterable[str]:
        name = obj["metadata"]["name"]
        before = self.services.get(name)
        if before is not None and _said(before) == _said(obj):
            return ()
        self.services[name] = obj
        self._ports[name] = ports_of(obj)
        self._service_selectors.pop(name, None)
        if selector := service_selector(obj):
            self._service_selectors[name] = {"matchLabels": selector}
        return self.pools.having(("service", name))

    def _forget_service(self, name: str) -> Iterable[str]:
        self.services.pop(name, None)
        self._ports.pop(name, None)
        self._service_selectors.pop(name, None)
        return self.pools.having(("service", name))

    def _keep_pod(self, pod: PodView) -> Iterable[str]:
        before = self.pods.get(pod.key[1])
        if before == pod:
            return ()
        self._note_end(before)
        self.pods[pod.key[1]] = pod
        if not pod.terminating:
            self._staying.add(mark_of(pod.key[1], pod.uid))
        return self._pools_of_pod(pod)

    def _forget_pod(self, name: str) -> Iterable[str]:
        pod = self.pods.pop(name, None)
        self._note_end(pod)
        return () if pod is None else self._pools_of_pod(pod)

    def _note_end(self, pod: PodView | None) -> None:
        if pod is not None:
            self._staying.discard(mark_of(pod.key[1], pod.uid))

    def _keep_slice(self, obj: Object) -> Iterable[str]:
        before = self._forget_slice(name := _name(obj))
        if is_ours(obj):
            self.slices[name] = obj
            return {*before, *self._pools_of_slice(obj)}
        self.others[name] = read = endpoints_of(obj)
        return {*before, *self.pools.having(("service", read.service))}

    def _forget_slice(self, name: str) -> Iterable[str]:
        self.slice_changes += 1
        obj, other = self.slices.pop(name, None), self.others.pop(name, None)
        if other is not None:
            return self.pools.having(("service", other.service))
        return () if obj is None else self._pools_of_slice(obj)

    def _keep_workload(self, kind: str, obj: Object) -> Iterable[str]:
        name, selector = ref(kind, obj["metadata"]["name"]), workload_selector(obj)
        version = obj["metadata"].get("resourceVersion", "")
        self.scales[name] = Scale(obj["spec"].get("replicas", 1), version)
        if self.selectors.get(name, {}) == selector:
            return ()
        self.selectors.pop(name, None)
        if selector:
            self.selectors[name] = selector
        return self.pools.having(("target", name))

    def _forget_workload(self, name: str) -> Iterable[str]:
        self.selectors.pop(name, None)
        self.scales.pop(name, None)
        return self.pools.having(("target", name))

    def _pools_of_slice(self, obj: Object) -> Iterable[str]:
        # An activator's slice also names its pool: the Service's label may have been removed.
        labels = obj["metadata"].get("labels") or {}
        found = self.pools.having(("service", labels.get(SERVICE_LABEL)))
        named = pool_of_slice(obj)
        return [*found, named] if named else found

    def _pools_of_pod(self, pod: PodView) -> Iterable[str]:
        """The pools of a pod, by Service or target."""
        found = dict[str, None]()
        for service in self._service_selectors.picking(pod.labels):
            found |= dict.fromkeys(self.pools.having(("service", service)))
        for workload in self.selectors.picking(pod.labels):
            found |= dict.fromkeys(self.pools.having(("target", workload)))
        return found

    def _published_by(self, pod: PodView) -> set[str]:
        """The pools for which an activator has published slices."""
        names = self.slices.having(("pod", pod.uid))
        return set(map(pool_of_slice, map(self.slices.__getitem__, names)))

    # --- queries ---

    @property
    def is_synced(self) -> bool:
        """Whether every kind that each cluster has was listed once."""
        return self.synced >= KINDS.keys()

    def native_ready(self, service: str, family: str) -> int:
        """Ready, non-terminating endpoints of a Service in an address family, without activators.

        An endpoint whose pod is gone or terminating does not count: after an API-server outage the
        endpoint controller may lag by a minute.
        """
        found = map(self.others.__getitem__, self.others.having(service))
        return sum(
            of.further + sum(mark in self._staying for mark in of.pods)
            for of in found
            if of.family == family
        )

    def ours(self) -> list[Object]:
        """The slices that activators have published."""
        return list(self.slices.values())

    def published(self, pool: str, family: str) -> list[Object]:
        """The slices that activators have published for a pool in an address family."""
        return [self.slices[name] for name in self.slices.having(("pool", pool, family))]

    def is_taken(self, pool: Pool, family: str) -> bool:
        """Whether the activators to which a pool is assigned are endpoints of its Service."""
        views = map(slice_view, self.published(pool.name, family))
        return any(view.ready and view.set == pool.activators for view in views)

    def owner(self, obj: Object) -> PodView | None:
        """The activator's pod that owns a slice; None if it does not exist."""
        of = slice_view(obj)
        pod = self.activators.get(of.pod_name)
        return pod if pod is not None and pod.uid == of.pod_uid else None

    def labels(self, pool: Pool) -> Mapping[str, str]:
        """The labels of all pods of a pool, for a list request; empty if it selects none."""
        return self._selector(pool).get("matchLabels") or {}

    def replace_pods(self, labels: Mapping[str, str], listed: list[PodView]) -> None:
        """Replace the stored pods with these labels by a list, which overrides the watch."""
        there = {pod.key[1] for pod in listed}
        concerned: set[str] = set()
        for pod in self.pods.selected_by({"matchLabels": labels}):
            if pod.key[1] not in there:
                concerned.update(self._forget_pod(pod.key[1]))
        for pod in listed:
            concerned.update(self._keep_pod(pod))
        self._tell(concerned)

    def backends(self, pool: Pool) -> list[PodView]:
        """The running, non-terminating pods of a pool with an address, Ready or not."""
        return [pod for pod in self.pods_of(pool) if pod.ip and pod.running and not pod.terminating]

    def pods_of(self, pool: Pool) -> list[PodView]:
        """All pods of a pool, also those that have no node yet."""
        wanted = self._selector(pool)
        return self.pods.selected_by(wanted) if wanted else []

    def has_marks(self, pool: Pool) -> bool:
        """Whether one of its pods goes with the next step down."""
        return any(pod.is_marked for pod in self.pods_of(pool))

    def starts_of(self, pool: Pool) -> list[PodStart]:
        """How far the starts of a pool's pods are, but for those that end."""
        return [pod.start for pod in self.pods_of(pool) if not pod.terminating]

    def _selector(self, pool: Pool) -> Mapping[str, Any]:
        if pool.only_way:
            return self.selectors.get(pool.target, {})
        obj = self.services.get(pool.service)
        selector = service_selector(obj or {})
        return {"matchLabels": selector} if selector else {}

    def ports(self, service: str) -> list[Port]:
        return self._ports.get(service, [])


def _withdrawn(pod: PodView | None) -> tuple[str, bool, bool] | None:
    """What decides whether others withdraw the endpoints of an activator, and how."""
    return None if pod is None else (pod.uid, pod.lost, pod.lost and pod.ready)


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _said(service: Object) -> tuple[Any, Any]:
    """What slices have of a Service; its uid changes when it is made anew."""
    return service["metadata"].get("uid"), service["spec"]


def _terms_of_pool(pool: Pool) -> Iterable[Hashable]:
    return ("service", pool.service), ("target", pool.target)


def _terms_of_slice(obj: Object) -> Iterable[Hashable]:
    """The index keys of an activator's slice: its pool and its pod."""
    view = slice_view(obj)
    return ("pool", view.pool, view.family), ("pod", view.pod_uid)


# --- the slices of other controllers: a thousand endpoints are eight thousand bytes ---


def mark_of(name: str, uid: str) -> int:
    """A number that stands for a pod in this process."""
    return hash((name, uid))


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The ready endpoints of a slice that no activator has published."""

    service: str | None
    family: str
    pods: "array[int]"
    """The marks of those that are pods."""
    further: int
    """How many are no pods."""


def endpoints_of(obj: Object) -> Endpoints:
    pods, further = array("q"), 0
    for endpoint in obj.get("endpoints") or ():
        conditions, target = endpoint.get("conditions") or {}, endpoint.get("targetRef") or {}
        if conditions.get("ready", True) is False or conditions.get("terminating", False):
            continue
        if target.get("kind") == "Pod" and "uid" in target:
            pods.append(mark_of(target.get("name", ""), target["uid"]))
        else:
            further += 1
    service = (obj["metadata"].get("labels") or {}).get(SERVICE_LABEL)
    return Endpoints(service, obj.get("addressType", ""), pods, further)
