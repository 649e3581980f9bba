"""A pool whose target is a Knative Service: Knative scales, the pool only sets the floor.

Knative Serving follows the requests by itself and has an activator of its own. While the pool's
floor is above 0, the annotation min-scale of each Revision with traffic holds that floor; what the
annotation said before is remembered, and put back when the floor is gone. Everything else (the
schedule, overrides, the lead, how punctual an opening was) is decided as for any other pool; the
phases here only say what Knative's own status shows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from kotatsu_operator.core.decide.phases import Step
from kotatsu_operator.core.pool.decision import Note
from kotatsu_operator.core.pool.memory import Memory, Phase, Reason, Route
from kotatsu_operator.core.pool.observation import Observation


class Runtime(StrEnum):
    """Which kinds of targets an operator keeps."""

    AUTO = "auto"
    NATIVE = "native"
    KNATIVE = "knative"


SCALE_DOWN = timedelta(minutes=5)
"""How long after the floor has gone Knative may take to lower the pods. Its defaults are 60 s of
stable window and 30 s of grace; pods that are left after this are there for requests."""


FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(seconds=60)
"""How long a refused write rests before it is tried again: twice as long each time."""


@dataclass(frozen=True)
class Defaults:
    """What config-autoscaler sets for every Revision that has no annotation of its own."""

    min_scale: int = 0
    max_scale: int = 0
    """0: no limit."""


NO_DEFAULTS = Defaults()
"""Those of Knative itself."""


@dataclass(frozen=True)
class Revision:
    """What matters of a Knative Revision."""

    name: str
    version: str
    """resourceVersion: what it is patched at."""
    min_scale: str | None = None
    """The annotation min-scale as it stands; None without one."""
    other_min_scale: int | None = None
    """What counts without min-scale: the older spelling of the annotation."""
    max_scale: int | None = None
    """The annotation: Knative never runs more pods of it than this; 0: no limit."""
    activation_scale: int | None = None
    """The annotation: Knative's webhook refuses a min-scale above it."""
    ready: bool = False
    trouble: str = ""
    """Why Knative says that it is not Ready: reason and message."""
    actual: int = 0
    """Ready pods."""
    desired: int = 0
    """Pods that Knative wants."""
    uid: str = ""

    def own_floor(self, min_scale: str | None, defaults: Defaults) -> int:
        """The pods that Knative keeps with this annotation min-scale (None: with none)."""
        number = scale_number(min_scale) if min_scale is not None else self.other_min_scale
        return defaults.min_scale if number is None else number

    def limit(self, defaults: Defaults) -> tuple[int, str]:
        """The highest min-scale that it can have, and what sets that; 0: there is no limit."""
        max_scale, what = self.max_scale, "max-scale"
        if max_scale is None:
            max_scale, what = defaults.max_scale, "the cluster's default max-scale"
        limits = [(max_scale, what), (self.activation_scale or 0, "activation-scale")]
        return min((one for one in limits if one[0] > 0), default=(0, ""))


@dataclass(frozen=True)
class SavedMinScale:
    """What a Revision's min-scale was before the pool set it; None: there was none."""

    name: str
    min_scale: str | None
    written: tuple[str, ...] = ()
    """What the pool has set it to, or is about to. Empty in a record of an older version."""
    uid: str = ""
    """The Revision's; empty in a record of an older version."""

    def holds(self, revision: Revision) -> bool:
        """Whether this very Revision's min-scale is still one that the pool has set."""
        if self.uid and self.uid != revision.uid:
            return False
        if not self.written:
            return revision.min_scale != self.min_scale
        return revision.min_scale in self.written


@dataclass(frozen=True)
class Patch:
    """Set (or, for None, take away) the min-scale of a Revision that is still at `version`."""

    name: str
    version: str
    min_scale: str | None


@dataclass(frozen=True)
class Refused:
    """A patch that the API server has refused, with its words."""

    min_scale: str | None
    message: str
    again: datetime
    """When it is tried again."""
    tries: int = 1


@dataclass(frozen=True)
class MinScalePlan:
    """What to write: first what to remember, then the patches."""

    kept: tuple[SavedMinScale, ...] = ()
    patches: tuple[Patch, ...] = ()
    limited: str = ""
    """A sentence when a Revision cannot have its share of the floor."""
    refused: Mapping[str, Refused] = field(default_factory=dict)
    """By Revision: the patches that rest, because they have been refused."""


