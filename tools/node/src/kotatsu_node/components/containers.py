"""The containers of the node and their shims: find them, and end them all."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable
from pathlib import Path

from kotatsu_node.components import containerd, processes
from kotatsu_node.components.processes import Process
from kotatsu_node.layout import Layout


def forget(layout: Layout) -> bool:
    """Delete what containerd remembers of containers and sandboxes; true if there was something."""
    ids = containerd.ctr(layout, "containers", "ls", "-q").split()
    if ids:
        containerd.ctr(layout, "tasks", "delete", "--force", *ids, check=False)
        containerd.ctr(layout, "containers", "delete", *ids, check=False)
    rows = containerd.ctr(layout, "sandboxes", "ls", check=False).splitlines()[1:]
    sandboxes = [row.split()[0] for row in rows if row.split()]
    if sandboxes:
        containerd.ctr(layout, "sandboxes", "rm", "--force", *sandboxes, check=False)
    return bool(ids or sandboxes)


def kill(layout: Layout) -> list[int]:
    """KILL the shims of this containerd and every process in its containers; their ids."""
    ids = running_ids(layout)
    victims = [*shims(layout), *_members(ids)]
    for victim in victims:
        victim.signal(signal.SIGKILL)
    processes.wait_gone(victims, 10.0)
    # A container's init takes its whole process namespace along; whoever forked meanwhile too.
    late = _members(ids)
    for victim in late:
        victim.signal(signal.SIGKILL)
    processes.wait_gone(late, 5.0)
    return [victim.pid for victim in victims]


def running_ids(layout: Layout) -> set[str]:
    """Ids of the containers that this containerd has running, by its runtime state."""
    bundles = _bundles(layout)
    return {bundle.name for bundle in bundles.glob("*")} if bundles.is_dir() else set()


def _bundles(layout: Layout) -> Path:
    tasks = layout.run / "containerd" / "io.containerd.runtime.v2.task"
    return tasks / containerd.NAMESPACE


def shims(layout: Layout) -> list[Process]:
    """The containerd-shims that were started by this containerd."""
    address = str(layout.containerd_socket)
    return [
        found
        for pid, arguments in _command_lines()
        if is_shim_of(arguments, address) and (found := processes.identify(pid))
    ]


def is_shim_of(arguments: list[str], address: str) -> bool:
    """Whether a command line is a shim's that reports to the containerd at `address`."""
    if not arguments or not Path(arguments[0]).name.startswith("containerd-shim"):
        return False
    return address in arguments or f"{address}.ttrpc" in arguments


def _members(ids: set[str]) -> list[Process]:
    """Processes in the cgroups of these containers."""
    return [
        found
        for pid in _pids()
        if cgroup_ids(_read(f"/proc/{pid}/cgroup")) & ids and (found := processes.identify(pid))
    ]


def cgroup_ids(cgroup: str) -> set[str]:
    """The container ids in the text of /proc/PID/cgroup."""
    return set(re.findall(r"[0-9a-f]{64}", cgroup))


def _command_lines() -> Iterable[tuple[int, list[str]]]:
    for pid in _pids():
        yield pid, _read(f"/proc/{pid}/cmdline").split("\0")


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
