"""Activators and pods in processes of their own, and what they take of the machine."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
_TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A running script of this folder; `told` is the line it printed when it was ready."""

    def __init__(self, *command: str, cpu: int | None = None) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed by `close`)
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            preexec_fn=None if cpu is None else lambda: os.sched_setaffinity(0, {cpu}),
        )
        assert self._process.stdout is not None
        try:
            self.told = self._process.stdout.readline()
        except BaseException:
            self.close()
            raise
        if not self.told:
            raise RuntimeError(f"it did not start: {self.close()}")

    @property
    def pid(self) -> int:
        return self._process.pid

    def say(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    @property
    def cpu(self) -> float:
        """Seconds of CPU so far, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def files(self) -> int:
        """Open files."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    def mib(self, field: str = "VmRSS") -> float:
        """Memory; VmHWM is the most it ever had."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
        raise RuntimeError("it is gone")

    def close(self) -> str:
        """End it; returns its log."""
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        with self._log:
            self._log.seek(0)
            return self._log.read()


class ActivatorProcess(Process):
    """An activator with two pools: see activator_process.py."""

    def __init__(self, *options: str, cpu: int | None = None) -> None:
        super().__init__(str(HERE / "activator_process.py"), *options, cpu=cpu)
        ports = json.loads(self.told)
        self.port: int = ports["port"]
        self.feed: int = ports["feed"]
        self.metrics: int = ports["metrics"]

    def metric(self, name: str) -> float:
        """The sum of the values of a metric."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=60) as page:
            lines = page.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def activator(*options: str, cpu: int | None = None) -> contextlib.closing[ActivatorProcess]:
    """An activator on a core of its choice."""
    return contextlib.closing(ActivatorProcess(*options, cpu=cpu))


@contextlib.contextmanager
def pod(cpu: int | None = None) -> Iterator[int]:
    """A pod that does nothing but answer (see pod_process.py); yields its port."""
    with contextlib.closing(Process(str(HERE / "pod_process.py"), cpu=cpu)) as made:
        yield int(made.told)


def flood(port: int, clients: int, kind: str) -> contextlib.closing[Process]:
    """Clients that mean no good (see flood_process.py)."""
    script = str(HERE / "flood_process.py")
    return contextlib.closing(Process(script, str(port), str(clients), kind))


class MemoryLimit:
    """A memory cgroup of this machine's (version 1), and what its processes take of it."""

    def __init__(self, bytes_: int) -> None:
        self._folder = Path(f"/sys/fs/cgroup/memory/kotatsu-test-{os.getpid()}")
        self._folder.mkdir()
        self._write("memory.limit_in_bytes", bytes_)
        # From now on what sockets take is counted too.
        self._write("memory.kmem.tcp.limit_in_bytes", 2**40)

    def _write(self, name: str, value: int) -> None:
        (self._folder / name).write_text(str(value))

    def _read(self, name: str) -> int:
        return int((self._folder / name).read_text())

    def add(self, pid: int) -> None:
        """Count a process from now on: what it takes, and the sockets that it accepts."""
        self._write("cgroup.procs", pid)

    @property
    def peak_mib(self) -> tuple[float, float]:
        """The most that was ever taken: by processes and the kernel for them, and by sockets."""
        peaks = ("memory.max_usage_in_bytes", "memory.kmem.tcp.max_usage_in_bytes")
        first, second = (self._read(name) / 2**20 for name in peaks)
        return first, second

    def close(self) -> None:
        """Remove it; its processes must have ended."""
        until(lambda: not (self._folder / "cgroup.procs").read_text())
        self._folder.rmdir()


@contextlib.contextmanager
def memory_limit(bytes_: int) -> Iterator[MemoryLimit | None]:
    """A memory cgroup; None where none can be made."""
    try:
        made = MemoryLimit(bytes_)
    except OSError:
        yield None
        return
    with contextlib.closing(made):
        yield made


def until(holds: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something holds that is under way already."""
    give_up = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > give_up:
            raise AssertionError("it does not happen")
        time.sleep(0.01)


def download(port: int, size: int) -> None:
    """Get a body of so many bytes from a pod of pod_process.py."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as made:
        made.sendall(b"GET /bytes/%d HTTP/1.1\r\nHost: a\r\n\r\n" % size)
        head = b""
        while b"\r\n\r\n" not in head:
            head += made.recv(2**16)
        left, space = size - len(head.partition(b"\r\n\r\n")[2]), bytearray(2**20)
        while left:
            got = made.recv_into(space)
            if not got:
                raise ConnectionError(f"{left} bytes never came")
            left -= got


def upload(port: int, size: int) -> None:
    """Send a body of so many bytes to a pod of pod_process.py."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as made:
        made.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        chunk = memoryview(bytes(2**20))
        for start in range(0, size, 2**20):
            made.sendall(chunk[: size - start])
        answer = made.recv(2**16)
    if not answer.endswith(b"%d" % size):
        raise ConnectionError(f"the pod did not get all of it: {answer!r}")


def figure(text: str) -> None:
    """Show what was measured: pytest prints it with -s, and when the test fails."""
    sys.stdout.write(f"\n· {text}\n")
