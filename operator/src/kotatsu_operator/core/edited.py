"""Reading a status that somebody may have edited: what cannot be read counts as not there.

A CRD's schema lets much through: any text for a phase, and for a date-time the year 0, an offset of
99 hours or anything behind a second T. A status is no place to refuse that in; but a reader that
raised would stop at every look, for as long as it stands there.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, TypeVar

from .durations import parse_duration

D = TypeVar("D")
E = TypeVar("E", bound=Enum)

_YEARS = range(2, 9000)
"""Years whose times have a wall clock in every zone, whatever duration is added or taken off."""

_MOST = Decimal(10**32)
"""Amounts from here on are none: no sum could be made of them."""

_LONGEST = timedelta(days=31)
"""Of a number of seconds."""


def table(given: Any) -> Mapping[str, Any]:
    """The fields of an object; none for anything else."""
    return given if isinstance(given, Mapping) else {}


def tables(given: Any) -> Iterator[Mapping[str, Any]]:
    """The objects of a list; what is no object is left out."""
    return (item for item in given if isinstance(item, Mapping)) if _is_list(given) else iter(())


def _is_list(given: Any) -> bool:
    return isinstance(given, list | tuple)


def text(given: Any, default: str = "") -> str:
    """A text; the default for anything else."""
    return given if isinstance(given, str) else default


def count(given: Any, default: int = 0) -> int:
    """A whole number from 0 on that fits 64 bits; the default for anything else."""
    is_count = isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 2**63
    return given if is_count else default


def seconds(given: Any) -> float | None:
    """A number of seconds up to a month; None for anything else."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    return float(given) if 0 <= given <= _LONGEST.total_seconds() else None


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
        return at.astimezone(UTC) if at.tzinfo is not None and at.year in _YEARS else None
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
    if isinstance(given, bool) or not isinstance(given, str | int | float | Decimal):
        return None
    try:
        read = Decimal(given)
    except (InvalidOperation, ValueError):
        return None
    return read if read.is_finite() and 0 <= read < _MOST else None
