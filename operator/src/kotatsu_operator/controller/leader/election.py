"""Who leads, by one Lease that all contenders read and write with compare-and-swap.

The rules are those of client-go's leader election. No two clocks are ever compared: a contender
notes by its own clock when it first saw what the Lease says now, and takes the Lease when that has
not changed for as long as the Lease is good for. A leader counts from before its last renewal was
sent, and steps down some seconds before anybody else may take over:

    renewal sent ── retry ──▶ next renewal … ── renew_deadline ──▶ steps down    lease ──▶ taken

One rule is stricter than client-go's: a Lease that somebody deleted still binds whoever has seen
its holder, until it would have run out.

Times are seconds of a clock that only ever runs forward.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from math import ceil
from typing import Any


@dataclass(frozen=True)
class Times:
    """How long a Lease is good for, when a leader gives up, and how often each side asks."""

    lease: float = 10.0
    renew_deadline: float = 6.0
    retry: float = 2.0


TIMES = Times()


@dataclass(frozen=True)
class Lease:
    """What a Lease says: any change of it is a sign of life of its holder."""

    holder: str = ""
    """Empty when it was released."""
    duration: float = 0.0
    transitions: int = 0
    acquired: str = ""
    renewed: str = ""
    """The holder's own clock, for people to read: only compared with itself."""


@dataclass(frozen=True)
class Standing:
    """What one contender remembers."""

    seen: Lease | None = None
    seen_at: float = 0.0
    """When it first saw what the Lease said last."""
    renewed_at: float | None = None
    """When its last successful write was sent; None while it does not lead."""


class Step(StrEnum):
    """What to do after reading the Lease."""

    ACQUIRE = "acquire"
    RENEW = "renew"
    HOLD = "hold"
    """Leading, and the next renewal is not due yet."""
    WAIT = "wait"
    LOST = "lost"
    """Stop acting, now."""


def leads(standing: Standing, now: float, times: Times) -> bool:
    """Whether this contender may act: its last renewal is fresh enough."""
    return standing.renewed_at is not None and now < standing.renewed_at + times.renew_deadline


def judge(
    lease: Lease | None, me: str, standing: Standing, now: float, times: Times
) -> tuple[Step, Standing]:
    """Decide what to do about the Lease as just read; None when there is none."""
    if lease is not None and lease != standing.seen:
        standing = replace(standing, seen=lease, seen_at=now)
    if standing.renewed_at is not None:
        mine = lease is None or lease.holder == me
        if not mine or not leads(standing, now, times):
            return Step.LOST, replace(standing, renewed_at=None)
        due = lease is None or now >= standing.renewed_at + times.retry
        return (Step.RENEW if due else Step.HOLD), standing
    # Our own name: the process before this one has ended (a pod's name is never used twice).
    if lease is not None and lease.holder in ("", me):
        return Step.ACQUIRE, standing
    return (Step.WAIT if now < taken_at(me, standing) else Step.ACQUIRE), standing


def taken_at(me: str, standing: Standing) -> float:
    """When somebody else's Lease, unchanged until then, may be taken."""
    seen = standing.seen
    if seen is None or seen.holder in ("", me):
        return standing.seen_at
    return standing.seen_at + seen.duration


def pause(me: str, standing: Standing, now: float, times: Times) -> float:
    """Seconds until the next look: the retry period, or sooner when something is due sooner."""
    if standing.renewed_at is not None:
        due = standing.renewed_at + times.retry
    else:
        due = max(taken_at(me, standing), now)
        due = due if due > now else now + times.retry
    return max(min(due - now, times.retry), 0.05)


def taken(lease: Lease | None, me: str, wall: datetime, duration: float) -> Lease:
    """What to write in order to take or renew the Lease; `wall` is for people to read."""
    now = _micro(wall)
    if lease is not None and lease.holder == me:
        return replace(lease, duration=duration, renewed=now)
    transitions = 0 if lease is None else lease.transitions + 1
    return Lease(me, duration, transitions, acquired=now, renewed=now)


def released(lease: Lease, wall: datetime) -> Lease:
    """What to write in order to let go: the next one need not wait."""
    return replace(lease, holder="", duration=1.0, renewed=_micro(wall))


def written(standing: Standing, lease: Lease, sent_at: float) -> Standing:
    """The standing after a write of ours that succeeded."""
    return replace(standing, seen=lease, seen_at=sent_at, renewed_at=sent_at)


def read_spec(spec: Mapping[str, Any]) -> Lease:
    """Read the `spec` of a Lease object."""
    return Lease(
        holder=spec.get("holderIdentity") or "",
        duration=float(spec.get("leaseDurationSeconds") or 0),
        transitions=int(spec.get("leaseTransitions") or 0),
        acquired=spec.get("acquireTime") or "",
        renewed=spec.get("renewTime") or "",
    )


def write_spec(lease: Lease) -> dict[str, Any]:
    """The `spec` of a Lease object: whole seconds, at least one."""
    return {
        "holderIdentity": lease.holder,
        "leaseDurationSeconds": max(1, ceil(lease.duration)),
        "leaseTransitions": lease.transitions,
        "acquireTime": lease.acquired or None,
        "renewTime": lease.renewed or None,
    }


def _micro(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
