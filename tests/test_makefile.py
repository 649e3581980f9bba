"""What the Makefile does on machines that lack something."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What an environment is made from."""
    for name in ("Makefile", "requirements-uv.lock", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "-C", checkout, *arguments]
    # The make that runs this test hands its own variables down.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "VENV"))}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_without_pythons_venv_one_sentence_says_what_to_install_and_nothing_is_made(
    checkout: Path,
) -> None:
    python = program(checkout / "python", "exit 1")
    for _ in range(2):
        done = make(checkout, "venv", f"PYTHON={python}")
        said = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
        assert (done.returncode, done.stdout) == (2, "")
        assert len(said) == 1
        assert "apt-get install python3-venv" in said[0]
    assert not (checkout / ".venv").exists()


def test_an_environment_that_was_left_half_made_is_made_anew(checkout: Path) -> None:
    program(checkout / ".venv/bin/python", "exit 1")  # it has no pip
    python = program(checkout / "python", f'echo "$@" >> {checkout}/calls')
    make(checkout, ".venv/bin/uv", f"PYTHON={python}")
    assert "-m venv --clear .venv" in (checkout / "calls").read_text()
