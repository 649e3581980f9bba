"""What every run of tests says."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_a_test_that_fails_has_its_name_before_the_run_ends(tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text("def test_a(): assert False\ndef test_b(): pass\n")
    plugins = ("-p", "conftest", "-p", "no:asyncio", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, "-c", os.devnull, tmp_path],
        env=os.environ | {"PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout.partition("= FAILURES =")[0].splitlines()
    named = next(n for n, line in enumerate(said) if line.endswith("test_two.py::test_a (call)"))
    assert said[named].startswith("FAILED ")
    assert "".join(said[named + 1 :]).startswith(".")  # the other one comes after it
