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
class Standing:
    """The state of one candidate."""

    seen: Lease | None = None
    seen_at: float = 0.0
    """When it first saw the current content of the Lease."""
    renewed_at: float | None = None
    """When its last successful write was sent; None while it does not lead."""


class Step(StrEnum):
    """The next action after reading the Lease."""

    ACQUIRE = "acquire"
    RENEW = "renew"
    HOLD = "hold"
    """Leading; the next renewal is not due yet."""
    WAIT = "wait"
    LOST = "lost"
    """Stop acting at once."""


def leads(standing: Standing, now: float, times: Times) -> bool:
    """Whether this candidate may act: its last renewal is recent enough."""
    return standing.renewed_at is not None and now < standing.renewed_at + times.renew_deadline


def judge(
    lease: Lease | None, me: str, standing: Standing, now: float, times: Times
) -> tuple[Step, Standing]:
    """Decide the next action for the Lease as just read; None means that it does not exist."""
    if lease is not None and lease != standing.seen:
        standing = replace(standing, seen=lease, seen_at=now)
    if standing.renewed_at is not None:
        mine = lease is None or lease.holder == me
        if not mine or not leads(standing, now, times):
            return Step.LOST, replace(standing, renewed_at=None)
        due = lease is None or now >= standing.renewed_at + times.retry
        return (Step.RENEW if due else Step.HOLD), standing
    # The same name: the previous process has ended, because a pod's name is never reused.
    if lease is not None and lease.holder in ("", me):
        return Step.ACQUIRE, standing
    return (Step.WAIT if now < taken_at(me, standing) else Step.ACQUIRE), standing


def taken_at(me: str, standing: Standing) -> float:
    """When another holder's Lease may be acquired, if it does not change until then."""
    seen = standing.seen
    if seen is None or seen.holder in ("", me):
        return standing.seen_at
    return standing.seen_at + seen.duration


def pause(me: str, standing: Standing, now: float, times: Times) -> float:
    """Seconds until the next read: the retry period, or less if something is due sooner."""
    if standing.renewed_at is not None:
        due = standing.renewed_at + times.retry
    else:
        due = max(taken_at(me, standing), now)
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


def written(standing: Standing, lease: Lease, sent_at: float) -> Standing:
    """The state after a successful write of this candidate."""
    return replace(standing, seen=lease, seen_at=sent_at, renewed_at=sent_at)


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
