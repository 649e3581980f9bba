"""The node's life on this machine: it is ended and started several times.

Whatever ran in the node before is gone afterwards; the node itself is left as it was found.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import needs
import pytest

from kotatsu_node import Node, NodeError, mounts
from kotatsu_node.cluster import lifecycle
from kotatsu_node.components import commands, containerd, containers, processes
from kotatsu_node.layout import BASE_IMAGE

pytestmark = needs.A_NODE

CONTAINERD_DEFAULTS = (
    *("/run/containerd", "/run/nri"),
    *("/var/lib/containerd", "/opt/containerd", "/opt/nri", "/opt/cni"),
    *("/etc/containerd", "/etc/nri", "/etc/cni", "/etc/cdi"),
)
"""Where a containerd without a configuration of its own has its sockets, folders and data."""


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    node = Node.open()
    was_up = node.status().is_healthy
    try:
        yield node
    finally:
        if was_up:
            node.up()
        else:
            node.down()


def kubectl(node: Node, *arguments: str) -> str:
    return lifecycle.kubectl(node.layout, node.layout.bin, *arguments)


def pids(node: Node) -> dict[str, int]:
    return {name: process.pid for name, process in lifecycle.alive(node.layout).items()}


def run_a_pod(node: Node) -> str:
    """Start a pod on the node and wait for it; the id of its container."""
    kubectl(node, "run", "sleeper", f"--image={BASE_IMAGE}", "--", "sleep", "3600")
    kubectl(node, "wait", "pod/sleeper", "--for=condition=Ready", "--timeout=30s")
    path = "jsonpath={.status.containerStatuses[0].containerID}"
    return kubectl(node, "get", "pod", "sleeper", "-o", path).rpartition("/")[2]


def kill_everything(node: Node) -> None:
    """What a crash leaves: containers run on, with nobody to look after them."""
    victims = [*lifecycle.alive(node.layout).values(), *containers.shims(node.layout)]
    for victim in victims:
        victim.signal(signal.SIGKILL)
    assert processes.wait_gone(victims, 10) == []


def sandboxes(node: Node) -> set[str]:
    """Ids of the pods' sandboxes that containerd knows."""
    rows = containerd.ctr(node.layout, "sandboxes", "ls").splitlines()[1:]
    return {row.split()[0] for row in rows}


def processes_of(container: str) -> list[str]:
    return [
        entry.name
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit()
        and container in read(entry / "cgroup")
        and processes.identify(int(entry.name))  # a zombie waits only for its parent
    ]


def read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def machine(node: Node) -> dict[str, set[str]]:
    """What a node could leave behind on this machine."""

    def lines(*command: str) -> set[str]:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        # iptables-save writes the time of day and counters.
        kept = [line for line in done.stdout.splitlines() if not line.startswith(("#", ":"))]
        return set(kept)

    state = str(node.layout.state)
    return {
        "mounts": lines("findmnt", "--list", "--noheadings", "--output", "TARGET,FSTYPE"),
        "namespaces": lines("ip", "netns", "list"),
        "links": {link.name for link in Path("/sys/class/net").iterdir()},
        "routes": lines("ip", "route", "show", "table", "all"),
        "rules": lines("iptables-save"),
        "cgroups": {str(path) for path in Path("/sys/fs/cgroup").glob("*/kotatsu-node*")},
        "processes": {
            f"{entry.name} {read(entry / 'cmdline')}"
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and state in read(entry / "cmdline")
        },
        "network results": {str(path) for path in Path("/var/lib/cni/results").glob("*")},
        "places of any containerd": {
            str(path) for place in CONTAINERD_DEFAULTS for path in Path(place).rglob("*")
        },
    }


def test_up_starts_again_what_is_missing_and_keeps_the_cluster(node: Node) -> None:
    node.up()
    kubectl(node, "create", "configmap", "memory")
    before = pids(node)
    container = run_a_pod(node)
    for component in commands.ORDER:
        if component != "kube-scheduler":
            node.kill(component)
    assert not node.status().is_healthy
    node.up()
    assert node.status().is_healthy
    assert kubectl(node, "get", "configmap", "memory", "-o", "name").strip() == "configmap/memory"
    assert pids(node)["kube-scheduler"] == before["kube-scheduler"]
    assert processes_of(container) != []
    kubectl(node, "delete", "pod", "sleeper", "--now")


def test_a_component_can_be_ended_and_started_while_pods_run_on(node: Node) -> None:
    node.up()
    container = run_a_pod(node)
    before = processes_of(container)
    node.stop("containerd")
    node.stop("kubelet")
    assert processes_of(container) == before != []
    node.start("containerd")
    node.start("kubelet")
    lifecycle.wait_ready(node.layout)
    kubectl(node, "delete", "pod", "sleeper", "--now")
    assert processes_of(container) == []


def test_after_everything_was_killed_up_cleans_up_and_starts(node: Node) -> None:
    node.up()
    container = run_a_pod(node)
    before = sandboxes(node)
    assert before
    kill_everything(node)
    assert processes_of(container) != []
    assert mounts.of(node.layout.state) != []

    node.up()

    assert node.status().is_healthy
    assert processes_of(container) == []
    assert not before & sandboxes(node)
    with pytest.raises(NodeError, match="exit code 1"):
        kubectl(node, "get", "pod", "sleeper")


def test_a_node_that_is_up_is_not_taken_for_one_of_another_release(node: Node) -> None:
    node.up()
    before = pids(node)
    other = Node(replace(node.layout, kubernetes="1.20"))
    with pytest.raises(NodeError, match=r"does not run Kubernetes 1\.20"):
        other.up()
    assert pids(node) == before


def test_down_leaves_nothing_on_the_machine(node: Node) -> None:
    node.down()
    before = machine(node)
    node.up()
    node.second_up(proxy_mode="nftables")
    run_a_pod(node)
    during = machine(node)
    node.down()
    assert machine(node) == before
    assert node.status().is_absent
    changed = {what for what in before if during[what] != before[what]}
    # A snapshot that sees no difference while the node is up would prove nothing. The rules stay
    # the same throughout: kube-proxy writes into the node's own namespace, and containerd keeps all
    # it has below the state directory.
    assert changed == set(before) - {"rules", "places of any containerd"}


def test_down_after_everything_was_killed_leaves_nothing_either(node: Node) -> None:
    node.down()
    before = machine(node)
    node.up()
    container = run_a_pod(node)
    kill_everything(node)
    node.down()
    assert machine(node) == before
    assert processes_of(container) == []
