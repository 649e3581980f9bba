"""The step of docs/how-to/sets.md that deletes unused namespaces, run by bash as it is there."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import needs
import packages
import pytest
from docs.pages import blocks, section

STEP = blocks(section("docs/how-to/sets.md", "Delete what is not used"))
"""What to see first, and the deletion."""

KUBECTL = f"""#!/bin/sh
"exec" "{sys.executable}" "$0" "$@"
import json, os, sys
from pathlib import Path
verb, kinds, *rest = sys.argv[1:]
here = Path(__file__).parent
if verb == "delete":
    (here / "deleted").write_text(" ".join(rest))
    sys.exit()
found = json.loads((here / "cluster.json").read_text())
kinds = kinds.split(",")
selector = dict([rest[rest.index("-l") + 1].split("=")]) if "-l" in rest else {{}}
shown = [
    obj for obj in found
    if obj["kind"].lower() + "s" in kinds
    and selector.items() <= obj["metadata"].get("labels", {{}}).items()
]
fails = os.environ.get("FAILS", "")
shown = [obj for obj in shown if obj["kind"] != fails]
print(json.dumps({{"kind": "List", "items": shown}}))
sys.exit(1 if fails else 0)
"""
"""kubectl with the objects of a file. A kind that it cannot list is left out, and is an error."""

Object = dict[str, Any]
Run = Callable[..., tuple[list[str], list[str]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run parts of the step on objects; the namespaces that it prints, and that it deletes."""
    if shutil.which("jq") is None:
        try:
            packages.install("jq")
        except packages.CannotInstallError as error:
            needs.missing("jq", str(error))
    program = tmp_path / "kubectl"
    program.write_text(KUBECTL)
    program.chmod(0o755)

    def made(parts: list[str], *objects: Object, fails: str = "") -> tuple[list[str], list[str]]:
        (tmp_path / "cluster.json").write_text(json.dumps(objects))
        path = f"{tmp_path}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", "\n".join(parts)],
            cwd=tmp_path,
            env=os.environ | {"PATH": path, "FAILS": fails},
            capture_output=True,
            text=True,
            check=False,
        )
        deleted = tmp_path / "deleted"
        return done.stdout.split(), deleted.read_text().split() if deleted.exists() else []

    return made


def pool(*, of: str = "previews", visited: str = "False") -> Object:
    """A WarmPool of a set, or one that is written by hand: its requests are not judged."""
    conditions = [{"type": "Accepted", "status": "True"}]
    if of:
        conditions.append({"type": "Visited", "status": visited})
    labels = {"kotatsu.dev/set": of} if of else {}
    metadata = {"namespace": "pr-7", "name": "web", "labels": labels}
    return {"kind": "WarmPool", "metadata": metadata, "status": {"conditions": conditions}}


def workload(kind: str = "Deployment", **spec: Any) -> Object:
    return {"kind": kind, "metadata": {"namespace": "pr-7", "name": "worker"}, "spec": spec}


def pod(phase: str) -> Object:
    return {"kind": "Pod", "metadata": {"namespace": "pr-7"}, "status": {"phase": phase}}


ASLEEP = workload(replicas=0)


@pytest.mark.parametrize("more", [[], [pool()], [pod("Succeeded"), pod("Failed")]], ids=len)
def test_a_namespace_in_which_nothing_is_used_is_deleted(run: Run, more: list[Object]) -> None:
    assert run(STEP, pool(), ASLEEP, *more) == (["pr-7"], ["pr-7"])


def test_what_would_be_deleted_is_seen_first(run: Run) -> None:
    assert run(STEP[:1], pool(), ASLEEP) == (["pr-7"], [])


USED = {
    "another pool of the set": pool(visited="True"),
    "a pool that the set has not judged yet": pool(visited="Unknown"),
    "a pool written by hand": pool(of=""),
    "a worker without a Service": workload(replicas=1),
    "a StatefulSet": workload("StatefulSet", replicas=1),
    "a CronJob": workload("CronJob", schedule="0 3 * * *"),
    "a DaemonSet": workload("DaemonSet"),
    "a pod of its own": pod("Running"),
    "a pod that has no node yet": pod("Pending"),
}


@pytest.mark.parametrize("used", USED.values(), ids=USED)
def test_a_namespace_is_spared_if_something_in_it_is_used(run: Run, used: Object) -> None:
    assert run(STEP, pool(), ASLEEP, used) == ([], [])


def test_a_namespace_without_a_pool_of_the_set_is_spared(run: Run) -> None:
    assert run(STEP, pool(of="another"), ASLEEP) == ([], [])
    assert run(STEP, ASLEEP) == ([], [])


@pytest.mark.parametrize("kind", ["Pod", "WarmPool", "CronJob"])
def test_nothing_is_deleted_where_a_kind_cannot_be_listed(run: Run, kind: str) -> None:
    """kubectl prints the other kinds all the same."""
    assert run(STEP, pool(), ASLEEP, pod("Running"), fails=kind) == ([], [])
