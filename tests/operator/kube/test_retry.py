"""A write that loses to another one is made again from what is there then."""

import pytest

from kotatsu_operator.kube.errors import TRIES, ConflictError, NotFoundError, retry_on_conflict


class Attempts:
    """Attempts of which the first ones end as the test says."""

    def __init__(self, *errors):
        self.errors, self.count = list(errors), 0

    async def __call__(self):
        self.count += 1
        if self.errors:
            raise self.errors.pop(0)
        return f"attempt {self.count}"


async def test_an_attempt_without_a_conflict_is_the_only_one():
    attempts = Attempts()
    assert await retry_on_conflict(attempts) == "attempt 1"
    assert attempts.count == 1


async def test_after_conflicts_the_result_is_that_of_the_attempt_without_one():
    attempts = Attempts(*[ConflictError("modified")] * (TRIES - 1))
    assert await retry_on_conflict(attempts) == f"attempt {TRIES}"


async def test_an_object_that_changes_all_the_time_is_left_after_ten_attempts():
    attempts = Attempts(*[ConflictError("modified")] * 99)
    with pytest.raises(ConflictError):
        await retry_on_conflict(attempts)
    assert attempts.count == TRIES


async def test_any_other_error_is_raised_at_once():
    attempts = Attempts(NotFoundError("gone"))
    with pytest.raises(NotFoundError):
        await retry_on_conflict(attempts)
    assert attempts.count == 1
