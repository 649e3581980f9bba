"""The node's network namespace: its interfaces and iptables are its own, not the machine's.

A veth pair joins it to the machine; two routes make pod and service addresses reachable from it.
Deleting the namespace removes every rule that kube-proxy wrote.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
from pathlib import Path

from kotatsu_node import shell
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import (
    HOST_IP,
    LINK_CIDR,
    LINK_HOST,
    LINK_NODE,
    NETNS,
    NODE_IP,
    POD_CIDR,
    SECOND_LINK_CIDR,
    SERVICE_CIDR,
)

PATH = Path("/run/netns") / NETNS
_OURS = (LINK_CIDR, SECOND_LINK_CIDR, SERVICE_CIDR, POD_CIDR)


def inside(*command: str | Path, namespace: Path = PATH) -> list[str]:
    """The command to run `command` in the namespace (the node's own, unless told otherwise).

    `ip netns exec` is no good for this: it mounts a new /sys, which hides the cgroups from the
    kubelet and containerd.
    """
    return ["nsenter", f"--net={namespace}", "--", *(str(part) for part in command)]


def exists() -> bool:
    """Whether the namespace is there."""
    return PATH.exists()


def create() -> None:
    """Make the namespace, the veth pair and the routes; they must not be there yet."""
    check_addresses_are_free()
    prefix = LINK_CIDR.partition("/")[2]
    shell.call(["ip", "netns", "add", NETNS])
    pair = ["ip", "link", "add", LINK_HOST, "type", "veth", "peer", "name", LINK_NODE]
    shell.call([*pair, "netns", NETNS])
    shell.call(["ip", "address", "add", f"{HOST_IP}/{prefix}", "dev", LINK_HOST])
    shell.call(["ip", "link", "set", LINK_HOST, "up"])
    inner = ["ip", "-netns", NETNS]
    shell.call([*inner, "link", "set", "lo", "up"])
    shell.call([*inner, "address", "add", f"{NODE_IP}/{prefix}", "dev", LINK_NODE])
    shell.call([*inner, "link", "set", LINK_NODE, "up"])
    shell.call([*inner, "route", "add", "default", "via", HOST_IP])
    shell.call(inside("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"))
    for network in (SERVICE_CIDR, POD_CIDR):
        shell.call(["ip", "route", "add", network, "via", NODE_IP, "dev", LINK_HOST])


def delete() -> None:
    """Remove namespace, veth pair and (with it) the routes; no error when they are not there."""
    # The link first: deleting a namespace takes its end of the pair along only some time later.
    if (Path("/sys/class/net") / LINK_HOST).exists():
        shell.call(["ip", "link", "delete", LINK_HOST])
    delete_namespace(PATH)
    _remove_if_unused(PATH.parent)


def delete_namespace(path: Path) -> None:
    """Remove a named namespace with all that is in it; no error when it is not there."""
    gone = ["ip", "netns", "delete", path.name]
    if path.exists() and shell.call(gone, check=False).returncode != 0:
        # After a reboot /run/netns may hold a plain file instead of a mounted namespace.
        path.unlink(missing_ok=True)


def _remove_if_unused(directory: Path) -> None:
    # `ip netns add` mounts the directory over itself, and nothing ever takes that away.
    if directory.is_dir() and not any(directory.iterdir()):
        shell.call(["umount", directory], check=False)
        with contextlib.suppress(OSError):
            directory.rmdir()


def processes_in() -> list[int]:
    """Ids of the processes in the namespace itself (pods have their own)."""
    if not exists():
        return []
    done = shell.call(["ip", "netns", "pids", NETNS], check=False)
    return [int(word) for word in done.stdout.split()]


def check_addresses_are_free() -> None:
    """Raise NodeError when the machine already routes one of our networks elsewhere."""
    routes = json.loads(shell.call(["ip", "-json", "-4", "route", "show", "table", "all"]).stdout)
    for route in routes:
        clash = clashes(str(route.get("dst", "")))
        if clash and route.get("dev") != LINK_HOST:
            raise NodeError(
                f"this machine already routes {route['dst']} (to {route.get('dev', '?')}),"
                f" and the node needs {clash}",
                hint="end what uses it (another cluster, a VPN), then run `up` again",
            )


def clashes(destination: str) -> str:
    """Which of our networks a route's destination lies in or takes a part of; empty if none."""
    if not re.match(r"\d+\.", destination):
        return ""  # "default" and the like
    network = ipaddress.ip_network(destination, strict=False)
    for ours in _OURS:
        # A wider route (10.0.0.0/8 of an office network) is fine: ours is more specific.
        if network.subnet_of(ipaddress.ip_network(ours)):  # type: ignore[arg-type]
            return ours
    return ""
