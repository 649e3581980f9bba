"""A pool whose target is a Knative Service: Knative scales, the pool only sets the floor.

Knative Serving follows the requests by itself and has an activator of its own. While the pool's
floor is above 0, the annotation min-scale of each Revision with traffic holds that floor; what the
annotation said before is remembered, and put back when the floor is gone. Everything else (the
schedule, overrides, the lead, how punctual an opening was) is decided as for any other pool; the
phases here only say what Knative's own status shows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from .phases import Step
from .state import Memory, Note, Observation, Phase, Reason, Route

SCALE_DOWN = timedelta(minutes=5)
"""How long after the floor has gone Knative may take to lower the pods. Its defaults are 60 s of
stable window and 30 s of grace; pods that are left after this are there for requests."""


@dataclass(frozen=True)
class Revision:
    """What matters of a Knative Revision."""

    name: str
    version: str
    """resourceVersion: what it is patched at."""
    min_scale: str | None = None
    """The annotation min-scale as it stands; None without one."""
    other_min_scale: int = 0
    """What counts without min-scale: the older spelling of the annotation."""
    max_scale: int = 0
    """Knative never runs more pods of it than this; 0: no limit."""
    ready: bool = False
    actual: int = 0
    """Ready pods."""
    desired: int = 0
    """Pods that Knative wants."""


@dataclass(frozen=True)
class Kept:
    """What a Revision's min-scale was before the pool set it; None: there was none."""

    name: str
    min_scale: str | None


@dataclass(frozen=True)
class Patch:
    """Set (or, for None, take away) the min-scale of a Revision that is still at `version`."""

    name: str
    version: str
    min_scale: str | None


@dataclass(frozen=True)
class Course:
    """What to write: first what to remember, then the patches."""

    kept: tuple[Kept, ...] = ()
    patches: tuple[Patch, ...] = ()
    limited: str = ""
    """A sentence when a Revision's max-scale lies below its share of the floor."""


def share(floor: int, percent: int) -> int:
    """The pods that a Revision with this part of the traffic keeps of a floor: never fewer."""
    return -(-floor * percent // 100)


def course(
    floor: int,
    traffic: Mapping[str, int],
    revisions: Mapping[str, Revision],
    kept: Sequence[Kept],
) -> Course:
    """Decide what each Revision's min-scale should be, and what must be remembered for that.

    `traffic` is the percentage of requests by Revision, `revisions` are all that are known, `kept`
    is what the status remembers. A floor only ever raises a min-scale. A Revision without traffic
    gets its own min-scale back, and is remembered until that is seen.
    """
    before = {k.name: k for k in kept}
    remember: list[Kept] = []
    patches: list[Patch] = []
    limited = ""
    for name in sorted(before.keys() | traffic.keys()):
        revision = revisions.get(name)
        if revision is None:
            continue  # deleted, and its min-scale with it
        known = before.get(name)
        original = revision.min_scale if known is None else known.min_scale
        own = revision.other_min_scale if original is None else scale_number(original)
        asked = share(floor, traffic.get(name, 0))
        if not revision.ready and known is None:
            asked = 0  # never started so far: pods would not make it Ready any sooner
        if 0 < revision.max_scale < asked:
            limited = (
                f"{asked} pods are asked for, but Knative runs at most {revision.max_scale} of "
                f"Revision {name}: raise autoscaling.knative.dev/max-scale in the Service's "
                "template, or ask for fewer"
            )
            asked = revision.max_scale
        wanted = str(asked) if asked > own else original
        if wanted != original or revision.min_scale != original:
            remember.append(Kept(name, original))
        if revision.min_scale != wanted:
            patches.append(Patch(name, revision.version, wanted))
    return Course(tuple(remember), tuple(patches), limited)


def scale_number(text: str | None) -> int:
    """The number in a scale annotation; 0 without one, or when it is none."""
    return int(text) if text is not None and text.isdecimal() else 0


def observe(
    traffic: Mapping[str, int], revisions: Mapping[str, Revision], pods: int
) -> Observation:
    """What Knative's status shows of the Revisions with traffic; `pods` are those that exist."""
    routed = [(revisions[name], percent) for name, percent in traffic.items() if name in revisions]
    return Observation(
        replicas=sum(max(r.actual, r.desired) for r, _ in routed),
        ready=_ready_floor(routed),
        pods=pods,
        acknowledged=0,
        # A Revision is a pod template: the one with the most requests has to prove itself.
        template=max(sorted(traffic), key=lambda name: traffic[name], default=""),
        updated=_ready_floor(routed),
        running=sum(r.actual for r, _ in routed),
    )


def _ready_floor(routed: Iterable[tuple[Revision, int]]) -> int:
    """The highest floor of which every Revision has its share Ready."""
    return min((r.actual * 100 // percent for r, percent in routed if percent > 0), default=0)


class KnativeStep(Step):
    """One step of the phases of a Knative target; see `Step` for those of a Deployment.

    Asleep ──floor, or pods for a request──▶ Warming ──floor Ready──▶ Warm ──floor gone──▶ Draining
    and from each of them to Sleeping and Asleep when Knative wants no pods any more.
    """

    def take(self) -> tuple[Memory, int | None, bool, bool, tuple[Note, ...]]:
        """Return (memory, replicas, sleep, force, notes); never replicas or a sleep of ours."""
        # Nothing of ours is ever in the way to a Knative Service.
        self.memory = replace(self.memory, route=Route.NATIVE, epoch=0)
        if self.floor > 0:
            self.wanted = 0
            self._hold()
        else:
            self.wanted = self.seen.replicas
            self.seen = replace(self.seen, ready=self.seen.running or 0)
            self._let_go()
        return self.memory, None, False, False, tuple(self.notes)

    def _hold(self) -> None:
        if self.memory.phase.is_asleep:
            self._wake(self.reason)
        else:
            self._stay()

    def _let_go(self) -> None:
        phase, reason = self.memory.phase, self.memory.reason
        if self.seen.replicas == 0:
            self._rest()
        elif phase.is_asleep:
            self._wake(Reason.DEMAND)
        elif phase is Phase.DRAINING:
            if self.memory.since is None or self.now >= self.memory.since + SCALE_DOWN:
                self._stay()
        elif reason in (Reason.WINDOW, Reason.OVERRIDE):
            self.memory = replace(self.memory, raised_at=None)
            self._enter(Phase.DRAINING, self._why_down())
            self.notes.append(
                Note("Draining", "the floor is gone; Knative keeps the pods that requests need")
            )
        else:
            self._stay()

    def _rest(self) -> None:
        phase = Phase.SLEEPING if self.seen.pods > 0 else Phase.ASLEEP
        if phase is self.memory.phase:
            return
        if phase is Phase.ASLEEP:
            self.notes.append(Note("Asleep", "the last pod is gone; Knative wakes it on request"))
        self.memory = replace(self.memory, raised_at=None)
        # Knative wakes it on request whatever is spent: its budget does not hold it asleep.
        by_override = self.asleep_asked and not self.allowed.sleeps
        self._enter(phase, Reason.OVERRIDE if by_override else Reason.IDLE)
