"""The visitors of one pool's waiting page. They count as one request while they wait."""

import time
from collections.abc import Callable
from pathlib import Path

from kotatsu_operator.activator.cache.pool import Pool
from kotatsu_operator.activator.context import Context
from kotatsu_operator.activator.http.navigation import Ask, Asked
from kotatsu_operator.activator.http.waiting_page import (
    Progress,
    Stage,
    look,
    page,
    progress_answer,
)

WAITS_FOR = 10.0
"""Seconds after its last request for which a page counts as waiting. It asks every two seconds, or
is loaded again every five."""

PATIENCE = 15 * 60.0
"""Seconds after which a page stops: a forgotten tab must not keep up a pool that never starts."""


class Visitors:
    """Who waits for a pool without a held connection.

    All visitors together are one episode: it begins with the first page, and ends when none has
    asked for `WAITS_FOR`.
    """

    def __init__(self, context: Context, clock: Callable[[], float] = time.monotonic) -> None:
        self._context, self._clock = context, clock
        self._began = self._last = float("-inf")
        self._is_over = False

    @property
    def are_waiting(self) -> bool:
        """Whether a page waits, so that the pool must wake. May be called from any thread."""
        return not self._is_over and self._clock() - self._last < WAITS_FOR

    def answer(self, pool: Pool, asked: Asked) -> bytes:
        """The answer to a navigation or to a question of the page."""
        now = self._clock()
        if now - self._last >= WAITS_FOR:
            self._began, self._is_over = now, False
        elif now - self._began >= PATIENCE:
            if self._is_over and asked.what is Ask.PAGE:
                self._began, self._is_over = now, False  # somebody tries again
            else:
                self._is_over = True
        self._last = now
        progress = Progress(self._stage(pool), now - self._began, pool.usual_wake, self._is_over)
        if asked.what is Ask.PROGRESS:
            return progress_answer(progress)
        return page(progress, asked.language, look(Path(self._context.looks), pool.page))

    def _stage(self, pool: Pool) -> Stage:
        """The stage of the pod that is furthest."""
        starts = [pod.start for pod in self._context.view.pods_of(pool) if not pod.terminating]
        if any(start.started_at is not None for start in starts):
            return Stage.START
        return Stage.IMAGE if any(s.scheduled_at is not None for s in starts) else Stage.NODE
