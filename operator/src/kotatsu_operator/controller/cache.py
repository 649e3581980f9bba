"""The cache: the latest version of every relevant object, indexed for the operator's queries.

Each `keep_…` and `forget_…` returns the pools that a change concerns: none if nothing has changed
that decisions depend on, as for most events.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Container, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from kotatsu_operator.controller.activators import Activators, terms_of_pool
from kotatsu_operator.controller.served import Served
from kotatsu_operator.core.budget.ledger import BilledPod
from kotatsu_operator.core.decide.isolation import IngressPolicy, ingress_policy
from kotatsu_operator.core.formats import count, internal, table
from kotatsu_operator.core.objects import selects, service_of, target_of
from kotatsu_operator.core.pool.decision import Order, order_of
from kotatsu_operator.core.pool.memory import Route
from kotatsu_operator.core.pool.route import all_pass
from kotatsu_operator.core.pool.spec import BUILT_IN, KNATIVE, Scaled
from kotatsu_operator.core.protocol import (
    ACTIVATOR_LABELS,
    CAPACITY_LABEL,
    HOME_LABEL,
    ROUTE_LABEL,
    pool_label,
)
from kotatsu_operator.kube import objects, views
from kotatsu_operator.kube.client import EVERYWHERE
from kotatsu_operator.kube.informer import Feed, Indexed, Pods, Selectors
from kotatsu_operator.kube.objects import Key, Object, key_of
from kotatsu_operator.kube.retained import Retained
from kotatsu_operator.kube.views import PodView, SliceView

POOL = 12 * 1024
"""Bytes that the operator needs for a WarmPool, beside the object."""

_PART = ("targetRef", "service", "route", "suspend")
"""The fields of a WarmPool's spec without which its target could not be given back."""

_DEPARTED = 1000
"""Deleted pods per pool at most that wait for the pool's ledger."""

Concerned = Collection[Key]
"""The pools that a change concerns."""


