"""The commands of an image are the scripts of its project."""

import subprocess
import sys
from importlib.metadata import distributions
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


def test_python_finds_the_entry_points_of_a_project(tmp_path: Path):
    project = '[project]\nname = "says-hello"\nversion = "1.2"\n'
    project += '[project.entry-points."greetings"]\nhello = "hello:say"\nbye = "hello:leave"\n'
    for path, text in commands.metadata(project).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    [found] = distributions(path=[str(tmp_path)])
    assert (found.name, found.version) == ("says-hello", "1.2")
    assert {point.name: point.value for point in found.entry_points} == {
        "hello": "hello:say",
        "bye": "hello:leave",
    }
