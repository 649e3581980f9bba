"""The pre-warm lead: how long before an opening pods must start, and the pacing of many."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil, sqrt

from kotatsu_operator.core.calendar.schedule import Occurrence
from kotatsu_operator.core.pool.memory import FIRST_START, Memory, WarmUp
from kotatsu_operator.core.pool.news import Claim
from kotatsu_operator.core.pool.spec import PoolSpec
from kotatsu_operator.core.schema import MOST_ITEMS

MARGIN = timedelta(seconds=3)
"""Added to the observed time: kube-proxy follows a Ready pod within about a second, the kubelet
runs probes each second, and the activator leaves the route only after the settle time."""

LONGEST = timedelta(hours=1)
"""The limit of a learned lead: one pod that could not start for a day must not start all later
windows a day early. A fixed lead may be longer."""

KEEP = MOST_ITEMS
"""The number of warm-ups to store: enough for a 95th percentile, few enough for old ones to
expire."""

KEEP_OF_WINDOWS = 5
"""So many of the latest warm-ups for windows also count by themselves, however many requests wake
the pool in between: requests find nodes that are still there, the next window may not."""


class Basis(StrEnum):
    """The source of a lead."""

    CONFIGURED = "configured"
    LEARNED = "learned"
    """Warm-ups of the current pod template."""
    ESTIMATED = "estimated"
    """Warm-ups of an earlier pod template only."""
    DEFAULT = "default"
    """No warm-up yet."""


def basis_of(lead: timedelta | None, warm_ups: Sequence[WarmUp], template: str) -> Basis:
    """The source of a pool's lead; `lead` is the fixed one of its spec."""
    if lead is not None:
        return Basis.CONFIGURED
    if any(w.template == template for w in warm_ups):
        return Basis.LEARNED
    return Basis.ESTIMATED if warm_ups else Basis.DEFAULT


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of a non-empty sequence; `share` is from 0 to 1."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def with_warm_up(warm_ups: Sequence[WarmUp], took: WarmUp) -> tuple[WarmUp, ...]:
    """The warm-ups to store after one more.

    The first one of a new template replaces the estimates from the previous one.
    """
    known = [*(w for w in warm_ups if w.template == took.template), took]
    if len(known) > KEEP:
        of_windows = [n for n, w in enumerate(known) if w.window][-KEEP_OF_WINDOWS:]
        del known[next(n for n in range(len(known)) if n not in of_windows)]
    return tuple(known)


def _slow(warm_ups: Sequence[WarmUp], seconds: Callable[[WarmUp], float]) -> float:
    """The p95 of some warm-ups, or of the latest ones for windows if that is longer."""
    of_windows = [w for w in warm_ups if w.window][-KEEP_OF_WINDOWS:]
    parts = (warm_ups, of_windows)
    return max(percentile([seconds(w) for w in part], 0.95) for part in parts if part)


def decisive(warm_ups: Sequence[WarmUp], template: str) -> WarmUp | None:
    """The warm-up that decides the lead, if all had as many replicas; None without a warm-up.

    As for the lead, those of earlier templates count only without one of the current template.
    """
    known = [w for w in warm_ups if w.template == template] or warm_ups
    if not known:
        return None
    slow = _slow(known, lambda w: w.seconds)
    return next(w for w in reversed(known) if w.seconds == slow)


def usual_start(warm_ups: Sequence[WarmUp], template: str, lead: timedelta) -> timedelta:
    """How long the pods of a window start, of its lead: the median, or all of it if none is known.

    That is LONGEST at most. As for the lead, warm-ups of earlier templates count only without one
    of the current template.
    """
    known = [w for w in warm_ups if w.template == template] or warm_ups
    if not known:
        return min(lead, LONGEST)
    return min(timedelta(seconds=percentile([w.seconds for w in known], 0.5)), lead)


def slowest_wake(warm_ups: Sequence[WarmUp], template: str) -> timedelta:
    """The longest of the latest starts of the current pod template; 0 without one.

    Those for windows, which may start many pods, count only if no request has started any.
    """
    known = [w for w in warm_ups if w.template == template]
    latest = ([w for w in known if not w.window] or known)[-KEEP_OF_WINDOWS:]
    return timedelta(seconds=max((w.seconds for w in latest), default=0.0))


def enough_hold(took: timedelta) -> timedelta:
    """The holdTimeout for starts that take this long: twice that, in tens of seconds."""
    return timedelta(seconds=ceil(2 * took.total_seconds() / 10) * 10)


