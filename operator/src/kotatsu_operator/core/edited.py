"""Reading a status that somebody may have edited: what cannot be read counts as not there.

A CRD's schema lets much through: any text for a phase, and for a date-time the year 0, an offset of
99 hours or anything behind a second T. A status is no place to refuse that in; but a reader that
raised would stop at every look, for as long as it stands there.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, TypeVar

from .durations import parse_duration

D = TypeVar("D")
E = TypeVar("E", bound=Enum)


def choice(values: type[E], given: Any, default: D) -> E | D:
    """The value of an enumeration; the default for any other text."""
    try:
        return values(given)
    except ValueError:
        return default


def instant(given: Any) -> datetime | None:
    """An RFC 3339 time in UTC; None where there is none, or one that no clock shows."""
    try:
        at = datetime.fromisoformat(given)
        return None if at.tzinfo is None else at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def lasting(given: Any) -> timedelta:
    """A duration; none at all for what is none."""
    try:
        return parse_duration(given)
    except (TypeError, ValueError):
        return timedelta()


def amount(given: Any) -> Decimal | None:
    """A finite amount that is not negative; None for anything else."""
    try:
        read = Decimal(given)
    except (InvalidOperation, TypeError, ValueError):
        return None
    return read if read.is_finite() and read >= 0 else None
