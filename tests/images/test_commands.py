"""The commands of an image are the scripts of its project."""

import subprocess
import sys
from pathlib import Path

import commands

PROJECT = """\
[project.scripts]
hello = "hello.__main__:main"
bye = "hello.bye:leave"
"""


def test_each_script_is_a_command_and_the_first_is_what_a_container_runs():
    made = commands.commands(PROJECT, "/opt/venv/bin/python3")
    assert list(made) == ["hello", "bye", "serve"]
    assert made["serve"] == made["hello"]
    assert made["bye"] == ("#!/opt/venv/bin/python3\nfrom hello.bye import leave\n\nleave()\n")


def test_a_command_runs(tmp_path: Path):
    (tmp_path / "said.py").write_text("def main():\n    print('hello')\n")
    text = commands.commands('[project.scripts]\nx = "said:main"\n', sys.executable)["x"]
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "hello\n"
