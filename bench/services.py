"""A service as its image runs it: a process of its own on a loopback port."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from http1 import Address, Connection, request
from kotatsu_node.cluster.control_plane import free_ports


@dataclass(frozen=True)
class Running:
    """A process that serves."""

    address: Address
    pid: int

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://{self.address[0]}:{self.address[1]}"


@contextlib.contextmanager
def running(
    program: str, environment: Mapping[str, str], *, ready: str = "/readyz"
) -> Iterator[Running]:
    """Run a package, or a script of this folder, for the block, which begins once it is ready.

    Raises RuntimeError when it ends or does not get ready within 30 s.
    """
    [port] = free_ports(1)
    settings = {"KOTATSU_HOST": "127.0.0.1", "KOTATSU_PORT": str(port), **environment}
    script = Path(__file__).with_name(program)
    process = subprocess.Popen(
        [sys.executable, *([str(script)] if script.is_file() else ["-m", program])],
        env=os.environ | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _until_ready(process, ("127.0.0.1", port), ready)
        yield Running(("127.0.0.1", port), process.pid)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_ready(process: "subprocess.Popen[bytes]", address: Address, path: str) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        try:
            with Connection(address, timeout=5) as connection:
                if connection.ask(request("GET", path)).status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} did not get ready")
