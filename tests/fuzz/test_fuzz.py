"""Every reader of what others write, on inputs nobody would write.

What was found stands in corpus/<target>/ and is tried in every run; besides, each target is fuzzed
for a moment with the slow tests, and for ten minutes with `pytest -m soak tests/fuzz` (SOAK_SECONDS
says how long; `-k cron` takes one target). guided.py does the same with an eye on the code it
reaches.
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


_NEVER_AGAIN = "the pool is never looked at again: it neither sleeps nor warms up"
UNMENDED = {
    "remembered": _NEVER_AGAIN,
    "date_header/year-of-eleven-digits": _NEVER_AGAIN,
    "date_header/offset-of-twenty-digits": _NEVER_AGAIN,
}
"""Targets and inputs that are known to fail, and what that means for people; whoever mends one
takes it out of here."""


def _marks(name: str) -> Any:
    known = UNMENDED.get(name, UNMENDED.get(name.partition("/")[0]))
    return () if known is None else pytest.mark.xfail(reason=known, strict=True)


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(file, id=name, marks=_marks(name))
        for file in FILES
        for name in [f"{file.parent.name}/{file.stem}"]
    ],
)
def test_what_was_found_once_is_not_found_again(file: Path) -> None:
    target = TARGETS[file.parent.name]
    target.check(read(target, file))


EACH = pytest.mark.parametrize(
    "target", [pytest.param(t, id=name, marks=_marks(name)) for name, t in TARGETS.items()]
)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_each_target_has_a_corpus(target: Target) -> None:
    assert [file for file in FILES if file.parent.name == target.name]


@pytest.mark.slow
@EACH
def test_nothing_is_found_in_a_moment(target: Target) -> None:
    """The same inputs in every run."""
    few = settings(
        max_examples=target.examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    few(given(target.inputs)(checked(target)))()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@EACH
def test_nothing_is_found_in_ten_minutes(target: Target) -> None:
    """Other inputs each time."""
    many = settings(
        max_examples=5000, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    end = time.monotonic() + float(os.environ.get("SOAK_SECONDS", "600"))
    while time.monotonic() < end:
        many(given(target.inputs)(checked(target)))()
