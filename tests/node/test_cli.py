from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kotatsu_node import cli
from kotatsu_node.build import preflight
from kotatsu_node.errors import NodeError
from kotatsu_node.progress import Progress


@pytest.fixture(autouse=True)
def no_real_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    # A short path: there are sockets below it.
    with tempfile.TemporaryDirectory(prefix="kotatsu-") as folder:
        monkeypatch.setenv("KOTATSU_NODE_DIR", f"{folder}/state")
        monkeypatch.setenv("KOTATSU_CACHE", str(tmp_path / "cache"))
        yield


@pytest.mark.parametrize(
    "command", [["up"], ["down"], ["load", "x"], ["second", "up"], ["second", "down"]]
)
def test_without_root_one_sentence_and_exit_code_2(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preflight.os, "geteuid", lambda: 1000)
    assert cli.run(command) == 2
    said = capsys.readouterr().err
    assert "needs root" in said
    assert said.count("\n") == 1


def test_off_linux_it_says_so_before_anything_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cli.run(["up"]) == 2
    assert "needs Linux" in capsys.readouterr().err


def test_an_old_go_is_not_enough() -> None:
    new = ("go1.26.8", "go1.26.11", "go1.27.0", "go1.27rc1", "devel go1.30-abc")
    old = ("go1.26.7", "go1.26", "go1.9.9")
    assert [v for v in (*new, *old) if preflight.is_new_enough(v, "1.26.8")] == [*new]


def test_env_prints_exports_that_a_shell_can_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--state-dir", "/srv/my node", "env"]) == 0
    out = capsys.readouterr().out
    assert "export KUBECONFIG='/srv/my node/config/admin.kubeconfig'\n" in out
    assert "export PATH='/srv/my node/bin:" in out


def test_a_failure_says_which_step_why_and_what_to_try() -> None:
    out = io.StringIO()
    with pytest.raises(NodeError) as caught, Progress(out, live=False).step("start etcd"):
        raise NodeError("etcd ended", log="a\nb", hint="read the log")
    assert caught.value.report() == (
        "error: start etcd: etcd ended\n  | a\n  | b\ntry: read the log"
    )
    assert "✗ start etcd (FAILED after " in out.getvalue()
