"""Whether an event loop still turns, asked from another thread."""

import asyncio
import time
from collections.abc import Callable

EVERY = 1.0
LATE_AFTER = 20.0
"""Seconds without a beat after which a loop counts as stuck: nothing is allowed to hold it up for
a fraction of that, not even ten thousand connections at once."""


class Heartbeat:
    """Beats once a second on the loop it runs on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beat_at = clock()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self._beat_at = self._clock()
            await asyncio.sleep(EVERY)

    @property
    def late(self) -> float:
        """Seconds since the last beat."""
        return self._clock() - self._beat_at

    def why_not_alive(self) -> str:
        """Empty while the loop turns, else a sentence."""
        late = self.late
        return "" if late < LATE_AFTER else f"the event loop has stood still for {late:.0f} s"
