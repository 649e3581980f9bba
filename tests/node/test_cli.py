from __future__ import annotations

import io
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rows import each

from kotatsu_node import cli, shell
from kotatsu_node.build import preflight
from kotatsu_node.components.commands import ORDER
from kotatsu_node.errors import NodeError, UnsupportedError
from kotatsu_node.progress import Progress, Times, duration
from kotatsu_node.status import Status

HEALTHY = Status("/state", dict.fromkeys(ORDER, True), {"api": "", "node": "", "dns": ""})


@pytest.fixture(autouse=True)
def no_real_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    # A short path: there are sockets below it.
    with tempfile.TemporaryDirectory(prefix="kotatsu-") as folder:
        monkeypatch.setenv("KOTATSU_NODE_DIR", f"{folder}/state")
        monkeypatch.setenv("KOTATSU_CACHE", str(tmp_path / "cache"))
        yield


@each(
    "command",
    [
        "prepare",
        "up",
        "down",
        "status",
        "build",
        "load",
        "env",
        "kubeconfig",
        "start",
        "stop",
        "second",
    ],
)
def test_each_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.run([command, "-h"])
    assert left.value.code == 0
    assert "usage: kotatsu-node" in capsys.readouterr().out


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


def test_without_go_it_names_the_version_it_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UnsupportedError, match=r"needs Go 1\.\d+\.\d+"):
        preflight.go_version()


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


def test_the_go_that_is_needed_is_the_one_that_the_module_asks_for() -> None:
    assert preflight.needed_go("module kube\n\ngo 1.26.8\n\nrequire x v1.0.0\n") == "1.26.8"


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


def test_starting_an_unknown_component_is_a_usage_error() -> None:
    with pytest.raises(SystemExit) as left:
        cli.run(["kill", "kube-turbo"])
    assert left.value.code == 2


@pytest.mark.parametrize("command", [["up"], ["second", "up"]])
def test_an_unknown_proxy_mode_is_a_usage_error(command: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.run([*command, "--proxy-mode", "ipvs"])
    assert left.value.code == 2


def test_a_second_node_needs_a_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preflight.os, "geteuid", lambda: 0)
    monkeypatch.setattr(sys, "platform", "linux")
    assert cli.run(["second", "up"]) == 1
    assert "try: start it with `kotatsu-node up`" in capsys.readouterr().err


def test_health_needs_every_component_and_every_check() -> None:
    assert HEALTHY.is_healthy
    assert not Status("/s", {**HEALTHY.components, "kubelet": False}, HEALTHY.checks).is_healthy
    assert not Status("/s", HEALTHY.components, {"dns": "no answer"}).is_healthy


def test_remains_of_a_crash_are_listed_for_people() -> None:
    crashed = Status("/s", dict.fromkeys(ORDER, False), {"api": "not running"}, ["shim 17"])
    assert not crashed.is_absent
    assert "left behind: shim 17" in cli.describe(crashed)


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


@pytest.mark.usefixtures("all_quick")
def test_a_quick_step_is_no_news_in_a_pipe() -> None:
    out = io.StringIO()
    with Progress(out, live=False).step("blink"):
        pass
    assert out.getvalue() == ""


def test_a_slow_step_is_one_line_at_each_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kotatsu_node.progress._TICK_SECONDS", 0.01)
    monkeypatch.setattr("kotatsu_node.progress._QUIET_SECONDS", 0.1)
    out = io.StringIO()
    with Progress(out, live=False).step("compile"):
        deadline = time.monotonic() + 10
        while not out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    begin, end = out.getvalue().splitlines()
    assert begin == "· compile"
    assert end.startswith("✓ compile (")


def test_a_step_that_goes_on_says_so_again_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kotatsu_node.progress._TICK_SECONDS", 0.01)
    monkeypatch.setattr("kotatsu_node.progress._QUIET_SECONDS", 0.1)
    monkeypatch.setattr("kotatsu_node.progress._REPEAT_SECONDS", 0.05)
    out = io.StringIO()
    a_step_that_lasts(Progress(out, live=False), out, "so far", "7 to 16 minutes")
    first, second = out.getvalue().splitlines()[:2]
    assert first == "· compile (usually 7 to 16 minutes)"
    assert re.fullmatch(r"· compile \([\d.]+ s so far, usually 7 to 16 minutes\)", second)


