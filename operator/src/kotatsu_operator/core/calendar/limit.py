"""A limit of the CPU time that a calendar may take: its rules and zones can ask for any amount."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from kotatsu_operator.core.calendar.occasions import CalendarError

MOST_WORK = 20
"""Seconds of CPU for one calendar. A large one with old series takes about two."""


class _OverError(BaseException):
    """The limit is reached; no handler of a single event may catch it."""


@contextmanager
def limited(seconds: float = MOST_WORK) -> Iterator[None]:
    """Raises CalendarError within the block when the process has used this much CPU time in it.

    It uses a signal, so only the main thread can use it. Windows has none: there, nothing is
    limited.
    """
    if not hasattr(signal, "setitimer"):
        yield
        return

    def over(*_: object) -> None:
        raise _OverError

    before = signal.signal(signal.SIGPROF, over)
    # Again each second, because an exception within a destructor is lost.
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)
    try:
        yield
    except _OverError:
        raise CalendarError(
            f"takes more than {seconds:g} s of CPU to read: its rules or time zones repeat too "
            "often, or match no day"
        ) from None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
