"""Topics of `make bench` as programs."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.mark.slow
def test_what_runs_the_topics_and_each_of_them_can_be_read():
    topics = [f.stem for f in BENCH.glob("*.py") if "def rows(" in f.read_text()]
    modules = ", ".join(["run", *sorted(topics)])
    ran = subprocess.run(
        [sys.executable, "-c", f"import {modules}"],
        cwd=BENCH, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
