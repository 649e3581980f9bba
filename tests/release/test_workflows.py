"""The workflows of the public host: thin, pinned, with no more rights than they need."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import needs
import pytest
import yaml
from chart.kit import ROOT, Object
from e2e import peer
from e2e.test_readme import commands

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
each = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
E2E, RELEASE, UPDATE = (
    ROOT / f".github/workflows/{name}.yml" for name in ("e2e", "release", "update")
)


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


def git(folder: Path, *arguments: str) -> str:
    """What git says, without this machine's settings."""
    env = os.environ | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    me = ("-c", "user.name=me", "-c", "user.email=me@localhost")
    return subprocess.check_output(["git", *me, *arguments], cwd=folder, env=env, text=True)


def propose(folder: Path, artifact: dict[str, str]) -> str:
    """Run the step that proposes new locks; returns what the branch changes, if there is one.

    An artifact's file that begins with an arrow is a symbolic link.
    """
    git(folder, "init", "--quiet", "--bare", "origin.git")
    git(folder, "clone", "--quiet", "origin.git", "checkout")
    checkout, locks = folder / "checkout", folder / "temp/locks"
    for name in ("Makefile", "requirements.lock", "services/auth/requirements.lock"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("old\n")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "--message", "first")
    git(checkout, "push", "--quiet", "origin", "HEAD")
    for name, text in artifact.items():
        (locks / name).parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("→"):
            (locks / name).symlink_to(text[1:])
        else:
            (locks / name).write_text(text)
    (folder / "gh").write_text("#!/bin/sh\n")
    (folder / "gh").chmod(0o755)
    [script] = [step["run"] for step in jobs(UPDATE)["propose"]["steps"] if "run" in step]
    told = {"PATH": f"{folder}:{os.environ['PATH']}", "RUNNER_TEMP": str(folder / "temp")}
    subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=checkout,
        env=os.environ | told | {"GIT_CONFIG_GLOBAL": "/dev/null"},
        capture_output=True,
        check=True,
    )
    if not git(checkout, "branch", "--remotes", "--list", "origin/update/locks"):
        return ""
    return git(checkout, "diff", "--unified=0", "HEAD~", "origin/update/locks")


def test_new_locks_are_proposed_and_nothing_else_that_comes_with_them(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the runner")
    changed = propose(
        tmp_path,
        {
            "requirements.lock": "new\n",
            "services/auth/requirements.lock": f"→{secret}",
            "Makefile": "evil\n",
            ".github/workflows/evil.yml": "evil\n",
        },
    )
    assert re.findall(r"^[+-][^+-].*", changed, re.MULTILINE) == ["-old", "+new"]
    assert "b/requirements.lock" in changed


def test_without_newer_packages_nothing_is_proposed(tmp_path: Path) -> None:
    assert propose(tmp_path, {"requirements.lock": "old\n"}) == ""


LOGS = """\
#!/bin/sh
printf '%s\\n' "$(basename "$0") $*" >> "$(dirname "$0")/log"
case "$*" in
  *--watch*) echo "$PHASES" ;;
  *readyReplicas*) echo 1 ;;
  *port-forward*) exit 124 ;;
esac
"""


def walk(folder: Path, *phases: str) -> tuple[int, list[str]]:
    """Walk the tutorials with programs that only note how they are called."""
    for name in ("kind", "uv", "make", "helm", "kubectl"):
        (folder / name).write_text(LOGS)
        (folder / name).chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    done = subprocess.run(
        [ROOT / "tests/e2e/quick_start.sh"],
        env=os.environ | {"PATH": path, "PHASES": "\n".join(phases)},
        capture_output=True,
        check=False,
    )
    return done.returncode, (folder / "log").read_text().splitlines()


def test_the_tutorials_are_walked_as_they_are_written_and_the_app_sleeps_and_wakes(
    tmp_path: Path,
) -> None:
    code, called = walk(tmp_path, "Warm", "Asleep")
    written = [shlex.split(line, comments=True) for line in commands()]
    starts = [" ".join(words[:4]) for words in written if words[:2] != ["kind", "delete"]]
    assert code == 0
    assert called[0] == "kind get clusters"
    assert [" ".join(line.split()[:4]) for line in called[1:-1]] == starts
    assert "helm uninstall kotatsu --namespace kotatsu" in called
    (tmp_path / "log").unlink()
    code, called = walk(tmp_path, "Asleep")
    assert code == 1
    assert "uninstall" not in str(called)


def test_dependabot_looks_at_folders_that_have_what_it_updates() -> None:
    wanted = {"gomod": "go.mod", "docker": "Dockerfile"}
    for update in yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]:
        for pattern in update.get("directories", ()):
            file = wanted[update["package-ecosystem"]]
            assert list(ROOT.glob(f"{pattern.lstrip('/')}/{file}")), pattern


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
