"""When a pool was in use, in slots of five minutes: as values, and as it is stored.

A WarmPoolHistory holds eight weeks as two bitmaps. A slot that the operator has not observed is not
known: it counts neither as use nor as idle time.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

from kotatsu_operator.core.formats import instant, seconds, stamp, table
from kotatsu_operator.core.pool.decision import Demand
from kotatsu_operator.core.pool.memory import Memory, Phase

SLOT = timedelta(minutes=5)
"""The resolution."""

WEEK = timedelta(weeks=1) // SLOT
"""Slots of a week."""

SLOTS = 8 * WEEK
"""The most slots that are kept: 2 kB for each bitmap."""

LINGERS = timedelta(seconds=30)
"""A pool counts as busy for this long after a request: the shortest idleAfter that is proposed."""

QUIET = frozenset({Phase.ASLEEP, Phase.PARKED})
"""Phases in which a request leaves a trace, in the scale or in the status: without one there was
none, also while no operator ran."""

HOURLY = timedelta(hours=1)
"""How often the use of a pool that does not sleep is written at most."""

_EPOCH = datetime.fromtimestamp(0, UTC)
_ALL = (1 << SLOTS) - 1
_LONGEST = -(-SLOTS // 24) * 4
"""Characters of a bitmap in base64."""


def slot_of(at: datetime) -> int:
    """The number of an instant's slot, counted from 1970."""
    return (at - _EPOCH) // SLOT


@dataclass(frozen=True, slots=True)
class Usage:
    """The slots up to `last`, one bit each: the lowest bit is `last`."""

    last: int = 0
    used: int = 0
    """Slots with a request, or with a connection in use."""
    known: int = 0
    """Slots that were observed; all used ones are among them."""
    busy: timedelta = timedelta()
    """How long there were requests in the used slots, and none ended more than LINGERS ago."""

    @property
    def end(self) -> datetime:
        """When the last slot ends."""
        return _EPOCH + (self.last + 1) * SLOT

    @property
    def share(self) -> float:
        """The busy part of a used slot, on average."""
        used = self.used.bit_count()
        return min(self.busy / (used * SLOT), 1.0) if used else 0.0

    def up_to(self, last: int) -> "Usage":
        """The same with another last slot: older slots than SLOTS are dropped, and later ones."""
        ahead = last - self.last
        if not ahead:
            return self
        if abs(ahead) >= SLOTS:
            return Usage(last)
        used, known = (b << ahead if ahead > 0 else b >> -ahead for b in (self.used, self.known))
        kept, before = (used & _ALL).bit_count(), self.used.bit_count()
        busy = self.busy if kept == before else self.busy * (kept / before)
        return Usage(last, used & _ALL, known & _ALL, busy)

    def knowing(self, first: int, last: int) -> "Usage":
        """The same, and the slots from `first` to `last` were observed."""
        made = self.up_to(max(last, self.last))
        newest, count = made.last - last, min(last - max(first, made.last - SLOTS + 1) + 1, SLOTS)
        more = ((1 << count) - 1) << newest if count > 0 else 0
        return replace(made, known=made.known | (more & _ALL))

    def using(self, slot: int) -> "Usage":
        """The same, and there was a request in this slot."""
        made = self.knowing(slot, slot)
        ago = made.last - slot
        return replace(made, used=made.used | (1 << ago)) if ago < SLOTS else made

    def plus(self, later: "Usage") -> "Usage":
        """Both together, up to the last slot of the `later` one: the clock may be set back."""
        first = self.up_to(later.last)
        return Usage(
            later.last,
            first.used | later.used,
            first.known | later.known,
            first.busy + later.busy,
        )


NOTHING = Usage()


