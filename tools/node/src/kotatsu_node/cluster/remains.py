"""What a node leaves on the machine besides processes, and how to take it away again."""

from __future__ import annotations

import contextlib
from pathlib import Path

from kotatsu_node import mounts
from kotatsu_node.cluster import second
from kotatsu_node.components import cgroups, containers
from kotatsu_node.layout import LINK_HOST, Layout
from kotatsu_node.network import cni, netns

_CONTAINER_LOG_LINKS = Path("/var/log/containers")


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
        mounts.remove_tree(directory)


def find(layout: Layout) -> list[str]:
    """Names of what is still there of a node; empty when the machine is clean."""
    found = [f"shim {shim.pid}" for shim in containers.shims(layout)]
    found += [f"mount {point}" for point in mounts.of(layout.state)]
    for namespace in (netns.PATH, second.PATH):
        found += [f"network namespace {namespace.name}"] if namespace.exists() else []
    found += [f"link {LINK_HOST}"] if (Path("/sys/class/net") / LINK_HOST).exists() else []
    return found


def clean(layout: Layout) -> None:
    """Take away all that a node leaves, once its processes are gone."""
    containers.kill(layout)
    mounts.unmount(layout.state)
    netns.delete_namespace(second.PATH)
    netns.delete()
    cgroups.remove()
    remove_log_links(layout)
    cni.remove_results()
    remove_cluster_data(layout)
