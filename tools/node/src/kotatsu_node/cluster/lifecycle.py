"""Bring the components up in order, and wait for each to be of use."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from kotatsu_node import shell
from kotatsu_node.cluster import api, manifests
from kotatsu_node.cluster.api import Api
from kotatsu_node.components import commands, containerd, containers, processes
from kotatsu_node.components.processes import Process
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import API_SERVICE_IP, Layout
from kotatsu_node.network import netns

_POLL_SECONDS = 0.05
# A loaded machine needs much longer than the usual two seconds.
_START_SECONDS = 120.0
# The API server finishes open requests; the rest have nothing to finish.
STOP_SECONDS = 5.0


def alive(layout: Layout) -> dict[str, Process]:
    """The recorded components that still run."""
    recorded = processes.recorded(layout.processes)
    return {name: process for name, process in recorded.items() if process.is_alive()}


def start(layout: Layout, kube: Path, name: str) -> None:
    """Start one component in the node's network namespace; nothing to do when it runs."""
    if name not in alive(layout):
        command = commands.command(name, commands.Setting(layout, kube))
        log = layout.logs / f"{name}.log"
        processes.start(name, netns.inside(*command), log, layout.processes)


def stop(layout: Layout, names: Iterable[str], grace: float = STOP_SECONDS) -> None:
    """End components: TERM, and KILL after `grace` seconds."""
    running = alive(layout)
    processes.stop([running[name] for name in names if name in running], grace)
    for name in names:
        (layout.processes / f"{name}.json").unlink(missing_ok=True)


def wait_until(
    layout: Layout, what: str, test: Callable[[], bool], names: Iterable[str], why: str = ""
) -> None:
    """Poll `test`; NodeError with the log of the first of `names` that died, or on time-out."""
    names = list(names)
    deadline = time.monotonic() + _START_SECONDS
    while not test():
        running = alive(layout)
        for name in names:
            if name not in running:
                raise _failure(layout, f"{name} ended right after its start", name)
        if time.monotonic() > deadline:
            reason = f" ({why})" if why else ""
            raise _failure(
                layout, f"{what} did not come within {_START_SECONDS:.0f} s{reason}", names[-1]
            )
        time.sleep(_POLL_SECONDS)


def _failure(layout: Layout, what: str, name: str) -> NodeError:
    log = layout.logs / f"{name}.log"
    return NodeError(
        what,
        log=shell.tail(log),
        hint=f"read {log}; `kotatsu-node down` and `kotatsu-node up` start from nothing",
    )


def start_control_plane(layout: Layout, kube: Path) -> None:
    """etcd, containerd and the API server, then what talks to it; waits for /readyz."""
    for name in ("etcd", "containerd", "kube-apiserver"):
        start(layout, kube, name)
    client = Api(layout.pki)
    wait_until(layout, "the API server", client.is_ready, ("etcd", "kube-apiserver"))
    for name in ("kube-controller-manager", "kube-scheduler", "kube-proxy"):
        start(layout, kube, name)


def start_containerd(layout: Layout, kube: Path, *, keep_containers: bool) -> None:
    """Start containerd, unless told otherwise without memory of containers from before."""
    start(layout, kube, "containerd")
    wait_for_containerd(layout)
    if not keep_containers and containers.forget(layout):
        # Its CRI part read them at its start, so it has to start again.
        stop(layout, ["containerd"])
        start(layout, kube, "containerd")
        wait_for_containerd(layout)


def wait_for_containerd(layout: Layout) -> None:
    """Wait until containerd's CRI part answers."""
    wait_until(layout, "containerd", lambda: containerd.is_answering(layout), ["containerd"])


def install(layout: Layout, kube: Path) -> None:
    """Apply the cluster's DNS, storage class and volumes."""
    for number in range(1, manifests.VOLUMES + 1):
        directory = layout.volumes / manifests.volume_name(number)
        directory.mkdir(parents=True, exist_ok=True)
        # Pods run as many users, and hostPath knows no fsGroup.
        directory.chmod(0o777)
    items = [*manifests.dns(kube), *manifests.storage(layout.volumes)]
    kubectl(
        layout, kube, "apply", "--server-side", "--force-conflicts", "-f", "-",
        stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}),
    )  # fmt: skip


def kubectl(layout: Layout, kube: Path, *arguments: str, stdin: str | None = None) -> str:
    """Run kubectl as the administrator and return what it printed."""
    command = [str(kube / "kubectl"), f"--kubeconfig={layout.kubeconfig}", *arguments]
    return shell.call(command, stdin=stdin).stdout


def wait_ready(layout: Layout) -> None:
    """Wait until the node is Ready."""
    client = Api(layout.pki)
    wait_until(
        layout, "a Ready node", lambda: client.node_condition() == "", ("containerd", "kubelet")
    )


def wait_proxy(layout: Layout, name: str, mode: str, namespace: Path = netns.PATH) -> None:
    """Wait until a kube-proxy has written its rules (its health says nothing about that)."""
    show = ["iptables-save"] if mode == "iptables" else ["nft", "list", "table", "ip", "kube-proxy"]

    def has_rules() -> bool:
        rules = shell.call(netns.inside(*show, namespace=namespace), check=False).stdout
        return API_SERVICE_IP in rules

    wait_until(layout, f"{name}'s rules", has_rules, [name])


def wait_dns(layout: Layout, kube: Path) -> None:
    """Wait until the cluster's DNS answers; if it does not, the error has CoreDNS's own log."""
    try:
        wait_until(layout, "an answer from the cluster's DNS", api.dns_answers, ("kubelet",))
    except NodeError as error:
        with contextlib.suppress(NodeError):
            logs = kubectl(layout, kube, "-n", "kube-system", "logs", "deploy/coredns", "--tail=8")
            error.log = logs or error.log
        raise
