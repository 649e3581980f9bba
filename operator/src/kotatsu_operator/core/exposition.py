"""Reads metrics pages in the Prometheus text format, within bounds of size and time."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite

LONGEST_PAGE = 2 * 2**20
"""Bytes of a metrics page at most: a larger page is broken or hostile."""
_LONGEST_LINE = 4096
_MOST_LINES = 20_000

Samples = list[tuple[Mapping[str, str], float]]
"""The labels and value of each sample of one metric."""

Sample = tuple[str, Mapping[str, str], float]
"""Name, labels and value."""


@dataclass(frozen=True)
class Silence:
    """Why a pod's demand is unknown, in words that follow the pod's name."""

    why: str
    waited: bool = field(default=False, compare=False)
    """Whether the pod used up the whole timeout."""
    lacks: bool = field(default=False, compare=False)
    """Whether the answer shows that there is no such page or metric. An overloaded pod does not
    answer so: it is slow, or answers with a 5xx."""


def too_long(path: str, port: int) -> Silence:
    """The answer of a pod whose page has more than LONGEST_PAGE."""
    why = f"sends more than 2 MiB for {path} on port {port}, too much to be read"
    return Silence(f"{why} (name a smaller page in spec.metrics)", lacks=True)


def samples_of(
    text: str, names: tuple[str, ...], most: int = LONGEST_PAGE
) -> Iterator[Sample | None]:
    """The samples of some metrics; None for a line whose metric name is only a prefix match.

    Raises ValueError for an unreadable line of these metrics, and for more than `most` characters.

    This searches the text for the names and skips everything else. So the time is linear in the
    length of the page and of each of these lines. The Prometheus client's parser is quadratic in
    the length of a line.
    """
    text = "\n" + text
    lines = 0
    for name in dict.fromkeys(names):
        at = text.find("\n" + name)
        while at >= 0:
            begin = at + 1 + len(name)
            end = text.find("\n", begin)
            end = len(text) if end < 0 else end
            lines, most = lines + 1, most - (end - at)
            if lines > _MOST_LINES or most < 0 or end - at > _LONGEST_LINE:
                raise ValueError("too long")
            yield _sample(name, text[begin:end])
            at = text.find("\n" + name, end)


_LABEL = re.compile(
    r"""(?<=[{,])[ \t]*+([a-zA-Z_][a-zA-Z0-9_]*+)[ \t]*+=[ \t]*+"""
    r""""([^"\\]*+(?:\\.[^"\\]*+)*+)"[ \t]*+"""
)


def _sample(name: str, rest: str) -> Sample | None:
    """Parse a line after the metric's name; None if the name is longer."""
    if rest[:1] not in ("", " ", "\t", "{", "\r"):
        return None
    labels: dict[str, str] = {}
    rest = rest.strip(" \t\r")
    if rest.startswith("{"):
        at = 1
        while (label := _LABEL.match(rest, at)) is not None:
            if label[1] in labels:
                raise ValueError(f"two labels {label[1]}")
            labels[label[1]] = _unescaped(label[2])
            at = label.end()
            if not rest.startswith(",", at):
                break
            at += 1
        rest = rest[at:].lstrip(" \t")
        if not rest.startswith("}"):
            raise ValueError("labels that do not end")
        rest = rest[1:]
    value = rest.split(maxsplit=1)  # a timestamp may follow
    if not value or "_" in value[0]:
        raise ValueError("no value")
    return name, labels, float(value[0])


def _unescaped(value: str) -> str:
    parts = value.split("\\\\")
    return "\\".join(part.replace('\\"', '"').replace("\\n", "\n") for part in parts)


def numbers(samples: Iterable[tuple[Mapping[str, str], float]]) -> list[float]:
    """The values that are not NaN."""
    return [value for _, value in samples if value == value]  # NaN is not equal to itself


def count_of(samples: Iterable[tuple[Mapping[str, str], float]]) -> int | None:
    """The sum of the samples, without NaN.

    0 without samples; None if the sum is infinite or all samples are NaN.
    """
    given = list(samples)
    counted = numbers(given)
    total = sum(counted)
    return max(0, round(total)) if isfinite(total) and (counted or not given) else None


def unix_time(seconds: float) -> datetime | None:
    """A Unix time in seconds; None if it cannot be one (0, or milliseconds)."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None
    except (OverflowError, OSError, ValueError):
        return None
