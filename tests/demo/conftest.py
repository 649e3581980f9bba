"""Programs that only note how they were called."""

import io
import json
import os
import shlex
import sys
from pathlib import Path

import pytest

from kotatsu_node.progress import Progress

# A shell starts Python: the line after #! can hold no path with a space.
_PROGRAM = """\
#!/bin/sh
'''exec' {python} "$0" "$@"
'''
import json, sys
log, answers = {log!r}, {answers!r}
with open(log, "a") as file:
    file.write(json.dumps([{name!r}, *sys.argv[1:]]) + "\\n")
call = " ".join(sys.argv[1:])
for part, answer in answers.items():
    if part in call:
        print(answer)
        break
"""


class Programs:
    """Stand-ins in PATH, and the calls they noted."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._log = directory / "calls.jsonl"

    def add(self, name: str, **answers: str) -> None:
        """A program that prints an answer when the call holds its key (`_` stands for a space)."""
        known = {part.replace("_", " "): answer for part, answer in answers.items()}
        python = shlex.quote(sys.executable)
        text = _PROGRAM.format(python=python, log=str(self._log), name=name, answers=known)
        self.script(name, text)

    def script(self, name: str, text: str) -> None:
        """A program of this text, which notes nothing unless it says so."""
        program = self.directory / name
        program.write_text(text)
        program.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        """What was called, a line each, in order."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [" ".join(json.loads(line)) for line in lines]

    def index(self, *parts: str) -> int:
        """Where the first call stands that holds all parts; fails when there is none."""
        for number, call in enumerate(self.calls):
            if all(part in call for part in parts):
                return number
        raise AssertionError(f"no call with {parts} in:\n" + "\n".join(self.calls))


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    return Programs(directory)


@pytest.fixture
def progress() -> Progress:
    """One that says nothing."""
    return Progress(io.StringIO(), live=False)
