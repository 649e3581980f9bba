"""Bodies of requests and answers. The names are the client's, hence the camel case."""

from pydantic import BaseModel, ConfigDict, Field

from kotatsu_feed.domain.names import MAX_LENGTH
from kotatsu_feed.domain.pet import Pet
from kotatsu_feed.domain.wardrobe import BACKGROUNDS, CLOTHES


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


class Shape(BaseModel):
    """A body in camel case."""

    model_config = ConfigDict(alias_generator=_camel, populate_by_name=True)


class Ranked(Shape):
    """A pet as everybody sees it."""

    user_name: str = Field(description="the GitHub login")
    avatar_url: str
    character_name: str
    character_level: int
    character_clothes: str = Field(description=f"one of {', '.join(CLOTHES.keys)}")
    character_background: str = Field(description=f"one of {', '.join(BACKGROUNDS.keys)}")

    @classmethod
    def of(cls, pet: Pet) -> "Ranked":
        """The public side of `pet`."""
        return cls(
            user_name=pet.login,
            avatar_url=pet.avatar_url,
            character_name=pet.name,
            character_level=pet.level,
            character_clothes=pet.clothes,
            character_background=pet.background,
        )


class Home(Ranked):
    """A pet as its owner sees it."""

    character_experience: int = Field(description="all that was ever gained")
    feed_count: int = Field(description="food left today, as far as known without asking GitHub")


class FoodLeft(Shape):
    """How often the pet can be fed today."""

    feed_count: int = Field(description="today's contributions to Dart less today's feedings")


class AfterFeeding(Shape):
    """The pet's new totals."""

    current_experience: int = Field(description="the same as characterExperience")
    character_experience: int
    character_level: int
    feed_count: int = Field(description="food left today")


class Profile(Shape):
    """What the owner calls the pet."""

    character_name: str = Field(description=f"1 to {MAX_LENGTH} visible characters")


class Item(BaseModel):
    """Something from the wardrobe: its key or its Japanese label. Answers hold the key."""

    item: str
