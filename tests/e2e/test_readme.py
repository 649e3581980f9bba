"""The commands of the tutorials, one by one, as a stranger types them.

Those of the README are among them.
"""

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

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

NAMESPACE, HOME = "demo", "kotatsu"
"""Of the app and of the release."""
TUTORIALS = [ROOT / f"docs/tutorials/{name}.md" for name in ("kind", "pitch-window")]

NOT_HERE = (
    "kind create",  # tests/e2e/run.sh has done these
    "make images",
    "uv tool",
    "kind delete",
    "kubectl port-forward",  # test_console.py does it
)
SOONER = {"'+3 minutes' +%H:%M)": "'+40 seconds' +%H:%M:%S)", "--for 3m": "--for 15s"}
"""What a reader has time for, and a test has not."""
SERVER = """
import functools, http.server, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # as nginx; else each sleep takes 30 s more
files = functools.partial(http.server.SimpleHTTPRequestHandler, directory="/etc")
http.server.ThreadingHTTPServer(("", 8080), files).serve_forever()
"""
VISIT = "import urllib.request as u; print(u.urlopen('http://web', timeout=60).read().decode())"


def commands() -> list[str]:
    """The commands of the tutorials, in their order."""
    text = "".join(page.read_text() for page in TUTORIALS)
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


class Reader:
    """Types the commands where a kubeconfig leads to, with the plugin on the PATH."""

    def __init__(self, kubeconfig: Path) -> None:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._env = os.environ | {"PATH": path, "KUBECONFIG": str(kubeconfig)}

    def types(self, line: str) -> str:
        """Run one command to its end; what it printed."""
        if line.startswith(NOT_HERE):
            return ""
        if until := re.search(r"# until it is (\w+)", line):
            return self._watches(shlex.split(line, comments=True), until[1])
        for page, here in SOONER.items():
            line = line.replace(page, here)
        given = ""
        if applied := re.fullmatch(r"kubectl apply -f (\S+)", line):
            line, given = "kubectl apply -f -", with_an_image_of_the_node(applied[1])
        if line.startswith("kubectl run visit"):
            run = line.partition(" -- ")[0].replace("busybox:1.37", APP_IMAGE)
            line = f"{run} --command -- python3 -c {shlex.quote(VISIT)} | grep title"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=ROOT,
            env=self._env,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout

    def _watches(self, command: list[str], until: str) -> str:
        """What a command that never ends prints, up to a word."""
        printed, ends = "", time.monotonic() + 420
        with subprocess.Popen(command, env=self._env, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            while not re.search(rf"\b{until}\b", printed) and time.monotonic() < ends:
                printed += process.stdout.readline()
            process.terminate()
        assert re.search(rf"\b{until}\b", printed), f"{shlex.join(command)}: {printed}"
        return printed


def with_an_image_of_the_node(path: str) -> str:
    """The example with another web server in nginx's place, as the node pulls no images.

    It is idle sooner: readers have more time, and other files wait for this one (conftest.py).
    """
    objects = list(yaml.safe_load_all((ROOT / path).read_text()))
    (container,) = objects[0]["spec"]["template"]["spec"]["containers"]
    container["image"] = APP_IMAGE
    container["command"] = ["python3", "-c", SERVER]
    objects[-1]["spec"]["idleAfter"] = "10s"
    return yaml.safe_dump_all(objects)


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
    kubectl = Kubectl(NAMESPACE)
    kubectl("create", "namespace", NAMESPACE)
    yield kubectl
    for name in (HOME, NAMESPACE):
        remove_namespace(name)


@pytest.fixture
def reader(kubectl: Kubectl, tmp_path: Path) -> Reader:
    """One whose namespace is `demo`: that of the pages, `default`, is not ours to clean."""
    config = tmp_path / "kubeconfig"
    config.touch(mode=0o600)
    config.write_text(kubectl("config", "view", "--raw", "--flatten"))
    reader = Reader(config)
    reader.types(f"kubectl config set-context --current --namespace {NAMESPACE}")
    return reader


def test_the_quick_start_ends_with_a_warm_pool_and_uninstalls_without_a_trace(
    kubectl: Kubectl, reader: Reader
) -> None:
    said = [(line, reader.types(line)) for line in commands()]

    def answers(start: str) -> str:
        return "".join(answer for line, answer in said if line.startswith(start))

    assert "ok: an operator leads" in answers("helm test")
    assert answers("kubectl run visit").count("<title>") == 2
    assert '"cold":false' in answers("kubectl get warmpool web")
    assert "window pitch" in answers("kubectl demo-mode report")
    assert "2 pods left on for a month" in answers("kubectl demo-mode cost")
    assert "final-pitch" in answers("kubectl demo-mode window list")
    assert "1 pod Ready" in answers("kubectl demo-mode on")
    assert kubectl.get("deployment", "web")["status"]["readyReplicas"] >= 1
    left = [found["metadata"]["name"] for found in kubectl.items("deployments")]
    assert left == ["web"]
