"""The README's quick start, command by command, as a stranger types it."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from e2e.conftest import ROOT, remove_namespace
from e2e.kit import APP_IMAGE, Kubectl

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

NAMESPACE = "demo"
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
"""The kubectl plugin is on the PATH, as after its installation."""


def commands() -> list[list[str]]:
    """The commands of the quick start, without comments."""
    text = (ROOT / "README.md").read_text()
    block = re.search(r"^## Quick start$.*?^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert block is not None
    return [shlex.split(line, comments=True) for line in block[1].splitlines()]


def run(command: list[str], given: str | None = None) -> str:
    """Run one to its end; what it printed."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=ENVIRONMENT,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"
    return done.stdout


def with_an_image_of_the_node(path: str) -> str:
    """The example with another web server in nginx's place: the node pulls no images."""
    objects = list(yaml.safe_load_all((ROOT / path).read_text()))
    (container,) = objects[0]["spec"]["template"]["spec"]["containers"]
    container["image"] = APP_IMAGE
    container["command"] = ["python3", "-m", "http.server", "8080", "--directory", "/etc"]
    return yaml.safe_dump_all(objects)


def first_lines(command: list[str], until: str, seconds: float) -> str:
    """What a command that never ends prints, up to a word."""
    printed = ""
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ends = time.monotonic() + seconds
        while until not in printed and time.monotonic() < ends:
            printed += process.stdout.readline()
        process.terminate()
    return printed


@pytest.fixture
def kubectl(context: str) -> Iterator[Kubectl]:
    remove_namespace(NAMESPACE)
    subprocess.run(
        ["kubectl", "wait", "--for=delete", f"namespace/{NAMESPACE}", "--timeout=2m"],
        check=False,
        capture_output=True,
    )
    yield Kubectl(NAMESPACE)
    remove_namespace(NAMESPACE)


def test_the_quick_start_ends_with_a_warm_pool_and_uninstalls_without_a_trace(
    kubectl: Kubectl,
) -> None:
    images, install, apply, switch, watch = commands()
    assert images[:2] == ["make", "images"], "what tests/e2e/run.sh has done already"

    run([*install, "--wait"])
    assert apply[-2] == "-f"
    run([*apply[:-1], "-"], given=with_an_image_of_the_node(apply[-1]))
    run(switch)
    assert "Warm" in first_lines(watch, "Warm", seconds=60)

    run(["helm", "uninstall", "kotatsu", "--namespace", NAMESPACE])
    assert kubectl.get("deployment", "web")["status"]["readyReplicas"] >= 1
    left = [found["metadata"]["name"] for found in kubectl.items("deployments")]
    assert left == ["web"]
