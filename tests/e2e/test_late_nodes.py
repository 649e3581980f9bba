"""Pods that wait for a node: the time it takes to join is part of the lead that a pool learns.

On a control plane without a node (tools/node): kwok pretends those that join.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from e2e.kit import Object, eventually, parse, wall
from e2e.late_world import World, late_world

from kotatsu_operator.controller.reconciler import WAKE_GOES_FIRST
from kotatsu_operator.core.formats import parse_duration
from kotatsu_operator.core.plan.lead import auto_lead
from kotatsu_operator.core.pool.memory import WarmUp, read_warm_ups
from kotatsu_operator.core.protocol import (
    MANAGED_BY,
    MANAGED_BY_LABEL,
    SERVICE_LABEL,
)

pytestmark = [pytest.mark.e2e, pytest.mark.nightly, pytest.mark.timeout(900)]

DELAY = 5.0
"""Seconds; a cloud takes ninety, and nothing here depends on it but how long the test lasts."""

SETTLE = timedelta(seconds=5)
"""The chart's routeSettle."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with late_world(tmp_path, DELAY) as made:
        # The pretended page knows of no request: idleness counts from the wake, and the pod comes
        # only a node later.
        await made.add("web", idleAfter="12s")
        yield made


def status(world: World) -> Object:
    return dict(world.kubectl.get("warmpool", "web").get("status") or {})


def is_asleep(world: World) -> bool:
    return status(world).get("phase") == "Asleep" and not world.nodes.present


async def wake(world: World) -> httpx.Response:
    """Send one request through the activator."""
    labels = {SERVICE_LABEL: "web", MANAGED_BY_LABEL: MANAGED_BY}
    [mine] = await eventually(
        "the activator's slice", lambda: world.kubectl.items("endpointslices", **labels)
    )
    port = mine["ports"][0]["port"]
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        return await http.get(f"http://{world.address}:{port}/")


async def test_a_window_is_ready_before_it_opens_though_its_pods_wait_for_a_node(
    world: World,
) -> None:
    await eventually("asleep", lambda: is_asleep(world))
    answer = await wake(world)
    assert answer.status_code == 200
    assert world.nodes.nodes == ["late-0"]
    await eventually("asleep, and its node gone", lambda: is_asleep(world))

    slept = status(world)
    [warm_up] = read_warm_ups(slept)
    # Counted from the operator's first look, which leaves a wake alone for half a second.
    assert warm_up.seconds >= DELAY - WAKE_GOES_FIRST.total_seconds()
    assert warm_up.parts is not None
    # The scheduler writes whole seconds.
    assert warm_up.parts.node >= DELAY - 2, "the time until it had a node is not said"
    events = [e for e in world.kubectl.items("events") if e["reason"] == "WarmUpUnschedulable"]
    assert len(events) == 1
    assert "nodes are available" in events[0]["message"]
    lead = parse_duration(slept["lead"])
    learned = WarmUp(warm_up.seconds, 1)
    assert lead == auto_lead([learned], 1, SETTLE) > timedelta(seconds=DELAY)
    opens = datetime.now(UTC).replace(microsecond=0) + lead + timedelta(seconds=3)
    window = {"name": "demo", "start": wall(opens), "replicas": 1}
    window["end"] = wall(opens + timedelta(hours=1))
    world.kubectl.patch("warmpool", "web", {"spec": {"windows": [window]}})

    opening = await eventually(
        "the opening",
        lambda: (found := status(world).get("lastOpening") or {}).get("early") and found,
        within=lead.total_seconds() + 60,
    )
    assert parse(opening["at"]) == opens
    assert not opening["early"].startswith("-")
    assert world.nodes.nodes == ["late-0", "late-1"], "it did not wait for a node"
