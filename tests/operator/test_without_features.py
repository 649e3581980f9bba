"""Operator and activator work without `features/`: the folder can be deleted."""

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import needs
import pytest

import kotatsu_operator

PACKAGE = Path(kotatsu_operator.__file__).parent
TESTS = Path(__file__).parent
ROOT = TESTS.parents[1]
CHOSEN = (
    "core/decide/test_window_days.py",
    "core/report",
    "controller/test_cache.py",
    "controller/test_app.py",
    "controller/test_reconciler.py",
    "controller/test_small_day.py",
    "activator/test_app.py",
)
"""Tests that reach every layer, in less than a minute."""


SLEEPS_AND_WAKES = (
    "test_wake_reason.py::test_requests_that_wake_a_pool_soon_after_each_sleep_are_named_and_are_"
    "flapping"
)
"""A plain pool, both programs and a real API server."""


@pytest.fixture
def copy(tmp_path):
    """Make a copy of package and tests without features; returns what runs pytest there."""
    left_out = shutil.ignore_patterns("features", "__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "src/kotatsu_operator", ignore=left_out)
    for folder in ("operator", "apiserver", "e2e", "chart"):
        shutil.copytree(TESTS.parent / folder, tmp_path / "tests" / folder, ignore=left_out)
    for shared in TESTS.parent.glob("*.py"):
        shutil.copy(shared, tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "charts").symlink_to(ROOT / "charts")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src")}
    # What this run leaves out is not counted again in the copy's.
    environment.pop("KOTATSU_LEFT_OUT", None)

    def run(*command):
        """What Python prints in the copy. Fails with all of it if the command does."""
        made = [sys.executable, *command]
        done = subprocess.run(made, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert str(tmp_path) in run("-c", "import kotatsu_operator as it; print(it.__file__)")
    return partial(run, "-m", "pytest", "-q", "-p", "no:schemathesis", "--hypothesis-profile=few")


@pytest.mark.slow
def test_the_tests_of_the_core_pass_in_a_copy_without_features(copy):
    copy("-m", "not slow", *(f"tests/operator/{chosen}" for chosen in CHOSEN))


@pytest.mark.apiserver
@pytest.mark.timeout(180)
def test_a_plain_pool_sleeps_and_wakes_in_a_copy_without_features(copy):
    needs.kubernetes()
    assert "1 passed" in copy("-m", "apiserver", f"tests/apiserver/{SLEEPS_AND_WAKES}")
