"""The pre-warm lead: how long before an opening pods must start, from past warm-ups."""

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from math import ceil

from kotatsu_operator.core.pool.memory import WarmUp

START = timedelta(seconds=60)
"""The time to Ready without any observation: an image pull and a cold start."""

MARGIN = timedelta(seconds=3)
"""Added to the observed time: kube-proxy follows a Ready pod within about a second, the kubelet
runs probes each second, and the activator leaves the route only after the settle time."""

LONGEST = timedelta(hours=1)
"""The limit of a learned lead: one pod that could not start for a day must not start all later
windows a day early. A fixed lead may be longer."""

KEEP = 20
"""The number of warm-ups to store: enough for a 95th percentile, few enough for old ones to
expire."""


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


def auto_lead(
    warm_ups: Sequence[WarmUp], replicas: int, settle: timedelta, template: str = ""
) -> timedelta:
    """110 % of the p95 of the observed times to Ready, plus a margin and the route's settle time.

    For more replicas than an observation had, it is multiplied by the square root of the ratio. The
    warm-ups of earlier templates only make the lead longer than the default. At most LONGEST.
    """
    margin = MARGIN + settle
    known = [w for w in warm_ups if w.template == template]
    if not known:
        guess = _observed(warm_ups, replicas, margin) if warm_ups else timedelta()
        return max(START + margin, guess)
    return _observed(known, replicas, margin)


def _observed(warm_ups: Sequence[WarmUp], replicas: int, margin: timedelta) -> timedelta:
    stretched = [w.seconds * max(1.0, replicas / max(1, w.replicas)) ** 0.5 for w in warm_ups]
    # Round up to whole seconds, so that a lead is unchanged after it is written to the status and
    # read.
    seconds = ceil(percentile(stretched, 0.95) * 1.1)
    return min(timedelta(seconds=seconds) + margin, LONGEST)