@dataclass(frozen=True, slots=True)
class Watched:
    """What an operator has seen of a pool's use and the WarmPoolHistory does not have."""

    due: datetime
    """When to write it at the latest."""
    at: datetime | None = None
    """When the pool was last looked at."""
    blind: datetime | None = None
    """When requests could not be seen last."""
    request: datetime | None = None
    """The newest request until then."""
    usage: Usage = NOTHING

    @classmethod
    def begun(cls, uid: str, now: datetime) -> "Watched":
        """At the first look. The first writes of many pools are spread over an hour by uid."""
        turn = crc32(uid.encode()) / 2**32
        return cls(now + HOURLY * (1 + turn))

    def is_due(self, memory: Memory, now: datetime) -> bool:
        """Whether to write it now; `memory` is that of the decision.

        Not while the pool wakes. That a quiet pool had no request shows without a write.
        """
        is_new = self.usage.used if memory.phase in QUIET else self.usage.known
        return now >= self.due and memory.phase is not Phase.WARMING and bool(is_new)

    def written(self, now: datetime) -> "Watched":
        """The same once the WarmPoolHistory has it."""
        return replace(self, usage=NOTHING, due=now + HOURLY)

    def unseen(self, now: datetime) -> "Watched":
        """The same with one more look at a pool whose requests cannot be seen."""
        return replace(self, at=now, blind=now)

    def looked(
        self, memory: Memory, demand: Demand, now: datetime, *, woken: bool = False
    ) -> "Watched":
        """The same with one more look: `memory` before the decision, and the demand that counts.

        `woken` is whether an activator has raised the scale, which wakes a sleeping pool.

        What was longer ago than a slot is known only of a quiet pool: all since its phase began,
        so that it is not lost if nobody writes it.
        """
        if not demand.known:
            return self.unseen(now)
        since = min(quiet_since(memory) or self.at or now, now)
        first = slot_of(since)
        if self.blind is not None and self.blind >= since:
            since, first = min(self.blind, now), slot_of(self.blind) + 1
        times = [self.request, demand.last_request, now if demand.concurrency else None]
        until = now
        if demand.ticket not in (None, memory.announced.seen):
            # By the activator's clock: some seconds make no difference here.
            at = max(min(demand.ticket or now, now), since)
            times.append(at)
            until = at if memory.phase in QUIET else now
        elif woken and memory.phase is Phase.ASLEEP:
            times.append(now)
            until = now if self.at else since  # a new process does not know when
        request = max((at for at in times if at is not None), default=None)
        request = None if request is None else min(request, now)
        usage, due = self.usage, self.due
        if memory.phase is Phase.ASLEEP:
            due = max(due, now + HOURLY)  # no write follows a wake
        if memory.phase in QUIET or now - since <= SLOT:
            usage = usage.knowing(first, slot_of(until))
        usage = usage.knowing(slot_of(now), slot_of(now))
        if request is not None and request != self.request:
            usage = usage.using(slot_of(request))
        usage = replace(usage, busy=usage.busy + self._busy(request, since, now))
        return replace(self, due=due, at=now, request=request, usage=usage)

    def _busy(self, request: datetime | None, since: datetime, now: datetime) -> timedelta:
        """How long since the last look a request was at most LINGERS ago."""
        if request is None:
            return timedelta()
        goes_on = self.request is not None and self.request + LINGERS >= request
        begin = since if goes_on and now - since <= SLOT else max(since, request)
        return max(min(now, request + LINGERS) - begin, timedelta())


def quiet_since(memory: Memory) -> datetime | None:
    """Since when a pool is known to have no request; None if it is not quiet."""
    return memory.since if memory.phase in QUIET else None


# --- as it is stored ---


def usage_field(usage: Usage) -> dict[str, Any]:
    """The field `usage` of a WarmPoolHistory."""
    return {
        "end": stamp(usage.end),
        "used": _written(usage.used),
        "known": _written(usage.known),
        "busySeconds": round(usage.busy.total_seconds(), 3),
    }


def read_usage(history: Mapping[str, Any] | None) -> Usage:
    """The usage in a WarmPoolHistory; nothing is known if it cannot be read."""
    given = table(table(history).get("usage"))
    end, used, known = (
        instant(given.get("end")),
        _read(given.get("used")),
        _read(given.get("known")),
    )
    if end is None or used is None or known is None:
        return NOTHING
    used &= known
    most = used.bit_count() * SLOT.total_seconds()
    busy = timedelta(seconds=min(seconds(given.get("busySeconds")) or 0.0, most))
    return Usage(slot_of(end) - 1, used, known, busy)


def known_usage(history: Mapping[str, Any] | None, memory: Memory, now: datetime) -> Usage:
    """All that is known of a pool's use: what is stored, and that a quiet pool had no request."""
    usage, since = read_usage(history), quiet_since(memory)
    if since is None or since > now:
        return usage
    return usage.plus(NOTHING.knowing(slot_of(since), slot_of(now)))


def _written(bits: int) -> str:
    """A bitmap in base64, the newest slot in its last bit; without the zeros at its beginning."""
    return base64.b64encode(bits.to_bytes(-(-bits.bit_length() // 8))).decode()


def _read(given: Any) -> int | None:
    if not isinstance(given, str) or len(given) > _LONGEST:
        return None
    try:
        return int.from_bytes(base64.b64decode(given, validate=True)) & _ALL
    except (binascii.Error, ValueError):
        return None
