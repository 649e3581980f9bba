from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from kotatsu_feed.domain.pet import Food, Pet, feed

TODAY = date(2026, 11, 25)
TOMORROW = TODAY + timedelta(days=1)
PET = Pet(7, "bird", "https://avatars.example/7")


def test_a_new_pet_is_dash_at_level_1_in_spring() -> None:
    assert (PET.name, PET.level, PET.experience) == ("DASH", 1, 0)
    assert (PET.clothes, PET.background) == ("normal", "spring")


def test_a_clock_that_is_behind_at_midnight_gives_nothing_twice() -> None:
    fed = feed(PET, TOMORROW, 1)
    assert fed is not None
    assert feed(fed, TODAY, 1) is None


def test_food_is_never_negative_even_if_contributions_disappear() -> None:
    pet = Pet(7, "bird", "", fed_on=TODAY, fed_count=5)
    assert pet.food_left(TODAY, 2) == 0


def test_without_asking_the_food_is_what_was_last_heard_today() -> None:
    heard = Food(TODAY, 4, datetime(2026, 11, 25, 3, tzinfo=UTC))
    pet = Pet(7, "bird", "", food=heard, fed_on=TODAY, fed_count=1)
    assert pet.food_left(TODAY) == 3
    assert pet.food_left(TOMORROW) == 0
    assert PET.food_left(TODAY) == 0


@given(st.integers(0, 30), st.integers(0, 40))
def test_whoever_feeds_as_often_as_possible_feeds_once_per_contribution(
    contributions: int, wishes: int
) -> None:
    pet = PET
    for _ in range(wishes):
        pet = feed(pet, TODAY, contributions) or pet
    assert pet.experience == 10 * min(contributions, wishes)
    assert pet.food_left(TODAY, contributions) == max(0, contributions - wishes)
