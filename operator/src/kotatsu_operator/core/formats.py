"""Durations, instants and amounts as manifests write them, and as people edit them by hand."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, TypeVar


def stamp(at: datetime | None) -> str | None:
    """Write an instant the way the API does, to the microsecond."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_MOST_CHARACTERS = 64
"""Characters. A status has no bound of its own, and is read at every look."""
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> timedelta:
    """Read a Go-style duration.

    Raises ValueError with a sentence for people when the text is not one.
    """
    try:
        if len(text) <= _MOST_CHARACTERS and _WHOLE.fullmatch(text):
            parts = _PART.findall(text)
            return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))
    except OverflowError:
        pass  # more than timedelta holds, which is 2.7 million years
    raise ValueError(
        f"{text[:_MOST_CHARACTERS]!r} is not a duration: write it like 90s, 2m or 1h30m"
    )


def seconds_of(text: str, default: float) -> float:
    """A duration in seconds; the default for a text that is none (the schema lets none in)."""
    try:
        return parse_duration(text) / timedelta(seconds=1)
    except ValueError:
        return default


def format_duration(duration: timedelta) -> str:
    """Write a duration the way `parse_duration` reads it, to the second (`1h30m`, `45s`)."""
    seconds = round(duration.total_seconds())
    sign = "-" if seconds < 0 else ""
    hours, rest = divmod(abs(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    parts = [
        f"{hours}h" * bool(hours),
        f"{minutes}m" * bool(minutes),
        f"{seconds}s" * bool(seconds),
    ]
    return sign + ("".join(parts) or "0s")


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
