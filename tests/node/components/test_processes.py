from __future__ import annotations

import os
import time
from pathlib import Path

from kotatsu_node.components import processes
from kotatsu_node.components.processes import Process


def test_a_process_is_known_by_its_id_its_start_and_the_boot() -> None:
    me = processes.identify(os.getpid())
    assert me is not None
    assert me.is_alive()
    assert not Process(me.pid, me.started - 1, me.boot).is_alive()
    assert not Process(me.pid, me.started, "another boot").is_alive()


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
