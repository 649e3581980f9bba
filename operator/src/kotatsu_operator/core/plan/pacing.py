"""Pacing: when each pool starts its pods if many windows open at the same time (decision 7).

Warm-ups are scheduled one before the other, backwards from the last: each moves *earlier*, never
later, by as much as the ones after it need, and has its whole lead from its start. The result
depends on the claims alone, so it is the same after a restart. A pool that has begun was the first,
so no other pool moves when its claim goes.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from math import ceil

from kotatsu_operator.core.pool.decision import Claim

LONGEST_AHEAD = timedelta(hours=1)
"""The limit for an earlier start. Beyond it the cluster is too slow for the requested windows, and
a still earlier start would only cost more."""

WARM_UPS_PER_SECOND = 20
"""A limit that does not depend on the pods per second: each warm-up needs about eight API calls."""

Key = tuple[str, str]
"""The namespace and name of a pool."""


def turns(claims: Mapping[Key, Claim], starts_per_second: float) -> dict[Key, timedelta]:
    """How much earlier than its own lead each pool starts; whole seconds, rounded up.

    A warm-up occupies the cluster for replicas / starts_per_second seconds from its start. Of those
    with the same latest start the largest goes last, which moves the others the least.
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


Hurry = Callable[[Key, datetime], None]


class Pacer:
    """Collects the next warm-up of each pool and computes how much earlier it starts."""

    def __init__(
        self, starts_per_second: float = 5.0, hurry: Hurry = lambda _key, _at: None
    ) -> None:
        self._starts_per_second = starts_per_second
        self._hurry = hurry
        self._claims: dict[Key, Claim] = {}
        self._ahead: dict[Key, timedelta] = {}
        self._is_settled = True

    def ahead(self, key: Key) -> timedelta:
        """How much earlier than its own lead a pool starts its next warm-up."""
        return self._ahead.get(key, timedelta())

    def claim(self, key: Key, claim: Claim | None) -> None:
        """Set a pool's next warm-up; None if there is none."""
        if self._claims.get(key) == claim:
            return
        if claim is None:
            del self._claims[key]
        else:
            self._claims[key] = claim
        self._is_settled = False

    def reset(self) -> None:
        """Remove all claims: the next reconcile of each pool repeats its claim."""
        self._claims.clear()
        self._ahead.clear()
        self._is_settled = True

    def settle(self) -> None:
        """Compute the starts again if a claim has changed; `hurry` pools that now start earlier."""
        if self._is_settled:
            return
        self._is_settled = True
        before, self._ahead = self._ahead, turns(self._claims, self._starts_per_second)
        for key, ahead in self._ahead.items():
            if ahead > before.get(key, timedelta()):
                self._hurry(key, self._claims[key].by - ahead)
