import asyncio

import pytest
from rows import each


def test_each_case_that_fails_is_shown_by_name() -> None:
    tried = []

    @each("number, square", [(1, 1), (2, 5), (3, 9), (4, 15)])
    def squares(number: int, square: int) -> None:
        tried.append(number)
        assert number * number == square

    with pytest.raises(ExceptionGroup, match="2 of 4 cases") as caught:
        squares()
    assert tried == [1, 2, 3, 4]
    notes = [error.__notes__[0] for error in caught.value.exceptions]
    assert notes == ["in the case (2, 5)", "in the case (4, 15)"]


def test_the_cases_of_a_map_are_named_by_its_keys() -> None:
    @each("number, square", {"two": (2, 5)})
    def squares(number: int, square: int) -> None:
        assert number * number == square

    with pytest.raises(ExceptionGroup) as caught:
        squares()
    assert caught.value.exceptions[0].__notes__ == ["in the case two"]


@each("letter", "abc")
def test_fixtures_are_those_of_the_test(letter: str, request: pytest.FixtureRequest) -> None:
    assert request.node.name == "test_fixtures_are_those_of_the_test"


def test_no_cases_at_all_are_a_mistake() -> None:
    with pytest.raises(AssertionError, match="no cases"):
        each("letter", "")


async def test_a_coroutine_is_awaited() -> None:
    @each("letter", "abc")
    async def letters(letter: str) -> None:
        await asyncio.sleep(0)
        assert letter != "b"

    with pytest.raises(ExceptionGroup, match="1 of 3 cases"):
        await letters()
