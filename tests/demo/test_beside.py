"""What is built beside the show."""

import io
import os
import sys
import threading
from datetime import UTC, datetime
from typing import NoReturn

import pytest

from kotatsu_demo.beside import Beside
from kotatsu_demo.errors import DemoError
from kotatsu_demo.screen import Screen, Style, row
from kotatsu_demo.snapshot import Snapshot
from kotatsu_node import progress
from kotatsu_node.progress import Times

NOW = datetime(2026, 11, 24, 17, 40, tzinfo=UTC)


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def screen(out: io.StringIO) -> Screen:
    return Screen(out, Style.PLAIN, lambda: NOW)


def test_what_is_done_meanwhile_comes_back_in_its_order(screen):
    with Beside("count", [lambda: 1, lambda: 2], screen, Times()) as beside:
        pass
    assert beside.results() == [1, 2]


def test_it_is_one_line_at_each_end_of_the_timeline(screen, out, monkeypatch):
    monkeypatch.setattr(progress, "_TICK_SECONDS", 0.01)
    monkeypatch.setattr(progress, "_QUIET_SECONDS", 0.1)
    shown = threading.Event()

    def wait() -> None:
        while not out.getvalue():
            shown.wait(0.01)

    with Beside("build auth", [wait, wait], screen, Times()) as beside:
        beside.results()
    begin, end = out.getvalue().splitlines()
    assert begin.strip() == "· build auth"
    assert end.strip().startswith("✓ build auth (")
    column = row(0.0, Snapshot(), "· build auth").index("·")
    assert begin.index("·") == end.index("✓") == column


def test_with_nothing_to_do_nothing_is_said(screen, out):
    with Beside[None]("nothing", [], screen, Times()) as beside:
        assert beside.results() == []
    assert out.getvalue() == ""


def test_a_failure_is_told_when_the_results_are_wanted(screen):
    def fail() -> None:
        raise DemoError("no space")

    with Beside("build", [fail], screen, Times()) as beside:
        pass
    with pytest.raises(DemoError, match="no space"):
        beside.results()


def test_after_an_error_of_the_show_nothing_new_is_begun(screen):
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


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_it_gives_way_and_nothing_else_does(screen):
    before = os.getpriority(os.PRIO_PROCESS, 0)

    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    with Beside("look", [niceness], screen, Times()) as beside:
        assert beside.results() == [10]
        assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
