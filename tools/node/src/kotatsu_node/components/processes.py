"""Start, recognize and end the component processes.

Each one is recorded with its start time: an id alone could by now belong to someone else.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Process:
    """A process that was started: its id, and when (clock ticks since boot, and which boot)."""

    pid: int
    started: int
    boot: str

    def is_alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        return self.boot == boot_id() and start_time(self.pid) == self.started

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if it is still that process."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def boot_id() -> str:
    """The kernel's name for this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """Start of a process in clock ticks since boot; None when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field, the name, may hold spaces and brackets; count from behind it.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def recorded(directory: Path) -> dict[str, Process]:
    """Every recorded process by component name, alive or not."""
    found = {}
    for file in sorted(directory.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            found[file.stem] = Process(**json.loads(file.read_text()))
    return found


def start(name: str, command: Sequence[str], log: Path, directory: Path) -> Process:
    """Start a component in the background, its output appended to `log`, and record it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    directory.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal of `up` is not meant for the node.
            start_new_session=True,
            cwd="/",
        )
    # The child is left running on purpose; mark it so that no warning is made of that.
    child.returncode = 0
    started = start_time(child.pid)
    process = Process(child.pid, started if started is not None else -1, boot_id())
    record = directory / f"{name}.json"
    record.write_text(json.dumps(process.__dict__))
    return process


def stop(processes: Iterable[Process], grace: float) -> None:
    """TERM all, wait up to `grace` seconds, KILL what is left, and wait for its end."""
    remaining = list(processes)
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        for process in remaining:
            process.signal(number)
        remaining = wait_gone(remaining, patience)


def wait_gone(processes: Sequence[Process], patience: float) -> list[Process]:
    """Wait until the processes are gone; those that remain after `patience` seconds."""
    deadline = time.monotonic() + patience
    remaining = [process for process in processes if process.is_alive()]
    while remaining and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        remaining = [process for process in remaining if process.is_alive()]
    for process in gone_from(processes, remaining):
        # If it was a child of this very process, its exit code waits to be collected.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)
    return remaining


def gone_from(before: Iterable[Process], after: Iterable[Process]) -> set[Process]:
    """The processes that are in `before` and not in `after`."""
    return set(before) - set(after)


def identify(pid: int) -> Process | None:
    """A Process for an id found in /proc; None when it has gone meanwhile."""
    started = start_time(pid)
    return None if started is None else Process(pid, started, boot_id())
