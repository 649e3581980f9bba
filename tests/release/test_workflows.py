"""The workflows of the public host: thin, pinned, with no more rights than they need."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import needs
import pytest
import yaml
from chart.kit import ROOT
from e2e import peer

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
each = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


@each
def test_every_action_is_pinned_by_its_commit_and_says_its_version(path: Path) -> None:
    used = re.findall(r"uses: *(.*)", path.read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_one_action_has_one_commit_in_all_workflows() -> None:
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for name, commit in re.findall(r"uses: *([\w-]+/[\w-]+)\S*@(\S+)", path.read_text()):
            pins.setdefault(name, set()).add(commit)
    assert {name: commits for name, commits in pins.items() if len(commits) > 1} == {}


@each
def test_a_workflow_may_only_read_unless_a_job_says_otherwise(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}


@each
def test_every_job_ends_by_itself(path: Path) -> None:
    for job in yaml.safe_load(path.read_text())["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 120


@each
def test_a_workflow_calls_targets_of_the_makefile(path: Path) -> None:
    called = set(
        re.findall(r"(?:run: |^ +)make ([a-z0-9-]+)(?= |$)", path.read_text(), re.MULTILINE)
    )
    assert called
    assert called <= TARGETS, called - TARGETS


@each
def test_no_script_has_an_expression_in_it(path: Path) -> None:
    """What others can name, such as a branch, reaches a script as a variable and never as text."""
    for job in yaml.safe_load(path.read_text())["jobs"].values():
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), step


def test_the_kubernetes_of_the_workflow_are_three_and_pinned_by_digest() -> None:
    found = yaml.safe_load((ROOT / ".github/workflows/e2e.yml").read_text())
    nodes = found["jobs"]["kind"]["strategy"]["matrix"]["node"]
    minors = {re.match(r"kindest/node:v(1\.\d+)\.\d+@sha256:[0-9a-f]{64}$", n)[1] for n in nodes}
    assert len(minors) == len(nodes) == 3


def test_dependabot_looks_at_folders_that_have_what_it_updates() -> None:
    wanted = {"gomod": "go.mod", "docker": "Dockerfile"}
    for update in yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]:
        for pattern in update.get("directories", ()):
            file = wanted[update["package-ecosystem"]]
            assert list(ROOT.glob(f"{pattern.lstrip('/')}/{file}")), pattern


def test_actionlint_finds_nothing(tmp_path: Path) -> None:
    if shutil.which("go") is None:
        needs.missing("actionlint", "Go builds it")
    program = peer.built("actionlint", tmp_path)
    done = subprocess.run(
        [program, "-no-color", *WORKFLOWS],
        cwd=ROOT,
        env=os.environ | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
