from __future__ import annotations

import io
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from rows import each

from kotatsu_node import cli, shell
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


@each(
    "version, enough",
    [
        ("go1.26.8", True),
        ("go1.26.11", True),
        ("go1.27.0", True),
        ("go1.27rc1", True),
        ("devel go1.30-abc", True),
        ("go1.26.7", False),
        ("go1.26", False),
        ("go1.9.9", False),
    ],
)
def test_an_old_go_is_not_enough(version: str, enough: bool) -> None:
    assert preflight.is_new_enough(version, "1.26.8") is enough


def test_a_state_directory_that_never_had_a_node_is_not_healthy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(["status", "-o", "json"]) == 1
    status = json.loads(capsys.readouterr().out)
    assert status["healthy"] is False
    assert set(status["components"].values()) == {False}


def test_env_prints_exports_that_a_shell_can_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--state-dir", "/srv/my node", "env"]) == 0
    out = capsys.readouterr().out
    assert "export KUBECONFIG='/srv/my node/config/admin.kubeconfig'\n" in out
    assert "export PATH='/srv/my node/bin:" in out


def test_a_second_node_needs_a_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preflight.os, "geteuid", lambda: 0)
    monkeypatch.setattr(sys, "platform", "linux")
    assert cli.run(["second", "up"]) == 1
    assert "try: start it with `kotatsu-node up`" in capsys.readouterr().err


@pytest.fixture
def all_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every step be a quick one, on a busy machine too."""
    monkeypatch.setattr("kotatsu_node.progress._QUIET_SECONDS", 3600.0)


@pytest.mark.usefixtures("all_quick")
def test_a_failure_says_which_step_why_and_what_to_try() -> None:
    out = io.StringIO()
    with pytest.raises(NodeError) as caught, Progress(out, live=False).step("start etcd"):
        raise NodeError("etcd ended", log="a\nb", hint="read the log")
    assert caught.value.report() == (
        "error: start etcd: etcd ended\n  | a\n  | b\ntry: read the log"
    )
    assert out.getvalue().startswith("✗ start etcd (FAILED after ")


def test_a_long_command_leaves_its_whole_output_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"
    with pytest.raises(NodeError) as caught:
        shell.call_logged(["sh", "-c", "seq 100; exit 1"], log, hint="count less")
    assert len(log.read_text().splitlines()) == 100
    assert str(log) in caught.value.what
    assert caught.value.hint == "count less"
