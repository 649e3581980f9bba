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
    HOST_IP_V6,
    LINK_CIDR,
    LINK_CIDR_V6,
    LINK_HOST,
    LINK_NODE,
    NETNS,
    NODE_IP,
    NODE_IP_V6,
    POD_CIDR,
    POD_CIDR_V6,
    SECOND_LINK_CIDR,
    SERVICE_CIDR,
    SERVICE_CIDR_V6,
)

PATH = Path("/run/netns") / NETNS
_OURS = (LINK_CIDR, SECOND_LINK_CIDR, SERVICE_CIDR, POD_CIDR)
_OURS_V6 = (LINK_CIDR_V6, SERVICE_CIDR_V6, POD_CIDR_V6)
_NO_IPV6 = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")


def inside(*command: str | Path, namespace: Path = PATH) -> list[str]:
    """The command to run `command` in the namespace (the node's own, unless told otherwise).

    `ip netns exec` is no good for this: it mounts a new /sys, which hides the cgroups from the
    kubelet and containerd.
    """
    return ["nsenter", f"--net={namespace}", "--", *(str(part) for part in command)]


def exists() -> bool:
    """Whether the namespace is there."""
    return PATH.exists()


def has_ipv6() -> bool:
    """Whether this machine's kernel speaks IPv6: the node has both families then."""
    try:
        return _NO_IPV6.read_text().strip() == "0"
    except OSError:
        return False


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
    if has_ipv6():
        _add_ipv6(inner)


def _add_ipv6(inner: list[str]) -> None:
    prefix = LINK_CIDR_V6.partition("/")[2]
    # Nobody else is on the link: nothing waits for duplicate address detection.
    for command, address, link in (
        (["ip"], HOST_IP_V6, LINK_HOST),
        (inner, NODE_IP_V6, LINK_NODE),
    ):
        shell.call([*command, "address", "add", f"{address}/{prefix}", "dev", link, "nodad"])
    shell.call([*inner, "-6", "route", "add", "default", "via", HOST_IP_V6])
    shell.call(inside("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"))
    for network in (SERVICE_CIDR_V6, POD_CIDR_V6):
        shell.call(["ip", "-6", "route", "add", network, "via", NODE_IP_V6, "dev", LINK_HOST])


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
    families = ("-4", "-6") if has_ipv6() else ("-4",)
    shown = [shell.call(["ip", "-json", f, "route", "show", "table", "all"]) for f in families]
    for route in (route for done in shown for route in json.loads(done.stdout)):
        clash = clashes(str(route.get("dst", "")))
        if clash and route.get("dev") != LINK_HOST:
            raise NodeError(
                f"this machine already routes {route['dst']} (to {route.get('dev', '?')}),"
                f" and the node needs {clash}",
                hint="end what uses it (another cluster, a VPN), then run `up` again",
            )


def clashes(destination: str) -> str:
    """Which of our networks a route's destination lies in or takes a part of; empty if none."""
    if not re.match(r"\d+\.|[0-9a-f]*:", destination):
        return ""  # "default" and the like
    network = ipaddress.ip_network(destination, strict=False)
    for ours in _OURS if network.version == 4 else _OURS_V6:
        # A wider route (10.0.0.0/8 of an office network) is fine: ours is more specific.
        if network.subnet_of(ipaddress.ip_network(ours)):  # type: ignore[arg-type]
            return ours
    return ""
