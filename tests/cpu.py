"""CPU time as a multiple of a fixed loop's on the same machine at the same moment."""

from collections.abc import Callable
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

RUNS = 4
ADDITIONS = 1_000_000


def loops(work: Callable[[], object]) -> float:
    """The CPU time that `work` takes, in loops of a million additions.

    The CPU time of processes that `work` has started and awaited counts as well. The least of
    several runs, in turns with the loop: whatever else the machine does only adds to it.
    """
    of_loop, of_work = [], []
    for _ in range(RUNS):
        of_loop.append(_used(_loop))
        of_work.append(_used(work))
    return min(of_work) / min(of_loop)


def loop() -> float:
    """The CPU time of one loop of a million additions, in seconds: the least of several."""
    return min(_used(_loop) for _ in range(RUNS))


def _used(work: Callable[[], object]) -> float:
    before = _cpu()
    work()
    return _cpu() - before


def _cpu() -> float:
    every = [getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in every)


def _loop() -> None:
    total = 0
    for number in range(ADDITIONS):
        total += number
