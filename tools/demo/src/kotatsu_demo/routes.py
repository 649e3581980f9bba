"""Routes from this machine to the Services and pods of a kind cluster.

A kind node is a container of Docker, and knows the way to every Service and pod. On Linux this
machine reaches it by its address, so two routes through it are enough. Root sets them; for anybody
else a container in the machine's network namespace does, from the node's own image.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kotatsu_demo.errors import MissingError
from kotatsu_demo.kube import Kube
from kotatsu_node import NodeError, shell

_SECONDS = 2.0
"""How long a connection to the API server's Service may take."""


@dataclass(frozen=True)
class Route:
    """A network of the cluster, and the address of the node that knows the way."""

    network: str
    via: str


def are_needed(kube: Kube) -> bool:
    """Whether this machine can't reach a cluster's Services; it tries the API server's.

    The certificate counts: a proxy on the way to the internet may accept any connection.
    """
    service = kube.get("service", "kubernetes", namespace="default")
    authority = kube.get("configmap", "kube-root-ca.crt", namespace="default")
    if service is None or authority is None:
        return True
    address = service["spec"]["clusterIP"]
    trust = ssl.create_default_context(cadata=authority["data"]["ca.crt"])
    try:
        with socket.create_connection((address, 443), _SECONDS) as connection:
            trust.wrap_socket(connection, server_hostname=address).close()
    except OSError:
        return True
    return False


def open_to(kube: Kube, record: Path) -> bool:
    """Set the routes to a kind cluster where they are needed; whether they were.

    They are noted in `record`, for `close`. Raises MissingError where this machine can't have them.
    """
    if not are_needed(kube):
        return False
    if sys.platform != "linux":
        raise MissingError(
            f"the Services and pods of {kube.context} can't be reached from {sys.platform}: Docker"
            " runs in a virtual machine there",
            hint="run it on Linux",
        )
    nodes = json.loads(kube.kubectl("get", "nodes", "-o", "json"))["items"]
    config = kube.get("configmap", "kubeadm-config", namespace="kube-system")
    if config is None:
        raise MissingError(
            f"{kube.context} is no kind cluster (it has no ConfigMap kubeadm-config), so the"
            " routes to its Services and pods are not known",
            hint="set routes to the cluster's networks yourself",
        )
    routes = routes_of(nodes, yaml.safe_load(config["data"]["ClusterConfiguration"]))
    ip = _ip(str(nodes[0]["metadata"]["name"]))
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps({"ip": ip, "routes": [[r.network, r.via] for r in routes]}))
    try:
        for route in routes:
            shell.call([*ip, "route", "replace", route.network, "via", route.via])
    except NodeError as error:
        raise MissingError(
            f"this machine got no routes to the Services and pods of {kube.context}",
            log=error.report(),
            hint="run the same as root",
        ) from error
    if are_needed(kube):
        raise MissingError(
            f"the Services of {kube.context} don't answer, although there are routes to them",
            hint="look for a firewall, or run it as root on the machine where Docker runs",
        )
    return True


def close(record: Path) -> None:
    """Remove the routes that `open_to` has set and that are still there."""
    if not record.exists():
        return
    noted = json.loads(record.read_text())
    for network, via in noted["routes"]:
        shell.call([*noted["ip"], "route", "delete", network, "via", via], check=False)
    record.unlink()


def routes_of(nodes: list[dict[str, Any]], cluster: dict[str, Any]) -> list[Route]:
    """The IPv4 networks of a cluster's Services and pods, each through a node.

    `cluster` is kubeadm's ClusterConfiguration. Services are known to every node.
    """
    found: list[Route] = []
    for node in nodes:
        address = next(
            a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP"
        )
        if not found:
            found += [Route(n, address) for n in cluster["networking"]["serviceSubnet"].split(",")]
        spec = node["spec"]
        found += [Route(n, address) for n in spec.get("podCIDRs") or [spec["podCIDR"]]]
    return [route for route in found if ipaddress.ip_network(route.network).version == 4]


def _ip(node: str) -> list[str]:
    """The program `ip` with rights over this machine's routes."""
    if os.geteuid() == 0:
        return ["ip"]
    image = shell.call(["docker", "inspect", "--format", "{{.Config.Image}}", node]).stdout.strip()
    rights = ("--network=host", "--cap-add=NET_ADMIN", "--user=0", "--entrypoint=ip")
    return ["docker", "run", "--rm", *rights, image]
