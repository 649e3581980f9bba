"""The visitors of one pool's waiting page. They count as one request while they wait."""

import time
from collections.abc import Callable

from kotatsu_operator.activator.feature import Context, Feature
from kotatsu_operator.activator.pool import Pool
from kotatsu_operator.features.waiting_page.navigation import Ask, Asked, asked
from kotatsu_operator.features.waiting_page.page import Progress, Stage, page, progress_answer

WAITS_FOR = 10.0
"""Seconds after its last request for which a page counts as waiting. It asks every two seconds, or
is loaded again every five."""

PATIENCE = 15 * 60
"""Seconds after which a page stops: a forgotten tab must not keep up a pool that never starts."""

OVER = 0
"""The time in the cookie of a page that has stopped."""


class Visitors(Feature):
    """Who waits for a pool without a held connection.

    A cookie says since when a browser waits. Any activator of the pool may get its next question,
    so none of them could count the time alone.
    """

    def __init__(
        self,
        context: Context,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._context, self._clock, self._wall_clock = context, clock, wall_clock
        self._last = float("-inf")

    @property
    def are_waiting(self) -> bool:
        """Whether a page waits, so that the pool must wake. May be called from any thread."""
        return self._clock() - self._last < WAITS_FOR

    def answer(self, pool: Pool, head: bytes) -> bytes | None:
        """The answer to a browser, if the pool has a page; anything else is held."""
        if not pool.page:
            return None
        asks = asked(head)
        return None if asks.what is Ask.APP else self.reply(pool, asks)

    def reply(self, pool: Pool, ask: Asked) -> bytes:
        """The answer to a navigation or to a question of the page."""
        now, is_page = int(self._wall_clock()), ask.what is Ask.PAGE
        since = now if ask.since is None else ask.since
        if since == OVER and is_page:
            since = now  # somebody tries again
        elif now - since >= PATIENCE:
            since = OVER
        is_over = since == OVER
        if not is_over:
            self._last = self._clock()
        waited = 0 if is_over else max(now - since, 0)
        progress = Progress(self._stage(pool), waited, pool.usual_wake, is_over=is_over)
        return page(progress, since, ask.language) if is_page else progress_answer(progress, since)

    def _stage(self, pool: Pool) -> Stage:
        """The stage of the pod that is furthest."""
        starts = [pod.start for pod in self._context.view.pods_of(pool) if not pod.terminating]
        if any(start.started_at is not None for start in starts):
            return Stage.START
        return Stage.IMAGE if any(s.scheduled_at is not None for s in starts) else Stage.NODE
