"""Every reader of what others write, on inputs nobody would write.

What was found stands in corpus/<target>/ and is tried in every run, with some further inputs where
strangers write; besides, each target is fuzzed for a moment with the slow tests, and for ten
minutes with `pytest -m soak tests/fuzz` (SOAK_SECONDS says how long; `-k cron` takes one target).
guided.py does the same with an eye on the code it reaches.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzz.kit import Target
from fuzz.targets import TARGETS
from hypothesis import HealthCheck, Phase, given, settings
from rows import each

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(CORPUS.glob("*/*"))


def read(target: Target, file: Path) -> Any:
    """An input of the corpus."""
    data = file.read_bytes()
    return data.decode("latin-1") if target.is_text else json.loads(data)


def written(target: Target, found: Any) -> str:
    """An input as a file of the corpus has it."""
    return repr(found.encode("latin-1", "replace")) if target.is_text else json.dumps(found)


def checked(target: Target) -> Callable[[Any], None]:
    """The check, which says what to write into the corpus when it fails."""

    def check(found: Any) -> None:
        try:
            target.check(found)
        except BaseException as error:
            error.add_note(f"for {CORPUS.name}/{target.name}/: {written(target, found)}")
            raise

    return check


@each("file", FILES)
def test_what_was_found_once_is_not_found_again(file: Path) -> None:
    target = TARGETS[file.parent.name]
    target.check(read(target, file))


EACH = pytest.mark.parametrize("target", [pytest.param(t, id=name) for name, t in TARGETS.items()])


def test_each_target_has_a_corpus() -> None:
    assert TARGETS.keys() == {file.parent.name for file in FILES}


@pytest.mark.parametrize(
    "target", [pytest.param(t, id=name) for name, t in TARGETS.items() if t.is_door]
)
def test_a_stranger_finds_nothing_at_a_door(target: Target) -> None:
    """The first inputs of the next test."""
    _tried(target, target.examples // 4)


@pytest.mark.slow
@EACH
def test_nothing_is_found_in_a_moment(target: Target) -> None:
    """The same inputs in every run."""
    _tried(target, target.examples)


def _tried(target: Target, examples: int) -> None:
    few = settings(
        max_examples=examples,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    few(given(target.inputs)(checked(target)))()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@EACH
def test_nothing_is_found_in_ten_minutes(target: Target) -> None:
    """Other inputs each time."""
    many = settings(max_examples=5000, derandomize=False, suppress_health_check=list(HealthCheck))
    end = time.monotonic() + float(os.environ.get("SOAK_SECONDS", "600"))
    while time.monotonic() < end:
        many(given(target.inputs)(checked(target)))()
