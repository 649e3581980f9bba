"""The limit of what reading a calendar may cost."""

from contextlib import suppress

import pytest

from kotatsu_operator.core.calendar.limit import limited
from kotatsu_operator.core.calendar.occasions import CalendarError


def work() -> None:
    while True:
        with suppress(Exception):
            sum(range(1000))


def test_too_much_work_is_a_sentence_also_where_errors_are_caught():
    with pytest.raises(CalendarError, match=r"takes more than 0\.05 s of CPU"), limited(0.05):
        work()


def test_work_after_the_limit_is_free():
    with limited(0.01):
        pass
    assert sum(range(3_000_000)) > 0
