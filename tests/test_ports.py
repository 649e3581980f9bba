import socket
import subprocess
import sys

import pytest

from kotatsu_node import ports
from kotatsu_node.ports import free_ports


def test_no_port_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_RANGE", free_ports(2))
    with pytest.raises(OSError, match="fewer than 1 ports are free"):
        free_ports(1)


def test_a_port_of_another_process_is_not_given_before_it_listens_either() -> None:
    code = f"from kotatsu_node import ports; ports._RANGE = {free_ports(1)}; ports.free_ports(1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "fewer than 1 ports are free" in done.stderr


def test_a_port_that_something_listens_on_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(ports, "_RANGE", [server.getsockname()[1]])
        with pytest.raises(OSError, match="fewer than 1 ports are free"):
            free_ports(1)
