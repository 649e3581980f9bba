"""The rules of leader election, by one Lease that all candidates read and write. Pure.

The rules are those of client-go's leader election; writes are compare-and-swap. Two clocks are
never compared. A candidate records by its own clock when it first saw the current content of the
Lease. It acquires the Lease if the content has not changed for the Lease's duration. A leader
counts from before it sent its last renewal, and steps down some seconds before another candidate
may acquire the Lease:

    renewal sent ── retry ──▶ next renewal … ── renew_deadline ──▶ steps down    lease ──▶ taken

One rule is stricter than client-go's: after a Lease is deleted, candidates that have seen its
holder still wait until it would have expired.

Times are seconds of a monotonic clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from math import ceil
from typing import Any


@dataclass(frozen=True)
class Times:
    """The Lease's duration, the deadline of a renewal, and the retry period, in seconds."""

    lease: float = 10.0
    renew_deadline: float = 6.0
    retry: float = 2.0


TIMES = Times()


@dataclass(frozen=True)
class Lease:
    """The content of a Lease; any change of it shows that the holder is alive."""

    holder: str = ""
    """Empty after a release."""
    duration: float = 0.0
    transitions: int = 0
    acquired: str = ""
    renewed: str = ""
    """By the holder's clock, for people to read; only compared for equality."""


@dataclass(frozen=True)
class Candidate:
    """The state of one candidate."""

    seen: Lease | None = None
    seen_at: float = 0.0
    """When it first saw the current content of the Lease."""
    renewed_at: float | None = None
    """When its last successful write was sent; None while it does not lead."""


class Action(StrEnum):
    """The next action after reading the Lease."""

    ACQUIRE = "acquire"
    RENEW = "renew"
    HOLD = "hold"
    """Leading; the next renewal is not due yet."""
    WAIT = "wait"
    LOST = "lost"
    """Stop acting at once."""


def leads(candidate: Candidate, now: float, times: Times) -> bool:
    """Whether this candidate may act: its last renewal is recent enough."""
    return candidate.renewed_at is not None and now < candidate.renewed_at + times.renew_deadline


def judge(
    lease: Lease | None, me: str, candidate: Candidate, now: float, times: Times
) -> tuple[Action, Candidate]:
    """Decide the next action for the Lease as just read; None means that it does not exist."""
    if lease is not None and lease != candidate.seen:
        candidate = replace(candidate, seen=lease, seen_at=now)
    if candidate.renewed_at is not None:
        mine = lease is None or lease.holder == me
        if not mine or not leads(candidate, now, times):
            return Action.LOST, replace(candidate, renewed_at=None)
        due = lease is None or now >= candidate.renewed_at + times.retry
        return (Action.RENEW if due else Action.HOLD), candidate
    # The same name: the previous process has ended, because a pod's name is never reused.
    if lease is not None and lease.holder in ("", me):
        return Action.ACQUIRE, candidate
    return (Action.WAIT if now < taken_at(me, candidate) else Action.ACQUIRE), candidate


def taken_at(me: str, candidate: Candidate) -> float:
    """When another holder's Lease may be acquired, if it does not change until then."""
    seen = candidate.seen
    if seen is None or seen.holder in ("", me):
        return candidate.seen_at
    return candidate.seen_at + seen.duration


def pause(me: str, candidate: Candidate, now: float, times: Times) -> float:
    """Seconds until the next read: the retry period, or less if something is due sooner."""
    if candidate.renewed_at is not None:
        due = candidate.renewed_at + times.retry
    else:
        due = max(taken_at(me, candidate), now)
        due = due if due > now else now + times.retry
    return max(min(due - now, times.retry), 0.05)


def taken(lease: Lease | None, me: str, wall: datetime, duration: float) -> Lease:
    """The Lease to write for an acquisition or renewal; `wall` is for people to read."""
    now = _micro(wall)
    if lease is not None and lease.holder == me:
        return replace(lease, duration=duration, renewed=now)
    transitions = 0 if lease is None else lease.transitions + 1
    return Lease(me, duration, transitions, acquired=now, renewed=now)


def released(lease: Lease, wall: datetime) -> Lease:
    """The Lease to write for a release: the next holder can acquire it at once."""
    return replace(lease, holder="", duration=1.0, renewed=_micro(wall))


def written(candidate: Candidate, lease: Lease, sent_at: float) -> Candidate:
    """The state after a successful write of this candidate."""
    return replace(candidate, seen=lease, seen_at=sent_at, renewed_at=sent_at)


def read_spec(spec: Mapping[str, Any]) -> Lease:
    return Lease(
        holder=spec.get("holderIdentity") or "",
        duration=float(spec.get("leaseDurationSeconds") or 0),
        transitions=int(spec.get("leaseTransitions") or 0),
        acquired=spec.get("acquireTime") or "",
        renewed=spec.get("renewTime") or "",
    )


def write_spec(lease: Lease) -> dict[str, Any]:
    """Write the `spec` of a Lease object; the duration is in whole seconds, at least 1."""
    return {
        "holderIdentity": lease.holder,
        "leaseDurationSeconds": max(1, ceil(lease.duration)),
        "leaseTransitions": lease.transitions,
        "acquireTime": lease.acquired or None,
        "renewTime": lease.renewed or None,
    }


def _micro(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# --- outages of the API server, and how long other components may lag behind one ---
#
# kube-proxy, kubelet and controllers use client-go's reflector. Without a response it pauses: 0.8 s
# at first, then twice as long each time, up to 30 s, and each pause is lengthened by up to 100 %
# (`NewReflectorWithOptions` in client-go's tools/cache/reflector.go, v0.34.4). Two pauses can
# follow one another: a watch that reconnects may have to list again. After an outage of d seconds
# they are at most 2d + 1.6 and 4d + 3.2 seconds, and at most 60 each. After two minutes without a
# pause they start from 0.8 s again. Decision 21 says what counts as an outage.

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