def share(floor: int, percent: int) -> int:
    """The pods that a Revision with this part of the traffic keeps of a floor: never fewer."""
    return -(-floor * percent // 100)


def course(
    floor: int,
    traffic: Mapping[str, int],
    revisions: Mapping[str, Revision],
    kept: Sequence[SavedMinScale],
    defaults: Defaults = NO_DEFAULTS,
) -> MinScalePlan:
    """Decide what each Revision's min-scale should be, and what must be remembered for that.

    `traffic` is the percentage of requests by Revision, `revisions` are all that are known, `kept`
    is what the status remembers. A floor only ever raises what is in effect. A Revision without
    traffic gets its own min-scale back, and is remembered until that is seen. Only what the pool
    itself has set is taken back: any other value is somebody's, and is what comes back later.
    """
    before = {k.name: k for k in kept}
    remember: list[SavedMinScale] = []
    patches: list[Patch] = []
    limited = ""
    for name in sorted(before.keys() | traffic.keys()):
        revision = revisions.get(name)
        if revision is None:
            continue  # deleted, and its min-scale with it
        known = before.get(name)
        is_ours = known is not None and known.holds(revision)
        original = known.min_scale if known is not None and is_ours else revision.min_scale
        asked = share(floor, traffic.get(name, 0))
        if not revision.ready and known is None:
            asked = 0  # never started so far: pods would not make it Ready any sooner
        most, what = revision.limit(defaults)
        if 0 < most < asked:
            limited = _limited(name, asked, most, what)
            asked = most
        wanted = str(asked) if asked > revision.own_floor(original, defaults) else original
        if wanted != original or is_ours:
            ours = [revision.min_scale] if is_ours else []
            ours += [wanted] if wanted != original else []
            written = tuple(dict.fromkeys(value for value in ours if value is not None))
            remember.append(SavedMinScale(name, original, written, revision.uid))
        if revision.min_scale != wanted:
            patches.append(Patch(name, revision.version, wanted))
    return MinScalePlan(tuple(remember), tuple(patches), limited)


def _limited(name: str, asked: int, most: int, what: str) -> str:
    where = "the Service's template"
    if what.startswith("the cluster"):
        where = "the ConfigMap config-autoscaler, or set it in the Service's template"
    return (
        f"{asked} pods are asked for of Revision {name}, and {what} allows {most}: the pool counts "
        f"as Warm with what can be had; raise {what} in {where}, or ask for fewer"
    )


def let_go(kept: Sequence[SavedMinScale], plan: MinScalePlan) -> list[str]:
    """The Revisions of which a plan forgets what was there before, or takes something else for it.

    That cannot be undone, so it wants a Revision that was read just now.
    """
    after = {k.name: k.min_scale for k in plan.kept}
    return [k.name for k in kept if k.name not in after or after[k.name] != k.min_scale]


def inherit(
    mine: Sequence[SavedMinScale], theirs: Sequence[SavedMinScale]
) -> tuple[SavedMinScale, ...]:
    """What a newer pool remembers of Revisions, with what a gone pool has left there.

    What the newer one took for an original may have been the floor of the gone one.
    """
    known = {k.name: k for k in mine}
    for old in theirs:
        new = known.get(old.name)
        if new is None:
            known[old.name] = old
        elif new.uid == old.uid and new.min_scale in old.written:
            known[old.name] = replace(new, min_scale=old.min_scale)
    return tuple(known.values())


def rest(plan: MinScalePlan, refused: Mapping[str, Refused], now: datetime) -> MinScalePlan:
    """The plan without the patches that have been refused already, until they are tried again."""
    resting = {
        patch.name: known
        for patch in plan.patches
        if (known := refused.get(patch.name)) is not None and known.min_scale == patch.min_scale
    }
    due = tuple(p for p in plan.patches if p.name not in resting or resting[p.name].again <= now)
    return replace(plan, patches=due, refused=resting)


def refuse(before: Refused | None, patch: Patch, message: str, now: datetime) -> Refused:
    """Note that a patch was refused; the more often, the longer it rests."""
    tries = before.tries + 1 if before is not None and before.min_scale == patch.min_scale else 1
    pause = min(FIRST_PAUSE * 2 ** min(tries - 1, 10), LONGEST_PAUSE)
    return Refused(patch.min_scale, message, now + pause, tries)


def lacks_floor(revision: Revision, refused: Refused | None, defaults: Defaults) -> bool:
    """Whether what was refused would have raised what is in effect."""
    number = None if refused is None else scale_number(refused.min_scale)
    return number is not None and number > revision.own_floor(revision.min_scale, defaults)


def scale_number(text: str | None) -> int | None:
    """The number in a scale annotation; None without one, or when it is none."""
    return int(text) if text is not None and text.isdecimal() else None


def observe(
    traffic: Mapping[str, int],
    revisions: Mapping[str, Revision],
    pods: int,
    defaults: Defaults = NO_DEFAULTS,
    refused: Mapping[str, Refused] = MappingProxyType({}),
) -> Observation:
    """What Knative's status shows of the Revisions with traffic; `pods` are those that exist.

    `refused` is what the API server has refused, by Revision: pods without the floor that was asked
    for may go at any time, so none of them counts for it.
    """
    routed = [(revisions[name], percent) for name, percent in traffic.items() if name in revisions]
    ready = _ready_floor(
        (replace(r, actual=0) if lacks_floor(r, refused.get(r.name), defaults) else r, percent)
        for r, percent in routed
    )
    limits = [(r.limit(defaults)[0], percent) for r, percent in routed]
    return Observation(
        replicas=sum(max(r.actual, r.desired) for r, _ in routed),
        ready=ready,
        pods=pods,
        acknowledged=0,
        # A Revision is a pod template: the one with the most requests has to prove itself.
        template=max(sorted(traffic), key=lambda name: traffic[name], default=""),
        updated=ready,
        running=sum(r.actual for r, _ in routed),
        most=min((most * 100 // percent for most, percent in limits if most > 0), default=None),
    )


def _ready_floor(routed: Iterable[tuple[Revision, int]]) -> int:
    """The highest floor of which every Revision has its share Ready."""
    return min((r.actual * 100 // percent for r, percent in routed if percent > 0), default=0)


def trouble(
    service_ready: bool | None,
    said: str,
    traffic: Mapping[str, int],
    revisions: Mapping[str, Revision],
) -> str:
    """Why Knative cannot run a Service; empty when it can.

    `service_ready` and `said` are the Service's own condition Ready (None: not decided yet) with
    its reason and message. A Service that is about to change Revisions is Ready by those it has.
    """
    if service_ready is False:
        return f"Knative says that the Service is not Ready: {said}"
    for name in sorted(traffic):
        revision = revisions.get(name)
        if revision is not None and not revision.ready:
            why = revision.trouble or "it has not said why"
            return f"Knative says that Revision {name} is not Ready: {why}"
    if not traffic:
        return f"no Revision of the Service has become Ready yet: {said or 'Knative is silent'}"
    return ""


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
