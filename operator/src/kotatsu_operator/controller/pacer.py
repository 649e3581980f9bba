"""How much earlier than its own lead each pool starts, when many windows open together."""

from collections.abc import Callable
from datetime import datetime, timedelta

from kotatsu_operator.core.plan.lead import turns
from kotatsu_operator.core.pool.news import Claim
from kotatsu_operator.kube.objects import Key

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
