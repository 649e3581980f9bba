"""Whose turn it is to start pods: the claims of all pools, and what follows from them."""

from collections.abc import Callable
from datetime import datetime, timedelta

from kotatsu_operator.core.plan.pacing import turns
from kotatsu_operator.core.pool.decision import Claim
from kotatsu_operator.kube.objects import Key

Hurry = Callable[[Key, datetime], None]


class Pacer:
    """Gathers each pool's next warm-up, and says how much earlier than its own lead it starts.

    Nothing is kept over a restart: the first look at each pool brings its claim again.
    """

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
        """Note a pool's next warm-up, None for none."""
        if self._claims.get(key) == claim:
            return
        if claim is None:
            del self._claims[key]
        else:
            self._claims[key] = claim
        self._is_settled = False

    def reset(self) -> None:
        """Forget every claim: the looks to come bring them again."""
        self._claims.clear()
        self._ahead.clear()
        self._is_settled = True

    def settle(self) -> None:
        """Work out the turns anew if a claim has changed; who is due earlier now is told."""
        if self._is_settled:
            return
        self._is_settled = True
        before, self._ahead = self._ahead, turns(self._claims, self._starts_per_second)
        for key, ahead in self._ahead.items():
            if ahead > before.get(key, timedelta()):
                self._hurry(key, self._claims[key].by - ahead)
