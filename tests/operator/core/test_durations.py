"""Durations are read and written the way Kubernetes manifests have them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.core.formats import format_duration, parse_duration

from .values import examples


@each(
    "text, seconds",
    [
        ("90s", 90),
        ("2m", 120),
        ("1h30m", 5400),
        ("1h0m5s", 3605),
        ("500ms", 0.5),
        ("1.5h", 5400),
        ("0s", 0),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@each(
    "text",
    ["", "90", "m", "1d", "-5s", "1h 30m", "five minutes", "1:30", "99999999999999h", "1s" * 40],
)
def test_what_is_no_duration_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: write it like 90s, 2m or 1h30m"):
        parse_duration(text)


@each(
    "seconds, text",
    [(0, "0s"), (45, "45s"), (3600, "1h"), (5400, "1h30m"), (90061, "25h1m1s"), (-68, "-1m8s")],
)
def test_a_duration_is_written_without_empty_parts(seconds: int, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


@examples(100)
@given(st.integers(0, 10**8))
def test_what_is_written_can_be_read_again(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration
