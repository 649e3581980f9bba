"""The pet itself, and what feeding does to it."""

from dataclasses import dataclass, replace
from datetime import date, datetime

from kotatsu_feed.domain.levels import EXPERIENCE_PER_FEEDING, level_for
from kotatsu_feed.domain.names import DEFAULT_NAME
from kotatsu_feed.domain.wardrobe import BACKGROUNDS, CLOTHES


@dataclass(frozen=True, slots=True)
class Food:
    """What GitHub said: `contributions` to Dart repositories on `day`, learned at `seen_at`."""

    day: date
    contributions: int
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Pet:
    """One user's pet. `fed_count` feedings were eaten on `fed_on`, the last day it was fed."""

    user_id: int
    login: str
    avatar_url: str
    name: str = DEFAULT_NAME
    experience: int = 0
    clothes: str = CLOTHES.default
    background: str = BACKGROUNDS.default
    fed_on: date | None = None
    fed_count: int = 0
    food: Food | None = None

    @property
    def level(self) -> int:
        """The level that its experience has reached."""
        return level_for(self.experience)

    def fed(self, today: date) -> int:
        """Feedings that count against today's food.

        A `fed_on` after today was written by a replica whose clock is ahead of ours at midnight;
        its feedings count, so two clocks never give the same food twice.
        """
        return self.fed_count if self.fed_on is not None and self.fed_on >= today else 0

    def food_left(self, today: date, contributions: int | None = None) -> int:
        """Food left today, of `contributions` or of what GitHub last said about today."""
        if contributions is None:
            known = self.food is not None and self.food.day == today
            contributions = self.food.contributions if known and self.food else 0
        return max(0, contributions - self.fed(today))


def feed(pet: Pet, today: date, contributions: int) -> Pet | None:
    """The pet after one feeding, or None when no food is left.

    This is the rule; storage does the same in one SQL statement, and a test holds them together.
    """
    if pet.food_left(today, contributions) < 1:
        return None
    return replace(
        pet,
        experience=pet.experience + EXPERIENCE_PER_FEEDING,
        fed_on=max(today, pet.fed_on or today),
        fed_count=pet.fed(today) + 1,
    )
