"""Knative Services as targets: Knative scales them, the pool only sets the floor (decision 14).

While the floor is above 0, the annotation min-scale of each Revision with traffic holds it. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from kotatsu_operator.core.pool.decision import Observation
from kotatsu_operator.core.report.record import SavedMinScale

FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(seconds=60)
"""The delay before a rejected write is retried; it doubles each time up to the longest."""


@dataclass(frozen=True)
class Defaults:
    """The values of config-autoscaler for Revisions without an annotation."""

    min_scale: int = 0
    max_scale: int = 0
    """0: no limit."""


NO_DEFAULTS = Defaults()
"""Knative's built-in values."""


@dataclass(frozen=True)
class Revision:
    """The relevant state of a Knative Revision."""

    name: str
    version: str
    """The resourceVersion for the patch."""
    min_scale: str | None = None
    """The current annotation min-scale; None without one."""
    other_min_scale: int | None = None
    """The value of the annotation's older spelling; it applies without min-scale."""
    max_scale: int | None = None
    """The annotation max-scale: the most pods that Knative runs of it; 0: no limit."""
    activation_scale: int | None = None
    """The annotation activation-scale: Knative's webhook rejects a higher min-scale."""
    ready: bool = False
    trouble: str = ""
    """Reason and message of the condition Ready, if Knative reports that it is not Ready."""
    actual: int = 0
    """Ready pods."""
    desired: int = 0
    """Pods that Knative requests."""
    uid: str = ""

    def own_floor(self, min_scale: str | None, defaults: Defaults) -> int:
        """The minimum of pods with this min-scale (None: without the annotation)."""
        number = scale_number(min_scale) if min_scale is not None else self.other_min_scale
        return defaults.min_scale if number is None else number

    def limit(self, defaults: Defaults) -> tuple[int, str]:
        """The highest min-scale it can have, and the setting that limits it; 0: no limit."""
        max_scale, what = self.max_scale, "max-scale"
        if max_scale is None:
            max_scale, what = defaults.max_scale, "the cluster's default max-scale"
        limits = [(max_scale, what), (self.activation_scale or 0, "activation-scale")]
        return min((one for one in limits if one[0] > 0), default=(0, ""))


@dataclass(frozen=True)
class Patch:
    """Set the min-scale of a Revision at resourceVersion `version`; None removes it."""

    name: str
    version: str
    min_scale: str | None


@dataclass(frozen=True)
class RejectedPatch:
    """A patch that the API server rejected, with its message."""

    min_scale: str | None
    message: str
    again: datetime
    """When to retry it."""
    tries: int = 1


@dataclass(frozen=True)
class MinScalePlan:
    """The writes: first the record, then the patches."""

    kept: tuple[SavedMinScale, ...] = ()
    patches: tuple[Patch, ...] = ()
    limited: str = ""
    """A sentence if a Revision cannot have its share of the floor."""
    refused: Mapping[str, RejectedPatch] = field(default_factory=dict)
    """By Revision: the rejected patches that wait for their retry."""


def share(floor: int, percent: int) -> int:
    """The pods of a floor for a Revision with this percentage of the traffic, rounded up."""
    return -(-floor * percent // 100)


def course(
    floor: int,
    traffic: Mapping[str, int],
    revisions: Mapping[str, Revision],
    kept: Sequence[SavedMinScale],
    defaults: Defaults = NO_DEFAULTS,
) -> MinScalePlan:
    """Compute each Revision's min-scale, and what to store for its restore.

    `traffic` is the percentage of requests by Revision. A floor only raises the value in effect.
    Only values that the pool has set are restored: another client's becomes the value to restore.
    """
    before = {k.name: k for k in kept}
    remember: list[SavedMinScale] = []
    patches: list[Patch] = []
    limited = ""
    for name in sorted(before.keys() | traffic.keys()):
        revision = revisions.get(name)
        if revision is None:
            continue  # deleted together with its min-scale
        known = before.get(name)
        is_ours = known is not None and known.holds(revision.uid, revision.min_scale)
        original = known.min_scale if known is not None and is_ours else revision.min_scale
        asked = share(floor, traffic.get(name, 0))
        if not revision.ready and known is None:
            asked = 0  # never Ready so far: more pods would not make it Ready sooner
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
        f"{asked} pods of Revision {name} are requested, and {what} allows {most}: the pool counts "
        f"as Warm with {most}; raise {what} in {where}, or request fewer"
    )


def let_go(kept: Sequence[SavedMinScale], plan: MinScalePlan) -> list[str]:
    """The Revisions whose stored original the plan removes or replaces; read them again before."""
    after = {k.name: k.min_scale for k in plan.kept}
    return [k.name for k in kept if k.name not in after or after[k.name] != k.min_scale]


def rest(plan: MinScalePlan, refused: Mapping[str, RejectedPatch], now: datetime) -> MinScalePlan:
    """The plan without rejected patches whose retry is not due."""
    resting = {
        patch.name: known
        for patch in plan.patches
        if (known := refused.get(patch.name)) is not None and known.min_scale == patch.min_scale
    }
    due = tuple(p for p in plan.patches if p.name not in resting or resting[p.name].again <= now)
    return replace(plan, patches=due, refused=resting)


def refuse(
    before: RejectedPatch | None, patch: Patch, message: str, now: datetime
) -> RejectedPatch:
    """Record a rejected patch; the delay grows with each rejection."""
    tries = before.tries + 1 if before is not None and before.min_scale == patch.min_scale else 1
    pause = min(FIRST_PAUSE * 2 ** min(tries - 1, 10), LONGEST_PAUSE)
    return RejectedPatch(patch.min_scale, message, now + pause, tries)


def lacks_floor(revision: Revision, refused: RejectedPatch | None, defaults: Defaults) -> bool:
    """Whether the rejected patch would have raised the value in effect."""
    number = None if refused is None else scale_number(refused.min_scale)
    return number is not None and number > revision.own_floor(revision.min_scale, defaults)


def scale_number(text: str | None) -> int | None:
    """The number in a scale annotation; None if it is missing or not a number."""
    return int(text) if text is not None and text.isdecimal() else None


def observe(
    traffic: Mapping[str, int],
    revisions: Mapping[str, Revision],
    pods: int,
    defaults: Defaults = NO_DEFAULTS,
    refused: Mapping[str, RejectedPatch] = MappingProxyType({}),
) -> Observation:
    """The observation from the status of Revisions with traffic; `pods` are the existing ones.

    Without the requested floor (`refused`), Knative may remove pods at any time, so none counts as
    Ready.
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
        # A Revision is a pod template: the one with the most requests must prove itself.
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
    """Why Knative cannot run a Service; empty if it can.

    `service_ready` is the status of the Service's condition Ready (None: not decided yet), `said`
    its reason and message.
    """
    if service_ready is False:
        return f"Knative reports that the Service is not Ready: {said}"
    for name in sorted(traffic):
        revision = revisions.get(name)
        if revision is not None and not revision.ready:
            why = revision.trouble or "no reason is given"
            return f"Knative reports that Revision {name} is not Ready: {why}"
    if not traffic:
        return (
            f"no Revision of the Service has become Ready yet: {said or 'Knative reports nothing'}"
        )
    return ""
