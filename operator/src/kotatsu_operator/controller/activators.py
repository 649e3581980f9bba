"""The activators, as the watches have shown them: their pods and slices.

A pool is served by a set: one shard of those that namespaces share, or the activators of its own
namespace (see `protocol.set_of_pod`).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from kotatsu_operator.core.formats import table
from kotatsu_operator.core.objects import activators_of, selects
from kotatsu_operator.core.pool.memory import Phase
from kotatsu_operator.core.pool.route import all_pass
from kotatsu_operator.core.protocol import ACTIVATOR_LABELS, home_of, set_of_pod
from kotatsu_operator.core.report.record import taken_service
from kotatsu_operator.kube.informer import Indexed
from kotatsu_operator.kube.objects import Key, Object, key_of
from kotatsu_operator.kube.views import PodView, SliceView

_ACTIVATOR = {"matchLabels": ACTIVATOR_LABELS}

Term = tuple[str, str]
"""Of the pools of a set: `all`, or those that it `waits` for."""


def is_activator(labels: object) -> bool:
    """Whether these are labels of an activator's pod."""
    return isinstance(labels, dict) and selects(_ACTIVATOR, labels)


def place_of(pod: PodView) -> str:
    """The set of an activator."""
    return set_of_pod(pod.key[0], pod.labels)


def terms_of_pool(pool: Object) -> Iterator[Term]:
    """The index terms of a pool: of its set, as its status says; and if it waits for it.

    It does if its next step needs all activators as endpoints of its Service.
    """
    place, status = activators_of(pool), table(pool.get("status"))
    yield "all", place
    if place:
        yield home_term(key_of(pool)[0], home_of(place))
    is_taken = taken_service(status) is not None or not all_pass(pool)
    if status.get("phase") == Phase.DRAINING or not is_taken:
        yield "waits", place


def home_term(namespace: str, home: str) -> Term:
    """Of the pools of a namespace that activators of `home` serve."""
    return "home", f"{namespace} {home}"


def is_up(pod: PodView | None) -> bool:
    return pod is not None and pod.ready and not pod.terminating


@dataclass
class Activators:
    """What is known of all activators that are watched."""

    set_of: Callable[[str], str]
    """The set that serves a namespace."""
    pods: Indexed[Key, PodView] = field(
        default_factory=lambda: Indexed(lambda pod: [("place", place_of(pod)), ("uid", pod.uid)])
    )
    slices: Indexed[Key, SliceView] = field(
        default_factory=lambda: Indexed(lambda view: [(view.key[0], view.pool)])
    )

    def change_pod(self, key: Key, pod: PodView | None) -> Term | None:
        """Store or remove a pod, if it is an activator; returns the pools that it concerns.

        All of its set if it was the last Ready one, or is the first: their conditions say that.
        """
        before = self.pods.pop(key, None)
        if pod is not None and is_activator(pod.labels):
            self.pods[key] = pod
        else:
            pod = None
        if (one := pod or before) is None:
            return None
        others = (other for other in self.at(place_of(one)) if other.key != key)
        is_edge = is_up(before) != is_up(pod) and not any(map(is_up, others))
        return ("all" if is_edge else "waits"), place_of(one)

    def at(self, place: str) -> list[PodView]:
        """All pods of a set, also starting and terminating ones."""
        return [self.pods[key] for key in self.pods.having(("place", place))]

    def of(self, key: Key) -> list[PodView]:
        """All pods that may have connections of a pool: of its set, and those with slices of it."""
        found = {pod.key: pod for pod in self.at(self.set_of(key[0]))}
        for slice_ in self._slices(key):
            found |= {of: self.pods[of] for of in self.pods.having(("uid", slice_.pod_uid))}
        return list(found.values())

    def ready(self, key: Key) -> list[PodView]:
        """The pods of a pool's set that are Ready and not terminating."""
        return [pod for pod in self.at(self.set_of(key[0])) if is_up(pod)]

    def _slices(self, key: Key) -> Iterable[SliceView]:
        return map(self.slices.__getitem__, self.slices.having(key))

    def published(self, key: Key, service: str | None) -> int | None:
        """The lowest epoch that all Ready activators have published; None without such activators.

        0 while the endpoint of a lost activator is still ready: some clients would be sent there;
        while one of another set is; and while one still publishes the Service that the pool had
        before its `service`.
        """
        lowest = self._lowest(key)
        lost = {pod.uid for pod in self.at(self.set_of(key[0])) if pod.lost}
        mine = self.set_of(key[0])
        is_behind = any(
            s.ready and (s.pod_uid in lost or s.set != mine or service not in (s.service, None))
            for s in self._slices(key)
        )
        return lowest if lowest is None or not is_behind else 0

    def _lowest(self, key: Key) -> int | None:
        """The lowest epoch of its set, whatever others have published."""
        activators = self.ready(key)
        if not activators:
            return None
        # A pod has one slice for each address family: the epoch counts when all of them have it.
        said: dict[str, dict[str, int]] = defaultdict(dict)
        promised: dict[str, set[str]] = defaultdict(set)
        for s in self._slices(key):
            if s.ready:
                said[s.pod_uid][s.family] = s.epoch
                promised[s.pod_uid].update(s.families, [s.family])
        return min(
            said[pod.uid].get(family, 0)
            for pod in activators
            for family in promised.get(pod.uid, {""})
        )

    def is_in_front(self, key: Key) -> bool:
        """Whether an activator is an endpoint of a pool's Service."""
        return any(s.ready for s in self._slices(key))

    # --- what is left of activators ---

    def orphans(self, is_watched: Callable[[str], bool]) -> list[SliceView]:
        """Slices whose pod is gone; they must be removed.

        `is_watched` returns whether the pods of a namespace have been listed.
        """
        there = {pod.uid for pod in self.pods.values()}
        gone = (s for s in self.slices.values() if s.pod_uid not in there)
        return [s for s in gone if is_watched(s.pod_namespace)]

    def lost(self, answers: Callable[[Key], bool]) -> list[SliceView]:
        """The slices of lost activators whose set has no Ready activator to remove them.

        Only of pools with a pod that `answers`: the last endpoint of a Service stays.
        """
        left = {pod.uid: place_of(pod) for pod in self.pods.values() if pod.lost}
        if not left:
            return []
        gone = {place for place in left.values() if not any(map(is_up, self.at(place)))}
        return [
            s
            for s in self.slices.values()
            if s.ready and left.get(s.pod_uid) in gone and answers((s.key[0], s.pool))
        ]

    def strangers(self, is_served: Callable[[Key, int | None], bool]) -> list[SliceView]:
        """Ready slices of another set than their pool's.

        Only of pools for which `is_served` says so of the epoch that its own set has published.
        """
        return [
            s
            for s in self.slices.values()
            if s.ready
            and s.set != self.set_of(s.key[0])
            and is_served(key := (s.key[0], s.pool), self._lowest(key))
        ]
