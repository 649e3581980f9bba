"""Detects outages of the API server and computes how long other components may lag behind one.

kube-proxy, kubelet and controllers use client-go's reflector. Without a response it pauses: 0.8 s
at first, then twice as long each time, up to 30 s, and each pause is lengthened by up to 100 %
(`NewReflectorWithOptions` in client-go's tools/cache/reflector.go, v0.34.4). Two pauses can follow
one another: a watch that reconnects may have to list again. After an outage of d seconds they are
at most 2d + 1.6 and 4d + 3.2 seconds, and at most 60 each. After two minutes without a pause they
start from 0.8 s again. Decision 21 says what counts as an outage.

Times are seconds of a monotonic clock.
"""

from dataclasses import dataclass, replace

LONGEST = 120.0
"""Seconds until all components have reconnected after any outage: two pauses of 60."""

GROWTH = 6.0
"""Seconds that the two pauses grow by for each second of an outage: 2 + 4."""

SHORTEST = 5.0
"""Seconds of the two pauses after the shortest outage: 1.6 + 3.2, rounded up."""

PATIENCE = 6.0
"""Seconds without a response that count as slowness. Slowness alone does not interrupt a watch, and
a slow API server must not prevent pools from sleeping."""

CALLS = 2
"""Consecutive failed calls, to different endpoints, that make an outage."""

FORGOTTEN = 120.0
"""Seconds after an outage until the pauses start from the shortest again."""


SHORTEST_PAUSE = 0.8
"""Seconds of client-go's first pause, before the random part."""

LONGEST_PAUSE = 30.0
"""Seconds of client-go's longest pause, before the random part."""


@dataclass(frozen=True)
class Outage:
    """A period in which the API server did not respond."""

    began: float
    """Time of the last response before it."""
    ended: float | None = None
    """Time of the first response after it; None while it lasts."""
    pause: float = SHORTEST_PAUSE
    """client-go's pause at the beginning: longer soon after another outage."""

    @property
    def grown(self) -> float:
        """client-go's pause after the outage, when all components have reconnected."""
        assert self.ended is not None  # noqa: S101  (called only after the end)
        return min(LONGEST_PAUSE, 4 * (self.ended - self.began + self.pause))

    @property
    def lag(self) -> float:
        """For how many seconds after the end other components may not have reconnected."""
        assert self.ended is not None  # noqa: S101  (called only after the end)
        lasted, longer = self.ended - self.began, self.pause - SHORTEST_PAUSE
        return min(LONGEST, GROWTH * (lasted + longer) + SHORTEST)


@dataclass(frozen=True)
class OutageWatch:
    """One program's contact with the API server."""

    answered_at: float | None = None
    outage: Outage | None = None
    """The last outage."""
    unanswered: int = 0
    """Failed calls since the last response."""

    def answered(self, now: float) -> "OutageWatch":
        outage = self.outage
        if outage is not None and outage.ended is None:
            outage = replace(outage, ended=now)
        return OutageWatch(now, outage)

    def silent(self, now: float, *, slow: bool = False) -> "OutageWatch":
        """The state after a failed call; `slow` if the call only timed out."""
        if slow and self.answered_at is not None and now - self.answered_at < PATIENCE:
            return self
        failed = replace(self, unanswered=self.unanswered + 1)
        if failed.unanswered < CALLS:
            return failed
        outage = self.outage
        if outage is not None and outage.ended is None:
            return failed
        pause = SHORTEST_PAUSE
        if outage is not None and outage.ended is not None and now - outage.ended < FORGOTTEN:
            pause = outage.grown
        began = now if self.answered_at is None else self.answered_at
        return replace(failed, outage=Outage(began, pause=pause))

    def catching_up(self, now: float) -> float:
        """For how many seconds other components may still lag behind a (possible) outage."""
        if self.unanswered:
            return LONGEST
        if self.outage is None:
            return 0.0
        if self.outage.ended is None:
            return LONGEST
        return max(0.0, self.outage.ended + self.outage.lag - now)