def a_step_that_lasts(progress: Progress, out: io.StringIO, mark: str, usually: str = "") -> None:
    with progress.step("compile", usually):
        deadline = time.monotonic() + 10
        while mark not in out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)


@pytest.mark.parametrize(("live", "mark"), [(False, "\n"), (True, "last time")])
def test_a_step_says_how_long_it_took_the_last_time(
    live: bool, mark: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("kotatsu_node.progress._TICK_SECONDS", 0.01)
    monkeypatch.setattr("kotatsu_node.progress._QUIET_SECONDS", 0.1)
    monkeypatch.setenv("COLUMNS", "80")
    out, file = io.StringIO(), tmp_path / "cache" / "times.json"
    Times(file).note("compile", 391.2)
    a_step_that_lasts(Progress(out, live=live, times=Times(file)), out, mark)
    assert "· compile (" in out.getvalue()
    assert "took 6 min 31 s last time)" in out.getvalue()


@pytest.mark.parametrize(("live", "mark"), [(False, "\n"), (True, "usually")])
def test_the_first_time_a_step_says_how_long_it_usually_takes(
    live: bool, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kotatsu_node.progress._TICK_SECONDS", 0.01)
    monkeypatch.setattr("kotatsu_node.progress._QUIET_SECONDS", 0.1)
    monkeypatch.setenv("COLUMNS", "80")
    out = io.StringIO()
    a_step_that_lasts(Progress(out, live=live), out, mark, "7 to 16 minutes")
    assert "usually 7 to 16 minutes)" in out.getvalue()


@pytest.mark.usefixtures("all_quick")
def test_what_failed_or_was_quick_is_no_time_to_go_by(tmp_path: Path) -> None:
    file = tmp_path / "times.json"
    progress = Progress(io.StringIO(), live=False, times=Times(file))
    with pytest.raises(NodeError), progress.step("compile"):
        raise NodeError("no")
    with progress.step("blink"):
        pass
    assert not file.exists()


def test_a_step_found_done_leaves_the_time_that_doing_it_takes(tmp_path: Path) -> None:
    file = tmp_path / "times.json"
    Times(file).note("build image", 24.0)
    Times(file).note("build image", 0.4)
    assert Times(file).last("build image") == 24.0


@pytest.mark.parametrize("text", ["", "[]", "{broken", '{"compile": null}'])
def test_a_file_of_times_that_cannot_be_read_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "times.json"
    file.write_text(text)
    times = Times(file)
    assert times.last("compile") is None
    times.note("compile", 3.0)
    assert Times(file).last("compile") == 3.0


def test_the_live_line_is_never_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kotatsu_node.progress._TICK_SECONDS", 0.01)
    monkeypatch.setenv("COLUMNS", "20")
    out = io.StringIO()
    progress = Progress(out, live=True)
    with progress.step("install " + "a, " * 40):
        deadline = time.monotonic() + 10
        while not out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    drawn = out.getvalue().split("\r\x1b[K")[1]
    assert len(drawn) == 19


@each(
    "seconds, text",
    [(0.42, "0.4 s"), (9.96, "10.0 s"), (12.3, "12 s"), (59.7, "1 min 00 s"), (250, "4 min 10 s")],
)
def test_durations_are_written_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_failed_command_shows_the_last_lines_it_printed() -> None:
    with pytest.raises(NodeError, match="exit code 3") as caught:
        shell.call(["sh", "-c", "seq 100; exit 3"])
    assert caught.value.log.splitlines()[-1] == "100"
    assert len(caught.value.log.splitlines()) < 20


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="no-such-program is not installed"):
        shell.call(["no-such-program"])
    with pytest.raises(NodeError, match="no-such-program is not installed"):
        shell.call_logged(["no-such-program"], tmp_path / "log")


def test_a_long_command_leaves_its_whole_output_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"
    with pytest.raises(NodeError) as caught:
        shell.call_logged(["sh", "-c", "seq 100; exit 1"], log, hint="count less")
    assert len(log.read_text().splitlines()) == 100
    assert str(log) in caught.value.what
    assert caught.value.hint == "count less"
