from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kotatsu_node.components import processes
from kotatsu_node.components.processes import Process


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Process]:
    started = processes.start("sleeper", ["sleep", "60"], tmp_path / "log", tmp_path / "run")
    yield started
    processes.stop([started], grace=1)


def test_a_started_process_is_recorded_and_alive(sleeper: Process, tmp_path: Path) -> None:
    assert processes.recorded(tmp_path / "run") == {"sleeper": sleeper}
    assert sleeper.is_alive()


def test_the_same_id_with_another_start_is_not_that_process(sleeper: Process) -> None:
    assert not Process(sleeper.pid, sleeper.started - 1, sleeper.boot).is_alive()


def test_a_record_from_before_a_reboot_means_nothing(sleeper: Process) -> None:
    assert not Process(sleeper.pid, sleeper.started, "another boot").is_alive()


def test_a_process_that_is_not_ours_gets_no_signal() -> None:
    me = processes.identify(os.getpid())
    assert me is not None
    processes.stop([Process(me.pid, me.started - 1, me.boot)], grace=0)
    assert me.is_alive()


def test_stopping_ends_a_process_that_ignores_term(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"trap '' TERM; touch {ready}; while :; do sleep 0.05; done"
    stubborn = processes.start("x", ["sh", "-c", script], tmp_path / "log", tmp_path)
    deadline = time.monotonic() + 10
    while not ready.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    processes.stop([stubborn], grace=0.1)
    assert not stubborn.is_alive()
