"""How many replicas the requests of the moment need."""

from datetime import datetime, timedelta

from .spec import Scaling
from .state import Demand

STABLE_WINDOW = timedelta(seconds=60)
"""Replicas fall only to the highest number asked for within this window: no flutter."""

Recommended = tuple[tuple[datetime, int], ...]


def recommend(
    demand: Demand, scaling: Scaling, current: int, past: Recommended, now: datetime
) -> tuple[int, Recommended]:
    """Replicas for the demand at hand: up at once, down after the stable window.

    One pod serves `target_concurrency` requests, so n requests need ceil(n / target) pods, bounded
    by max_replicas. Demand that is not known recommends what runs now. Returns the number and the
    recommendations to remember.
    """
    needed = -(-demand.concurrency // scaling.target_concurrency) if demand.known else current
    needed = min(needed, scaling.max_replicas)
    kept = tuple((at, n) for at, n in past if now - at < STABLE_WINDOW)
    # A run of equal numbers is one entry with its latest time: the memory stays small.
    if kept and kept[-1][1] == needed:
        kept = kept[:-1]
    kept = (*kept, (now, needed))
    return max(n for _, n in kept), kept
