"""Garbage collection where the caches are large: they are not searched again and again."""

import gc
import threading
import time
from collections.abc import Callable
from typing import Any

PAUSE = 0.05
"""Seconds that a full collection may take. What a longer one has kept is left out of the next ones:
the objects of 10,000 pools take a second each time, in which no connection is served."""
AGAIN = 0.1
"""Seconds from such a collection to the next full one, which finds little to search. Python waits
with a full one for a quarter of what the last one has kept, though it is left out now: with 10,000
pools for 100 MiB of garbage. Each event leaves some, since kopf's objects refer to one another."""
ALL_AGAIN = 24 * 3600.0
"""Seconds after which a full collection searches everything: an exception that was kept with the
objects of a moment may have become garbage since."""


def short_pauses(clock: Callable[[], float] = time.perf_counter) -> None:
    """Keep the pauses of garbage collection short from now on, in this process."""
    gc.callbacks.append(_Pauses(clock))


class _Pauses:
    """What Python calls before and after each collection."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = self._searched_all = clock()

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        if info["generation"] < 2:  # only a full one
            return
        now = self._clock()
        if phase == "start":
            self._began = now
            if now - self._searched_all >= ALL_AGAIN:
                self._searched_all = now
                gc.unfreeze()
        elif now - self._began > PAUSE:
            gc.freeze()
            again = threading.Timer(AGAIN, gc.collect)  # inside of a collection it does nothing
            again.daemon = True
            again.start()
