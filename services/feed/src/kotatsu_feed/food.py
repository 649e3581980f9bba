"""Today's food: what GitHub counted, asked for rarely and remembered with the pet.

- A count is used for half a minute (the TTL) before GitHub is asked again.
- Whoever asks for the same user meanwhile waits for the same question.
- When GitHub can't be asked, a count of the same day that is at most an hour old is used. A user's
  count hardly ever falls during a day, so at worst some food is seen late.
- After a failure GitHub is left alone for as long as it asked for (its rate limit) or some seconds.

The token is handed through to GitHub and kept nowhere.
"""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from kotatsu_common.github import GitHubUnavailableError
from kotatsu_common.single_flight import SingleFlight
from kotatsu_common.turns import Busy
from kotatsu_feed.domain.day import bounds, day_of
from kotatsu_feed.domain.pet import Food, Pet
from kotatsu_feed.github import GitHubContributions, GitHubRefusedError
from kotatsu_feed.storage.pets import PetStore

Source = Literal["cached", "github", "stale", "unavailable"]
_REMEMBERED_FAILURES = 10_000
_PAUSE_AFTER_REFUSAL = timedelta(seconds=5)


class Pantry:
    """Knows how much food there is. `now` has a time zone; durations are seconds."""

    def __init__(
        self,
        contributions: GitHubContributions,
        store: PetStore,
        count: Callable[[Source], None],
        *,
        now: Callable[[], datetime],
        ttl: float,
        stale: float,
    ) -> None:
        self._contributions = contributions
        self._store = store
        self._count = count
        self._now = now
        self._ttl = timedelta(seconds=ttl)
        self._stale = timedelta(seconds=stale)
        self._flights: SingleFlight[int, Food] = SingleFlight()
        self._failures: OrderedDict[int, tuple[datetime, Exception]] = OrderedDict()

    async def today(self, pet: Pet, token: str) -> Food:
        """Today's food; GitHubUnavailableError, GitHubRefusedError or TokenRevokedError if none."""
        now = self._now()
        known = pet.food if pet.food and pet.food.day == day_of(now) else None
        if known is not None and now - known.seen_at < self._ttl:
            self._count("cached")
            return known
        try:
            self._leave_alone(pet.user_id, now)
            food = await self._flights.do(pet.user_id, lambda: self._ask(pet, token))
        except (GitHubUnavailableError, GitHubRefusedError, Busy):
            if known is not None and now - known.seen_at <= self._stale:
                self._count("stale")
                return known
            self._count("unavailable")
            raise
        self._count("github")
        return food

    async def _ask(self, pet: Pet, token: str) -> Food:
        now = self._now()
        day = day_of(now)
        try:
            count = await self._contributions.count(pet.login, token, *bounds(day))
        except GitHubUnavailableError as error:
            self._fail(pet.user_id, now + timedelta(seconds=error.retry_after), error)
            raise
        except GitHubRefusedError as error:
            self._fail(pet.user_id, now + _PAUSE_AFTER_REFUSAL, error)
            raise
        self._failures.pop(pet.user_id, None)
        food = Food(day, count, now)
        await self._store.remember_food(pet.user_id, food)
        return food

    def _leave_alone(self, user_id: int, now: datetime) -> None:
        """Raise the last failure again while it is too early for another try."""
        until, error = self._failures.get(user_id, (now, None))
        if error is None or now >= until:
            return
        if isinstance(error, GitHubUnavailableError):
            left = (until - now).total_seconds()
            raise GitHubUnavailableError(error.reason, error.detail, left)
        raise GitHubRefusedError(str(error))

    def _fail(self, user_id: int, until: datetime, error: Exception) -> None:
        self._failures[user_id] = (until, error)
        self._failures.move_to_end(user_id)
        if len(self._failures) > _REMEMBERED_FAILURES:
            self._failures.popitem(last=False)
