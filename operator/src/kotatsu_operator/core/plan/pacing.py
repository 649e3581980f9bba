"""Many windows that open at the same minute: each pool's turn to start its pods.

A cluster starts so many pods a second: the scheduler, the kubelets and the registry see to that.
What starts all at once finishes late, and slows whoever is awake. So the coming warm-ups are laid
one before the other, backwards from the last: each is moved *earlier*, never later, by as much as
those after it need, and from its turn on it has its whole lead to itself. Earlier costs money, so
nobody is moved further than that.

The turns follow from the claims alone, whatever order they came in, so a restart finds the same
ones. A pool that has begun is taken out of the claims; since it came first, nobody else moves.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from math import ceil
from typing import TypeVar

from kotatsu_operator.core.pool.decision import Claim

LONGEST_AHEAD = timedelta(hours=1)
"""Nobody starts earlier than this for the sake of others: beyond it the cluster is too slow for the
windows asked of it, and starting still earlier would only cost more."""

WARM_UPS_PER_SECOND = 20
"""However many pods a cluster can start, a warm-up costs the API server some eight calls."""

Key = TypeVar("Key", bound=tuple[str, str])


def turns(claims: Mapping[Key, Claim], starts_per_second: float) -> dict[Key, timedelta]:
    """How much earlier than its own lead each pool starts; whole seconds, rounded up.

    A warm-up occupies the cluster for replicas / starts_per_second seconds from its start. Of those
    that must end together the biggest goes last: the others are then moved the least.
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
