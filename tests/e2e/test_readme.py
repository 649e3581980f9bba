"""The README's commands, one by one, as a stranger types them."""

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
from e2e.conftest import ROOT, remove_namespace, start_app
from e2e.kit import APP_IMAGE, Kubectl

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

NAMESPACE, HOME = "demo", "kotatsu"
"""Of the app and of the release."""
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
"""The kubectl plugin is on the PATH, as after its installation."""


README = (ROOT / "README.md").read_text()


def block(heading: str, language: str = "") -> str:
    """The first block of code in a language below a heading."""
    section = re.split(r"^## ", README.partition(f"## {heading}\n")[2], flags=re.MULTILINE)[0]
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    return next(text for written_in, text in blocks if written_in == language)


def commands(heading: str) -> list[list[str]]:
    """The commands below a heading, without comments."""
    return [shlex.split(line, comments=True) for line in block(heading).splitlines()]


def run(command: list[str], given: str | None = None, **environment: str) -> str:
    """Run one to its end; what it printed."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=ENVIRONMENT | environment,
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
    for name in (HOME, NAMESPACE):
        remove_namespace(name)
    for name in (HOME, NAMESPACE):
        subprocess.run(
            ["kubectl", "wait", "--for=delete", f"namespace/{name}", "--timeout=2m"],
            check=False,
            capture_output=True,
        )
    yield Kubectl(NAMESPACE)
    for name in (HOME, NAMESPACE):
        remove_namespace(name)


def test_the_quick_start_ends_with_a_warm_pool_and_uninstalls_without_a_trace(
    kubectl: Kubectl,
) -> None:
    *made_before, install, create, apply, switch, watch = commands("Quick start")
    firsts = [" ".join(command[:2]) for command in made_before]
    assert firsts == ["kind create", "uv tool", "make images"], "what tests/e2e/run.sh has done"

    run(install)
    run(create)
    assert apply[-2] == "-f"
    run([*apply[:-1], "-"], given=with_an_image_of_the_node(apply[-1]))
    run(switch)
    assert "Warm" in first_lines(watch, "Warm", seconds=60)

    said = run(["helm", "test", "kotatsu", "--namespace", HOME, "--logs"])
    assert "ok: an operator leads" in said

    run(["helm", "uninstall", "kotatsu", "--namespace", HOME])
    assert kubectl.get("deployment", "web")["status"]["readyReplicas"] >= 1
    left = [found["metadata"]["name"] for found in kubectl.items("deployments")]
    assert left == ["web"]


@pytest.fixture
def in_its_namespace(platform: Kubectl, tmp_path: Path) -> str:
    """A kubeconfig whose namespace is the platform's, so that no command has to name it."""
    shown = run(["kubectl", "config", "view", "--raw", "--flatten"])
    config = tmp_path / "kubeconfig"
    config.write_text(shown)
    config.chmod(0o600)
    change = ["kubectl", "config", "set-context", "--current", "--namespace", platform.namespace]
    run(change, KUBECONFIG=str(config))
    return str(config)


async def test_the_switch_does_what_the_page_says(platform: Kubectl, in_its_namespace: str) -> None:
    spec = yaml.safe_load(block("A WarmPool", "yaml"))["spec"]
    # Asleep, whatever the hour: its rehearsals are on weekday evenings in Tokyo.
    spec["windows"] = [window for window in spec["windows"] if "start" in window]
    del spec["targetRef"]
    app = await start_app(platform, "voice", **spec)
    try:
        on, off, window, check, bring, status, plan, cost, report, rehearse = [
            command for command in commands("The switch") if command[0] == "kubectl"
        ]
        assert "JPY" in run(on, KUBECONFIG=in_its_namespace)
        assert app.phase() == "Warm"
        assert app.replicas() == spec["windows"][0]["replicas"]
        for command in commands("A WarmPool"):
            assert "voice" in run(command, KUBECONFIG=in_its_namespace)
        run(off, KUBECONFIG=in_its_namespace)
        assert "override" not in app.pool()["spec"]
        run(window, KUBECONFIG=in_its_namespace)
        assert "pitch" in [made["name"] for made in app.pool()["spec"]["windows"]]
        assert check[2:] == ["check", "deployment/web"]  # run by tests/plugin
        assert bring[2:] == ["window", "import", "pitch.ics", "voice"]  # and by tests/plugin
        for command in (status, plan, cost, report):
            assert "voice" in run(command, KUBECONFIG=in_its_namespace)
        assert rehearse[2:] == ["rehearse", "voice"]  # run by test_demo_mode.py
        day = ("--from", "2030-12-18T00:00", "--to", "2030-12-19T00:00")
        assert "final-pitch" in run([*plan[:3], *day], KUBECONFIG=in_its_namespace)
    finally:
        platform("delete", "warmpool,deployment,service", "voice", "--wait=false")
