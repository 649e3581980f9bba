"""What a node leaves on the machine besides processes, and how to take it away again."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

from kotatsu_node import cgroups, containers, netns, second, shell
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import LINK_HOST, Layout

_CONTAINER_LOG_LINKS = Path("/var/log/containers")


def mounts_below(directory: Path, mountinfo: str) -> list[str]:
    """Mount points at or below a directory, deepest and latest first."""
    points = [line.split()[4] for line in mountinfo.splitlines()]
    # Spaces and the like are octal escapes in mountinfo.
    plain = [re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), point) for point in points]
    inside = [p for p in plain if p == str(directory) or p.startswith(f"{directory}/")]
    return inside[::-1]


def mounts_of(directory: Path) -> list[str]:
    """The present mount points at or below a directory."""
    return mounts_below(directory.resolve(), Path("/proc/self/mountinfo").read_text())


def unmount(directory: Path) -> None:
    """Unmount everything at or below a directory; raises NodeError if something stays."""
    for point in mounts_of(directory):
        if shell.call(["umount", point], check=False).returncode != 0:
            shell.call(["umount", "--lazy", point], check=False)
    if left := mounts_of(directory):
        raise NodeError(
            f"{left[0]} cannot be unmounted",
            hint=f"look for its users with `fuser -vm {left[0]}`, end them, and run `down` again",
        )


def remove_log_links(layout: Layout) -> None:
    """Remove the kubelet's links to our container logs in the machine's shared directory."""
    if not _CONTAINER_LOG_LINKS.is_dir():
        return
    for link in _CONTAINER_LOG_LINKS.iterdir():
        with contextlib.suppress(OSError):
            if link.is_symlink() and link.readlink().is_relative_to(layout.state):
                link.unlink()
    with contextlib.suppress(OSError):
        _CONTAINER_LOG_LINKS.rmdir()


def remove_cluster_data(layout: Layout) -> None:
    """Forget the cluster: its data, volumes and runtime state. Images and keys stay."""
    for directory in (layout.etcd, layout.kubelet, layout.volumes, layout.run):
        remove_tree(directory)


def remove_tree(directory: Path) -> None:
    """Delete a directory with all in it; NodeError while something is mounted below it."""
    if mounts_of(directory):
        # rmtree would go into a mounted volume and delete what is not ours.
        raise NodeError(f"{directory} still has something mounted below it")
    shutil.rmtree(directory, ignore_errors=True)


def remove_if_empty(directory: Path) -> None:
    """Delete a directory that has nothing in it any more."""
    with contextlib.suppress(OSError):
        directory.rmdir()


def find(layout: Layout) -> list[str]:
    """Names of what is still there of a node; empty when the machine is clean."""
    found = [f"shim {shim.pid}" for shim in containers.shims(layout)]
    found += [f"mount {point}" for point in mounts_of(layout.state)]
    for namespace in (netns.PATH, second.PATH):
        found += [f"network namespace {namespace.name}"] if namespace.exists() else []
    found += [f"link {LINK_HOST}"] if (Path("/sys/class/net") / LINK_HOST).exists() else []
    return found


def clean(layout: Layout) -> None:
    """Take away all that a node leaves, once its processes are gone."""
    containers.kill(layout)
    unmount(layout.state)
    netns.delete_namespace(second.PATH)
    netns.delete()
    cgroups.remove()
    remove_log_links(layout)
    containers.remove_cni_results()
    remove_cluster_data(layout)
