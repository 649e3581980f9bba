"""Capacity ahead of a window: for how many pods nodes are asked for before the pods start."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from kotatsu_operator.core.calendar.schedule import Occurrence


class CapacityKind(StrEnum):
    """How capacity is asked for."""

    NONE = "None"
    BUFFER = "CapacityBuffer"
    PLACEHOLDER = "Placeholder"


@dataclass(frozen=True)
class Capacity:
    """The capacity that the schedule asks for at one moment."""

    replicas: int = 0
    """Pods of openings whose pods do not start yet, but whose nodes are asked for."""
    next: datetime | None = None
    """When it is asked for next."""


NO_CAPACITY = Capacity()


def capacity_at(
    ahead: timedelta | None, coming: Iterable[Occurrence], early: timedelta, now: datetime
) -> Capacity:
    """The capacity at `now`; `coming` are the openings after it, `early` is their lead."""
    if not ahead:
        return NO_CAPACITY
    waiting = [o for o in coming if o.start - early > now]
    asked = [o.replicas for o in waiting if o.start - early - ahead <= now]
    begins = [o.start - early - ahead for o in waiting if o.start - early - ahead > now]
    return Capacity(max(asked, default=0), min(begins, default=None))


def still_needed(wanted: int, held: int, replicas: int, *, is_warming: bool) -> int:
    """The pods for which capacity is held.

    What the schedule wants beyond the pods that are there. While pods start, what was held stays:
    their scheduling takes its place, and before that it must not go to others.
    """
    return max(wanted - replicas, held if is_warming else 0, 0)
