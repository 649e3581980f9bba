"""Contact with the API server, and for how long all others may lag behind an outage of it.

kube-proxy, kubelet and controllers follow the API server by client-go's reflector. While that gets
no answer it pauses: for 0.8 s, then twice as long each time, up to 30 s, each pause stretched by up
to as much again (`NewReflectorWithOptions` in client-go's tools/cache/reflector.go, v0.34.4). So
they come back at different times, and until then connections go where an old table says. Two pauses
can follow one another, when a watch that is answered again has to begin anew. By an outage of d
seconds the pauses have grown to at most 2d + 1.6 and then 4d + 3.2 seconds, or 60 each; they start
from 0.8 s again after two minutes without any.

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

FORGOTTEN = 120.0
"""Seconds without an outage after which pauses are short again."""


@dataclass(frozen=True)
class Outage:
    """A time in which the API server did not answer."""

    began: float
    """When it had answered last."""
    ended: float | None = None
    """When it answered again; None while it does not."""


@dataclass(frozen=True)
class Contact:
    """What one program knows of its contact with the API server."""

    answered_at: float | None = None
    outage: Outage | None = None
    """The last one. One that follows soon continues it: pauses are still long then."""

    def answered(self, now: float) -> "Contact":
        """The contact after an answer."""
        outage = self.outage
        if outage is not None and outage.ended is None:
            outage = replace(outage, ended=now)
        return Contact(now, outage)

    def silent(self, now: float, *, slow: bool = False) -> "Contact":
        """The contact after a call that failed; `slow` when it was only not answered in time."""
        outage = self.outage
        if slow and self.answered_at is not None and now - self.answered_at < PATIENCE:
            return self
        if outage is None or (outage.ended is not None and now - outage.ended >= FORGOTTEN):
            outage = Outage(now if self.answered_at is None else self.answered_at)
        return replace(self, outage=replace(outage, ended=None))

    def catching_up(self, now: float) -> float:
        """For how many seconds more the rest of the cluster may lag behind."""
        if self.outage is None:
            return 0.0
        if self.outage.ended is None:
            return LONGEST
        lasted = self.outage.ended - self.outage.began
        return max(0.0, self.outage.ended + min(LONGEST, GROWTH * lasted + SHORTEST) - now)
