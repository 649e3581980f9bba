"""The three services as processes of their own, and what they say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from kotatsu_node.ports import free_ports


class Service:
    """`python -m <module>` with an environment, its output in a file."""

    def __init__(self, module: str, folder: Path, **settings: object) -> None:
        [port] = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / f"{module}.log"
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        given = {"host": "127.0.0.1", "port": port, "log_level": "debug"} | settings
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                env=kept | {f"KOTATSU_{name.upper()}": str(v) for name, v in given.items()},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_ready(self, seconds: float = 60) -> None:
        """Return once it takes requests; fails with its log if it ends or takes too long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self._process.poll() is None, self.log.read_text()
            try:
                if httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"not ready: {self.log.read_text()}")

    def ended(self, seconds: float = 30) -> int:
        """Wait for it to end by itself; its exit status."""
        return self._process.wait(seconds)

    def stop(self) -> None:
        """End it in order."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
