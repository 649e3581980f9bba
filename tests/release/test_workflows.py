"""The workflows of the public host: thin, pinned, with no more rights than they need."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import needs
import pytest
import yaml
from chart.kit import ROOT, Object
from e2e import peer
from release.conftest import commit, git

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
each = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
E2E, RELEASE, UPDATE = (
    ROOT / f".github/workflows/{name}.yml" for name in ("e2e", "release", "update")
)

LOCK, OTHER_LOCK = "requirements.lock", "services/auth/requirements.lock"


def jobs(path: Path) -> dict[str, Object]:
    """The jobs of a workflow that have steps of their own."""
    found = yaml.safe_load(path.read_text())["jobs"]
    return {name: job for name, job in found.items() if "uses" not in job}


@each
def test_every_action_is_pinned_by_its_commit_and_says_its_version(path: Path) -> None:
    used = re.findall(r"uses: *([^.\s].*)", path.read_text())  # one that begins with a dot is ours
    assert used
    for action in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


@each
def test_a_workflow_may_only_read_unless_a_job_says_otherwise(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}


@each
def test_every_job_ends_by_itself(path: Path) -> None:
    for job in jobs(path).values():
        assert 0 < job["timeout-minutes"] <= 180


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
    for job in jobs(path).values():
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), step


def test_the_kubernetes_of_the_workflow_are_three_and_pinned_by_digest() -> None:
    nodes = jobs(E2E)["kind"]["strategy"]["matrix"]["node"]
    minors = {re.match(r"kindest/node:v(1\.\d+)\.\d+@sha256:[0-9a-f]{64}$", n)[1] for n in nodes}
    assert len(minors) == len(nodes) == 3


def test_a_release_is_made_as_it_is_rehearsed_and_only_after_the_end_to_end_tests() -> None:
    found = yaml.safe_load(RELEASE.read_text())["jobs"]
    rehearsed, released = (
        [step["run"] for step in found[job]["steps"] if step.get("name") == "make release"]
        for job in ("rehearsal", "release")
    )
    assert rehearsed == released != []
    assert found["rehearsal"]["env"]["DRY_RUN"]
    assert found["release"]["needs"] == "tests"
    assert found["tests"]["uses"] == f"./{E2E.relative_to(ROOT)}"


def test_locks_are_resolved_by_a_job_that_may_write_nothing() -> None:
    resolve = jobs(UPDATE)["resolve"]
    assert "permissions" not in resolve
    assert [step for step in resolve["steps"] if step.get("run") == "make lock"]
    assert resolve["steps"][0]["with"] == {"persist-credentials": False}
    assert "secrets." not in str(resolve)
    assert "github.token" not in str(resolve)


def test_no_lock_is_resolved_by_running_a_package() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "lock"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    resolved = re.findall(r"uv pip compile .*", done.stdout)
    assert len(resolved) >= 4
    assert [command for command in resolved if " --no-build " not in command] == []


def test_new_locks_are_proposed_and_nothing_else_that_comes_with_them(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "origin.git")
    git(tmp_path, "clone", "--quiet", "origin.git", "checkout")
    checkout, secret = tmp_path / "checkout", tmp_path / "secret"
    write(checkout, dict.fromkeys(["Makefile", LOCK, OTHER_LOCK], "old\n"))
    commit(checkout)
    git(checkout, "push", "--quiet", "origin", "HEAD")
    evil = dict.fromkeys(["Makefile", ".github/workflows/evil.yml"], "evil\n")
    write(tmp_path, {"secret": "of the runner", "gh": "#!/bin/sh\n"})
    (tmp_path / "gh").chmod(0o755)
    write(tmp_path / "temp/locks", {LOCK: "new\n", **evil})
    (tmp_path / "temp/locks" / OTHER_LOCK).parent.mkdir(parents=True)
    (tmp_path / "temp/locks" / OTHER_LOCK).symlink_to(secret)

    [script] = [step["run"] for step in jobs(UPDATE)["propose"]["steps"] if "run" in step]
    told = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "RUNNER_TEMP": str(tmp_path / "temp")}
    subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=checkout,
        env=os.environ | told | {"GIT_CONFIG_GLOBAL": "/dev/null"},
        capture_output=True,
        check=True,
    )
    changed = git(checkout, "diff", "--unified=0", "HEAD~", "origin/update/locks")
    assert re.findall(r"^[+-][^+-].*", changed, re.MULTILINE) == ["-old", "+new"]
    assert f"b/{LOCK}" in changed


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.nightly
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
