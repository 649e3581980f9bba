"""What a target of fuzzing is: a reader of what others write.

A check raises for a defect and nothing else. Inputs are JSON values or (latin-1) text, so that one
that was found becomes a file in corpus/.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
SOON = 2.0
"""Seconds of CPU that no single input may take."""


@dataclass(frozen=True)
class Target:
    """One reader."""

    name: str
    inputs: st.SearchStrategy[Any]
    check: Callable[[Any], None]
    examples: int = 150
    """Of a run for every day."""
    is_door: bool = False
    """Whether strangers reach it: the fast tests try some examples too."""
    is_text: bool = False
    """Whether its corpus files are text as it stands, and not JSON."""


def attempt(read: Callable[[], T], refusal: type[Exception]) -> tuple[T | None, str]:
    """What was read, or the words with which it was refused."""
    try:
        return read(), ""
    except refusal as error:
        return None, str(error) or "(no words)"


def mixed(*words: str, most: int = 12) -> st.SearchStrategy[str]:
    """Text of these words and anything else, in any order."""
    anything = st.text(st.characters(codec="latin-1"), max_size=5)
    return st.lists(st.one_of(st.sampled_from(words), anything), max_size=most).map("".join)


_CRON = mixed(
    "*", "*/", "0", "1", "5", "31", "59", " ", "-", ",", "L", "#", "MON", "jan", "?", most=14
)  # fmt: skip
_FIELD = st.one_of(
    st.sampled_from(["*", "0", "*/5", "1-5", "MON", "L", "29", "2", "31", "0-59/7", "5#2", "SUN"]),
    st.integers(0, 99).map(str),
)
CRONS = st.one_of(_CRON, st.lists(_FIELD, min_size=5, max_size=5).map(" ".join))
WORDS = st.one_of(
    st.sampled_from(["Asia/Tokyo", "UTC", "America/New_York", "../../etc", "Asia", "", "\x00"]),
    st.sampled_from(["Warm", "Asleep", "Warming", "Draining", "Native", "Activator", "Idle", "5s"]),
    st.sampled_from(["3.5", "0", "-1", "NaN", "1e999999999", "JPY", "Month", "Day", "٣", "x" * 60]),
    CRONS,
)
"""What the strings of a WarmPool may be."""
