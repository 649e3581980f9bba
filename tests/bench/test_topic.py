"""A topic as a program of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
TALKATIVE = """
'''Measures nothing.'''
import subprocess
import topic

def rows(quick):
    print("installed", flush=True)
    subprocess.run(["echo", "uninstalled"], check=True)
    return []

topic.main(rows)
"""


@pytest.mark.slow
def test_what_it_and_its_helpers_print_is_not_part_of_its_result(tmp_path):
    program = tmp_path / "talkative.py"
    program.write_text(TALKATIVE)
    ran = subprocess.run(
        [sys.executable, program, "-o", "json"],
        env=os.environ | {"PYTHONPATH": str(BENCH)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(ran.stdout)["name"] == "talkative"
    assert ran.stderr == "installed\nuninstalled\n"


@pytest.mark.slow
def test_what_runs_the_topics_and_each_of_them_can_be_read():
    topics = [f.stem for f in BENCH.glob("*.py") if "def rows(" in f.read_text()]
    modules = ", ".join(["run", *sorted(topics)])
    ran = subprocess.run(
        [sys.executable, "-c", f"import {modules}"],
        cwd=BENCH, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