def auto_lead(
    warm_ups: Sequence[WarmUp],
    replicas: int,
    settle: timedelta,
    template: str = "",
    first: timedelta = FIRST_START,
) -> timedelta:
    """110 % of the p95 of the observed times to Ready, plus a margin and the route's settle time.

    The latest warm-ups for windows also count by themselves: the longer p95 decides. For more
    replicas than an observation had, it is multiplied by the square root of the ratio. The
    warm-ups of earlier templates only make the lead longer than the default, `first` with the
    margin. At most LONGEST.
    """
    margin = MARGIN + settle
    known = [w for w in warm_ups if w.template == template]
    if not known:
        guess = _observed(warm_ups, replicas, margin) if warm_ups else timedelta()
        return max(first + margin, guess)
    return _observed(known, replicas, margin)


def _observed(warm_ups: Sequence[WarmUp], replicas: int, margin: timedelta) -> timedelta:
    def stretched(warm_up: WarmUp) -> float:
        ratio = max(1.0, replicas / max(1, warm_up.replicas))
        return warm_up.seconds * sqrt(ratio)

    # Round up to whole seconds, so that a lead is unchanged after it is written to the status and
    # read.
    seconds = ceil(_slow(warm_ups, stretched) * 1.1)
    return min(timedelta(seconds=seconds) + margin, LONGEST)


LONGEST_AHEAD = timedelta(hours=1)
"""The limit for an earlier start. Beyond it the cluster is too slow for the requested windows, and
a still earlier start would only cost more."""


class Leads:
    """How early a pool starts the pods of its coming openings, from one moment to the next.

    It begins with what the pool remembers: while pods start for a window, a shorter learned lead or
    other pools that need no capacity any more must not cancel that.
    """

    def __init__(self, spec: PoolSpec, memory: Memory) -> None:
        self.lead, self.kept_ahead = memory.lead, memory.ahead
        self._spec, self._memory = spec, memory
        self._learned: dict[int, timedelta] = {}

    def early(
        self,
        coming: Sequence[Occurrence],
        now: datetime,
        ahead: timedelta = timedelta(),
        before: timedelta | None = None,
    ) -> timedelta:
        """The time by which pods start before openings: the lead and what is `ahead` of it.

        `coming` are the openings after `now`, ordered; for the others see `plan.plan_at`.
        """
        spec, opens = self._spec, coming[0].start if coming else None
        kept_lead, kept_ahead = min(self.lead, LONGEST), min(self.kept_ahead, LONGEST_AHEAD)
        lead = spec.lead
        if lead is None:
            lead = self._learned_for(coming, now)
            if before is not None:
                lead = min(lead + before, LONGEST)
            elif spec.depends_on:
                lead = max(lead, kept_lead)
            if kept_lead > lead and opens and opens - kept_lead - kept_ahead <= now:
                lead = kept_lead
        if kept_ahead > ahead and opens and opens - lead - kept_ahead <= now:
            ahead = kept_ahead
        is_warming = ahead and opens and opens - lead - ahead <= now
        self.lead, self.kept_ahead = lead, ahead if is_warming else timedelta()
        return lead + ahead

    def _learned_for(self, coming: Sequence[Occurrence], now: datetime) -> timedelta:
        # The next opening, and all openings whose pods may have to start with it.
        until = max(coming[0].start, now + LONGEST) if coming else now
        replicas = max([o.replicas for o in coming if o.start <= until], default=1)
        if replicas not in self._learned:
            memory, settle = self._memory, self._spec.platform.route_settle
            self._learned[replicas] = auto_lead(
                memory.warm_ups, replicas, settle, memory.template.hash, memory.first_start
            )
        return self._learned[replicas]


WARM_UPS_PER_SECOND = 20
"""A limit that does not depend on the pods per second: each warm-up needs about eight API calls."""

Key = tuple[str, str]
"""The namespace and name of a pool."""


def turns(claims: Mapping[Key, Claim], starts_per_second: float) -> dict[Key, timedelta]:
    """How much earlier than its own lead each pool starts; whole seconds, rounded up (decision 7).

    Warm-ups are scheduled one before the other, backwards from the last: each moves *earlier*,
    never later, by as much as the ones after it need. One occupies the cluster for replicas /
    starts_per_second seconds; of those with the same latest start the largest goes last, which
    moves the others the least. The result depends on the claims alone, so it is the same after a
    restart.
    """

    def length(claim: Claim) -> timedelta:
        return timedelta(seconds=max(claim.replicas / starts_per_second, 1 / WARM_UPS_PER_SECOND))

    ahead: dict[Key, timedelta] = {}
    following: datetime | None = None
    for key, claim in sorted(
        claims.items(), key=lambda item: (item[1].by + length(item[1]), item[0]), reverse=True
    ):
        start = claim.by if following is None else min(claim.by, following - length(claim))
        following = max(start, claim.by - LONGEST_AHEAD)
        ahead[key] = timedelta(seconds=ceil((claim.by - following).total_seconds()))
    return ahead
