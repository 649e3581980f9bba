"""How long before a window opens its pods must start: learned from past warm-ups."""

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from math import ceil

from kotatsu_operator.core.pool.memory import WarmUp

START = timedelta(seconds=60)
"""Assumed time to Ready while nothing has been observed: an image pull and a cold start."""

MARGIN = timedelta(seconds=3)
"""Added to what was observed: kube-proxy follows a Ready pod within about a second, the kubelet's
probes run each second, and the activator leaves the route only after the settle time."""

LONGEST = timedelta(hours=1)
"""A learned lead is never longer: a pod that could not start for a day is no reason to start all
later windows a day early. Who needs more says so with a fixed lead."""

KEEP = 20
"""How many warm-ups are remembered: enough for a 95th percentile, few enough to forget."""


class Basis(StrEnum):
    """What a lead is made of."""

    CONFIGURED = "configured"
    LEARNED = "learned"
    """Warm-ups of the pod template that is there now."""
    ESTIMATED = "estimated"
    """Warm-ups of an earlier pod template alone."""
    DEFAULT = "default"
    """Nothing: the pool has not warmed up yet."""


def basis_of(lead: timedelta | None, warm_ups: Sequence[WarmUp], template: str) -> Basis:
    """What the lead of a pool is made of; `lead` is the fixed one of its spec."""
    if lead is not None:
        return Basis.CONFIGURED
    if any(w.template == template for w in warm_ups):
        return Basis.LEARNED
    return Basis.ESTIMATED if warm_ups else Basis.DEFAULT


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of a non-empty sequence."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def auto_lead(
    warm_ups: Sequence[WarmUp], replicas: int, settle: timedelta, template: str = ""
) -> timedelta:
    """p95 of the observed times to Ready, plus a margin and the settle time of the route.

    A warm-up of fewer replicas says little about a bigger one on a busy node, so an observation is
    stretched by the square root of the ratio when more replicas are wanted than it had.

    Nothing has been observed of a template that is new. The warm-ups of the one before are the best
    guess there is, but a guess makes the lead only longer than that of a pool that knows nothing.
    """
    margin = MARGIN + settle
    known = [w for w in warm_ups if w.template == template]
    if not known:
        guess = _observed(warm_ups, replicas, margin) if warm_ups else timedelta()
        return max(START + margin, guess)
    return _observed(known, replicas, margin)


def _observed(warm_ups: Sequence[WarmUp], replicas: int, margin: timedelta) -> timedelta:
    stretched = [w.seconds * max(1.0, replicas / max(1, w.replicas)) ** 0.5 for w in warm_ups]
    # Whole seconds, upwards: a lead that is written to the status and read back stays the same.
    seconds = ceil(percentile(stretched, 0.95) * 1.1)
    return min(timedelta(seconds=seconds) + margin, LONGEST)
