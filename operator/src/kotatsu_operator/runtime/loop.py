"""The event loop: whether it still runs, what a turn of it may take, and tasks that are kept."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)

EVERY = 1.0
LATE_AFTER = 20.0
"""Seconds without a beat after which an event loop counts as stuck. Normal work blocks the loop for
much less, even with ten thousand connections at once."""


class Heartbeat:
    """Records a beat every second on the event loop that runs it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beat_at = clock()

    async def run(self) -> None:
        while True:
            self._beat_at = self._clock()
            await asyncio.sleep(EVERY)

    @property
    def late(self) -> float:
        return self._clock() - self._beat_at

    def why_not_alive(self) -> str:
        """Return an empty string while the event loop runs, else a sentence."""
        late = self.late
        return "" if late < LATE_AFTER else f"the event loop has been blocked for {late:.0f} s"


TURN = 0.002
"""Seconds of work after which the event loop runs other tasks."""


def started_in(
    group: asyncio.TaskGroup | None, work: Coroutine[Any, Any, None], name: str
) -> asyncio.Task[None] | None:
    """Start `work` as a task of a group; None if there is no group or it ends or has ended."""
    if group is not None:
        with contextlib.suppress(RuntimeError):
            return group.create_task(work, name=name)
    work.close()
    return None


CHECK_SECONDS = 2.0
"""Seconds between two questions whether work has stopped."""

AGAIN_SECONDS = 1.0
"""Seconds until it is done again."""

END_SECONDS = 15.0
"""Seconds that it may take to end."""


class StuckError(Exception):
    """Work that was canceled does not end."""


async def kept(
    work: Callable[[], Coroutine[Any, Any, None]],
    name: str,
    has_stopped: Callable[[], bool],
    again: Callable[[], None],
) -> None:
    """Do work that must go on until this is canceled, in a task of its own.

    It is done again when it has ended or was canceled, and once it `has_stopped`, which is asked
    every CHECK_SECONDS; `again` is called then. Raises the error of the work, and StuckError.
    """
    while True:
        task = asyncio.create_task(work(), name=name)
        try:
            while not task.done():
                await asyncio.wait([task], timeout=CHECK_SECONDS)
                if has_stopped():
                    break
        finally:
            task.cancel()
            ended, _ = await asyncio.wait([task], timeout=END_SECONDS)
        if not ended:
            raise StuckError(f"{name} has stopped and does not end, so the process has to")
        if not task.cancelled():
            task.result()
        log.warning("%s has stopped: it is started again", name)
        again()
        await asyncio.sleep(AGAIN_SECONDS)
