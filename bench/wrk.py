"""wrk, a load generator in C: what it costs is little beside what it measures."""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kotatsu_node.build import debian
from kotatsu_node.errors import NodeError


@dataclass(frozen=True)
class Load:
    """What wrk says of one run; times in seconds."""

    per_second: float
    p50: float
    p99: float
    failed: int


def run(port: int, connections: int, seconds: float, core: int) -> Load:
    """Load a loopback port from one core. Raises CalledProcessError when nobody listens there."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--latency"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/"],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    return read(done.stdout)


def read(said: str) -> Load:
    """Read wrk's report. Raises ValueError when it is none."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    times = {
        share: float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[unit]
        for share, number, unit in re.findall(r"(?m)^ +(50|99)% +([\d.]+)(us|ms|s)$", said)
    }
    if rate is None or len(times) != 2:
        raise ValueError(f"this is no report of wrk: {said!r}")
    failed = re.findall(r"Socket errors: .*|Non-2xx or 3xx responses: .*", said)
    count = sum(int(number) for line in failed for number in re.findall(r" (\d+)", line))
    return Load(float(rate[1]), times["50"], times["99"], count)


def why_not() -> str:
    """Why wrk cannot be used; empty when it is there, or has been installed just now."""
    if shutil.which("wrk"):
        return ""
    if os.geteuid() or not shutil.which("apt-get"):
        return "wrk is not installed"
    with tempfile.TemporaryDirectory() as folder:
        try:
            debian.install(["wrk"], Path(folder) / "apt.log")
        except NodeError as error:
            return f"wrk cannot be installed: {error}"
    return ""
