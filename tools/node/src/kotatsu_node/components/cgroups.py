"""A control group of the node's own, so that its pods never mix with another kubelet's."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from kotatsu_node.layout import NETNS

_MOUNT = Path("/sys/fs/cgroup")
NAME = NETNS
# For the kubelet, which puts its `kubepods` below.
ROOT = f"/{NAME}"
_CONTROLLERS = ("cpu", "cpuset", "memory", "pids", "io", "hugetlb")


def hierarchies(mount: Path = _MOUNT) -> list[Path]:
    """The hierarchies to make the group in: one with cgroup v2, one per controller with v1."""
    if (mount / "cgroup.controllers").exists():
        return [mount]
    return [path for path in sorted(mount.glob("*")) if (path / "cgroup.procs").exists()]


def create() -> None:
    """Make the group in every hierarchy; the kubelet insists on finding it."""
    for hierarchy in hierarchies():
        subtree = hierarchy / "cgroup.subtree_control"
        for controller in _CONTROLLERS if subtree.exists() else ():
            with contextlib.suppress(OSError):  # not every kernel has every controller
                subtree.write_text(f"+{controller}")
        group = hierarchy / NAME
        group.mkdir(exist_ok=True)
        # With v1 a new cpuset is empty, and nothing may run in an empty one.
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (hierarchy / "tasks").exists() and (hierarchy / name).exists():
                (group / name).write_text((hierarchy / name).read_text())


def remove() -> None:
    """Remove the (now empty) group and all below it; no error when it is not there."""
    for hierarchy in hierarchies():
        root = hierarchy / NAME
        if root.is_dir():
            groups = [root, *(path for path in root.rglob("*") if path.is_dir())]
            for group in sorted(groups, key=lambda path: len(path.parts), reverse=True):
                _remove(group)


def _remove(group: Path) -> None:
    # The kernel frees a dead process's group a little later than the process.
    for _ in range(20):
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
