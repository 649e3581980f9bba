"""Every example of the help and of the documentation runs, against a real API server."""

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from subprocess import DEVNULL

import pytest
from cpu import loops
from plugin import kit
from plugin.apiserver import ROOT, Api
from plugin.conftest import PROGRAMS, Shell
from plugin.setups import activator, deployment, service
from plugin.setups import operator as operator_of_kotatsu

from kotatsu_demo_mode.cli import examples
from kotatsu_operator.core.protocol import OPERATOR

LIST = {"apiVersion": "v1", "kind": "List"}

PAGES = (
    "docs/reference/demo-mode.md",
    "docs/tutorials/pitch-window.md",
    "operator/plugin/README.md",
)


def commands(text: str) -> list[str]:
    return [
        line.strip()
        for line in re.findall(r"^ *((?:source <\()?kubectl demo-mode .*)$", text, re.MULTILINE)
    ]


def in_pages() -> list[str]:
    found = []
    for page in PAGES:
        for block in re.findall(r"```\w*\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
            found += commands(block)
    return found


ALL = sorted({line for text in examples().values() for line in commands(text)} | set(in_pages()))
# A rehearsal needs pods that run: tests/e2e/test_demo_mode.py has them.
RUN = [line for line in ALL if " rehearse " not in line]


@contextmanager
def operator(api: Api) -> Iterator[None]:
    """Says of every pool that it is Warm, whatever it is asked for."""
    ended = threading.Event()

    def say() -> None:
        while not ended.is_set():
            for pool in json.loads(api.kubectl("get", "warmpools", "-o", "json"))["items"]:
                condition = {
                    "type": "Warm",
                    "status": "True",
                    "reason": "Warm",
                    "message": "5 of 5 replicas are Ready",
                    "lastTransitionTime": "2026-11-24T00:00:00Z",
                    "observedGeneration": pool["metadata"]["generation"],
                }
                api.set_status(
                    pool["metadata"]["name"],
                    phase="Warm",
                    readyReplicas=5,
                    desiredReplicas=5,
                    conditions=[condition],
                )
            ended.wait(0.5)

    thread = threading.Thread(target=say)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("line", RUN)
def test_an_example_runs(api: Api, sh: Shell, line: str):
    if re.search(r" web\b", line) and " create " not in line:  # the tutorial applies it first
        api.kubectl("apply", "-f", str(ROOT / "examples/web.yaml"))
    if " create " in line:
        example = [deployment(), service()]
        made = [*example, activator(1), activator(2), operator_of_kotatsu()]
        whole = json.dumps({**LIST, "items": made})
        states = json.dumps({**LIST, "items": [of for of in made if "status" in of]})
        api.kubectl("apply", "--server-side", "-f", "-", stdin=whole)
        api.kubectl("apply", "--server-side", "--subresource=status", "-f", "-", stdin=states)
        sh.ok(line)
        api.kubectl("delete", "-f", "-", stdin=json.dumps({**LIST, "items": example}))
    elif " restore" in line:
        # Not in all namespaces: those of other tests have operators of their own.
        api.kubectl("delete", "deployment", OPERATOR, "-n", "kotatsu")
        try:
            sh.ok(line.replace("-A", "--all"))
        finally:
            api.kubectl("apply", "-f", "-", stdin=json.dumps(kit.operator()))
    elif " check " in line:
        done = sh(line)
        assert (done.returncode in (0, 1), done.stderr) == (True, "")
    elif " suggest " in line and "-o yaml" in line:  # the patch is for a file
        done = sh(line)
        assert (done.returncode, done.stdout) == (0, "")
        assert "voice: no proposal" in done.stderr
    elif "--wait" in line:
        with operator(api):
            assert " is Warm: 5 pods Ready" in sh.ok(line)
    else:
        sh.ok(line)


def test_the_documentation_shows_every_command():
    for command in examples():
        assert any(f"kubectl demo-mode {command}" in line for line in in_pages()), command


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_a_rehearsal_through_a_url_passes_and_leaves_no_override(api: Api, sh: Shell):
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        with operator(api):
            url = f"http://127.0.0.1:{server.server_address[1]}/"
            words = f"--url {url} --warm-only --force --requests 8 --concurrency 2"
            out = sh.ok(f"kubectl demo-mode rehearse auth {words} --max-p95 60s -o json")
            failing = sh(f"kubectl demo-mode rehearse auth {words} --max-p95 0s")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    report = json.loads(out)
    assert (report["load"]["requests"], report["load"]["errors"]) == (8, 0)
    assert failing.returncode == 1
    assert "p95 was" in failing.stdout
    assert "override" not in api.get("warmpool", "auth")["spec"]


@pytest.mark.slow
def test_kubectl_finds_the_plugin_and_completes_it(api: Api, sh: Shell):
    assert "kubectl-demo_mode" in sh("kubectl plugin list").stdout
    assert sh.ok("kubectl __complete demo-mode off vo 2>/dev/null").splitlines()[0] == "voice"
    loaded = "source <(kubectl demo-mode completion bash)"
    words = 'COMP_WORDS=(kubectl-demo_mode on v); COMP_CWORD=2; _kubectl_demo_mode; echo "${COMPREPLY[@]}"'  # noqa: E501
    assert sh.ok(f"{loaded}; {words}").strip() == "voice"


@pytest.mark.slow
def test_help_takes_little_cpu_time():
    """A fifth of a second of a machine that adds a million numbers in a twentieth."""
    program = PROGRAMS / "kubectl-demo_mode"
    assert loops(lambda: subprocess.run([program, "on", "--help"], stdout=DEVNULL, check=True)) < 4
