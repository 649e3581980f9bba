"""The operator works without `features/`: its folder can be deleted."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.slow
def test_the_tests_of_the_core_pass_in_a_copy_without_features(tmp_path):
    left_out = shutil.ignore_patterns("features", "__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "src/kotatsu_operator", ignore=left_out)
    shutil.copytree(TESTS, tmp_path / "tests/operator", ignore=left_out)
    for shared in TESTS.parent.glob("*.py"):
        shutil.copy(shared, tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "charts").symlink_to(ROOT / "charts")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src")}
    # What this run leaves out is not counted again in the copy's.
    environment.pop("KOTATSU_LEFT_OUT", None)
    where = "import kotatsu_operator; print(kotatsu_operator.__file__)"
    assert str(tmp_path) in run(tmp_path, environment, "-c", where)
    fast = ("-m", "pytest", "-q", "-m", "not slow", "-p", "no:schemathesis")
    fast += ("--hypothesis-profile=few",)
    run(tmp_path, environment, *fast, *(f"tests/operator/{chosen}" for chosen in CHOSEN))


def run(folder, environment, *command):
    """What Python prints in a folder. Fails with all of it if the command does."""
    made = [sys.executable, *command]
    done = subprocess.run(made, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
