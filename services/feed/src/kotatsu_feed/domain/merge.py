"""A pet that two places know, as one."""

from dataclasses import replace

from kotatsu_feed.domain.names import DEFAULT_NAME
from kotatsu_feed.domain.pet import Pet
from kotatsu_feed.domain.wardrobe import BACKGROUNDS, CLOTHES


def merged(here: Pet, other: Pet) -> Pet:
    """The pet of this place with what the other one adds; doing it again changes nothing.

    It has the greater experience: meals are not added up, since it is not known which of them
    both have counted. What was chosen here stays; what was not is as it is there.
    """
    eaten = max((here, other), key=_meals)
    return replace(
        here,
        name=other.name if here.name == DEFAULT_NAME else here.name,
        experience=max(here.experience, other.experience),
        clothes=other.clothes if here.clothes == CLOTHES.default else here.clothes,
        background=other.background if here.background == BACKGROUNDS.default else here.background,
        fed_on=eaten.fed_on,
        fed_count=eaten.fed_count,
    )


def _meals(pet: Pet) -> tuple[int, int]:
    """Later days first, then more meals on one day."""
    return (0 if pet.fed_on is None else pet.fed_on.toordinal(), pet.fed_count)
