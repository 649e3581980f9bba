"""Which pods a step down ends, and when it may be taken (docs/protocol.md, Lowering)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

LIMIT = timedelta(minutes=10)
"""How long a step down waits for requests in flight."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pod that a step down may end."""

    name: str
    rank: tuple[int, ...]
    """Its place in the order in which the controller ends pods, before marks: lower ones first."""
    marked: bool = False


@dataclass(frozen=True)
class Removal:
    """The pods that a controller counts as replicas, and what is known of its order."""

    pods: tuple[Candidate, ...] = ()
    is_known: bool = False
    """Whether the controller ends them by rank; if not, a step may end any of them."""
    by_mark: bool = True
    """Whether it ends the marked ones of a rank first. A StatefulSet ends the highest ordinals."""

    @property
    def marked(self) -> frozenset[str]:
        return frozenset(pod.name for pod in self.pods if pod.marked)

    def ends(self, replicas: int, wanted: int) -> int:
        """How many pods a step down ends at most."""
        if self.by_mark or not self.pods:
            return max(len(self.pods) - wanted, 0)
        # Of ordinals without a pod, the highest ones count too.
        first = min(pod.rank[0] for pod in self.pods)
        return sum(pod.rank[0] < first + replicas - wanted for pod in self.pods)

    def may_end(self, replicas: int, wanted: int) -> frozenset[str]:
        """The pods that a step down may end: with those of which no order is known."""
        number = self.ends(replicas, wanted)
        if not self.is_known:
            return frozenset(pod.name for pod in self.pods)
        if not number:
            return frozenset()
        last = sorted(map(self._place, self.pods))[number - 1]
        return frozenset(pod.name for pod in self.pods if self._place(pod) <= last)

    def chosen(self, number: int, free: Collection[str] = ()) -> list[str]:
        """The pods to end: by rank, then those in `free`, then those that are marked already."""
        order = sorted(self.pods, key=lambda pod: (pod.rank, pod.name not in free, not pod.marked))
        return [pod.name for pod in order[:number]]

    def _place(self, pod: Candidate) -> tuple[tuple[int, ...], bool]:
        return pod.rank, not (self.by_mark and pod.marked)


@dataclass(frozen=True)
class Uses:
    """The requests or connections of pods, by name, as far as they are known."""

    by_pod: Mapping[str, int]
    drains: bool = False
    """Whether marked pods get no new ones, and those of the pods are known that all activators know
    as marked."""

    @property
    def free(self) -> frozenset[str]:
        """The pods without a request."""
        return frozenset(name for name, number in self.by_pod.items() if not number)


@dataclass(frozen=True)
class Lowering:
    """A step down: what to do of it now."""

    replicas: int | None
    """The scale to set; None: do not change it."""
    marks: frozenset[str] = frozenset()
    """The pods to mark; no other pod of the pool keeps a mark."""
    ends: frozenset[str] | None = None
    """The pods that it may end; None: all, since it is overdue or lowers nothing."""
    since: datetime | None = None
    """Since when it waits; None if nothing is left to lower."""
    waits: str = ""
    """What it waits for; empty if it does not wait."""
    forced: bool = False
    """Whether it ends pods with requests in flight."""


def lowering(
    removal: Removal,
    uses: Uses,
    replicas: int,
    wanted: int | None,
    since: datetime | None,
    now: datetime,
) -> Lowering:
    """The step from `replicas` to `wanted` ones, of which one has waited `since` then.

    Where marked pods do not drain, those are marked that have no request at the moment, and the
    step goes as far as there are any.
    """
    if wanted is None or wanted >= replicas:
        # Until the controller has ended them, it must find the marks.
        ending = removal.marked if len(removal.pods) > replicas else frozenset()
        return Lowering(wanted, ending)
    since = since or now
    free, drains = uses.free, uses.drains
    number = removal.ends(replicas, wanted)
    if drains:
        chosen = removal.chosen(number)
        if not set(chosen) == removal.marked == uses.by_pod.keys():
            free = frozenset()  # an activator with another mark may give a pod new connections
    else:
        chosen = list(takewhile(free.__contains__, removal.chosen(number, free)))
    there = len(removal.pods) if removal.by_mark else replicas
    for to in (wanted, max(there - len(chosen), wanted)):
        if to < replicas and removal.may_end(replicas, to) <= free:
            return Lowering(to, removal.marked, free, None if to == wanted else since)
    # What drains comes to an end by itself, as before a sleep.
    ends_itself = drains and all(name in uses.by_pod for name in chosen)
    if now - since >= LIMIT and not ends_itself:
        return Lowering(wanted, removal.marked, forced=True)
    marks = frozenset(chosen if removal.is_known and (drains or removal.by_mark) else ())
    return Lowering(None, marks, since=since, waits=_waits(wanted, since, bounded=not ends_itself))


def _waits(wanted: int, since: datetime, *, bounded: bool) -> str:
    most = f", until {since + LIMIT:%H:%M} UTC at most" if bounded else ""
    return f"lowering to {wanted} waits for requests in flight{most}"
