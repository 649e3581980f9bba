"""Pods that wait for a node: the time it takes to join is part of the lead that a pool learns.

On a control plane without a node (tools/node): kwok pretends those that join.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import needs
import pytest
from e2e import late_nodes, rights
from e2e.kit import Kubectl, Object, eventually, parse, pool, wall
from e2e.late_nodes import Autoscaler, Node
from lightkube import AsyncClient, KubeConfig

from kotatsu_node.cluster.control_plane import control_plane, free_ports
from kotatsu_node.layout import Layout
from kotatsu_operator.controller.reconciler import WAKE_GOES_FIRST
from kotatsu_operator.core.formats import parse_duration
from kotatsu_operator.core.plan.lead import auto_lead
from kotatsu_operator.core.pool.memory import WarmUp
from kotatsu_operator.core.protocol import (
    CAPACITY_LABEL,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    SERVICE_LABEL,
)
from simulation.kubelet import serve_metrics
from simulation.run import deployment, service

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

DELAY = 5.0
"""Seconds; a cloud takes ninety, and nothing here depends on it but how long the test lasts."""

SETTLE = timedelta(seconds=5)
"""spec.drain.routeSettle, where nothing is said."""


@dataclass
class World:
    """A cluster whose nodes come when pods wait for them, and go when their pods do."""

    kubectl: Kubectl
    nodes: Autoscaler
    address: str
    """Where the activator listens."""

    def status(self) -> Object:
        return dict(self.kubectl.get("warmpool", "web").get("status") or {})

    def is_asleep(self) -> bool:
        return self.status().get("phase") == "Asleep" and not self.nodes.present

    async def wake(self) -> httpx.Response:
        """One request through the activator."""
        labels = {SERVICE_LABEL: "web", MANAGED_BY_LABEL: MANAGED_BY}
        [mine] = await eventually(
            "the activator's slice", lambda: self.kubectl.items("endpointslices", **labels)
        )
        port = mine["ports"][0]["port"]
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            return await http.get(f"http://{self.address}:{port}/")


CAPACITY = ("--set=capacityAhead.enabled=true", "--set=capacityAhead.image=none")
"""Of the chart: placeholders ahead of windows. Nothing is pulled for pods of pretended nodes."""

CLOUD = 90.0
"""Seconds until a machine of a cloud joins."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Operator and activator as processes, with the rights that the chart gives them."""
    async with _world(tmp_path, DELAY) as made:
        yield made


@asynccontextmanager
async def _world(
    tmp_path: Path, delay: float, *chart: str, **operator: object
) -> AsyncIterator[World]:
    """A world whose nodes join so many seconds late; `chart` are arguments of helm."""
    layout = Layout.from_environment()
    needs.kubernetes()
    address = rights.own_address()
    if address is None:
        pytest.skip("this machine has no address but loopback, and EndpointSlices take none")
    async with AsyncExitStack() as stack:
        plane = stack.enter_context(control_plane(layout, rights.USERS, schedules=True))
        kubectl = rights.install(plane, *chart)
        stack.enter_context(late_nodes.kwok(plane, rights.KUBELET, tmp_path))
        client: Any = AsyncClient(KubeConfig.from_file(plane.users[rights.KUBELET]))
        stack.push_async_callback(client.close)
        await client.create(Node(late_nodes.node("always")))
        server, port = await serve_metrics()
        stack.callback(server.close)
        _add_app(kubectl, port)
        log = tmp_path / "activator.log"
        stack.enter_context(rights.activator(plane, kubectl, address, log, node="always"))
        stack.enter_context(
            rights.process(
                *(plane, rights.OPERATOR, "kotatsu-operator"),
                log=tmp_path / "operator.log",
                namespaces=rights.HERE,
                pod_namespace=rights.HERE,
                pod_name="operator-1",
                port=free_ports(1)[0],
                **operator,
            )
        )
        autoscaler = Autoscaler(client, rights.HERE, delay=delay)
        running = asyncio.create_task(autoscaler.run())
        stack.callback(running.cancel)
        yield World(kubectl, autoscaler, address)
        assert not running.done(), running.exception()


