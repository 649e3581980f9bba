"""Contact with the API server, and for how long all others may lag behind an outage of it.

kube-proxy, kubelet and controllers follow the API server by client-go's reflector. While that gets
no answer it pauses: for 0.8 s, then twice as long each time, up to 30 s, each pause stretched by up
to as much again (`NewReflectorWithOptions` in client-go's tools/cache/reflector.go, v0.34.4). So
they come back at different times, and until then connections go where an old table says. Two pauses
can follow one another, when a watch that is answered again has to begin anew. By an outage of d
seconds the pauses have grown to at most 2d + 1.6 and then 4d + 3.2 seconds, or 60 each; they start
from 0.8 s again after two minutes without any.

An outage is a time in which the API server as a whole did not answer. One call that fails proves
nothing: a connection is reset, one endpoint is broken, a proxy hiccups. So the program that notes a
failed call asks something else at once. Only when that fails too, with no answer in between, an
outage has begun, with the last answer.

Times are seconds of a clock that only ever runs forward.
"""

from dataclasses import dataclass, replace

LONGEST = 120.0
"""Seconds in which all have come back, however long the outage was: two pauses of 60."""

GROWTH = 6.0
"""How much longer two pauses may be for each second of an outage…"""

SHORTEST = 5.0
"""…and how long for none, in seconds."""

PATIENCE = 6.0
"""Seconds without an answer that may be slowness: of that alone no watch takes notice, and an API
server that is slow now and then must not keep pools awake."""

CALLS = 2
"""So many calls to different endpoints fail one after the other in an outage."""

FORGOTTEN = 120.0
"""Seconds without an outage after which pauses are short again."""


SHORTEST_PAUSE = 0.8
"""Seconds of client-go's first pause, before it is stretched."""

LONGEST_PAUSE = 30.0
"""Seconds of its longest one, before it is stretched."""


@dataclass(frozen=True)
class Outage:
    """A time in which the API server did not answer."""

    began: float
    """When it had answered last."""
    ended: float | None = None
    """When it answered again; None while it does not."""
    pause: float = SHORTEST_PAUSE
    """client-go's pause as it began: longer soon after another outage."""

    @property
    def grown(self) -> float:
        """client-go's pause after an outage that has ended, and after all have come back."""
        assert self.ended is not None  # noqa: S101  (asked after its end)
        return min(LONGEST_PAUSE, 4 * (self.ended - self.began + self.pause))

    @property
    def lag(self) -> float:
        """For how many seconds after its end others may not have noticed it."""
        assert self.ended is not None  # noqa: S101  (asked after its end)
        lasted, longer = self.ended - self.began, self.pause - SHORTEST_PAUSE
        return min(LONGEST, GROWTH * (lasted + longer) + SHORTEST)


@dataclass(frozen=True)
class OutageWatch:
    """What one program knows of its contact with the API server."""

    answered_at: float | None = None
    outage: Outage | None = None
    """The last one."""
    unanswered: int = 0
    """Calls that have failed since the last answer."""

    def answered(self, now: float) -> "OutageWatch":
        """The contact after an answer."""
        outage = self.outage
        if outage is not None and outage.ended is None:
            outage = replace(outage, ended=now)
        return OutageWatch(now, outage)

    def silent(self, now: float, *, slow: bool = False) -> "OutageWatch":
        """The contact after a call that failed; `slow` when it was only not answered in time."""
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
        """For how many seconds more the rest of the cluster may lag behind.

        As long as it isn't clear whether an outage has begun, it counts as one.
        """
        if self.unanswered:
            return LONGEST
        if self.outage is None:
            return 0.0
        if self.outage.ended is None:
            return LONGEST
        return max(0.0, self.outage.ended + self.outage.lag - now)
