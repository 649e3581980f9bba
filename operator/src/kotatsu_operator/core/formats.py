"""Read and write durations, instants and amounts as manifests hold them.

The readers tolerate values that were edited by hand.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar


def stamp(at: datetime | None) -> str | None:
    """Write an instant as the API server does: UTC, RFC 3339, to the microsecond."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_MOST_CHARACTERS = 64
"""Characters of a duration. The status has no limit of its own, and each reconcile reads it."""
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> timedelta:
    """Read a Go-style duration such as `1h30m`.

    Raises ValueError with a sentence for people if the text is not a duration.
    """
    try:
        if len(text) <= _MOST_CHARACTERS and _WHOLE.fullmatch(text):
            parts = _PART.findall(text)
            return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))
    except OverflowError:
        pass  # more than the 2.7 million years that timedelta can hold
    raise ValueError(
        f"{text[:_MOST_CHARACTERS]!r} is not a duration: write it like 90s, 2m or 1h30m"
    )


_SUFFIX = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12),
    "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
    "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip


def parse_quantity(text: str) -> Decimal:
    """Parse a Kubernetes quantity (`500m`, `3008Mi`, `2`) into base units."""
    for length in (2, 1):
        scale = _SUFFIX.get(text[-length:])
        if scale is not None and len(text) > length:
            return Decimal(text[:-length]) * scale
    return Decimal(text)


_MOST_QUANTITY = Decimal(10) ** 30
"""In base units. The API server's quantities are less, and shorter than _MOST_CHARACTERS."""


@lru_cache(maxsize=4096)
def quantity(text: str) -> Decimal | None:
    """A quantity in base units that no API server has checked; None for any other text."""
    try:
        read = parse_quantity(text) if len(text) <= _MOST_CHARACTERS else Decimal("NaN")
    except ArithmeticError:
        return None
    return read if read.is_finite() and abs(read) < _MOST_QUANTITY else None


def lasting(given: Any, default: timedelta = timedelta()) -> timedelta:
    """A duration; the default for any other value."""
    try:
        return parse_duration(given)
    except (TypeError, ValueError):
        return default


def seconds_of(text: Any, default: float) -> float:
    """A duration in seconds; the default for any other value (the schema rejects those)."""
    return lasting(text, timedelta(seconds=default)).total_seconds()


def format_duration(duration: timedelta) -> str:
    """Write a duration for `parse_duration` to read, to the second (`1h30m`, `45s`)."""
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
"""Years that are valid in every zone, even after a duration is added or subtracted."""

_MOST = Decimal(10**32)
"""Amounts must be below this, so that their sums can be computed."""

_LONGEST = timedelta(days=31)
"""The largest accepted number of seconds."""


def table(given: Any) -> Mapping[str, Any]:
    """The fields of an object; an empty mapping for any other value."""
    return given if isinstance(given, Mapping) else {}


def tables(given: Any) -> Iterator[Mapping[str, Any]]:
    """The objects of a list; other items are skipped."""
    return (item for item in given if isinstance(item, Mapping)) if _is_list(given) else iter(())


def internal(status: Any) -> Mapping[str, Any]:
    """What the operator remembers beside what a WarmPool's status shows to people."""
    return table(table(status).get("internal"))


_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


def is_name(value: object) -> bool:
    """Whether this may be the name of an object, and so a part of a request's path."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_list(given: Any) -> bool:
    return isinstance(given, list | tuple)


def conditions_of(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The conditions in an object's status, by type."""
    return {text(c.get("type")): c for c in tables(status.get("conditions"))}


def is_false(condition: Mapping[str, Any] | None) -> bool:
    """Whether a condition has the status False; no for one that is not there."""
    return condition is not None and condition.get("status") == "False"


def is_true(condition: Mapping[str, Any] | None) -> bool:
    """Whether a condition is True; one that is missing or Unknown is not."""
    return condition is not None and condition.get("status") == "True"


def text(given: Any, default: str = "") -> str:
    """A string; the default for any other value."""
    return given if isinstance(given, str) else default


def count(given: Any, default: int = 0) -> int:
    """A non-negative integer that fits in 64 bits; the default for any other value."""
    is_count = isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 2**63
    return given if is_count else default


def seconds(given: Any) -> float | None:
    """A number of seconds up to 31 days; None for any other value."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    return float(given) if 0 <= given <= _LONGEST.total_seconds() else None


def choice(values: type[E], given: Any, default: D) -> E | D:
    """The member of an enumeration; the default for any other value."""
    try:
        return values(given)
    except ValueError:
        return default


def instant(given: Any) -> datetime | None:
    """An RFC 3339 time in UTC; None if missing, invalid, without a zone or out of range."""
    try:
        at = datetime.fromisoformat(given)
        return at.astimezone(UTC) if at.tzinfo is not None and at.year in _YEARS else None
    except (TypeError, ValueError, OverflowError):
        return None


def wall(given: Any) -> datetime | None:
    """A time without a zone; None if missing, invalid, with a zone or out of range."""
    try:
        at = datetime.fromisoformat(given)
    except (TypeError, ValueError):
        return None
    return at if at.tzinfo is None and at.year in _YEARS else None


def wall_date(given: Any) -> date | None:
    """A date; None for any other value."""
    try:
        day = date.fromisoformat(given)
    except (TypeError, ValueError):
        return None
    return day if day.year in _YEARS else None


def format_amount(value: Decimal, currency: str = "") -> str:
    """An amount with a few significant digits: `6,730 JPY`, `18.40`, `0.0052`."""
    if abs(value) >= 1000:
        text = f"{value:,.0f}"
    elif abs(value) >= Decimal("0.01") or value == 0:
        text = f"{value:.2f}"
    else:
        text = f"{value:.2g}"
    return f"{text} {currency}".rstrip()


def money_of(cost: Decimal) -> Decimal:
    """An amount exactly as the status writes it: with six decimals."""
    return Decimal(f"{cost:.6f}")


def amount(given: Any) -> Decimal | None:
    """A finite, non-negative amount; None for any other value."""
    if isinstance(given, bool) or not isinstance(given, str | int | float | Decimal):
        return None
    try:
        read = Decimal(given)
    except (InvalidOperation, ValueError):
        return None
    return read if read.is_finite() and 0 <= read < _MOST else None