@dataclass
class Cache:
    """The latest version of every relevant object; filled by watches, read by the work queue.

    No query of an event or a reconcile scans all objects of a kind.
    """

    served: Served
    """The namespaces of the install."""
    pools: Indexed[Key, Object] = field(default_factory=lambda: Indexed(_terms_of_pool))
    scaled: Scaled = field(default_factory=lambda: BUILT_IN)
    """The kinds of workloads that pools can scale."""
    pod_labels: Mapping[str, str] = field(default_factory=dict)
    """By kind of target without a selector: the label of its pods that has its name."""
    workloads: dict[Key, views.WorkloadView] = field(default_factory=dict)
    """By namespace and `ref`."""
    pods: dict[str, Pods] = field(default_factory=lambda: defaultdict(Pods))
    activators: Activators = field(init=False)
    foreign_slices: Indexed[Key, views.ForeignSlice] = field(
        default_factory=lambda: Indexed(lambda of: [of.service])
    )
    """EndpointSlices with endpoints that no activator has published."""
    services: Indexed[Key, Object] = field(
        default_factory=lambda: Indexed(lambda service: [key_of(service)[0]])
    )
    autoscalers: Indexed[Key, Object] = field(
        default_factory=lambda: Indexed(lambda obj: [objects.scales(obj)])
    )
    policies: Indexed[Key, IngressPolicy] = field(
        default_factory=lambda: Indexed(lambda policy: [policy.namespace])
    )
    """The NetworkPolicies that limit who reaches pods."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    touch: Callable[[Key], None] = lambda _: None
    """Called for the pools in order with one (spec.dependsOn) that has changed for them."""
    retained: Retained = field(default_factory=Retained)
    """How much is kept of each namespace; of one that is too large, a part of each WarmPool."""
    _parts: set[Key] = field(default_factory=set)
    """The pools of which only a part is kept."""
    _observers: list[Callable[[Key, Object | None], None]] = field(default_factory=list)
    _listeners: list[Callable[[str], None]] = field(default_factory=list)
    _selectors: dict[str, Selectors[Key]] = field(default_factory=lambda: defaultdict(Selectors))
    """The selectors of the workloads, by namespace."""
    _ended: set[Key] = field(default_factory=set)
    """Deleted workloads that may still have pods."""
    _departed: dict[Key, deque[BilledPod]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=_DEPARTED))
    )
    """The bills of deleted pods, by pool."""

    def __post_init__(self) -> None:
        self.activators = Activators(self.served.scope.set_of)

    def feed(
        self,
        kind: Any,
        keep: Callable[[Object], Concerned],
        forget: Callable[[Key], Concerned],
        known: Callable[[str], Iterable[Key]],
        stored: Callable[[Key], object],
    ) -> Feed[Key]:
        """How the objects of a kind get into a cache. Of each, what is `stored` is weighed."""

        def weigh(name: str, key: Key) -> None:
            self.retained.weigh(key[0], name, key[1], stored(key))

        return Feed(kind, keep, forget, known, weigh=weigh)

    def why_full(self, namespace: str) -> str:
        """Why nothing is decided in a namespace that is too large."""
        return (
            f"{self.retained.why_full(namespace, 'the operator')}: nothing is decided here, and "
            "replicas stay as they are, until there are fewer or smaller ones or the operator has "
            "a higher memory limit"
        )

    def keep_pool(self, pool: Object) -> bool:
        """Store a WarmPool unless the stored version is as new; return whether it was stored.

        Also one of another uid: of a pool that was made again, events of both come in any order.
        """
        key = key_of(pool)
        known = self.pools.get(key)
        if known is not None:
            version = objects.version_of(known) - (key in self._parts)
            if version >= objects.version_of(pool):
                return False
        pool = self._store(pool)
        others = self._in_order(key, known, pool)
        if others and (known is None or _place_in_order(known) != _place_in_order(pool)):
            self._touch(others)
        self._tell(key, pool)
        return True

    def _store(self, pool: Object) -> Object:
        """Store a WarmPool; returns what is kept of it."""
        key = key_of(pool)
        self._parts.discard(key)
        if key[0] in self.retained.full:
            spec = {name: pool["spec"][name] for name in _PART if name in pool["spec"]}
            pool = {**pool, "spec": spec}
            self._parts.add(key)
        self.pools[key] = pool
        self.retained.weigh(key[0], "WarmPool", key[1], pool, POOL)
        return pool

    def reduce(self, namespace: str) -> None:
        """Keep only a part of the WarmPools of a namespace that is too large."""
        for key in self.pools.having(("namespace", namespace)):
            self._store(self.pools[key])

    def is_reduced(self, namespace: str) -> bool:
        """Whether of WarmPools of a namespace only a part is kept."""
        return not self._parts.isdisjoint(self.pools.having(("namespace", namespace)))

    def forget_pool(self, key: Key) -> None:
        self._touch(self._in_order(key, self.pools.pop(key, None)))
        self._parts.discard(key)
        self.retained.weigh(key[0], "WarmPool", key[1], None)
        self._departed.pop(key, None)
        self._tell(key, None)

    def uid_of(self, key: Key) -> str:
        """The uid of a WarmPool; empty without one."""
        known = self.pools.get(key)
        return "" if known is None else str(known["metadata"]["uid"])

    def tell(self, *observers: Callable[[Key, Object | None], None]) -> None:
        """Call these with each version of a WarmPool, and with None when it is removed."""
        self._observers += observers

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call this with each namespace whose workloads or Services change for a WarmPoolSet."""
        self._listeners.append(listener)

    def changed(self, namespace: str) -> None:
        """Tell the listeners of a namespace."""
        for listener in self._listeners:
            listener(namespace)

    def _tell(self, key: Key, pool: Object | None) -> None:
        for observe in self._observers:
            observe(key, pool)

    def dependencies_of(self, key: Key) -> list[str] | None:
        """spec.dependsOn of a pool; None if there is no such pool."""
        pool = self.pools.get(key)
        return None if pool is None else list(pool["spec"].get("dependsOn") or ())

    def order_of(self, key: Key) -> Order:
        """Read from the pools on which a pool depends, and from those that depend on it."""
        before = [self.pools.get((key[0], name)) for name in self.dependencies_of(key) or ()]
        after = map(self.pools.__getitem__, self._oldest_first(("dependency", key)))
        return order_of([pool for pool in before if pool is not None], after)

    def _in_order(self, key: Key, *versions: Object | None) -> set[Key]:
        """The pools on which these versions of one depend, and those that depend on it."""
        before = (
            (key[0], name)
            for pool in versions
            if pool is not None
            for name in pool["spec"].get("dependsOn") or ()
        )
        return {*before, *self.pools.having(("dependency", key))}

    def _touch(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self.touch(key)

    def keep_workload(self, kind: str, obj: Object) -> Concerned:
        """Store a workload of a kind."""
        view = views.workload_view(obj, kind)
        namespace, name = view.key
        key = (namespace, objects.ref(kind, name))
        before = self.workloads.get(key)
        if before == view:
            return ()
        self.workloads[key] = view
        if before is None or before.selected_by != view.selected_by:
            self.changed(namespace)
        self._ended.discard(key)
        self._selectors[namespace].pop(key, None)
        if view.selector:
            self._selectors[namespace][key] = view.selector
        return self.pools_of_target(kind, view.key)

    def forget_workload(self, kind: str, key: Key) -> Concerned:
        """Remove a deleted workload of a kind."""
        place = (key[0], objects.ref(kind, key[1]))
        self.workloads.pop(place, None)
        self.changed(key[0])
        pools = self.pools_of_target(kind, key)
        if pools:
            self._ended.add(place)
            self._forget_selectors([place])
        else:  # any number of them may come and go beside one pod
            self._selectors[key[0]].pop(place, None)
        return pools

    def forget_rest(self, namespace: str) -> None:
        """Remove what is left of a namespace whose objects were forgotten, but are still there."""
        for pool in self.pools.having(("namespace", namespace)):
            self._departed.pop(pool, None)
        for known in (self.pods, self._selectors):
            if not known.get(namespace):
                known.pop(namespace, None)

    def _in(self, namespace: str, keys: Iterable[Key], kept: Container[Key] = ()) -> list[Key]:
        """Those keys that are of a namespace, or of all.

        Without those that are `kept` also of a namespace that is not in use.
        """
        if namespace == EVERYWHERE:
            return list(keys)
        uses = self.served.uses(namespace)
        return [key for key in keys if key[0] == namespace and (uses or key not in kept)]

    def workloads_in(self, kind: str, namespace: str) -> list[Key]:
        found = ((of, objects.parts(workload)) for of, workload in self.workloads)
        return self._in(namespace, [(of, name) for of, (its, name) in found if its == kind])

    def workloads_of(self, namespace: str) -> list[tuple[str, views.WorkloadView]]:
        """The kinds and views of the workloads of a namespace that have a selector, by kind."""
        found = [(objects.parts(key[1])[0], key) for key in self._selectors.get(namespace, ())]
        return [(kind, self.workloads[key]) for kind, key in sorted(found) if key in self.workloads]

    def selector_of(self, key: Key) -> Mapping[str, Any] | None:
        """The selector of a workload; after its deletion, as long as it has a pool and pods."""
        return self._selectors[key[0]].get(key)

    def _forget_selectors(self, keys: Iterable[Key]) -> None:
        """Remove the selectors of those deleted workloads that have no pods left."""
        for key in self._ended.intersection(keys):
            selector = self._selectors[key[0]].get(key)
            if selector is None or not self.pods[key[0]].any_selected_by(selector):
                self._selectors[key[0]].pop(key, None)
                self._ended.discard(key)

    def keep_pod(self, obj: Object) -> Concerned:
        """Store a Pod, unless the stored version is newer."""
        view = views.pod_view(obj)
        pods, name = self.pods[view.key[0]], view.key[1]
        before = pods.get(name)
        if before is not None and before.uid != view.uid:
            self.forget_pod(view.key)  # its deletion was missed
        elif before is not None and before.version > view.version:
            return ()  # the answer to a resize came first
        pods[name] = view
        if before == view:
            return ()
        return self._change_activator(view.key, view) or self._pools_served_by(view)

    def forget_pod(self, key: Key) -> Concerned:
        """Remove a deleted Pod; its bill stays until its pool's ledger has read it."""
        view = self.pods[key[0]].pop(key[1], None)
        if view is None:
            return ()
        if view.billed is not None and view.billed.gone_at is None:
            bill = replace(view.billed, gone_at=self.clock())
            for pool in self._pools_served_by(view):
                self._departed[pool].append(bill)
        concerned = self._change_activator(key, None) or self._pools_served_by(view)
        if self._ended:
            self._forget_selectors(self._selectors[key[0]].picking(view.labels))
        return concerned

    def keep_slice(self, obj: Object) -> Concerned:
        """Store an EndpointSlice: an activator's, or another controller's with endpoints."""
        if views.is_ours(obj):
            return self._change_slice(key_of(obj), views.slice_view(obj), None)
        return self._change_slice(key_of(obj), None, views.foreign_slice(obj))

    def forget_slice(self, key: Key) -> Concerned:
        return self._change_slice(key, None, None)

    def _change_slice(
        self, key: Key, ours: SliceView | None, foreign: views.ForeignSlice | None
    ) -> Concerned:
        """Store or remove a slice; another controller's concerns pools that all have to pass."""
        slices = self.activators.slices
        before, others = slices.pop(key, None), self.foreign_slices.pop(key, None)
        if ours is not None:
            slices[key] = ours
        if foreign is not None:
            self.foreign_slices[key] = foreign
        services = {of.service for of in (others, foreign) if of is not None and others != foreign}
        return {
            *((key[0], of.pool) for of in (before, ours) if of is not None and before != ours),
            *(
                pool
                for service in services
                for pool in self.pools_of_service(service)
                if all_pass(self.pools[pool])
            ),
        }

    def pod_of(self, key: Key) -> object:
        """What is kept of a Pod, with its index terms; None without it."""
        pods = self.pods.get(key[0])
        if pods is None or key[1] not in pods:
            return self.activators.pods.get(key)
        return pods[key[1]], pods.terms(key[1])

    def workload_of(self, kind: str, key: Key) -> object:
        """What is kept of a workload of a kind; None without it."""
        return self.workloads.get((key[0], objects.ref(kind, key[1])))

    def slice_of(self, key: Key) -> object:
        """What is kept of an EndpointSlice; None if that is nothing."""
        return self.activators.slices.get(key) or self.foreign_slices.get(key)

    def pods_in(self, namespace: str) -> list[Key]:
        spaces = list(self.pods) if namespace == EVERYWHERE else [namespace]
        keys = ((of, name) for of in spaces if of in self.pods for name in self.pods[of])
        is_home = namespace in self.served.homes
        return self._in(namespace, keys, self.activators.pods if is_home else ())

    def slices_in(self, namespace: str) -> list[Key]:
        ours = self.activators.slices
        kept = () if namespace in self.retained.full else ours
        return self._in(namespace, (*ours, *self.foreign_slices), kept)

    def keep_service(self, obj: Object) -> Concerned:
        key = key_of(obj)
        before, self.services[key] = self.services.get(key), obj
        if before is not None and before["spec"] == obj["spec"]:
            return ()
        self.changed(key[0])
        return self.pools_of_service(key)

    def forget_service(self, key: Key) -> Concerned:
        self.services.pop(key, None)
        self.changed(key[0])
        return self.pools_of_service(key)

    def keep_policy(self, obj: Object) -> Concerned:
        return self._change_policy(key_of(obj), ingress_policy(obj))

    def forget_policy(self, key: Key) -> Concerned:
        return self._change_policy(key, None)

    def _change_policy(self, key: Key, policy: IngressPolicy | None) -> Concerned:
        """Store or remove a NetworkPolicy; any pool of its namespace may be concerned."""
        before = self.policies.pop(key, None)
        if policy is not None:
            self.policies[key] = policy
        return () if before == policy else self.pools.having(("namespace", key[0]))

    def bypassed_policy(self, namespace: str, labels: Mapping[str, str]) -> str:
        """A NetworkPolicy that limits the clients of pods with these labels, but not asleep.

        While a pool sleeps, its clients connect to the activators: they are not limited if a policy
        admits everybody there, or if none selects the activators. Empty without such a policy.
        """
        own = {**ACTIVATOR_LABELS, HOME_LABEL: self.served.scope.home}
        there = self.limits(namespace, own)
        if there and not any(policy.admits_all for policy in there):
            return ""
        of = self.limits(namespace, labels)
        return next((policy.name for policy in of if not policy.admits_all), "")

    def limits(self, namespace: str, labels: Mapping[str, str]) -> list[IngressPolicy]:
        """The NetworkPolicies that limit the clients of pods with these labels, by name."""
        found = map(self.policies.__getitem__, sorted(self.policies.having(namespace)))
        return [policy for policy in found if selects(policy.pods, labels)]

    def keep_autoscaler(self, obj: Object) -> Concerned:
        """Store a HorizontalPodAutoscaler; a new target concerns the pool of the old one too."""
        key = key_of(obj)
        before, self.autoscalers[key] = self.autoscalers.get(key), obj
        if before is not None and objects.scaling_of(before) == objects.scaling_of(obj):
            return ()
        return self._pools_beside(key, before, obj)

    def forget_autoscaler(self, key: Key) -> Concerned:
        return self._pools_beside(key, self.autoscalers.pop(key, None))

    def _pools_beside(self, key: Key, *autoscalers: Object | None) -> Concerned:
        """The pools whose status names an autoscaler, and those of its current and last target."""
        targets = {objects.scales(obj) for obj in autoscalers if obj is not None}
        found = set(self.pools.having(("hpa", key)))
        return found.union(*(self._pools_of_workload(target) for target in targets))

    def _pools_of_workload(self, place: Key) -> list[Key]:
        kind, name = objects.parts(place[1])
        return self.pools_of_target(kind, (place[0], name))

    def autoscalers_of(self, target: Key) -> list[Object]:
        """The HorizontalPodAutoscalers that scale a workload, by name."""
        return [self.autoscalers[key] for key in sorted(self.autoscalers.having(target))]

    def pools_of_service(self, key: Key) -> list[Key]:
        """The pools that this Service wakes, oldest first; not for Knative Services."""
        return self._oldest_first(("service", key))

    def pools_of_target(self, kind: str, key: Key) -> list[Key]:
        """The pools with this target, oldest first (then by name)."""
        return self._oldest_first(("target", kind, key))

    def pools_of_kind(self, kind: str) -> list[Key]:
        return self.pools.having(("kind", kind))

    def _oldest_first(self, term: Hashable) -> list[Key]:
        keys = self.pools.having(term)
        made = {key: self.pools[key]["metadata"].get("creationTimestamp", "") for key in keys}
        return sorted(made, key=lambda key: (made[key], key))

    def target_pods(self, namespace: str, selector: Mapping[str, Any]) -> list[PodView]:
        return self.pods[namespace].selected_by(selector)

    def _change_activator(self, key: Key, pod: PodView | None) -> Concerned:
        """Store or remove the pod of an activator; returns the pools that may wait for it."""
        term = self.activators.change_pod(key, pod)
        return () if term is None else self.pools.having(term)

    def _pools_served_by(self, pod: PodView) -> list[Key]:
        namespace, labels = pod.key[0], pod.labels
        found: dict[Key, None] = {}
        for kind, label in self.pod_labels.items():
            found |= dict.fromkeys(self.pools_of_target(kind, (namespace, labels.get(label, ""))))
        if CAPACITY_LABEL in labels:
            found |= dict.fromkeys(
                self.pools.having(("capacity", namespace, labels[CAPACITY_LABEL]))
            )
        for place in self._selectors[namespace].picking(labels):
            found |= dict.fromkeys(self._pools_of_workload(place))
        return list(found)

    def departed(self, pool: Key) -> list[BilledPod]:
        """The bills of a pool's deleted pods that its ledger does not have."""
        return list(self._departed.get(pool, ()))

    def settled(self, pool: Key, bills: Collection[BilledPod]) -> None:
        """Remove bills that the ledger of a pool has."""
        paid = {bill.uid for bill in bills}
        left = [bill for bill in self._departed.pop(pool, ()) if bill.uid not in paid]
        if left:
            self._departed[pool].extend(left)

    def acknowledged(self, key: Key) -> int | None:
        """The epoch that all Ready activators have published; None without such activators.

        0 while connections bypass the activators that all are to pass.
        """
        published = self.published(key)
        return 0 if published and self.is_bypassed(key) else published

    def is_bypassed(self, key: Key) -> bool:
        """Whether the Service of a pool leads to pods though all are to pass the activators."""
        if key not in self.pools or not all_pass(self.pools[key]):
            return False
        place = key[0], service_of(self.pools[key])
        selector = table(self.services.get(place, {"spec": {}})["spec"].get("selector"))
        found = next(iter(self.foreign_slices.having(place)), None)
        return bool(selector) and (ROUTE_LABEL not in selector or found is not None)

    def published(self, key: Key) -> int | None:
        """The lowest epoch that all Ready activators have published (see `Activators`)."""
        service = service_of(self.pools[key]) if key in self.pools else None
        return self.activators.published(key, service)

    def is_served(self, key: Key, epoch: int | None) -> bool:
        """Whether a pool needs no activators but those of its own set, which are at this epoch."""
        pool = self.pools.get(key)
        route = table(table({} if pool is None else pool.get("status")).get("route"))
        if pool is None or route.get("target") != Route.ACTIVATOR:
            return pool is not None and self.answers(key)
        return (epoch or 0) >= count(route.get("epoch"), 1)

    def answers(self, key: Key) -> bool:
        """Whether a pod of a pool is an endpoint of its Service, and Ready."""
        pool = self.pools.get(key)
        if pool is None or all_pass(pool):
            return False
        workload = self.workloads.get((key[0], objects.ref(*target_of(pool))))
        selector = None if workload is None else workload.selector
        pods = self.target_pods(key[0], selector) if selector else []
        return any(pod.ready and not pod.lost for pod in pods)


def _terms_of_pool(pool: Object) -> Iterator[Hashable]:
    """The index terms of a pool: its target, its Service, and the autoscaler in its status."""
    key, (kind, name) = key_of(pool), target_of(pool)
    yield "namespace", key[0]
    yield from terms_of_pool(pool)
    yield "capacity", key[0], pool_label(key[1])
    for other in pool["spec"].get("dependsOn") or ():
        yield "dependency", (key[0], other)
    yield "kind", kind
    yield "target", kind, (key[0], name)
    if kind != KNATIVE:
        yield "service", (key[0], service_of(pool))
    autoscaler = table(internal(pool.get("status")).get("hpa")).get("name")
    if autoscaler:
        yield "hpa", (key[0], autoscaler)


def _place_in_order(pool: Object) -> tuple[Any, Order, Order]:
    """What the order reads of a pool: as one of those before, and as one of those after."""
    return pool["spec"].get("dependsOn"), order_of([pool], []), order_of([], [pool])
