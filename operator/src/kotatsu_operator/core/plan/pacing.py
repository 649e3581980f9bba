"""Pacing: when each pool starts its pods if many windows open at the same time.

The scheduler, the kubelets and the registry limit how many pods a cluster starts per second. If all
start at once, they finish late and slow down running workloads. So warm-ups are scheduled one
before the other, backwards from the last: each moves *earlier*, never later, by as much as the ones
after it need, and has its whole lead from its start. An earlier start costs money, so no pool
starts earlier than that.

The result depends on the claims alone, not on their order, so it is the same after a restart. A
pool that has begun is removed from the claims. It was the first, so no other pool moves.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from math import ceil
from typing import TypeVar

from kotatsu_operator.core.pool.decision import Claim

LONGEST_AHEAD = timedelta(hours=1)
"""The limit for an earlier start. Beyond it the cluster is too slow for the requested windows, and
a still earlier start would only cost more."""

WARM_UPS_PER_SECOND = 20
"""A limit that does not depend on the pods per second: each warm-up needs about eight API calls."""

Key = TypeVar("Key", bound=tuple[str, str])


def turns(claims: Mapping[Key, Claim], starts_per_second: float) -> dict[Key, timedelta]:
    """How much earlier than its own lead each pool starts; whole seconds, rounded up.

    A warm-up occupies the cluster for replicas / starts_per_second seconds from its start. Of
    warm-ups with the same latest start the largest goes last: this moves the others the least.
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