def _add_app(kubectl: Kubectl, port: int) -> None:
    """A pool asleep; the page of its pods is served by the test."""
    made, in_front = deployment("web", port), service("web")
    made["spec"]["template"]["spec"]["hostNetwork"] = True
    for obj in (made, in_front):
        obj["metadata"]["namespace"] = kubectl.namespace
    kubectl.apply(
        {"apiVersion": "apps/v1", "kind": "Deployment", **made},
        {"apiVersion": "v1", "kind": "Service", **in_front},
        # The pretended page knows of no request: idleness counts from the wake, and the pod comes
        # only a node later.
        pool("web", scaling={"idleAfter": "12s"}),
    )


async def test_a_window_is_ready_before_it_opens_though_its_pods_wait_for_a_node(
    world: World,
) -> None:
    await eventually("asleep", world.is_asleep)
    answer = await world.wake()
    assert answer.status_code == 200
    assert world.nodes.nodes == ["late-0"]
    await eventually("asleep, and its node gone", world.is_asleep)

    status = world.status()
    [warm_up] = status["warmUps"]
    # Counted from the operator's first look, which leaves a wake alone for half a second.
    assert warm_up["seconds"] >= DELAY - WAKE_GOES_FIRST.total_seconds()
    # The scheduler writes whole seconds.
    assert warm_up["parts"]["node"] >= DELAY - 2, "the time until it had a node is not said"
    events = [e for e in world.kubectl.items("events") if e["reason"] == "WarmUpUnschedulable"]
    assert len(events) == 1
    assert "nodes are available" in events[0]["message"]
    lead = parse_duration(status["lead"])
    learned = WarmUp(float(warm_up["seconds"]), 1)
    assert lead == auto_lead([learned], 1, SETTLE) > timedelta(seconds=DELAY)
    opens = datetime.now(UTC).replace(microsecond=0) + lead + timedelta(seconds=3)
    window = {"name": "demo", "start": wall(opens), "replicas": 1}
    window["end"] = wall(opens + timedelta(hours=1))
    world.kubectl.patch("warmpool", "web", {"spec": {"windows": [window]}})

    opening = await eventually(
        "the opening",
        lambda: (found := world.status().get("lastOpening") or {}).get("readyAt") and found,
        within=lead.total_seconds() + 60,
    )
    assert parse(opening["at"]) == opens
    assert parse(opening["readyAt"]) < opens
    assert world.nodes.nodes == ["late-0", "late-1"], "it did not wait for a node"


async def test_with_capacity_ahead_the_first_window_is_ready_though_nodes_join_90_s_late(
    tmp_path: Path,
) -> None:
    """Pods start 20 s before the window, which no node of this cloud could make."""
    placeholders = {"capacity": "Placeholder", "capacity_image": "none"}
    placeholders["capacity_priority_class"] = f"kotatsu-capacity-{rights.HERE}"
    async with _world(tmp_path, CLOUD, *CAPACITY, **placeholders) as world:
        await eventually("asleep", world.is_asleep)
        opens = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=CLOUD + 40)
        window = {"name": "demo", "start": wall(opens), "replicas": 1}
        window["end"] = wall(opens + timedelta(hours=1))
        spec = {"windows": [window], "prewarm": {"lead": "20s", "capacityAhead": "5m"}}
        world.kubectl.patch("warmpool", "web", {"spec": spec})

        opening = await eventually(
            "the opening",
            lambda: (found := world.status().get("lastOpening") or {}).get("readyAt") and found,
            within=CLOUD + 90,
        )
        assert parse(opening["readyAt"]) < opens
        assert world.nodes.nodes == ["late-0"], "an evicted placeholder has asked for a node"
        await eventually(
            "no placeholder",
            lambda: not world.kubectl.items("pods", **{CAPACITY_LABEL: "web"}),
        )
