"""A full garbage collection does not search what an earlier long one has kept."""

import gc
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from kotatsu_operator.runtime.garbage import ALL_AGAIN, PAUSE, short_pauses


@pytest.fixture
def clock() -> Iterator[SimpleNamespace]:
    clock, before = SimpleNamespace(now=0.0), list(gc.callbacks)
    short_pauses(lambda: clock.now)
    threshold = gc.get_threshold()
    gc.set_threshold(700, 10, 10)  # Python's own
    yield clock
    gc.set_threshold(*threshold)
    gc.callbacks[:] = before
    gc.freeze()  # as tests/conftest.py does


def collect(clock: SimpleNamespace, seconds: float, generation: int = 2) -> None:
    """A collection that takes so long, as Python reports it."""
    gc.callbacks[-1]("start", {"generation": generation})
    clock.now += seconds
    gc.callbacks[-1]("stop", {"generation": generation})


def test_what_a_long_collection_has_kept_is_left_out_of_the_next(clock: SimpleNamespace) -> None:
    frozen = gc.get_freeze_count()
    collect(clock, PAUSE * 2)
    assert gc.get_freeze_count() > frozen


def test_a_short_one_leaves_nothing_out(clock: SimpleNamespace) -> None:
    frozen = gc.get_freeze_count()
    collect(clock, PAUSE / 2)
    collect(clock, PAUSE * 2, generation=1)
    assert gc.get_freeze_count() <= frozen


def full() -> int:
    return gc.get_stats()[2]["collections"]


def test_what_is_left_out_does_not_count_when_the_next_one_is_due(clock: SimpleNamespace) -> None:
    kept = [[i] for i in range(600_000)]
    gc.collect()
    before = full()
    collect(clock, PAUSE * 2)
    give_up = time.monotonic() + 60
    while full() == before and time.monotonic() < give_up:
        time.sleep(0.01)
    before = full()
    kept += [[i] for i in range(120_000)]
    assert full() > before


def test_once_a_day_everything_is_searched(clock: SimpleNamespace) -> None:
    collect(clock, PAUSE * 2)
    clock.now += ALL_AGAIN
    collect(clock, PAUSE / 2)
    assert gc.get_freeze_count() == 0
