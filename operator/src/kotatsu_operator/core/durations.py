"""Durations as people write them in Kubernetes manifests: `90s`, `2m`, `1h30m`, `500ms`."""

import re
from datetime import timedelta

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_LONGEST = 64
"""Characters. A status has no bound of its own, and is read at every look."""
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> timedelta:
    """Read a Go-style duration.

    Raises ValueError with a sentence for people when the text is not one.
    """
    try:
        if len(text) <= _LONGEST and _WHOLE.fullmatch(text):
            parts = _PART.findall(text)
            return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))
    except OverflowError:
        pass  # more than timedelta holds, which is 2.7 million years
    raise ValueError(f"{text[:_LONGEST]!r} is not a duration: write it like 90s, 2m or 1h30m")


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
