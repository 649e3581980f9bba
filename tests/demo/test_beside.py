"""What is built beside the show."""

import io
import threading
from datetime import UTC, datetime
from typing import NoReturn

import pytest

from kotatsu_demo.beside import Beside
from kotatsu_demo.screen import Screen, Style
from kotatsu_node.progress import Times


def test_after_an_error_of_the_show_nothing_new_is_begun():
    screen = Screen(io.StringIO(), Style.PLAIN, lambda: datetime(2026, 11, 24, tzinfo=UTC))
    began, shown = threading.Event(), threading.Event()

    def first() -> None:
        began.set()
        assert shown.wait(10)

    def interrupt() -> NoReturn:
        assert began.wait(10)
        raise KeyboardInterrupt

    beside = Beside("build", [first, lambda: pytest.fail("begun")], screen, Times())
    with pytest.raises(KeyboardInterrupt), beside:
        interrupt()
    shown.set()
    assert beside.results() == [None]
