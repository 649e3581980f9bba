"""Nodes that join late: a node autoscaler as clouds have one, with nodes that kwok pretends.

kwok (sigs.k8s.io/kwok) plays the kubelets: each pod that is bound to a node is Ready at once, and
has the address 127.0.0.1 if it asks for the node's network.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e import peer
from e2e.kit import Object
from lightkube.generic_resource import create_global_resource

from kotatsu_node.build import peers
from kotatsu_node.cluster.control_plane import ControlPlane, free_ports
from kotatsu_operator.kube.objects import Pod

Node: Any = create_global_resource("", "v1", "Node", "nodes")

STAGES = (("node", "initialize"), ("pod", "ready"), ("pod", "complete"), ("pod", "delete"))
"""Of kwok: what nodes and pods go through."""

LOOK_EVERY = 0.2
"""Seconds between two looks of the autoscaler."""

STAYS = 3.0
"""Seconds that a node stays without a pod: one is evicted for another that is bound only then."""


def node(name: str, labels: Object | None = None) -> Object:
    """A node with room for one pod."""
    room = {"cpu": "4", "memory": "8Gi", "pods": "1"}
    meta = {"name": name, "labels": labels or {}}
    return {"metadata": meta, "status": {"allocatable": room, "capacity": room}}


def finds_no_node(pod: Object) -> bool:
    """Whether the scheduler has found no node for a pod."""
    conditions = pod.get("status", {}).get("conditions", ())
    return any(c["type"] == "PodScheduled" and c["reason"] == "Unschedulable" for c in conditions
               if c["status"] == "False")  # fmt: skip


@dataclass
class Autoscaler:
    """Adds a node for each pod that finds none, and removes it a while after its pod is gone."""

    client: Any
    namespace: str
    delay: float = 90.0
    """Seconds from when a pod waits until its node joins: what a machine of a cloud takes."""
    nodes: list[str] = field(default_factory=list)
    """The names of all that have joined, oldest first."""
    present: dict[str, Object] = field(default_factory=dict)
    """Those that have not been removed, with their labels: what their pods select."""
    _since: dict[str, float] = field(default_factory=dict)
    _served: set[str] = field(default_factory=set)
    _used: set[str] = field(default_factory=set)
    _unused: dict[str, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            pods = [pod async for pod in self.client.list(Pod, namespace=self.namespace)]
            await self._add(pods, time.monotonic())
            used = {pod["spec"].get("nodeName", "") for pod in pods}
            await self._remove(used, time.monotonic())
            await asyncio.sleep(LOOK_EVERY)

    async def _add(self, pods: list[Object], now: float) -> None:
        waiting = {pod["metadata"]["uid"]: pod for pod in pods if finds_no_node(pod)}
        self._since = {uid: self._since.get(uid, now) for uid in waiting if uid not in self._served}
        for uid, since in self._since.items():
            if now - since >= self.delay:
                name = f"late-{len(self.nodes)}"
                wanted = waiting[uid]["spec"].get("nodeSelector")
                await self.client.create(Node(node(name, wanted)))
                self._served.add(uid)
                self.nodes.append(name)
                self.present[name] = dict(wanted or {})

    async def _remove(self, used: set[str], now: float) -> None:
        self._used |= used
        unused = self.present.keys() & self._used - used
        self._unused = {name: self._unused.get(name, now) for name in unused}
        for name, since in self._unused.items():
            if now - since >= STAYS:
                await self.client.delete(Node, name)
                del self.present[name]


@contextmanager
def kwok(plane: ControlPlane, user: str, folder: Path) -> Iterator[None]:
    """Have every node of a control plane pretended; `user` may do what a kubelet may."""
    program = peer.built("kwok", folder)
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    # As they were published: every node is Ready at once, and so is every pod of one.
    stages = peers.module_sources("kwok", "sigs.k8s.io/kwok") / "kustomize/stage"
    files = (stages / kind / "fast" / f"{kind}-{what}.yaml" for kind, what in STAGES)
    arguments = (
        *(f"--config={file}" for file in files),
        f"--kubeconfig={plane.users[user]}",
        "--manage-all-nodes=true",
        "--node-ip=127.0.0.1",
        "--node-lease-duration-seconds=40",
        f"--server-address={address}",
    )
    ready = f"http://{address}/healthz"
    # A configuration in the home of whoever runs this means nothing here.
    with peer.running(program, *arguments, folder=folder, ready=ready, KWOK_WORKDIR=str(folder)):
        yield
