"""Nodes that join late; operator and activator as processes on a control plane of their own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import needs
from e2e import late_nodes, rights
from e2e.kit import Kubectl, Object, pool
from e2e.late_nodes import Autoscaler, Node
from lightkube import AsyncClient, KubeConfig

from kotatsu_node.cluster.control_plane import control_plane, free_ports
from kotatsu_node.layout import Layout
from kotatsu_operator.kube.objects import Deployment, Service, WarmPool
from simulation.kubelet import serve_metrics
from simulation.run import deployment, service

CLOUD = 90.0
"""Seconds until a machine of a cloud joins."""

CAPACITY = ("--set=capacityAhead.enabled=true", "--set=capacityAhead.image=none")
"""Of the chart: placeholders ahead of windows. Nothing is pulled for pods of pretended nodes."""

PLACEHOLDERS = {
    "capacity_image": "none",
    "capacity_priority_class": f"kotatsu-capacity-{rights.HERE}",
}
"""Of the operator: the same."""


@dataclass
class World:
    """A cluster whose nodes come when pods wait for them, and go when their pods do."""

    kubectl: Kubectl
    client: Any
    """May do everything."""
    nodes: Autoscaler
    address: str
    """Where the activator listens."""
    port: int
    """Where the metrics page of every pod is served."""
    operator_log: Path

    async def add(self, name: str, *, selects: Object | None = None, **spec: Any) -> None:
        """A pool asleep, and its app; the page of its pods is served by the test.

        `selects` are the labels of the nodes that its pods may run on.
        """
        made, in_front = deployment(name, self.port), service(name)
        made["spec"]["template"]["spec"] |= {"hostNetwork": True, "nodeSelector": selects or {}}
        for kind, obj in ((Deployment, made), (Service, in_front), (WarmPool, pool(name, **spec))):
            obj["metadata"]["namespace"] = self.kubectl.namespace
            await self.client.create(kind(obj))


@asynccontextmanager
async def late_world(
    tmp_path: Path, delay: float, *chart: str, **operator: object
) -> AsyncIterator[World]:
    """A world whose nodes join so many seconds late; `chart` are arguments of helm.

    Operator and activator have the rights that the chart gives them.
    """
    layout = Layout.from_environment()
    needs.kubernetes()
    address = rights.own_address()
    async with AsyncExitStack() as stack:
        plane = stack.enter_context(control_plane(layout, rights.USERS, schedules=True))
        kubectl = rights.install(plane, *chart)
        stack.enter_context(late_nodes.kwok(plane, rights.KUBELET, tmp_path))
        client: Any = AsyncClient(KubeConfig.from_file(plane.users[rights.KUBELET]))
        stack.push_async_callback(client.close)
        await client.create(Node(late_nodes.node("always")))
        server, port = await serve_metrics()
        stack.callback(server.close)
        log = tmp_path / "activator.log"
        stack.enter_context(rights.activator(plane, kubectl, address, log, node="always"))
        stack.enter_context(
            rights.process(
                *(plane, rights.OPERATOR, "kotatsu-operator"),
                log=tmp_path / "operator.log",
                pod_namespace=rights.HERE,
                pod_name="operator-1",
                port=free_ports(1)[0],
                **operator,
            )
        )
        autoscaler = Autoscaler(client, rights.HERE, delay=delay)
        running = asyncio.create_task(autoscaler.run())
        stack.callback(running.cancel)
        yield World(kubectl, client, autoscaler, address, port, tmp_path / "operator.log")
        assert not running.done(), running.exception()
