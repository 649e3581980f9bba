"""A second node without a kubelet: a network namespace, a kube-proxy, and a Node object.

It runs no pods. It is what another node's kube-proxy and the clients there see of the cluster's
Services: that proxy follows the EndpointSlices by itself, in a mode of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kotatsu_node import shell
from kotatsu_node.cluster import lifecycle
from kotatsu_node.cluster.api import Api
from kotatsu_node.components import configuration, processes
from kotatsu_node.components.commands import Setting
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import (
    HOST_IP,
    LINK_HOST,
    NETNS,
    NODE_IP,
    SECOND_GATEWAY,
    SECOND_IP,
    SECOND_LINK_CIDR,
    SECOND_NAME,
    SECOND_NETNS,
    SERVICE_CIDR,
    Layout,
)
from kotatsu_node.network import netns

PATH = netns.PATH.with_name(SECOND_NETNS)
PROXY = "kube-proxy-second"
_LINK, _LINK_SECOND = "to-second", "to-node"
# Without this the first node's kube-proxy would serve whatever the second one's has no rule for.
_OWN_PROXY_ONLY = ["PREROUTING", "-i", _LINK, "-d", SERVICE_CIDR, "-j", "DROP"]


def up(layout: Layout, kube: Path, mode: str) -> None:
    """Add the second node, or start its kube-proxy in another mode."""
    if "kube-apiserver" not in lifecycle.alive(layout):
        raise NodeError("the node is not up", hint="start it with `kotatsu-node up`")
    _register(Api(layout.pki))
    if not PATH.exists():
        _join()
    lifecycle.stop(layout, [PROXY])
    file = configuration.write_proxy(Setting(layout, kube), PROXY, SECOND_NAME, mode)
    command = netns.inside(kube / "kube-proxy", f"--config={file}", namespace=PATH)
    processes.start(PROXY, command, layout.logs / f"{PROXY}.log", layout.processes)
    lifecycle.wait_proxy(layout, PROXY, mode, PATH)


def down(layout: Layout) -> None:
    """Remove the second node; no error when there is none."""
    lifecycle.stop(layout, [PROXY])
    netns.delete_namespace(PATH)
    shell.call(_raw("-D"), check=False)
    if "kube-apiserver" in lifecycle.alive(layout):
        try:
            Api(layout.pki).request(f"/api/v1/nodes/{SECOND_NAME}", method="DELETE")
        except NodeError as error:
            if not error.what.endswith(": 404"):
                raise
    route = ["ip", "route", "delete", SECOND_LINK_CIDR, "via", NODE_IP, "dev", LINK_HOST]
    shell.call(route, check=False)


def node_object() -> dict[str, Any]:
    """The Node: nothing is ever scheduled to it, since nobody there would start it."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": SECOND_NAME, "labels": {"kubernetes.io/hostname": SECOND_NAME}},
        "spec": {"unschedulable": True},
        "status": {"addresses": [{"type": "InternalIP", "address": SECOND_IP}]},
    }


def _register(api: Api) -> None:
    try:
        api.request("/api/v1/nodes", method="POST", body=node_object())
    except NodeError as error:
        if not error.what.endswith(": 409"):
            raise


def _join() -> None:
    """Make the namespace, and join it to the node by a veth pair."""
    prefix = SECOND_LINK_CIDR.partition("/")[2]
    node, second = ["ip", "-netns", NETNS], ["ip", "-netns", SECOND_NETNS]
    shell.call(["ip", "netns", "add", SECOND_NETNS])
    pair = ["link", "add", _LINK, "type", "veth", "peer", "name", _LINK_SECOND]
    shell.call([*node, *pair, "netns", SECOND_NETNS])
    shell.call([*node, "address", "add", f"{SECOND_GATEWAY}/{prefix}", "dev", _LINK])
    shell.call([*node, "link", "set", _LINK, "up"])
    shell.call([*second, "link", "set", "lo", "up"])
    shell.call([*second, "address", "add", f"{SECOND_IP}/{prefix}", "dev", _LINK_SECOND])
    shell.call([*second, "link", "set", _LINK_SECOND, "up"])
    shell.call([*second, "route", "add", "default", "via", SECOND_GATEWAY])
    shell.call(_raw("-I"))
    forward = ("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    shell.call(netns.inside(*forward, namespace=PATH))
    # So that the machine reaches node ports there, as a client from outside does.
    route = ["ip", "route", "replace", SECOND_LINK_CIDR, "via", NODE_IP, "dev", LINK_HOST]
    shell.call([*route, "src", HOST_IP])


def _raw(change: str) -> list[str]:
    return netns.inside("iptables", "-w", "-t", "raw", change, *_OWN_PROXY_ONLY)
